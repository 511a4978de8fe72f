//! Lays rows out as lanes of a tile (dot.zig). A codec with a Dot says how the bytes of one row stand
//! in its source:
//!
//!     /// The codes of the 32 columns from `column` on, in the order of the tile's bytes; behind the
//!     /// last column of the matrix anything, for there the activations are 0.
//!     pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: *[n]u8) void
//!
//!     /// The bits of the scale of the block that begins at `column`, and of its minimum if weights
//!     /// have them.
//!     pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32
//!     pub fn blockMinimum(tile: *const Tile, row: u64, column: u64) u32
//!
//!     /// The bits of two f16, as dot.zig has them, where scales are integers.
//!     pub fn segmentFactors(tile: *const Tile, row: u64, column: u64) u32
//!
//!     /// Where rows have a factor. NaN makes a row of results NaN that its codes cannot say.
//!     pub fn rowFactor(tile: *const Tile, row: u64) f32
const std = @import("std");
const float = @import("../core/float.zig");
const table = @import("../table.zig");
const dots = @import("dot.zig");
const scales = @import("scale.zig");
const Dot = dots.Dot;
const Tile = table.Tile;

/// Where lanes and spans of a tile are.
pub fn Writer(comptime dot: Dot) type {
    const layout = dots.Layout(dot);
    const blocks_per_word = 4 / dot.scale.bytes();
    const blocks_per_segment = layout.segment_columns / dot.block_columns;
    return struct {
        tile: [*]align(64) u8,
        lane: u64,

        const Self = @This();
        pub const Codes = [layout.span_row_bytes]u8;

        fn segment(writer: Self, index: u64) [*]align(64) u8 {
            return @alignCast(writer.tile + layout.tile_head_bytes + index * layout.segment_bytes);
        }

        pub inline fn setCodes(writer: Self, span: u64, codes: *const Codes) void {
            const begin = writer.segment(span / layout.segment_spans) + layout.head_bytes +
                span % layout.segment_spans * layout.span_bytes + writer.lane * 4;
            inline for (0..layout.span_groups) |group|
                begin[group * dots.word_bytes ..][0..4].* = codes[group * 4 ..][0..4].*;
        }

        pub inline fn setScale(writer: Self, block: u64, bits: u32) void {
            writer.setWord(layout.scales_at, block, bits);
        }

        pub inline fn setMinimum(writer: Self, block: u64, bits: u32) void {
            writer.setWord(layout.minima_at, block, bits);
        }

        pub inline fn setFactors(writer: Self, index: u64, bits: u32) void {
            writer.segment(index)[writer.lane * 4 ..][0..4].* = @bitCast(bits);
        }

        pub inline fn setRowFactor(writer: Self, factor: f32) void {
            writer.tile[writer.lane * 4 ..][0..4].* = @bitCast(factor);
        }

        inline fn setWord(writer: Self, offset: u64, block: u64, bits: u32) void {
            const number = block % blocks_per_segment;
            const words = writer.segment(block / blocks_per_segment) + offset +
                number / blocks_per_word * dots.word_bytes;
            const at = words + writer.lane * 4 + number % blocks_per_word * dot.scale.bytes();
            const bytes: [4]u8 = @bitCast(bits);
            at[0..dot.scale.bytes()].* = bytes[0..dot.scale.bytes()].*;
        }
    };
}

/// table.PackFn of a codec with a Dot.
pub fn packCoded(
    comptime codec: type,
    comptime dot: Dot,
    source: *const Tile,
    row: u64,
    row_count: u64,
    lane: u64,
    tile: [*]align(64) u8,
) u64 {
    const layout = dots.Layout(dot);
    const span_count = std.math.divCeil(u64, source.columns, dots.span_columns) catch unreachable;
    const block_count = std.math.divCeil(u64, source.columns, dot.block_columns) catch unreachable;
    var non_finite_count: u64 = 0;
    for (0..row_count) |i| {
        const writer: Writer(dot) = .{ .tile = tile, .lane = lane + i };
        for (0..span_count) |span| {
            var codes: Writer(dot).Codes = undefined;
            codec.spanCodes(source, row + i, span * dots.span_columns, &codes);
            writer.setCodes(span, &codes);
        }
        for (0..block_count) |block| {
            const column = block * dot.block_columns;
            const bits = codec.blockScale(source, row + i, column);
            non_finite_count += @intFromBool(!isFinite(dot.scale, bits));
            writer.setScale(block, bits);
            if (!dot.has_minimum) continue;
            const minimum = codec.blockMinimum(source, row + i, column);
            non_finite_count += @intFromBool(!isFinite(dot.scale, minimum));
            writer.setMinimum(block, minimum);
        }
        if (comptime dot.scale.hasFactor()) {
            var column: u64 = 0;
            while (column < source.columns) : (column += layout.segment_columns) {
                const bits = codec.segmentFactors(source, row + i, column);
                non_finite_count += @intFromBool(!isFinite(.f16, bits));
                if (dot.has_minimum) non_finite_count += @intFromBool(!isFinite(.f16, bits >> 16));
                writer.setFactors(column / layout.segment_columns, bits);
            }
        }
        if (!dot.has_row_factor) continue;
        const factor = codec.rowFactor(source, row + i);
        non_finite_count += @intFromBool(!std.math.isFinite(factor));
        writer.setRowFactor(factor);
    }
    return non_finite_count;
}

fn isFinite(comptime scale: dots.Scale, bits: u32) bool {
    return std.math.isFinite(scales.valueOf(scale, bits));
}

/// table.PackFn of dense elements.
pub fn packDense(
    comptime element: float.Target,
    source: *const Tile,
    row: u64,
    row_count: u64,
    lane: u64,
    tile: [*]align(64) u8,
) u64 {
    const Bits = element.Bits();
    const places: [*]Bits = @ptrCast(tile);
    var non_finite_count: u64 = 0;
    for (0..row_count) |i| {
        const line = source.line(0, row + i);
        for (0..source.columns) |column| {
            const bytes = line[column * @sizeOf(Bits) ..][0..@sizeOf(Bits)];
            const bits = std.mem.readInt(Bits, bytes, .little);
            non_finite_count += @intFromBool(!float.isFinite(element, bits));
            places[column * dots.tile_rows + lane + i] = bits;
        }
    }
    return non_finite_count;
}
