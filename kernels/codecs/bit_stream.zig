//! Codes of one to eight bits along a row, one behind the other from the lowest bit of the first
//! byte on: 32 of them take 4 · bits bytes. In little-endian words of any size it is the same.
const std = @import("std");
const vector = @import("../core/vector.zig");

/// Codes that are unpacked at once.
pub const step = 32;

pub inline fn at(bits: u32, codes: [*]const u8, column: u64) u8 {
    const begin = column * bits;
    const shift: u4 = @intCast(begin % 8);
    var window: u16 = codes[begin / 8];
    // A code that ends in this byte may be the last one there is.
    if (shift + bits > 8) window |= @as(u16, codes[begin / 8 + 1]) << 8;
    return @truncate(window >> shift & (@as(u16, 1) << @intCast(bits)) - 1);
}

/// Codes of words that hold floor(32 / bits) each, whatever bits remain.
pub inline fn atWords(bits: u32, codes: [*]const u8, column: u64) u8 {
    const fields = 32 / bits;
    const word = std.mem.readInt(u32, codes[column / fields * 4 ..][0..4], .little);
    const shift: u5 = @intCast(column % fields * bits);
    return @truncate(word >> shift & (@as(u32, 1) << @intCast(bits)) - 1);
}

/// 32 codes of exactly 4 · bits bytes.
pub inline fn unpack(comptime bits: comptime_int, codes: [*]const u8) @Vector(step, u8) {
    if (bits == 8) return vector.load(@Vector(step, u8), codes);
    if (bits == 4) {
        const pairs = vector.load(@Vector(16, u8), codes);
        const low = pairs & @as(@Vector(16, u8), @splat(15));
        return std.simd.interlace(.{ low, pairs >> @splat(4) });
    }
    // Each half of the codes is looked for in 16 bytes, of which none lies behind the codes.
    const size = 4 * bits;
    if (size < 16) {
        var padded: [16]u8 = @splat(0);
        padded[0..size].* = codes[0..size].*;
        return std.simd.join(windows(bits, padded, 0), windows(bits, padded, 2 * bits));
    }
    const first = vector.load(@Vector(16, u8), codes);
    const second = vector.load(@Vector(16, u8), codes + size - 16);
    const begin = 2 * bits - (size - 16);
    return std.simd.join(windows(bits, first, 0), windows(bits, second, begin));
}

/// 16 codes from byte `begin` on: each is cut out of the two bytes that it lies in.
inline fn windows(
    comptime bits: comptime_int,
    bytes: @Vector(16, u8),
    comptime begin: comptime_int,
) @Vector(16, u8) {
    comptime var order: [32]i32 = undefined;
    comptime var factors: [16]u16 = undefined;
    comptime for (&factors, 0..) |*factor, k| {
        const place = begin + k * bits / 8;
        const shift = k * bits % 8;
        order[2 * k] = place;
        order[2 * k + 1] = if (shift + bits > 8) place + 1 else -1;
        factor.* = 1 << (16 - bits - shift);
    };
    const zero: @Vector(16, u8) = @splat(0);
    const pairs: @Vector(16, u16) = @bitCast(@shuffle(u8, bytes, zero, order));
    return @truncate(pairs *% @as(@Vector(16, u16), factors) >> @splat(16 - bits));
}

test "every code of a step, for all bits" {
    var prng: std.Random.DefaultPrng = .init(std.testing.random_seed);
    inline for (1..9) |bits| {
        for (0..100) |_| {
            var bytes: [4 * bits]u8 = undefined;
            prng.random().bytes(&bytes);
            const found: [step]u8 = unpack(bits, &bytes);
            for (found, 0..) |code, k| {
                var expected: u8 = 0;
                for (0..bits) |b| {
                    const position = k * bits + b;
                    const bit = bytes[position / 8] >> @intCast(position % 8) & 1;
                    expected |= bit << @intCast(b);
                }
                try std.testing.expectEqual(expected, code);
                try std.testing.expectEqual(expected, at(bits, &bytes, k));
            }
        }
    }
    // Ten codes of three bits, and two bits that are not used.
    const words = [_]u8{ 0x88, 0xc6, 0xfa, 0xc8, 0x05, 0x00, 0x00, 0x00 };
    try std.testing.expectEqual(6, atWords(3, &words, 6));
    try std.testing.expectEqual(5, atWords(3, &words, 10));
}
