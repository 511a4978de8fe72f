//! How the weights of a codec stand in a tile and what they mean: the `dot_forms` of a codec's file.
//! From them, when they are compiled, pack.zig lays tiles out and the kernels are made.
//!
//! A **tile** is 16 rows × all columns, so that a 32-bit lane of a register is one row, activations
//! are broadcast, and no sum crosses lanes. It may begin with a factor of each row, 16 × f32, and is
//! a run of **segments**:
//!
//!     factors 16 × u32: f16 that multiply the segment's scales (low half) and minima (high half),
//!             where these are integers
//!     scales  16 × u32, or some of these: the scales of the segment's blocks, row by row, the first
//!             in the low bits
//!     minima  likewise, where weights have them
//!     codes   span by span (32 columns), for each group of positions 16 rows × 4 bytes:
//!               4 bits: the low nibble of byte j of group g is position 8g + j, the high one 8g + 4 + j
//!               8 bits: byte j of group g is position 4g + j
//!
//! Position p of a span is its column order[p]: the activations are permuted once a call, the
//! weights never. With scales of s bytes a segment has 4 / s blocks, or those of 256 columns where
//! scales are integers; the last segment of a tile holds just the spans that are left. Every part is
//! a multiple of a cache line.
const std = @import("std");
const assert = std.debug.assert;
const float = @import("../core/float.zig");
const integer = @import("../core/integer.zig");
const minifloat = @import("../core/minifloat.zig");
const dense = @import("dense.zig");

/// Rows of a tile: one AVX-512 register, two of AVX2, four of SSE or NEON. Every level shares the
/// layout.
pub const tile_rows = 16;
/// Columns that share an activation scale.
pub const span_columns = 32;
/// Bytes of one u32 for each row.
pub const word_bytes = tile_rows * 4;

/// What a block's scale, or minimum, is stored as.
pub const Scale = enum {
    /// OCP E8M0: 2^(e - 127); 255 is infinite.
    e8m0,
    /// OCP E4M3FN; 0x7f and 0xff are NaN.
    e4m3,
    f16,
    bf16,
    f32,
    /// Integers under an f16 factor of the segment.
    uint8,
    int8,

    pub fn bytes(scale: Scale) comptime_int {
        return switch (scale) {
            .e8m0, .e4m3, .uint8, .int8 => 1,
            .f16, .bf16 => 2,
            .f32 => 4,
        };
    }

    pub fn hasFactor(scale: Scale) bool {
        return scale == .uint8 or scale == .int8;
    }
};

/// Columns under one f16 factor: a block of ggml's K types.
pub const factor_columns = 256;

/// What a code stands for.
pub const Codes = union(enum) {
    /// Nibbles, each an entry of a table.
    four: [16]i8,
    /// Nibbles that stand for numbers within ±`fine_max`, which int8 arithmetic rounds to integers of
    /// eleven bits: see `planes`.
    four_floats: [16]f32,
    /// Signed bytes.
    eight,
    /// Small floats of one byte, whose codes are all numbers. They have no int8 arithmetic.
    eight_floats: minifloat.Format,
};

pub const Dot = struct {
    codes: Codes,
    /// The real weight is the code's number · scale · unit, less the block's minimum if there is one.
    unit: f32 = 1,
    /// Columns that share a scale: 16, or a multiple of 32.
    block_columns: u16,
    scale: Scale,
    has_minimum: bool = false,
    /// Each row has an f32 factor besides.
    has_row_factor: bool = false,
    /// The integers that its kernels are made for; null: those of its codes.
    range: ?integer.Range = null,
    /// Column within a span of each position.
    order: [span_columns]u8,
};

/// How weights of a codec can be multiplied.
pub const Form = union(enum) { coded: Dot, dense: float.Target };
/// Forms of a codec, at the most.
pub const form_count_max = 4;

/// The forms of a codec: those of its file, or none.
pub fn formsOf(comptime codec: type) []const Form {
    return if (@hasDecl(codec, "dot_forms")) &codec.dot_forms else &.{};
}

/// Bytes of a tile of so many spans of 32 columns.
pub fn tileBytes(comptime form: Form, span_count: u64) u64 {
    return switch (form) {
        .coded => |dot| Layout(dot).tileBytes(span_count),
        .dense => |element| dense.tileBytes(element, span_count),
    };
}

/// Sums that a span has of its own.
pub fn spanBlocks(comptime form: Form) u64 {
    return switch (form) {
        .coded => |dot| Layout(dot).span_blocks,
        .dense => 1,
    };
}

