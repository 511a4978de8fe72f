//! Floats of six and eight bits: what each code means (`value`, the scalar truth), and the same for
//! vectors of codes. A code is sign, exponent, significand from its highest bit down.
//!
//! Sources: OCP 8-bit Floating Point 1.0 (E4M3, E5M2), OCP Microscaling MX 1.0, 5.3.2 (E2M3, E3M2),
//! and for the FNUZ forms of AMD GPUs, whose only special code is NaN in the place of -0, arXiv
//! 2206.02915. torch, ml_dtypes and safetensors know them as F8_E4M3, F8_E5M2, F8_E4M3FNUZ,
//! F8_E5M2FNUZ, F6_E2M3 and F6_E3M2.
const std = @import("std");
const float = @import("float.zig");
const vector = @import("vector.zig");

pub const Format = enum {
    e4m3,
    e5m2,
    e4m3fnuz,
    e5m2fnuz,
    e2m3,
    e3m2,

    const Layout = struct {
        exponent_bits: comptime_int,
        significand_bits: comptime_int,
        bias: comptime_int,
        special: Special,
    };
    const Special = enum {
        /// Every code is a number.
        none,
        /// All bits but the sign set: NaN. There is no infinity.
        all_ones,
        /// The highest exponent: infinity and NaN.
        ieee,
        /// Negative zero: NaN.
        negative_zero,
    };

    fn layout(comptime format: Format) Layout {
        return switch (format) {
            .e4m3 => .{
                .exponent_bits = 4,
                .significand_bits = 3,
                .bias = 7,
                .special = .all_ones,
            },
            .e5m2 => .{ .exponent_bits = 5, .significand_bits = 2, .bias = 15, .special = .ieee },
            .e4m3fnuz => .{
                .exponent_bits = 4,
                .significand_bits = 3,
                .bias = 8,
                .special = .negative_zero,
            },
            .e5m2fnuz => .{
                .exponent_bits = 5,
                .significand_bits = 2,
                .bias = 16,
                .special = .negative_zero,
            },
            .e2m3 => .{ .exponent_bits = 2, .significand_bits = 3, .bias = 1, .special = .none },
            .e3m2 => .{ .exponent_bits = 3, .significand_bits = 2, .bias = 3, .special = .none },
        };
    }

    pub fn bits(comptime format: Format) comptime_int {
        return 1 + format.layout().exponent_bits + format.layout().significand_bits;
    }

    pub fn exponentBits(comptime format: Format) comptime_int {
        return format.layout().exponent_bits;
    }

    fn signBit(comptime format: Format) u8 {
        return 1 << (format.bits() - 1);
    }

    fn magnitudeMask(comptime format: Format) u8 {
        return format.signBit() - 1;
    }

    /// The largest finite magnitude.
    pub fn max(comptime format: Format) f32 {
        return comptime blk: {
            @setEvalBranchQuota(100_000);
            var largest: f32 = 0;
            for (0..1 << format.bits()) |code| {
                const v = value(format, code);
                if (std.math.isFinite(v)) largest = @max(largest, v);
            }
            break :blk largest;
        };
    }

    /// Values are `gain` times what `widenScaled` gives.
    pub fn gain(comptime format: Format) f32 {
        return std.math.ldexp(@as(f32, 1), 15 - format.layout().bias);
    }
};

/// What a code means. NaN is the quiet one of core/float.zig, whatever the sign of the code.
pub fn value(comptime format: Format, code: u8) f32 {
    const l = comptime format.layout();
    const magnitude = code & comptime format.magnitudeMask();
    const exponent = magnitude >> l.significand_bits;
    const significand = magnitude & ((1 << l.significand_bits) - 1);
    const negative = (code & comptime format.signBit()) != 0;
    switch (l.special) {
        .none => {},
        .all_ones => if (magnitude == comptime format.magnitudeMask()) return float.nan,
        .negative_zero => if (negative and magnitude == 0) return float.nan,
        .ieee => if (exponent == (1 << l.exponent_bits) - 1) {
            if (significand != 0) return float.nan;
            return if (negative) -float.inf else float.inf;
        },
    }
    // Subnormals count units of the smallest normal's last place.
    const unit: f32 = comptime std.math.ldexp(@as(f32, 1), 1 - l.bias - l.significand_bits);
    const shifted: u32 = @as(u32, significand) << (23 - l.significand_bits);
    const result: f32 = if (exponent == 0)
        @as(f32, @floatFromInt(significand)) * unit
    else
        @bitCast((@as(u32, exponent) + 127 - l.bias) << 23 | shifted);
    return if (negative) -result else result;
}

