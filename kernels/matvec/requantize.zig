//! f32 values to MXFP4 as OCP Microscaling v1.0 has it (6.3): the shared exponent is that of the
//! largest magnitude less 2, the exponent of E2M1's largest; elements are rounded to nearest, ties
//! to even, and saturate at 6.
const std = @import("std");
const assert = std.debug.assert;
const float = @import("../core/float.zig");
const mxfp4 = @import("../codecs/mxfp4.zig");
const dots = @import("dot.zig");
const pack = @import("pack.zig");

const block_columns = dots.span_columns;
/// Exponent of the largest power of two in E2M1.
const exponent_max = 2;

pub const Block = struct {
    /// As the codec stores them: the even column in the low nibble.
    codes: [block_columns / 2]u8,
    /// E8M0.
    scale: u8,
};

/// Up to 32 values, all finite; those that are not there count as 0.
pub fn quantize(values: []const f32) Block {
    assert(values.len <= block_columns);
    var largest: f32 = 0;
    for (values) |value| largest = @max(largest, @abs(value));
    // Zeros take 2^-127, as do blocks that are too small for their exponent.
    const exponent: i32 = if (largest == 0) -127 else std.math.ilogb(largest) - exponent_max;
    const biased: u8 = @intCast(std.math.clamp(exponent + 127, 0, 254));
    var block: Block = .{ .codes = @splat(0), .scale = biased };
    // In f64 the quotient by a power of two is exact.
    const scale: f64 = float.f32FromE8m0(biased);
    for (values, 0..) |value, i| {
        const code = nearest(value / scale);
        block.codes[i / 2] |= if (i % 2 == 0) code else code << 4;
    }
    return block;
}

/// The E2M1 code nearest to `value`; of two as near the one with an even significand.
fn nearest(value: f64) u8 {
    // Halfway between neighbours. After an odd code the tie goes up, after an even one down.
    const halves = [7]f64{ 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5 };
    const magnitude = @abs(value);
    var code: u8 = 0;
    for (halves, 0..) |half, below| {
        code += @intFromBool(if (below % 2 == 1) magnitude >= half else magnitude > half);
    }
    return if (std.math.signbit(value)) code | 8 else code;
}

/// The values that the block stands for.
pub fn dequantize(block: *const Block, values: []f32) void {
    for (values, 0..) |*value, i| {
        const byte = block.codes[i / 2];
        const code = if (i % 2 == 0) byte & 15 else byte >> 4;
        value.* = float.product(float.e2m1[code], float.f32FromE8m0(block.scale));
    }
}

/// table.PackValuesFn: one row of values as a lane of a tile of mxfp4.
pub fn packValues(
    values: [*]const f32,
    columns: u64,
    lane: u64,
    tile: [*]align(64) u8,
) callconv(.c) void {
    const writer: pack.Writer(mxfp4.dot) = .{ .tile = tile, .lane = lane };
    var span: u64 = 0;
    while (span * block_columns < columns) : (span += 1) {
        const begin = span * block_columns;
        const block = quantize(values[begin..@min(begin + block_columns, columns)]);
        writer.setCodes(span, &block.codes);
        writer.setScale(span, block.scale);
    }
}

const testing = std.testing;

test "E2M1: every code, every tie, saturation, the sign of zero" {
    for (float.e2m1, 0..) |value, code| try testing.expectEqual(code, nearest(value));
    const ties = [_][2]f64{
        .{ 0.25, 0 }, .{ 0.75, 2 }, .{ 1.25, 2 }, .{ 1.75, 4 }, .{ 2.5, 4 }, .{ 3.5, 6 }, .{ 5, 6 },
    };
    for (ties) |tie| {
        const code: u8 = @intFromFloat(tie[1]);
        try testing.expectEqual(code, nearest(tie[0]));
        try testing.expectEqual(code | 8, nearest(-tie[0]));
    }
    for ([_]f64{ 5.0001, 6, 7.999, 100 }) |value| try testing.expectEqual(7, nearest(value));
}

test "the shared exponent is that of the largest magnitude less 2" {
    const cases = [_]struct { f32, u8 }{
        .{ 1, 125 },      .{ 1.999, 125 },  .{ 2, 126 }, .{ 6, 127 },
        .{ 0x1p-125, 0 }, .{ 0x1p-140, 0 }, .{ 0, 0 },   .{ 0x1.fffffep127, 252 },
    };
    for (cases) |case| try testing.expectEqual(case[1], quantize(&.{ 0, -case[0] }).scale);
}

test "what is exact in MXFP4 comes back; everything else within half a step" {
    var prng: std.Random.DefaultPrng = .init(9);
    for (0..2000) |_| {
        var values: [block_columns]f32 = undefined;
        const exponent = prng.random().intRangeAtMost(i32, -100, 100);
        for (&values) |*value| value.* = std.math.ldexp(prng.random().floatNorm(f32), exponent);
        var found: [block_columns]f32 = undefined;
        const block = quantize(&values);
        dequantize(&block, &found);
        const scale = float.f32FromE8m0(block.scale);
        for (values, found) |value, result| {
            // Steps are half a scale up to 2, then one, then two; above 6 the largest saturates.
            const magnitude = @abs(value) / scale;
            const step: f32 = if (magnitude < 2) 0.5 else if (magnitude < 4) 1 else 2;
            const bound = if (magnitude > 6) magnitude - 6 else step / 2;
            try testing.expect(@abs(value - result) / scale <= bound * 1.0001);
        }
        var again: [block_columns]f32 = undefined;
        dequantize(&quantize(&found), &again);
        try testing.expectEqualSlices(f32, &found, &again);
    }
}
