//! What is known of a file's bytes while workers write (or read) them piece by piece, in any order:
//! a checksum, and whether every byte came exactly once. Both are sums over the pieces, so that no
//! byte is looked at a second time and no order has to be kept.
//!
//! Checksum: core/checksum.zig.
//!
//! Coverage: every piece adds f(end) - f(begin) for a mixing function f. The sum is f(size) - f(0)
//! where the pieces tile the file: a gap or an overlap leaves a begin without its end.
const std = @import("std");
const abi = @import("../abi.zig");
const checksum = @import("../core/checksum.zig");
const dispatch = @import("../dispatch.zig");
const mix = checksum.mix;

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

/// What `bytes` at `offset` add to the checksum.
pub fn checksumOf(bytes: []const u8, offset: u64) u64 {
    const block_bytes = checksum.block_bytes;
    var sum: u64 = 0;
    var rest = bytes;
    var at = offset;
    if (at % block_bytes != 0) {
        const size: usize = @intCast(@min(rest.len, block_bytes - at % block_bytes));
        sum +%= checksum.partial(rest[0..size], at);
        rest = rest[size..];
        at += size;
    }
    const count = rest.len / block_bytes;
    if (count > 0) sum +%= dispatch.active().checksum(rest.ptr, count, at / block_bytes);
    const done = count * block_bytes;
    return sum +% checksum.partial(rest[done..], at + done);
}

const testing = std.testing;

test "pieces in any order give the checksum of the whole, and cover it" {
    var prng = std.Random.DefaultPrng.init(1);
    const random = prng.random();
    for (0..200) |_| {
        var bytes: [9000]u8 = undefined;
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
        for (bytes[0..size], 0..) |byte, at| naive +%= checksum.partial(&.{byte}, at);
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
    var bytes: [2500]u8 = undefined;
    for (&bytes, 0..) |*byte, i| byte.* = @truncate(i * 7);
    const whole = checksumOf(&bytes, 0);
    for (0..bytes.len * 8) |bit| {
        const flip = @as(u8, 1) << @intCast(bit % 8);
        bytes[bit / 8] ^= flip;
        try testing.expect(checksumOf(&bytes, 0) != whole);
        bytes[bit / 8] ^= flip;
    }
    for ([_]u64{ 8, checksum.block_bytes }) |offset|
        try testing.expect(checksumOf(&bytes, offset) != whole);
    for ([_][2]usize{ .{ 3, 7 }, .{ 3, 160 }, .{ 3, 1030 } }) |pair| {
        std.mem.swap(u8, &bytes[pair[0]], &bytes[pair[1]]);
        try testing.expect(checksumOf(&bytes, 0) != whole);
        std.mem.swap(u8, &bytes[pair[0]], &bytes[pair[1]]);
    }
}
