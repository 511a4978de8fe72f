//! What one CPU level offers: a table of functions, filled by level.zig once for each level (and once by scalar code),
//! chosen by dispatch.zig. Also the types these functions work on.
const std = @import("std");
const abi = @import("abi.zig");

pub const codec_count = @typeInfo(abi.Codec).@"enum".fields.len;
/// f32, f16, bf16.
pub const target_count = 3;

/// A rectangle of one stored matrix, and where its dense values go.
pub const Tile = extern struct {
    /// Source i, at column 0 of the line that serves stored row `row_begin`. A source with rows_per_line 0 is whole.
    /// (Where a line was read in part, the address is moved back so that column 0 still counts from it.)
    sources: [abi.source_count_max][*]const u8,
    /// Bytes from a line of source i to its next line.
    strides: [abi.source_count_max]u64,
    /// Stored rows that share a line of source i; 0: whole.
    rows_per_line: [abi.source_count_max]u32,
    parameters: [abi.parameter_count_max]u32,
    /// First stored row of the rectangle, a multiple of Step.row_align.
    row_begin: u64,
    row_count: u64,
    /// First column, a multiple of Step.column_align. `column_count` is one too, except at the right edge.
    column_begin: u64,
    column_count: u64,
    /// Columns of the whole stored matrix.
    columns: u64,
    /// Element (row_begin, column_begin) goes here; natural alignment of the element only.
    target: [*]u8,
    /// Elements from a target row to the next one.
    target_stride: u64,

    /// The line of source i that serves row `row_begin + row`.
    pub inline fn line(tile: *const Tile, source: usize, row: u64) [*]const u8 {
        const per = tile.rows_per_line[source];
        if (per == 1) return tile.sources[source] + row * tile.strides[source];
        if (per == 0) return tile.sources[source];
        const index = (tile.row_begin + row) / per - tile.row_begin / per;
        return tile.sources[source] + index * tile.strides[source];
    }
};

/// Decodes the tile row by row and returns how many results are NaN or infinite.
pub const DecodeFn = *const fn (tile: *const Tile) callconv(.c) u64;

/// target[c * target_stride + r] = source[r * source_stride + c] for rows × columns elements.
/// Strides are in elements; both addresses have the natural alignment of the element.
pub const TransposeFn = *const fn (
    source: [*]const u8,
    source_stride: u64,
    target: [*]u8,
    target_stride: u64,
    rows: u64,
    columns: u64,
) callconv(.c) void;

pub const Table = extern struct {
    /// [codec][target dtype]; the row of `copy` is never called.
    decode: [codec_count][target_count]DecodeFn,
    transpose16: TransposeFn,
    transpose32: TransposeFn,
};
