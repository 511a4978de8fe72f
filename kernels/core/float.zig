//! Scalar truth of the number formats: conversions written with integers, so that they give the
//! same bits at every CPU level, at comptime, and whatever the compiler's runtime library does. The
//! vector code is tested against these.
//!
//! Rounding is to nearest, ties to even (IEEE 754-2019, 4.3.1); subnormals are kept. What happens
//! to a NaN:
//! - f32 → bf16, f32 → f16: the sign stays, the payload loses its low bits, the quiet bit is set
//!   (what `vcvtps2ph` and `fcvtn` do; ml_dtypes and torch write a fixed payload instead).
//! - f16 → f32: the sign stays, the payload gains low zeros, the quiet bit is set (`vcvtph2ps`,
//!   `fcvtl`).
//! - bf16 → f32, f32 → f32: the bits move unchanged.
//! - A NaN that arithmetic makes out of numbers (0 · ∞) is `nan`: CPUs differ in its sign.
const std = @import("std");
const assert = std.debug.assert;

/// What a dense element can be. The order is that of abi.Dtype, which codecs.zig asserts.
pub const Target = enum {
    f32,
    f16,
    bf16,

    /// The unsigned integer that holds one element.
    pub fn Bits(comptime target: Target) type {
        return switch (target) {
            .f32 => u32,
            .f16, .bf16 => u16,
        };
    }

    /// An element is NaN or infinite exactly when these bits are all set.
    pub fn exponentMask(comptime target: Target) target.Bits() {
        return switch (target) {
            .f32 => 0x7f80_0000,
            .f16 => 0x7c00,
            .bf16 => 0x7f80,
        };
    }
};

/// The NaN that stands for an undefined product.
pub const nan: f32 = @bitCast(@as(u32, 0x7fc0_0000));
pub const inf: f32 = @bitCast(@as(u32, 0x7f80_0000));

/// The element of `target` nearest to `value`, as bits.
pub inline fn round(comptime target: Target, value: f32) target.Bits() {
    return switch (target) {
        .f32 => @bitCast(value),
        .f16 => f16FromF32(value),
        .bf16 => bf16FromF32(value),
    };
}

pub inline fn isFinite(comptime target: Target, bits: target.Bits()) bool {
    return bits & target.exponentMask() != target.exponentMask();
}