/// What follows from a Dot.
pub fn Layout(comptime dot: Dot) type {
    return struct {
        /// The integer of each nibble.
        pub const integers: [16]i8 = switch (dot.codes) {
            .four => |all| all,
            .eight, .four_floats, .eight_floats => @splat(0),
        };
        pub const has_nibbles = dot.codes == .four or dot.codes == .four_floats;
        pub const has_integers = dot.codes != .eight_floats;
        /// The integers of its weights.
        pub const range: integer.Range = dot.range orelse switch (dot.codes) {
            .four => .{
                .lowest = std.mem.min(i8, &integers),
                .highest = std.mem.max(i8, &integers),
            },
            .four_floats => plane_range,
            .eight, .eight_floats => .{ .lowest = -128, .highest = 127 },
        };
        pub const segment_columns = if (dot.scale.hasFactor())
            factor_columns
        else
            dot.block_columns * 4 / dot.scale.bytes();
        pub const segment_spans = @divExact(segment_columns, span_columns);
        /// Sums of a span that have scales of their own.
        pub const span_blocks = if (dot.block_columns < span_columns) 2 else 1;
        /// Spans that share a scale, where they do.
        pub const block_spans = @max(1, dot.block_columns / span_columns);
        /// Bytes of one row in one span.
        pub const span_row_bytes = if (has_nibbles) span_columns / 2 else span_columns;
        pub const span_bytes = tile_rows * span_row_bytes;
        /// Groups of positions of one span.
        pub const span_groups = span_row_bytes / 4;
        /// Bytes of the scales of a segment, or of its minima.
        pub const scale_bytes = tile_rows * segment_columns / dot.block_columns * dot.scale.bytes();
        pub const scales_at = if (dot.scale.hasFactor()) word_bytes else 0;
        pub const minima_at = scales_at + scale_bytes;
        /// Bytes before a segment's codes.
        pub const head_bytes = minima_at + if (dot.has_minimum) scale_bytes else 0;
        /// Bytes before a tile's first segment.
        pub const tile_head_bytes = if (dot.has_row_factor) word_bytes else 0;
        pub const segment_bytes = head_bytes + segment_spans * span_bytes;

        /// Bytes of a tile of `span_count` spans.
        pub fn tileBytes(span_count: u64) u64 {
            const segment_count = (span_count + segment_spans - 1) / segment_spans;
            return tile_head_bytes + segment_count * head_bytes + span_count * span_bytes;
        }

        comptime {
            assert(dot.block_columns == 16 or dot.block_columns % span_columns == 0);
            assert(scale_bytes % word_bytes == 0);
            // Each plane would take it off.
            assert(dot.codes != .four_floats or !dot.has_minimum);
            var seen: [span_columns]bool = @splat(false);
            for (dot.order, 0..) |column, position| {
                assert(!seen[column]);
                seen[column] = true;
                // A block of 16 columns is half of the groups.
                if (dot.block_columns == 16) assert(column / 16 == position / 16);
            }
        }
    };
}

/// A unit of the first plane, in those of the second.
pub const plane_gain = 32;
/// Of both planes: products of 32 of these and activations fit 16 bits (integer.zig: form).
const plane_range: integer.Range = .{ .lowest = -16, .highest = 16 };
/// The largest number that planes can be made of.
pub const fine_max = plane_gain * plane_range.highest + plane_gain / 2 - 1;

/// What int8 arithmetic multiplies by, one after the other. Numbers that bytes would round too far
/// are sums of two small integers, plane_gain · first + second, each with a table of its own: the sum
/// of their products is plane_gain · (sum of the first) + (sum of the second). They are no slower than
/// a byte would be, whose products do not fit 16 bits.
pub fn planes(comptime dot: Dot) []const Dot {
    if (dot.codes != .four_floats) return &.{dot};
    var coarse = dot;
    var fine = dot;
    var tables: [2][16]i8 = undefined;
    for (dot.codes.four_floats, &tables[0], &tables[1]) |number, *first, *second| {
        const nearest: i32 = @intFromFloat(@round(number));
        assert(@abs(nearest) <= fine_max);
        const quotient = @divFloor(nearest + plane_gain / 2, plane_gain);
        first.* = quotient;
        second.* = nearest - plane_gain * quotient;
    }
    coarse.codes = .{ .four = tables[0] };
    fine.codes = .{ .four = tables[1] };
    // What activations are prepared for is the same for both.
    coarse.range = plane_range;
    fine.range = plane_range;
    return &.{ coarse, fine };
}

/// Codes around 8.
pub const centered_nibbles: [16]i8 = std.simd.iota(i8, 16) - @as(@Vector(16, i8), @splat(8));

/// Twice the values of E2M1, whose unit is a half. There is no negative zero.
pub const doubled_e2m1: [16]i8 = blk: {
    var values: [16]i8 = undefined;
    for (&values, float.e2m1) |*value, e2m1| value.* = @intFromFloat(2 * e2m1);
    break :blk values;
};

/// Positions of nibbles whose bytes hold neighbouring columns, the even one in the low nibble: the
/// bytes of a row need no rearranging.
pub const neighbour_order: [span_columns]u8 = blk: {
    var order: [span_columns]u8 = undefined;
    for (0..4) |group| for (0..4) |byte| {
        order[8 * group + byte] = 8 * group + 2 * byte;
        order[8 * group + 4 + byte] = 8 * group + 2 * byte + 1;
    };
    break :blk order;
};

/// The same with the even column in the high nibble.
pub const high_first_order: [span_columns]u8 = blk: {
    var order: [span_columns]u8 = undefined;
    for (&order, neighbour_order) |*column, other| column.* = other ^ 1;
    break :blk order;
};

/// Positions of nibbles whose bytes hold a column in the low nibble and the one 16 after it in the
/// high one.
pub const halves_order: [span_columns]u8 = blk: {
    var order: [span_columns]u8 = undefined;
    for (0..4) |group| for (0..4) |byte| {
        order[8 * group + byte] = 4 * group + byte;
        order[8 * group + 4 + byte] = 16 + 4 * group + byte;
    };
    break :blk order;
};

/// Positions of bytes that follow the columns.
pub const column_order: [span_columns]u8 = std.simd.iota(u8, span_columns);
