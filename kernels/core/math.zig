//! Functions of f32 vectors that no instruction computes. Apart from `mulAdd` they use single
//! additions, multiplications and divisions only, so that every level gives the same bits. NaN in,
//! NaN out. The tests state how far each is from f64.
const std = @import("std");
const builtin = @import("builtin");
const vector = @import("vector.zig");

const has_fma = switch (builtin.cpu.arch) {
    .x86_64 => vector.hasX86(.fma),
    else => true,
};

/// a · b + c, rounded once where the CPU can and twice elsewhere.
pub inline fn mulAdd(a: anytype, b: @TypeOf(a), c: @TypeOf(a)) @TypeOf(a) {
    return if (has_fma) @mulAdd(@TypeOf(a), a, b, c) else a * b + c;
}

/// e^x. Overflows to ∞ and underflows through the subnormal numbers to 0.
pub inline fn exp(x: anytype) @TypeOf(x) {
    const F = @TypeOf(x);
    const length = @typeInfo(F).vector.len;
    const U = @Vector(length, u32);
    const high: F = @splat(130);
    const low: F = @splat(-150);
    var y = @select(f32, x > high, high, x);
    y = @select(f32, y < low, low, y);
    // Adding 1.5 · 2^23 rounds to an integer, which is then in the low bits.
    const magic: F = @splat(0x1.8p23);
    const shifted = y * @as(F, @splat(std.math.log2e)) + magic;
    const n = shifted - magic;
    // ln 2 in two parts; n times the first one is exact.
    const r = y - n * @as(F, @splat(0x1.63p-1)) - n * @as(F, @splat(-0x1.bd0106p-13));
    // |r| ≤ ln 2 / 2: eight terms of the series leave 6e-9.
    var sum: F = @splat(1.0 / 5040.0);
    inline for (.{ 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0 }) |term|
        sum = sum * r + @as(F, @splat(term));
    // 2^n in two steps, for neither n nor the result needs to be a normal exponent.
    const integer = @as(U, @bitCast(shifted)) -% @as(U, @bitCast(magic));
    const exponent: @Vector(length, i32) = @bitCast(integer);
    const half = exponent >> @splat(1);
    return sum * powerOfTwo(half) * powerOfTwo(exponent -% half);
}

/// 2^n for n from -126 to 127.
inline fn powerOfTwo(n: anytype) @Vector(@typeInfo(@TypeOf(n)).vector.len, f32) {
    return @bitCast((n +% @as(@TypeOf(n), @splat(127))) << @splat(23));
}

/// x / (1 + e^-y): x times the logistic function of y.
pub inline fn timesSigmoid(x: anytype, y: @TypeOf(x)) @TypeOf(x) {
    const one: @TypeOf(x) = @splat(1);
    return x / (one + exp(-y));
}

/// x · Φ(x), where Φ is the normal distribution: x/2 · (1 + erf(x/√2)).
///
/// Φ(-|x|) = t/2 · e^(-x²/2 + g(t)) with t = 1/(1 + |x|/√8), which is erfc written so that g is
/// smooth: a polynomial fitted to ln(erfc(z) · e^(z²) / t) at Chebyshev nodes.
pub inline fn timesNormal(x: anytype) @TypeOf(x) {
    const F = @TypeOf(x);
    const U = @Vector(@typeInfo(F).vector.len, u32);
    const one: F = @splat(1);
    const zero: F = @splat(0);
    const magnitude = @abs(x);
    // Beyond it Φ(-|x|) is below every f32.
    const end: F = @splat(14.4);
    const a = @select(f32, magnitude > end, end, magnitude);
    const t = one / (one + a * @as(F, @splat(1.0 / @sqrt(8.0))));
    const s = t - @as(F, @splat(0.5));
    const coefficients = [_]f32{
        -0.14318351447582245, 0.2639006972312927, -0.010907944291830063, -0.29370251297950745,
        0.10942444950342178,  0.2822127640247345, -0.15781888365745544,  -0.3751644194126129,
        0.18937091529369354,  1.34528648853302,   -0.671794056892395,
    };
    var g: F = @splat(coefficients[0]);
    inline for (coefficients[1..]) |c| g = g * s + @as(F, @splat(c));
    // The square of the first 12 bits is exact, so that the exponent is precise.
    const short: F = @bitCast(@as(U, @bitCast(a)) & @as(U, @splat(0xffff_f000)));
    const half: F = @splat(0.5);
    const main_part = exp(-(short * short) * half);
    const rest = exp(g - (a - short) * (a + short) * half);
    const tail = @select(f32, magnitude > end, zero, t * half * main_part * rest);
    return @select(f32, x < zero, x * tail, x - x * tail);
}

const testing = std.testing;

/// Distance in units of the last place of the exact result, which are never smaller than those of
/// the smallest normal numbers.
fn unitsOff(found: f32, exact: f64) f64 {
    if (std.math.isNan(exact)) return if (std.math.isNan(found)) 0 else std.math.inf(f64);
    const rounded: f32 = @floatCast(exact);
    if (found == rounded) return 0;
    const magnitude = @max(@abs(exact), 0x1p-126);
    if (magnitude > std.math.floatMax(f32)) return std.math.inf(f64);
    const unit = std.math.ldexp(@as(f64, 1), std.math.ilogb(magnitude) - 23);
    return @abs(@as(f64, found) - exact) / unit;
}

/// The worst of many values of every size, both signs, and the special ones.
fn worst(function: anytype, exact: fn (f64) f64) f64 {
    const inf = std.math.inf(f32);
    const special = [_]f32{
        0, -0.0, 1, -1, inf, -inf, std.math.nan(f32), 88.7228, 88.73, -103.9, -104.1, 14.4,
    };
    var most: f64 = 0;
    for (special) |x| {
        const found = function(@as(@Vector(4, f32), @splat(x)))[0];
        most = @max(most, unitsOff(found, exact(x)));
    }
    var prng: std.Random.DefaultPrng = .init(3);
    for (0..50_000) |_| {
        var x: [4]f32 = undefined;
        for (&x) |*one| {
            const size = std.math.exp2(prng.random().float(f32) * 30 - 22);
            one.* = if (prng.random().boolean()) size else -size;
        }
        const found: [4]f32 = function(@as(@Vector(4, f32), x));
        for (x, found) |one, result| most = @max(most, unitsOff(result, exact(one)));
    }
    return most;
}

test "e^x is within 1.5 units of the last place" {
    const f = struct {
        fn f(x: @Vector(4, f32)) @Vector(4, f32) {
            return exp(x);
        }
        fn exact(x: f64) f64 {
            return @exp(x);
        }
    };
    try testing.expect(worst(f.f, f.exact) < 1.5);
}
