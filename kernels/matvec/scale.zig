//! Scales and minima of a segment, from the words that hold them to f32.
const std = @import("std");
const float = @import("../core/float.zig");
const vector = @import("../core/vector.zig");
const dots = @import("dot.zig");

/// Number of a scale within its segment: that of span `i`, and of which of its blocks.
pub inline fn place(comptime dot: dots.Dot, i: usize, block: usize) usize {
    const layout = dots.Layout(dot);
    return if (layout.span_blocks == 2) 2 * i + block else i / layout.block_spans;
}

/// All scales, and minima, of a segment, for the rows of a tile.
pub fn All(comptime dot: dots.Dot, comptime lane_count: comptime_int) type {
    const parts = dots.tile_rows / lane_count;
    const layout = dots.Layout(dot);
    const count = layout.segment_columns / dot.block_columns;
    const Numbers = [count][parts]@Vector(lane_count, f32);
    return struct {
        scales: Numbers,
        minima: if (dot.has_minimum) Numbers else void,
    };
}

pub inline fn loadAll(
    comptime dot: dots.Dot,
    comptime lane_count: comptime_int,
    head: [*]const u8,
) All(dot, lane_count) {
    var all: All(dot, lane_count) = undefined;
    inline for (0..all.scales.len) |index| inline for (0..all.scales[0].len) |part| {
        all.scales[index][part] = loadScale(dot, index, head, part, lane_count);
        if (dot.has_minimum)
            all.minima[index][part] = loadMinimum(dot, index, head, part, lane_count);
    };
    return all;
}

/// Scale number `index` of the segment that begins with `head`, for the rows of a register.
pub inline fn loadScale(
    comptime dot: dots.Dot,
    comptime index: comptime_int,
    head: [*]const u8,
    comptime part: comptime_int,
    comptime lane_count: comptime_int,
) @Vector(lane_count, f32) {
    return loadAt(dot, dots.Layout(dot).scales_at, 0, index, head, part, lane_count);
}

/// Likewise the minimum.
pub inline fn loadMinimum(
    comptime dot: dots.Dot,
    comptime index: comptime_int,
    head: [*]const u8,
    comptime part: comptime_int,
    comptime lane_count: comptime_int,
) @Vector(lane_count, f32) {
    return loadAt(dot, dots.Layout(dot).minima_at, 1, index, head, part, lane_count);
}

inline fn loadAt(
    comptime dot: dots.Dot,
    comptime begin: comptime_int,
    comptime factor: comptime_int,
    comptime index: comptime_int,
    head: [*]const u8,
    comptime part: comptime_int,
    comptime lane_count: comptime_int,
) @Vector(lane_count, f32) {
    const per_word = 4 / dot.scale.bytes();
    const rows = part * lane_count * 4;
    const words = head + begin + index / per_word * dots.word_bytes + rows;
    const scale = load(dot.scale, index % per_word, words, lane_count);
    // At most 11 bits times 8: exact.
    return if (comptime dot.scale.hasFactor())
        scale * load(.f16, factor, head + rows, lane_count)
    else
        scale;
}

/// Scale number `index` of `lane_count` rows whose words stand at `words`.
pub inline fn load(
    comptime scale: dots.Scale,
    comptime index: comptime_int,
    words: [*]const u8,
    comptime lane_count: comptime_int,
) @Vector(lane_count, f32) {
    const Words = @Vector(lane_count, u32);
    const word: Words = @as(*align(16) const Words, @ptrCast(@alignCast(words))).*;
    switch (scale) {
        .f32 => return @bitCast(word),
        .bf16 => return @bitCast(if (index == 0)
            word << @splat(16)
        else
            word & @as(Words, @splat(0xffff_0000))),
        .f16 => {
            const half: @Vector(lane_count, u16) = @truncate(word >> @splat(16 * index));
            return vector.widen(.f16, half);
        },
        .e8m0 => {
            // The exponent moves to its place; 0 means 2^-127, which is a subnormal number.
            const moved = if (index < 3) word << @splat(23 - 8 * index) else word >> @splat(1);
            const exponent = moved & @as(Words, @splat(0x7f80_0000));
            return @bitCast(@as(Words, @max(exponent, @as(Words, @splat(0x0040_0000)))));
        },
        .e4m3 => {
            // Read as a float with a wide exponent it is 2^-120 of what it means, subnormals too.
            const byte = word >> @splat(8 * index);
            const magnitude = byte & @as(Words, @splat(0x7f));
            const sign = (byte & @as(Words, @splat(0x80))) << @splat(24);
            const small: @Vector(lane_count, f32) = @bitCast(magnitude << @splat(20) | sign);
            const value = small * @as(@Vector(lane_count, f32), @splat(0x1p120));
            const nan: @Vector(lane_count, f32) = @splat(float.nan);
            return @select(f32, magnitude == @as(Words, @splat(0x7f)), nan, value);
        },
        .uint8 => {
            const byte = word >> @splat(8 * index) & @as(Words, @splat(0xff));
            return @floatFromInt(@as(@Vector(lane_count, i32), @bitCast(byte)));
        },
        .int8 => {
            const byte = @as(@Vector(lane_count, i32), @bitCast(word << @splat(24 - 8 * index)));
            return @floatFromInt(byte >> @splat(24));
        },
    }
}

/// The value of one scale, from its bits.
pub fn valueOf(comptime scale: dots.Scale, bits: u32) f32 {
    return switch (scale) {
        .f32 => @bitCast(bits),
        .bf16 => float.f32FromBf16(@truncate(bits)),
        .f16 => float.f32FromF16(@truncate(bits)),
        .e8m0 => float.f32FromE8m0(@truncate(bits)),
        .e4m3 => {
            const magnitude: u32 = bits & 0x7f;
            if (magnitude == 0x7f) return float.nan;
            const exponent = magnitude >> 3;
            const fraction: f32 = @floatFromInt(magnitude & 7);
            const value = if (exponent == 0)
                fraction * 0x1p-9
            else
                (8 + fraction) * std.math.ldexp(@as(f32, 0x1p-10), @intCast(exponent));
            return if (bits & 0x80 != 0) -value else value;
        },
        .uint8 => @floatFromInt(@as(u8, @truncate(bits))),
        .int8 => @floatFromInt(@as(i8, @bitCast(@as(u8, @truncate(bits))))),
    };
}

test "every scale of every kind, at every place of a word" {
    inline for (comptime std.enums.values(dots.Scale)) |scale| {
        const width = 8 * scale.bytes();
        const per_word = 4 / scale.bytes();
        var prng: std.Random.DefaultPrng = .init(7);
        const rounds = if (width == 8) 256 else 20_000;
        for (0..rounds) |round| {
            var words: [4]u32 align(16) = undefined;
            for (&words) |*word| word.* = prng.random().int(u32);
            if (width == 8) words[0] = @intCast(round * 0x01010101);
            inline for (0..per_word) |index| {
                const found: [4]f32 = load(scale, index, @ptrCast(&words), 4);
                for (words, found) |word, value| {
                    const mask = (@as(u64, 1) << width) - 1;
                    const bits: u32 = @intCast(word >> (width * index) & mask);
                    const expected = valueOf(scale, bits);
                    if (std.math.isNan(expected)) {
                        try std.testing.expect(std.math.isNan(value));
                    } else try std.testing.expectEqual(expected, value);
                }
            }
        }
    }
}
