//! What is known of a file's bytes while workers write (or read) them piece by piece, in any order:
//! a checksum, and whether every byte came exactly once. Both are sums over the pieces, so that no
//! byte is looked at a second time and no order has to be kept.
//!
//! Checksum: Σ m(i) · w(i) mod 2^64 over the file's 64-bit little-endian words w(i), the last one
//! padded with zeros, where m(i) is an odd number that depends on the position alone. A word that
//! is split between two pieces is the sum of its parts. Any change within one word changes the
//! sum; it is meant for torn and lost writes, not for forgery.
//!
//! Coverage: every piece adds f(end) - f(begin) for a mixing function f. The sum is f(size) - f(0)
//! where the pieces tile the file: a gap or an overlap leaves a begin without its end.
const std = @import("std");
const abi = @import("../abi.zig");

pub const Seal = struct {
    checksum: std.atomic.Value(u64) = .init(0),
    edges: std.atomic.Value(u64) = .init(0),
    non_finite_count: std.atomic.Value(u64) = .init(0),
    non_finite_step: std.atomic.Value(u32) = .init(abi.none),
    /// The file is whole, and on its device where that was wanted. Written last.
    is_done: std.atomic.Value(bool) = .init(false),

    /// Counts `bytes`, which are at `offset` of the file.
    pub fn add(seal: *Seal, bytes: []const u8, offset: u64) void {
        if (bytes.len == 0) return;
        _ = seal.checksum.fetchAdd(checksumOf(bytes, offset), .monotonic);
        _ = seal.edges.fetchAdd(mix(offset + bytes.len) -% mix(offset), .monotonic);
    }

    /// Whether the pieces so far are the bytes 0 to `size`, each once.
    pub fn covers(seal: *const Seal, size: u64) bool {
        return seal.edges.load(.monotonic) == mix(size) -% mix(0);
    }

    pub fn countNonFinite(seal: *Seal, count: u64, step: u32) void {
        _ = seal.non_finite_count.fetchAdd(count, .monotonic);
        _ = seal.non_finite_step.fetchMin(step, .monotonic);
    }

    pub fn report(seal: *const Seal) abi.FileReport {
        const is_done = seal.is_done.load(.acquire);
        return .{
            .checksum = seal.checksum.load(.monotonic),
            .non_finite_count = seal.non_finite_count.load(.monotonic),
            .non_finite_step = seal.non_finite_step.load(.monotonic),
            .is_done = @intFromBool(is_done),
            .hash = @splat(0),
        };
    }
};

/// Words that share one factor of their position; within the group each has a constant of its own,
/// so that most multiplications are by constants.
const group = 8;
const group_bytes = group * 8;

/// Odd numbers without a pattern: digits of π (https://oeis.org/A062964).
const factors = [group]u64{
    0x243f6a8885a308d3, 0x13198a2e03707345, 0xa4093822299f31d1, 0x082efa98ec4e6c89,
    0x452821e638d01377, 0xbe5466cf34e90c6d, 0xc0ac29b7c97c50dd, 0x3f84d5b5b5470917,
};

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection.
fn mix(value: u64) u64 {
    var z = value +% 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) *% 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) *% 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

fn groupFactor(index: u64) u64 {
    return mix(index) | 1;
}

/// What `bytes` at `offset` add to the checksum.
pub fn checksumOf(bytes: []const u8, offset: u64) u64 {
    var sum: u64 = 0;
    var rest = bytes;
    var at = offset;
    if (at % group_bytes != 0) {
        const size: usize = @intCast(@min(rest.len, group_bytes - at % group_bytes));
        sum +%= partial(rest[0..size], at);
        rest = rest[size..];
        at += size;
    }
    while (rest.len >= group_bytes) {
        var inner: u64 = 0;
        inline for (factors, 0..) |factor, i|
            inner +%= factor *% std.mem.readInt(u64, rest[i * 8 ..][0..8], .little);
        sum +%= inner *% groupFactor(at / group_bytes);
        rest = rest[group_bytes..];
        at += group_bytes;
    }
    return sum +% partial(rest, at);
}

/// Bytes within one group.
fn partial(bytes: []const u8, offset: u64) u64 {
    var inner: u64 = 0;
    for (bytes, offset..) |byte, at|
        inner +%= factors[at % group_bytes / 8] *% (@as(u64, byte) << @intCast(at % 8 * 8));
    return inner *% groupFactor(offset / group_bytes);
}

const testing = std.testing;

test "pieces in any order give the checksum of the whole, and cover it" {
    var prng = std.Random.DefaultPrng.init(1);
    const random = prng.random();
    for (0..200) |_| {
        var bytes: [3000]u8 = undefined;
        random.bytes(&bytes);
        const size = 1 + random.uintLessThan(usize, bytes.len);
        var cuts: [20]usize = undefined;
        for (&cuts) |*cut| cut.* = random.uintAtMost(usize, size);
        cuts[0] = 0;
        cuts[1] = size;
        std.mem.sort(usize, &cuts, {}, std.sort.asc(usize));
        var order: [cuts.len - 1]usize = undefined;
        for (&order, 0..) |*index, i| index.* = i;
        random.shuffle(usize, &order);
        var seal: Seal = .{};
        for (order, 0..) |index, i| {
            const begin = cuts[index];
            const end = cuts[index + 1];
            const rest = for (order[i..]) |later| {
                if (cuts[later] != cuts[later + 1]) break true;
            } else false;
            if (rest) try testing.expect(!seal.covers(size));
            seal.add(bytes[begin..end], begin);
        }
        try testing.expect(seal.covers(size));
        try testing.expect(!seal.covers(size + 1));
        try testing.expectEqual(checksumOf(bytes[0..size], 0), seal.checksum.load(.monotonic));
        var naive: u64 = 0;
        for (bytes[0..size], 0..) |byte, at| naive +%= partial(&.{byte}, at);
        try testing.expectEqual(naive, checksumOf(bytes[0..size], 0));
    }
}

test "a hole that is as large as an overlap is no cover" {
    var bytes: [100]u8 = undefined;
    @memset(&bytes, 1);
    var seal: Seal = .{};
    seal.add(bytes[0..40], 0);
    seal.add(bytes[30..50], 30);
    seal.add(bytes[60..100], 60);
    try testing.expect(!seal.covers(100));
}

test "every bit counts, and so does its place" {
    var bytes: [200]u8 = undefined;
    for (&bytes, 0..) |*byte, i| byte.* = @truncate(i * 7);
    const whole = checksumOf(&bytes, 0);
    for (0..bytes.len * 8) |bit| {
        const flip = @as(u8, 1) << @intCast(bit % 8);
        bytes[bit / 8] ^= flip;
        try testing.expect(checksumOf(&bytes, 0) != whole);
        bytes[bit / 8] ^= flip;
    }
    try testing.expect(checksumOf(&bytes, 64) != whole);
    std.mem.swap(u8, &bytes[3], &bytes[160]);
    try testing.expect(checksumOf(&bytes, 0) != whole);
}
