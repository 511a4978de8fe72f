//! The building blocks of core/vector.zig against core/float.zig, at the level this file is
//! compiled for: every 16-bit input, and f32 inputs around everything that rounds, overflows or is
//! special.
const std = @import("std");
const float = @import("../core/float.zig");
const vector = @import("../core/vector.zig");
const Target = float.Target;

const lanes = 32;

test "widening every f16 and bf16" {
    inline for (.{ Target.f16, Target.bf16 }) |source| {
        var i: u32 = 0;
        while (i < 1 << 16) : (i += lanes) {
            var stored: [lanes]u16 = undefined;
            for (&stored, 0..) |*bits, lane| bits.* = @intCast(i + lane);
            const narrow: @Vector(lanes, u16) = stored;
            const wide: [lanes]u32 = @bitCast(vector.widen(source, narrow));
            for (stored, wide) |bits, found| {
                try std.testing.expectEqual(widened(source, bits), found);
            }
        }
    }
}

test "rounding f32 around every f16 and bf16, and everywhere else" {
    inline for (.{ Target.f16, Target.bf16 }) |target| {
        // Each 16-bit number, its neighbours, and the ties on both sides with theirs.
        for (0..1 << 16) |i| {
            const number = widened(target, @intCast(i));
            const half_step: u32 = if (target == .f16) 1 << 12 else 1 << 15;
            var values: [lanes]u32 = @splat(number);
            for (values[0..9], 0..) |*value, k| {
                const tie = number +% half_step *% @as(u32, @intCast(k / 3)) -% half_step;
                value.* = tie +% @as(u32, @intCast(k % 3)) -% 1;
            }
            // Below 2^-14 the steps of f16 are wider than those of its bits in f32.
            for (values[9..], 9..) |*value, k| value.* = number +% @as(u32, 1) << @intCast(k % 32);
            try expectRounds(target, values);
        }
        // A prime stride through all f32.
        var bits: u32 = 0;
        for (0..1 << 15) |_| {
            var values: [lanes]u32 = undefined;
            for (&values) |*value| {
                value.* = bits;
                bits +%= 4_099;
            }
            try expectRounds(target, values);
        }
    }
}

fn widened(comptime source: Target, bits: u16) u32 {
    return @bitCast(switch (source) {
        .f16 => float.f32FromF16(bits),
        .bf16 => float.f32FromBf16(bits),
        .f32 => comptime unreachable,
    });
}

fn expectRounds(comptime target: Target, values: [lanes]u32) !void {
    const inputs: @Vector(lanes, f32) = @bitCast(values);
    const found: [lanes]u16 = vector.round(target, inputs);
    for (values, found) |bits, rounded| {
        const expected = float.round(target, @bitCast(bits));
        errdefer std.debug.print("{s} of f32 bits {x:0>8}\n", .{ @tagName(target), bits });
        try std.testing.expectEqual(expected, rounded);
    }
}

test "a nibble table gives both nibbles of each byte, in either order" {
    var entries: [16]u16 = undefined;
    for (&entries, 0..) |*entry, i| entry.* = @intCast(0x1234 +% 0x1011 * i & 0xffff);
    const table: vector.NibbleTable = .init(entries);
    try std.testing.expectEqual(table.bytes, vector.NibbleTable.of(entries).bytes);
    var prng: std.Random.DefaultPrng = .init(std.testing.random_seed);
    for (0..1000) |_| {
        var bytes: [17]u8 = undefined;
        prng.random().bytes(&bytes);
        for ([_][*]const u8{ bytes[0..], bytes[1..] }) |nibbles| {
            inline for (comptime std.enums.values(vector.NibbleOrder)) |order| {
                const found: [32]u16 = table.lookup(order, nibbles);
                for (found, 0..) |entry, i| {
                    const byte = nibbles[i / 2];
                    const is_low = (i % 2 == 0) == (order == .low_first);
                    const code = if (is_low) byte & 15 else byte >> 4;
                    try std.testing.expectEqual(entries[code], entry);
                }
            }
        }
    }
}

test "counting what is not finite" {
    inline for (comptime std.enums.values(Target)) |target| {
        var counter: vector.NonFiniteCounter(target, lanes) = .{};
        var bits: [lanes]target.Bits() = @splat(target.exponentMask() - 1);
        counter.add(bits);
        try std.testing.expectEqual(0, counter.total());
        bits[0] = target.exponentMask(); // infinity
        bits[7] = ~@as(target.Bits(), 0); // a NaN
        bits[lanes - 1] = target.exponentMask() | 1;
        counter.add(bits);
        counter.add(bits);
        try std.testing.expectEqual(6, counter.total());
    }
}

test "whether any byte reaches a limit, at every length and place" {
    for (0..3 * vector.register_bytes + 2) |length| {
        var bytes: [3 * vector.register_bytes + 2]u8 = @splat(141);
        const slice = bytes[0..length];
        @memset(slice, 140);
        try std.testing.expect(!vector.anyAtLeast(slice, 141));
        for (slice) |*byte| {
            byte.* = 141;
            try std.testing.expect(vector.anyAtLeast(slice, 141));
            byte.* = 140;
        }
    }
}
