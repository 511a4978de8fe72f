//! What becomes of the sums of a tile before they are stored: bias, activation, and the places of
//! the results. Formulas: torch.nn.functional (relu, silu, gelu) and gpt-oss,
//! gpt_oss/torch/model.py (swiglu with interleaved rows, clamped, alpha 1.702).
const std = @import("std");
const abi = @import("../abi.zig");
const math = @import("../core/math.zig");
const table = @import("../table.zig");
const dots = @import("dot.zig");

const half_rows = dots.tile_rows / 2;
const Half = @Vector(half_rows, f32);
pub const Rows = @Vector(dots.tile_rows, f32);

/// Of swiglu_oss.
const alpha = 1.702;
const limit = 7.0;

/// act(x), element by element.
pub inline fn apply(comptime activation: abi.Activation, x: anytype) @TypeOf(x) {
    const F = @TypeOf(x);
    const zero: F = @splat(0);
    return switch (activation) {
        .none => x,
        .relu => @select(f32, x < zero, zero, x),
        .silu => math.timesSigmoid(x, x),
        .gelu => math.timesNormal(x),
        // (1 + tanh u) / 2 is the logistic function of 2u.
        .gelu_tanh => blk: {
            const cubic = x + @as(F, @splat(0.044715)) * x * x * x;
            const twice: F = @splat(2 * 0.7978845608028654); // 2√(2/π)
            break :blk math.timesSigmoid(x, cubic * twice);
        },
        .swiglu, .swiglu_oss => comptime unreachable, // of pairs
    };
}

/// The result of a gate and its up.
pub inline fn applyPair(
    comptime activation: abi.Activation,
    gate: anytype,
    up: @TypeOf(gate),
) @TypeOf(gate) {
    const F = @TypeOf(gate);
    switch (activation) {
        .swiglu => return math.timesSigmoid(gate, gate) * up,
        .swiglu_oss => {
            const most: F = @splat(limit);
            const least: F = @splat(-limit);
            // Selected, not minimum and maximum: NaN stays NaN.
            const g = @select(f32, gate > most, most, gate);
            const below = @select(f32, up > most, most, up);
            const u = @select(f32, below < least, least, below);
            return math.timesSigmoid(g, g * @as(F, @splat(alpha))) * (u + @as(F, @splat(1)));
        },
        else => comptime unreachable,
    }
}

/// Stores what the sums of tile `tile` and batch column `column` become. Not inlined: the sums come
/// in registers, and there is a call for each tile, not for each block.
pub noinline fn finish(product: *const table.Product, tile: u64, column: u64, sums: Rows) void {
    @setRuntimeSafety(false);
    const unbiased: [2]Half = @bitCast(sums);
    const runs = table.runsOf(product.rows, product.pairing, tile);
    var halves: [2]Half = undefined;
    inline for (&halves, unbiased, runs) |*half, sum, run| half.* = sum + loadBias(product, run);
    const y = product.y + column * product.y_stride;
    switch (product.activation) {
        .swiglu => {
            const result = applyPair(.swiglu, halves[0], halves[1]);
            store(y, runs[0], result);
        },
        .swiglu_oss => {
            // Neighbouring rows are a pair: half as many results from each run of rows.
            const all: Rows = @bitCast(halves);
            const gate = @shuffle(f32, all, undefined, everySecond(0));
            const up = @shuffle(f32, all, undefined, everySecond(1));
            const result: [half_rows]f32 = applyPair(.swiglu_oss, gate, up);
            inline for (runs, 0..) |run, i| {
                const first = i * half_rows / 2;
                for (0..run.count / 2) |j| y[run.begin / 2 + j] = result[first + j];
            }
        },
        inline else => |activation| inline for (runs, halves) |run, half|
            store(y, run, apply(activation, half)),
    }
}

fn everySecond(comptime first: comptime_int) [half_rows]i32 {
    var places: [half_rows]i32 = undefined;
    for (&places, 0..) |*place, i| place.* = 2 * i + first;
    return places;
}

inline fn loadBias(product: *const table.Product, run: table.Run) Half {
    const bias = product.bias orelse return @splat(0);
    if (run.count == half_rows) return bias[run.begin..][0..half_rows].*;
    var part: [half_rows]f32 = @splat(0);
    for (part[0..run.count], bias[run.begin..]) |*to, from| to.* = from;
    return part;
}

inline fn store(y: [*]f32, run: table.Run, values: Half) void {
    if (run.count == half_rows) {
        y[run.begin..][0..half_rows].* = values;
        return;
    }
    const all: [half_rows]f32 = values;
    for (y[run.begin..][0..run.count], all[0..run.count]) |*to, from| to.* = from;
}

const testing = std.testing;

