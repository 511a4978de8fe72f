//! A checksum of a file whose pieces are summed in any order.
//!
//! Σ (low(i) · a(i mod 128) + high(i) · b(i mod 128)) · m(i div 128) mod 2^64 over the file's 64-bit
//! little-endian words, the last one padded with zeros; low and high are a word's halves, a and b
//! odd 32-bit numbers, m an odd 64-bit number for each block of 128 words. A word that is split
//! between two pieces is the sum of its parts. A change within half a word always changes the sum,
//! for no product of two numbers below 2^32 that are not zero is zero mod 2^64, nor is that times an
//! odd number; it is meant for torn and lost writes, not for forgery. The products are those that
//! vector units have: 32 by 32 bits give 64.
const std = @import("std");
const vector = @import("vector.zig");

pub const block_bytes = 1024;
const word_count = block_bytes / 8;

/// a and b, as numbers of 64 bits: the operands of a vector product.
const factors: [2][word_count]u64 = blk: {
    @setEvalBranchQuota(10_000);
    var result: [2][word_count]u64 = undefined;
    for (0..word_count) |i| {
        for (0..2) |half| result[half][i] = mix(i * 2 + half) >> 32 | 1;
    }
    break :blk result;
};

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection.
pub fn mix(value: u64) u64 {
    var z = value +% 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) *% 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) *% 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

fn blockFactor(number: u64) u64 {
    return mix(number) | 1;
}

/// What `count` whole blocks that follow each other add, the first of which is block `first`.
pub fn blocks(bytes: [*]const u8, count: u64, first: u64) callconv(.c) u64 {
    @setRuntimeSafety(false);
    const lanes = vector.register_bytes / 8;
    const Words = @Vector(lanes, u64);
    const half: Words = @splat(0xffff_ffff);
    var sum: u64 = 0;
    for (0..count) |i| {
        const block = bytes + i * block_bytes;
        var parts: [4]Words = @splat(@splat(0));
        inline for (0..word_count / lanes) |r| {
            const word = vector.load(Words, block + r * vector.register_bytes);
            const low: Words = factors[0][r * lanes ..][0..lanes].*;
            const high: Words = factors[1][r * lanes ..][0..lanes].*;
            parts[r % parts.len] +%= (word & half) *% low +% (word >> @splat(32)) *% high;
        }
        const inner = parts[0] +% parts[1] +% (parts[2] +% parts[3]);
        sum +%= @reduce(.Add, inner) *% blockFactor(first + i);
    }
    return sum;
}

/// What bytes within one block add, which are at `offset` of the file.
pub fn partial(bytes: []const u8, offset: u64) u64 {
    var inner: u64 = 0;
    var rest = bytes;
    var at: usize = @intCast(offset % block_bytes);
    while (rest.len > 0) {
        var word: [8]u8 = @splat(0);
        const size = @min(rest.len, 8 - at % 8);
        @memcpy(word[at % 8 ..][0..size], rest[0..size]);
        inner +%= wordSum(std.mem.readInt(u64, &word, .little), at / 8);
        rest = rest[size..];
        at += size;
        while (rest.len >= 8) {
            inner +%= wordSum(std.mem.readInt(u64, rest[0..8], .little), at / 8);
            rest = rest[8..];
            at += 8;
        }
    }
    return inner *% blockFactor(offset / block_bytes);
}

inline fn wordSum(word: u64, index: usize) u64 {
    return (word & 0xffff_ffff) *% factors[0][index] +% (word >> 32) *% factors[1][index];
}

const testing = std.testing;

test "whole blocks are the sum of their bytes" {
    var prng = std.Random.DefaultPrng.init(2);
    var bytes: [5 * block_bytes + 1]u8 = undefined;
    prng.random().bytes(&bytes);
    for ([_]u64{ 0, 1, 77, std.math.maxInt(u32), std.math.maxInt(u54) - 4 }) |first| {
        for ([_]usize{ 0, 1 }) |shift| for (0..6) |count| {
            var naive: u64 = 0;
            for (bytes[shift..][0 .. count * block_bytes], first * block_bytes..) |byte, at|
                naive +%= partial(&.{byte}, at);
            try testing.expectEqual(naive, blocks(bytes[shift..].ptr, count, first));
        };
    }
}
