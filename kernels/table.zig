//! What one CPU level offers: a table of functions, filled by level.zig once for each level (and
//! once by scalar code), chosen by dispatch.zig. Also the types these functions work on.
const std = @import("std");
const abi = @import("abi.zig");
const blake3 = @import("core/blake3.zig");
const dots = @import("matvec/dot.zig");
const lanes = @import("matvec/lanes.zig");
const tile_rows = dots.tile_rows;

pub const codec_count = @typeInfo(abi.Codec).@"enum".fields.len;
/// f32, f16, bf16.
pub const target_count = 3;

/// A rectangle of one stored matrix, and where its dense values go.
pub const Tile = extern struct {
    /// Source i, at column 0 of the line that serves stored row `row_begin`. A source with
    /// rows_per_line 0 is whole. (Where a line was read in part, the address is moved back so that
    /// column 0 still counts from it.)
    sources: [abi.source_count_max][*]const u8,
    /// Bytes from a line of source i to its next line.
    strides: [abi.source_count_max]u64,
    /// Stored rows that share a line of source i; 0: whole.
    rows_per_line: [abi.source_count_max]u32,
    parameters: [abi.parameter_count_max]u32,
    /// First stored row of the rectangle, a multiple of Step.row_align.
    row_begin: u64,
    row_count: u64,
    /// First column, a multiple of Step.column_align. `column_count` is one too, except at the
    /// right edge.
    column_begin: u64,
    column_count: u64,
    /// Columns of the whole stored matrix.
    columns: u64,
    /// Number of the matrix among those of the batch, which may share their bytes.
    batch: u64,
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

/// The activations of up to abi.batch_max columns as kernels want them: each column padded to whole
/// spans of 32, permuted to the positions of the codec's tiles.
pub const Activations = extern struct {
    span_count: u64,
    /// Sums that a span has of its own: 2 where weight scales serve 16 columns, else 1.
    span_blocks: u64,
    /// float arithmetic: [batch][span][position].
    values: [*]align(64) f32,
    /// int8 arithmetic: [batch][span][position], of which `scales` [batch][span] make values.
    codes: [*]align(64) i8,
    scales: [*]f32,
    /// int8: [batch][span][block], what the exact sums start from (core/integer.zig: correction).
    corrections: [*]u32,
    /// [batch][span][block] Σ value, for weights that have minima.
    sums: [*]f32,
};

/// Fills column `column` of the batch from `columns` values; false where one is not finite or
/// beyond 2^88, so that no sum of kernels overflows unless the weights do.
pub const PrepareFn = *const fn (
    activations: *const Activations,
    column: u64,
    x: [*]const f32,
    columns: u64,
) callconv(.c) bool;

/// A run of tiles times a batch of activations. What a tile is: matvec/dot.zig.
pub const Product = extern struct {
    tiles: [*]align(64) const u8,
    tile_bytes: u64,
    /// Number of the first tile within its matrix.
    tile_first: u64,
    tile_count: u64,
    rows: u64,
    x: *const Activations,
    batch: u64,
    /// [rows], or null.
    bias: ?[*]const f32,
    /// [batch][rows, or half as many for activations of pairs].
    y: [*]f32,
    y_stride: u64,
    activation: abi.Activation,
    pairing: abi.Pairing,
    /// The matrix is larger than caches: its tiles come from memory.
    is_streaming: bool,
};

/// Whether activation makes one result of two rows.
pub fn isOfPairs(activation: abi.Activation) bool {
    return switch (activation) {
        .swiglu, .swiglu_oss => true,
        .none, .relu, .silu, .gelu, .gelu_tanh => false,
    };
}

/// Whether the rows that an activation takes together share a tile.
pub fn fits(activation: abi.Activation, rows: u64, pairing: abi.Pairing) bool {
    return switch (activation) {
        .swiglu => pairing == .halves,
        .swiglu_oss => rows % @as(u64, if (pairing == .halves) 4 else 2) == 0,
        .none, .relu, .silu, .gelu, .gelu_tanh => true,
    };
}

/// Tiles of a matrix.
pub fn tileCount(rows: u64, pairing: abi.Pairing) u64 {
    return switch (pairing) {
        .none => std.math.divCeil(u64, rows, tile_rows) catch unreachable,
        .halves => std.math.divCeil(u64, rows / 2, tile_rows / 2) catch unreachable,
    };
}

/// Rows that stand side by side in half a tile; at the edge there are fewer than 8.
pub const Run = struct { begin: u64, count: u64 };

/// The rows of both halves of a tile.
pub inline fn runsOf(rows: u64, pairing: abi.Pairing, tile: u64) [2]Run {
    const half = tile_rows / 2;
    const first = tile * @as(u64, if (pairing == .halves) half else tile_rows);
    const second = if (pairing == .halves) rows / 2 + first else first + half;
    const first_end = if (pairing == .halves) rows / 2 else rows;
    return .{
        .{ .begin = first, .count = @min(half, first_end -| first) },
        .{ .begin = second, .count = @min(half, rows -| second) },
    };
}

pub const ProductFn = *const fn (product: *const Product) callconv(.c) void;

/// Packs `row_count` rows of `source`, from its row `row` on, as rows `lane` … of a tile. Returns
/// how many scales, or dense values, are NaN or infinite.
pub const PackFn = *const fn (
    source: *const Tile,
    row: u64,
    row_count: u64,
    lane: u64,
    tile: [*]align(64) u8,
) callconv(.c) u64;

/// Of a row that belongs to no group.
pub const no_group = std.math.maxInt(u32);

/// Packs some columns of a weight that is stored [in, out], of which `source` has some rows.
/// Returns how many scales are NaN or infinite.
pub const PackColumnsFn = *const fn (
    source: *const Tile,
    columns: *const lanes.Columns,
    tile: [*]align(64) u8,
) callconv(.c) u64;

/// Packs one row of finite values as lane `lane` of a tile, rounded to the codec.
pub const PackValuesFn = *const fn (
    values: [*]const f32,
    columns: u64,
    lane: u64,
    tile: [*]align(64) u8,
) callconv(.c) void;

/// How weights in one form of a codec are multiplied; null where they cannot be.
pub const Matvec = extern struct {
    pack: ?PackFn = null,
    pack_columns: ?PackColumnsFn = null,
    pack_values: ?PackValuesFn = null,
    prepare_float: ?PrepareFn = null,
    prepare_int8: ?PrepareFn = null,
    multiply_float: ?ProductFn = null,
    multiply_int8: ?ProductFn = null,
};

/// Reads, copies, or writes `size` bytes as fast as memory lets them. Only copies take other sizes
/// and addresses than those of whole pages.
pub const StreamFn = *const fn (
    source: [*]const u8,
    target: [*]u8,
    size: u64,
) callconv(.c) void;

/// BLAKE3 of many chunks, or of many pairs of values, at once: core/blake3.zig.
pub const Hashing = extern struct {
    chunks: *const fn (
        bytes: [*]const u8,
        count: u64,
        first: u64,
        values: [*]blake3.Value,
    ) callconv(.c) void,
    parents: *const fn (
        pairs: [*]const blake3.Value,
        count: u64,
        values: [*]blake3.Value,
    ) callconv(.c) void,
};

/// What blocks of a file add to its checksum: core/checksum.zig.
pub const ChecksumFn = *const fn (bytes: [*]const u8, count: u64, first: u64) callconv(.c) u64;

pub const Table = extern struct {
    /// [codec][target dtype]; the row of `copy` is never called.
    decode: [codec_count][target_count]DecodeFn,
    transpose16: TransposeFn,
    transpose32: TransposeFn,
    /// [codec][form of its weights]
    matvec: [codec_count][dots.form_count_max]Matvec,
    /// [abi.Stream]
    stream: [@typeInfo(abi.Stream).@"enum".fields.len]StreamFn,
    hashing: Hashing,
    checksum: ChecksumFn,
};