/// All values, by code; codes of six bits repeat.
pub fn values(comptime format: Format) *const [256]f32 {
    const table = comptime blk: {
        @setEvalBranchQuota(100_000);
        var table: [256]f32 = undefined;
        for (&table, 0..) |*entry, code| entry.* = value(format, code);
        break :blk table;
    };
    return &table;
}

/// Whether any of the codes, a byte each, is one that `widenScaled` cannot take.
pub fn anySpecial(comptime format: Format, codes: []const u8) bool {
    @setRuntimeSafety(false);
    if (comptime format.layout().special == .none) return false;
    const n = 2 * vector.register_bytes;
    var extremes: Extremes(format, n) = .{};
    var i: usize = 0;
    while (i + n <= codes.len) : (i += n) {
        extremes.add(vector.load(@Vector(n, u8), codes.ptr + i));
    }
    // Zero is an ordinary code.
    var rest: [n]u8 = @splat(0);
    for (rest[0 .. codes.len - i], codes[i..]) |*code, stored| code.* = stored;
    extremes.add(rest);
    return extremes.areSpecial();
}

/// What decides whether some of many codes are special.
fn Extremes(comptime format: Format, comptime n: comptime_int) type {
    const Codes = @Vector(n, u8);
    const nan_is_zero = format.layout().special == .negative_zero;
    // The smallest magnitude that is special; E5M2FNUZ counts on with the exponent that is special
    // in f16.
    const limit: ?u8 = switch (format) {
        .e4m3 => 0x7f,
        .e5m2, .e5m2fnuz => 0x7c,
        else => null,
    };
    return struct {
        highest: Codes = @splat(0),
        /// Of codes whose sign is flipped, so that negative zero is zero.
        lowest: Codes = @splat(255),

        inline fn add(extremes: *@This(), codes: Codes) void {
            const sign: Codes = @splat(0x80);
            if (limit != null) extremes.highest = @max(extremes.highest, codes & ~sign);
            if (nan_is_zero) extremes.lowest = @min(extremes.lowest, codes ^ sign);
        }

        inline fn areSpecial(extremes: @This()) bool {
            if (limit != null and @reduce(.Max, extremes.highest) >= limit.?) return true;
            return nan_is_zero and @reduce(.Min, extremes.lowest) == 0;
        }
    };
}

/// The values divided by `gain`, for codes of which none is special: the bits of a code are those
/// of an f16, but for the bias.
pub inline fn widenScaled(
    comptime format: Format,
    codes: anytype,
) @Vector(@typeInfo(@TypeOf(codes)).vector.len, f32) {
    const n = @typeInfo(@TypeOf(codes)).vector.len;
    const up = 10 - comptime format.layout().significand_bits;
    if (comptime format.bits() == 8) {
        // Extending the sign puts it into bit 15, and once more into the exponent, where it has to
        // go.
        const signed: @Vector(n, i8) = @bitCast(codes);
        const wide: @Vector(n, u16) = @bitCast(@as(@Vector(n, i16), signed));
        const keep: u16 = comptime 0x8000 | @as(u16, format.magnitudeMask()) << up;
        return vector.widen(.f16, wide << @splat(up) & @as(@Vector(n, u16), @splat(keep)));
    }
    const wide: @Vector(n, u16) = codes;
    const magnitude = wide & @as(@Vector(n, u16), @splat(comptime format.magnitudeMask()));
    const sign = wide & @as(@Vector(n, u16), @splat(comptime format.signBit()));
    return vector.widen(.f16, magnitude << @splat(up) | sign << @splat(16 - format.bits()));
}