pub inline fn bf16FromF32(value: f32) u16 {
    const bits: u32 = @bitCast(value);
    if (bits & 0x7fff_ffff > 0x7f80_0000) return @intCast(bits >> 16 | 0x40);
    // Adding half of the last kept bit, less one where that bit is even, makes the carry the
    // rounding.
    return @intCast((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

pub inline fn f32FromBf16(bits: u16) f32 {
    return @bitCast(@as(u32, bits) << 16);
}

pub inline fn f16FromF32(value: f32) u16 {
    const bits: u32 = @bitCast(value);
    const sign: u16 = @intCast(bits >> 16 & 0x8000);
    const magnitude = bits & 0x7fff_ffff;
    if (magnitude > 0x7f80_0000) return sign | 0x7e00 | @as(u16, @intCast(magnitude >> 13 & 0x3ff));
    // 65520 is halfway between the largest f16 and the next one that would follow it.
    if (magnitude >= 0x477f_f000) return sign | 0x7c00;
    if (magnitude >= 0x3880_0000) { // 2^-14, the smallest normal
        const rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
        return sign | @as(u16, @intCast((rounded - 0x3800_0000) >> 13));
    }
    if (magnitude <= 0x3300_0000) return sign; // 2^-25 is a tie between 0 and 2^-24: 0 is even
    const significand = magnitude & 0x7f_ffff | 0x80_0000;
    // The significand counts units of 2^(exponent - 150); the result counts units of 2^-24.
    const shift: u5 = @intCast(126 - (magnitude >> 23));
    const kept = significand >> shift;
    const lost = significand & (@as(u32, 1) << shift) - 1;
    const half = @as(u32, 1) << (shift - 1);
    const up = lost > half or (lost == half and kept & 1 == 1);
    return sign | @as(u16, @intCast(kept + @intFromBool(up)));
}

pub inline fn f32FromF16(bits: u16) f32 {
    const sign = @as(u32, bits & 0x8000) << 16;
    const magnitude: u32 = bits & 0x7fff;
    if (magnitude > 0x7c00) return @bitCast(sign | 0x7fc0_0000 | magnitude << 13);
    if (magnitude == 0x7c00) return @bitCast(sign | 0x7f80_0000);
    if (magnitude >= 0x400) return @bitCast(sign | (magnitude << 13) + 0x3800_0000);
    // Below 2^-14 the magnitude counts units of 2^-24, a product that f32 holds exactly.
    const exact = @as(f32, @floatFromInt(magnitude)) * 0x1p-24;
    return @bitCast(sign | @as(u32, @bitCast(exact)));
}

/// The scale 2^(e - 127) of the OCP Microscaling formats (MX v1.0, 5.4.1) as an f32 factor. 2^128 is
/// beyond f32, so 255 is +∞ here, where OCP has NaN; dialects that treat it otherwise do so themselves.
pub inline fn f32FromE8m0(e: u8) f32 {
    return @bitCast(if (e == 0) @as(u32, 0x0040_0000) else @as(u32, e) << 23);
}

/// Values of the 4-bit float of OCP MX v1.0, 5.3.3, by code: sign, two bits of exponent, one of
/// significand.
pub const e2m1 = [16]f32{ 0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6 };

/// a · b where ∞ · 0 is `nan` on every CPU.
pub inline fn product(a: f32, b: f32) f32 {
    const result = a * b;
    return if (result != result and a == a and b == b) nan else result;
}

test "f32 → bf16 at the ties, the ends and NaN" {
    const cases = [_][2]u32{
        .{ 0x3f80_0000, 0x3f80 }, .{ 0x3f80_8000, 0x3f80 }, .{ 0x3f81_8000, 0x3f82 },
        .{ 0x3f80_8001, 0x3f81 }, .{ 0x7f7f_ffff, 0x7f80 }, .{ 0x7f7f_7fff, 0x7f7f },
        .{ 0x0000_8000, 0x0000 }, .{ 0x0000_8001, 0x0001 }, .{ 0x8000_0000, 0x8000 },
        .{ 0x7f80_0000, 0x7f80 }, .{ 0x7f80_0001, 0x7fc0 }, .{ 0xffff_ffff, 0xffff },
    };
    for (cases) |case| try std.testing.expectEqual(case[1], bf16FromF32(@bitCast(case[0])));
}

test "f16 → f32 → f16 gives every number back, and NaN quiet" {
    for (0..1 << 16) |i| {
        const bits: u16 = @intCast(i);
        const expected = if (bits & 0x7fff > 0x7c00) bits | 0x200 else bits;
        try std.testing.expectEqual(expected, f16FromF32(f32FromF16(bits)));
    }
}

test "f32 → f16 rounds to the nearer neighbour, ties to even, all the way to infinity" {
    for (0..0x7c00) |i| {
        const low: u16 = @intCast(i);
        const a: f64 = f32FromF16(low);
        // What would follow the largest number stands for infinity.
        const b: f64 = if (low == 0x7bff) 65536 else f32FromF16(low + 1);
        const middle: f32 = @floatCast((a + b) / 2);
        const even = low + (low & 1);
        const below: f32 = @bitCast(@as(u32, @bitCast(middle)) - 1);
        const above: f32 = @bitCast(@as(u32, @bitCast(middle)) + 1);
        try std.testing.expectEqual(even, f16FromF32(middle));
        try std.testing.expectEqual(low, f16FromF32(below));
        try std.testing.expectEqual(low + 1, f16FromF32(above));
        try std.testing.expectEqual(0x8000 | even, f16FromF32(-middle));
    }
    try std.testing.expectEqual(0x7c00, f16FromF32(inf));
    try std.testing.expectEqual(0xfc00, f16FromF32(-std.math.floatMax(f32)));
    try std.testing.expectEqual(0x7e00, f16FromF32(@bitCast(@as(u32, 0x7f80_0001))));
}

test "E8M0 and the undefined product" {
    try std.testing.expectEqual(0x1p-127, f32FromE8m0(0));
    try std.testing.expectEqual(1, f32FromE8m0(127));
    try std.testing.expectEqual(0x1p127, f32FromE8m0(254));
    try std.testing.expectEqual(inf, f32FromE8m0(255));
    for ([_]f32{ 0, -0.0 }) |zero| {
        const undefined_product: u32 = @bitCast(product(zero, inf));
        try std.testing.expectEqual(@as(u32, @bitCast(nan)), undefined_product);
    }
    assert(e2m1[8] == 0 and std.math.signbit(e2m1[8]));
}
