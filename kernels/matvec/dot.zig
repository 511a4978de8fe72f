//! How the weights of a codec stand in a tile and what they mean: the `dot` declaration of a
//! codec's file. From it, when they are compiled, pack.zig lays tiles out and the kernels are made.
//!
//! A **tile** is 16 rows × all columns, so that a 32-bit lane of a register is one row, activations
//! are broadcast, and no sum crosses lanes. It is a run of **segments**:
//!
//!     scales  16 × u32: the scales of the segment's blocks, row by row, the first in the low bits
//!     minima  16 × u32: likewise, where weights have them
//!     codes   span by span (32 columns), for each group of positions 16 rows × 4 bytes:
//!               4 bits: the low nibble of byte j of group g is position 8g + j, the high one 8g + 4 + j
//!               8 bits: byte j of group g is position 4g + j
//!
//! Position p of a span is its column order[p]: the activations are permuted once a call, the
//! weights never. With scales of s bytes a segment has 4 / s blocks; the last segment of a tile
//! holds just the spans that are left. Every part is a multiple of a cache line.
const std = @import("std");
const assert = std.debug.assert;
const float = @import("../core/float.zig");
const integer = @import("../core/integer.zig");

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

    pub fn bytes(scale: Scale) comptime_int {
        return switch (scale) {
            .e8m0, .e4m3 => 1,
            .f16, .bf16 => 2,
            .f32 => 4,
        };
    }
};

pub const Dot = struct {
    bits: enum(u8) { four = 4, eight = 8 },
    /// 4 bits: the integer that each code stands for. 8 bits: the codes are the integers.
    values: [16]i8 = @splat(0),
    /// The real weight is integer · scale · unit, less the block's minimum if there is one.
    unit: f32 = 1,
    /// Columns that share a scale: 16, or a multiple of 32.
    block_columns: u16,
    scale: Scale,
    has_minimum: bool = false,
    /// Column within a span of each position.
    order: [span_columns]u8,
};

/// The `dot` declaration of a codec.
pub const Form = union(enum) { coded: Dot, dense: float.Target };

/// What follows from a Dot.
pub fn Layout(comptime dot: Dot) type {
    return struct {
        /// The integers of its weights.
        pub const range: integer.Range = switch (dot.bits) {
            .four => .{
                .lowest = std.mem.min(i8, &dot.values),
                .highest = std.mem.max(i8, &dot.values),
            },
            .eight => .{ .lowest = -128, .highest = 127 },
        };
        pub const segment_columns = dot.block_columns * 4 / dot.scale.bytes();
        pub const segment_spans = @divExact(segment_columns, span_columns);
        /// Sums of a span that have scales of their own.
        pub const span_blocks = if (dot.block_columns < span_columns) 2 else 1;
        /// Spans that share a scale, where they do.
        pub const block_spans = @max(1, dot.block_columns / span_columns);
        /// Bytes of one row in one span.
        pub const span_row_bytes = span_columns * @as(comptime_int, @intFromEnum(dot.bits)) / 8;
        pub const span_bytes = tile_rows * span_row_bytes;
        /// Groups of positions of one span.
        pub const span_groups = span_row_bytes / 4;
        /// Bytes before a segment's codes.
        pub const head_bytes = word_bytes * if (dot.has_minimum) 2 else 1;
        pub const segment_bytes = head_bytes + segment_spans * span_bytes;

        /// Bytes of a tile of `span_count` spans.
        pub fn tileBytes(span_count: u64) u64 {
            const segment_count = (span_count + segment_spans - 1) / segment_spans;
            return segment_count * head_bytes + span_count * span_bytes;
        }

        comptime {
            assert(dot.block_columns == 16 or dot.block_columns % span_columns == 0);
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

/// Positions of bytes that follow the columns.
pub const column_order: [span_columns]u8 = std.simd.iota(u8, span_columns);