/// erfc in f64: the series of erf near 0, the continued fraction elsewhere.
fn erfc(z: f64) f64 {
    if (z < 0) return 2 - erfc(-z);
    if (z < 2.5) {
        var term = z;
        var sum = z;
        for (1..80) |n| {
            const k: f64 = @floatFromInt(n);
            term *= -z * z / k;
            sum += term / (2 * k + 1);
        }
        return 1 - sum * 2 / @sqrt(std.math.pi);
    }
    var fraction = z;
    var n: f64 = 120;
    while (n > 0) : (n -= 1) fraction = z + n / 2 / fraction;
    return @exp(-z * z) / fraction / @sqrt(std.math.pi);
}

const Exact = struct {
    fn sigmoid(x: f64) f64 {
        return 1 / (1 + @exp(-x));
    }

    fn one(activation: abi.Activation, x: f64) f64 {
        return switch (activation) {
            .none => x,
            .relu => @max(x, 0),
            .silu => x * sigmoid(x),
            .gelu => x / 2 * erfc(-x / @sqrt(2.0)),
            .gelu_tanh => blk: {
                const u = @sqrt(2.0 / std.math.pi) * (x + 0.044715 * x * x * x);
                break :blk x / 2 * (1 + std.math.tanh(u));
            },
            .swiglu, .swiglu_oss => unreachable,
        };
    }

    fn pair(activation: abi.Activation, gate: f64, up: f64) f64 {
        return switch (activation) {
            .swiglu => gate * sigmoid(gate) * up,
            .swiglu_oss => blk: {
                const g = @min(gate, limit);
                break :blk g * sigmoid(alpha * g) * (std.math.clamp(up, -limit, limit) + 1);
            },
            else => unreachable,
        };
    }
};

/// Largest error of each, in units of errorOf. Measured, the same at every level: silu 1.94, gelu
/// 2.74, gelu_tanh 1.88, swiglu 2.37, swiglu_oss 2.38.
fn boundOf(activation: abi.Activation) f64 {
    return switch (activation) {
        .none, .relu => 0,
        .silu, .gelu_tanh => 2.5,
        .gelu, .swiglu, .swiglu_oss => 3,
    };
}

/// |found - exact| in units of 2^-24 of |x| · max(1, |up|), the size of the numbers that meet.
fn errorOf(found: f32, exact: f64, size: f64) f64 {
    return @abs(found - exact) / (size * 0x1p-24);
}

test "activations of single rows against f64: within some roundings of |x|" {
    var prng: std.Random.DefaultPrng = .init(11);
    inline for (.{ .none, .relu, .silu, .gelu, .gelu_tanh }) |activation| {
        var most: f64 = 0;
        for (0..40_000) |_| {
            var x: [4]f32 = undefined;
            for (&x) |*value| {
                const size = std.math.exp2(prng.random().float(f32) * 20 - 12);
                value.* = (prng.random().float(f32) - 0.5) * size;
            }
            const found: [4]f32 = apply(activation, @as(@Vector(4, f32), x));
            for (x, found) |value, result| {
                if (value == 0) continue;
                most = @max(most, errorOf(result, Exact.one(activation, value), @abs(value)));
            }
        }
        errdefer std.debug.print("{s}: {d} roundings\n", .{ @tagName(activation), most });
        try testing.expect(most <= boundOf(activation));
        const nan = apply(activation, @as(@Vector(4, f32), @splat(std.math.nan(f32))));
        try testing.expect(std.math.isNan(nan[0]));
        const zero = apply(activation, @as(@Vector(4, f32), @splat(0)));
        try testing.expectEqual(0, zero[0]);
    }
}

test "activations of pairs against f64: within some roundings of |gate| · (|up| + 1)" {
    var prng: std.Random.DefaultPrng = .init(12);
    inline for (.{ .swiglu, .swiglu_oss }) |activation| {
        var most: f64 = 0;
        for (0..80_000) |_| {
            const gate = (prng.random().float(f32) - 0.5) * 40;
            const up = (prng.random().float(f32) - 0.5) * 40;
            const g: @Vector(4, f32) = @splat(gate);
            const found = applyPair(activation, g, @as(@Vector(4, f32), @splat(up)))[0];
            if (gate == 0) continue;
            const exact = Exact.pair(activation, gate, up);
            most = @max(most, errorOf(found, exact, @abs(gate) * (@abs(up) + 1)));
        }
        errdefer std.debug.print("{s}: {d} roundings\n", .{ @tagName(activation), most });
        try testing.expect(most <= boundOf(activation));
        const nan: @Vector(4, f32) = @splat(std.math.nan(f32));
        const one: @Vector(4, f32) = @splat(1);
        try testing.expect(std.math.isNan(applyPair(activation, nan, one)[0]));
        try testing.expect(std.math.isNan(applyPair(activation, one, nan)[0]));
    }
}