/// The values of any codes, as `value` gives them.
pub inline fn widen(
    comptime format: Format,
    codes: anytype,
) @Vector(@typeInfo(@TypeOf(codes)).vector.len, f32) {
    const n = @typeInfo(@TypeOf(codes)).vector.len;
    const U = @Vector(n, u32);
    const l = comptime format.layout();
    const wide: U = codes;
    const magnitude = wide & @as(U, @splat(comptime format.magnitudeMask()));
    const sign_bit: U = @splat(comptime format.signBit());
    const sign = (wide & sign_bit) << @splat(32 - comptime format.bits());
    const rebias: U = @splat(@as(u32, (127 - l.bias) << 23));
    const normal = (magnitude << @splat(23 - l.significand_bits)) +% rebias;
    const unit: f32 = comptime std.math.ldexp(@as(f32, 1), 1 - l.bias - l.significand_bits);
    const count: @Vector(n, f32) = @floatFromInt(@as(@Vector(n, i32), @bitCast(magnitude)));
    const subnormal: U = @bitCast(count * @as(@Vector(n, f32), @splat(unit)));
    const is_small = magnitude < @as(U, @splat(1 << l.significand_bits));
    var result = sign | @select(u32, is_small, subnormal, normal);
    const nan: U = @splat(@bitCast(float.nan));
    switch (l.special) {
        .none => {},
        .all_ones => {
            const last: U = @splat(comptime format.magnitudeMask());
            result = @select(u32, magnitude == last, nan, result);
        },
        .negative_zero => result = @select(u32, wide == @as(U, @splat(0x80)), nan, result),
        .ieee => {
            const infinity: U = @splat(0x7c);
            const inf: U = @splat(@bitCast(float.inf));
            result = @select(u32, magnitude == infinity, sign | inf, result);
            result = @select(u32, magnitude > infinity, nan, result);
        },
    }
    return @bitCast(result);
}

test "the ends, the middle and the special codes of each format" {
    const Case = struct { Format, u8, f32 };
    const cases = [_]Case{
        .{ .e4m3, 0x01, 0x1p-9 },      .{ .e4m3, 0x08, 0x1p-6 },       .{ .e4m3, 0x3c, 1.5 },
        .{ .e4m3, 0x7e, 448 },         .{ .e4m3, 0x5d, 26 },           .{ .e4m3, 0xfe, -448 },
        .{ .e5m2, 0x01, 0x1p-16 },     .{ .e5m2, 0x3e, 1.5 },          .{ .e5m2, 0x7b, 57344 },
        .{ .e5m2, 0xfc, -float.inf },  .{ .e4m3fnuz, 0x38, 0.5 },      .{ .e4m3fnuz, 0x7f, 240 },
        .{ .e4m3fnuz, 0x01, 0x1p-10 }, .{ .e5m2fnuz, 0x7f, 57344 },    .{ .e5m2fnuz, 0x40, 1 },
        .{ .e5m2fnuz, 0x01, 0x1p-17 }, .{ .e2m3, 0x01, 0.125 },        .{ .e2m3, 0x1f, 7.5 },
        .{ .e2m3, 0x28, -1 },          .{ .e3m2, 0x01, 0x1p-4 },       .{ .e3m2, 0x1f, 28 },
        .{ .e4m3, 0x80, -0.0 },        .{ .e4m3fnuz, 0x81, -0x1p-10 },
    };
    inline for (cases) |case| {
        const found: u32 = @bitCast(value(case[0], case[1]));
        try std.testing.expectEqual(@as(u32, @bitCast(case[2])), found);
    }
    const not_numbers = .{
        .{ Format.e4m3, 0x7f },
        .{ Format.e4m3, 0xff },
        .{ Format.e5m2, 0xfd },
        .{ Format.e4m3fnuz, 0x80 },
        .{ Format.e5m2fnuz, 0x80 },
    };
    inline for (not_numbers) |case| {
        const found: u32 = @bitCast(value(case[0], case[1]));
        try std.testing.expectEqual(@as(u32, 0x7fc0_0000), found);
    }
    const largest = [_]f32{ 448, 57344, 240, 57344, 7.5, 28 };
    inline for (comptime std.enums.values(Format), largest) |format, max|
        try std.testing.expectEqual(max, Format.max(format));
}
