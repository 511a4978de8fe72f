//! BLAKE3 (O'Connor, Aumasson, Neves, Wilcox-O'Hearn: "BLAKE3: one function, fast everywhere",
//! 2021) as vector code: as many chunks, or parents, at once as a register has 32-bit lanes. A
//! chunk is 1024 bytes and knows its number, so that chunks are hashed in any order; what joins
//! them is convert/tree.zig.
const std = @import("std");
const assert = std.debug.assert;
const vector = @import("vector.zig");

pub const chunk_bytes = 1024;
const block_bytes = 64;

/// A chaining value, or the hash itself.
pub const Value = [32]u8;

const lanes = vector.register_bytes / 4;

// Section 2.2.
const chunk_start = 1 << 0;
const chunk_end = 1 << 1;
const parent_flag = 1 << 2;
const root_flag = 1 << 3;

/// Table 1.
const iv = [8]u32{
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

/// Table 2, applied round after round.
const schedule: [7][16]u8 = blk: {
    const permutation = [16]u8{ 2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8 };
    var rounds: [7][16]u8 = undefined;
    for (&rounds[0], 0..) |*word, i| word.* = i;
    for (1..7) |round| {
        for (&rounds[round], permutation) |*word, from| word.* = rounds[round - 1][from];
    }
    break :blk rounds;
};

/// The words of `n` states (or messages) side by side.
fn Words(comptime n: comptime_int) type {
    return @Vector(n, u32);
}

inline fn rotate(comptime n: comptime_int, value: Words(n), comptime right: u5) Words(n) {
    const left: u5 = @intCast(32 - @as(u6, right));
    return value >> @splat(right) | value << @splat(left);
}

inline fn mix(
    comptime n: comptime_int,
    state: *[16]Words(n),
    comptime places: [4]u8,
    x: Words(n),
    y: Words(n),
) void {
    const a, const b, const c, const d = places;
    state[a] = state[a] +% state[b] +% x;
    state[d] = rotate(n, state[d] ^ state[a], 16);
    state[c] = state[c] +% state[d];
    state[b] = rotate(n, state[b] ^ state[c], 12);
    state[a] = state[a] +% state[b] +% y;
    state[d] = rotate(n, state[d] ^ state[a], 8);
    state[c] = state[c] +% state[d];
    state[b] = rotate(n, state[b] ^ state[c], 7);
}

const columns = [4][4]u8{ .{ 0, 4, 8, 12 }, .{ 1, 5, 9, 13 }, .{ 2, 6, 10, 14 }, .{ 3, 7, 11, 15 } };
const diagonals = [4][4]u8{
    .{ 0, 5, 10, 15 },
    .{ 1, 6, 11, 12 },
    .{ 2, 7, 8, 13 },
    .{ 3, 4, 9, 14 },
};

/// Counter (low and high words), length and flags of a block.
fn Block(comptime n: comptime_int) type {
    return struct { low: Words(n), high: Words(n), size: u32, flags: u32 };
}

/// The compression function, cut to the chaining value.
inline fn compress(
    comptime n: comptime_int,
    value: [8]Words(n),
    message: [16]Words(n),
    block: Block(n),
) [8]Words(n) {
    @setEvalBranchQuota(20_000);
    var state: [16]Words(n) = undefined;
    inline for (0..8) |i| state[i] = value[i];
    inline for (0..4) |i| state[8 + i] = @splat(iv[i]);
    state[12] = block.low;
    state[13] = block.high;
    state[14] = @splat(block.size);
    state[15] = @splat(block.flags);
    inline for (schedule) |order| {
        inline for (columns, 0..) |places, i|
            mix(n, &state, places, message[order[2 * i]], message[order[2 * i + 1]]);
        inline for (diagonals, 4..) |places, i|
            mix(n, &state, places, message[order[2 * i]], message[order[2 * i + 1]]);
    }
    var result: [8]Words(n) = undefined;
    inline for (0..8) |i| result[i] = state[i] ^ state[i + 8];
    return result;
}

/// Word w of the block at sources[i] becomes lane i of result[w].
inline fn loadBlocks(comptime n: comptime_int, sources: [n][*]const u8) [16]Words(n) {
    var result: [16]Words(n) = undefined;
    inline for (0..16 / n) |part| {
        var rows: [n]Words(n) = undefined;
        inline for (&rows, sources) |*row, source|
            row.* = vector.load(Words(n), source + part * n * 4);
        transpose(n, &rows);
        inline for (rows, 0..) |row, i| result[part * n + i] = row;
    }
    return result;
}

/// Swaps ever smaller off-diagonal squares.
inline fn transpose(comptime n: comptime_int, rows: *[n]Words(n)) void {
    comptime var distance: usize = n / 2;
    inline while (distance > 0) : (distance /= 2) {
        const masks = comptime swapMasks(n, distance);
        inline for (0..n) |i| {
            if (i & distance != 0) continue;
            const upper = rows[i];
            const lower = rows[i + distance];
            rows[i] = @shuffle(u32, upper, lower, masks[0]);
            rows[i + distance] = @shuffle(u32, upper, lower, masks[1]);
        }
    }
}

fn swapMasks(comptime n: comptime_int, comptime distance: comptime_int) [2]@Vector(n, i32) {
    var upper: [n]i32 = undefined;
    var lower: [n]i32 = undefined;
    for (0..n) |i| {
        const is_left = i & distance == 0;
        upper[i] = if (is_left) i else ~@as(i32, i - distance);
        lower[i] = if (is_left) i + distance else ~@as(i32, i);
    }
    return .{ upper, lower };
}

inline fn storeValues(comptime n: comptime_int, value: [8]Words(n), count: usize, to: [*]Value) void {
    const words: [8][n]u32 = @bitCast(value);
    for (0..count) |lane| {
        inline for (0..8) |i|
            std.mem.writeInt(u32, to[lane][i * 4 ..][0..4], words[i][lane], .little);
    }
}

/// Chaining values of `count` whole chunks that follow each other, the first of which is chunk
/// `first` of a tree that has more than one.
pub fn chunks(bytes: [*]const u8, count: u64, first: u64, values: [*]Value) callconv(.c) void {
    @setEvalBranchQuota(20_000);
    @setRuntimeSafety(false);
    var done: u64 = 0;
    while (done < count) : (done += lanes) {
        const width = @min(lanes, count - done);
        var sources: [lanes][*]const u8 = undefined;
        var low: [lanes]u32 = undefined;
        var high: [lanes]u32 = undefined;
        for (0..lanes) |lane| {
            // Lanes without a chunk of their own do another's again.
            const number = done + @min(lane, width - 1);
            sources[lane] = bytes + number * chunk_bytes;
            low[lane] = @truncate(first + number);
            high[lane] = @intCast((first + number) >> 32);
        }
        var value: [8]Words(lanes) = undefined;
        inline for (&value, iv) |*word, start| word.* = @splat(start);
        for (0..chunk_bytes / block_bytes) |block| {
            const starts: u32 = if (block == 0) chunk_start else 0;
            const ends: u32 = if (block == chunk_bytes / block_bytes - 1) chunk_end else 0;
            const message = loadBlocks(lanes, sources);
            value = compress(lanes, value, message, .{
                .low = low,
                .high = high,
                .size = block_bytes,
                .flags = starts | ends,
            });
            for (&sources) |*source| source.* += block_bytes;
        }
        storeValues(lanes, value, width, values + done);
    }
}

/// Chaining values of the parents of `count` pairs of values. `values` may be where the pairs are.
pub fn parents(pairs: [*]const Value, count: u64, values: [*]Value) callconv(.c) void {
    @setEvalBranchQuota(20_000);
    @setRuntimeSafety(false);
    var done: u64 = 0;
    while (done < count) : (done += lanes) {
        const width = @min(lanes, count - done);
        var sources: [lanes][*]const u8 = undefined;
        for (&sources, 0..) |*source, lane|
            source.* = @ptrCast(pairs + 2 * (done + @min(lane, width - 1)));
        var value: [8]Words(lanes) = undefined;
        inline for (&value, iv) |*word, start| word.* = @splat(start);
        value = compress(lanes, value, loadBlocks(lanes, sources), .{
            .low = @splat(0),
            .high = @splat(0),
            .size = block_bytes,
            .flags = parent_flag,
        });
        storeValues(lanes, value, width, values + done);
    }
}

fn compressOne(value: [8]u32, bytes: []const u8, counter: u64, flags: u32) [8]u32 {
    @setEvalBranchQuota(20_000);
    var block: [block_bytes]u8 = @splat(0);
    @memcpy(block[0..bytes.len], bytes);
    var message: [16]Words(1) = undefined;
    for (&message, 0..) |*word, i|
        word.* = @splat(std.mem.readInt(u32, block[i * 4 ..][0..4], .little));
    return @bitCast(compress(1, @bitCast(value), message, .{
        .low = @splat(@truncate(counter)),
        .high = @splat(@truncate(counter >> 32)),
        .size = @intCast(bytes.len),
        .flags = flags,
    }));
}

fn toBytes(words: [8]u32) Value {
    var value: Value = undefined;
    for (words, 0..) |word, i| std.mem.writeInt(u32, value[i * 4 ..][0..4], word, .little);
    return value;
}

/// One chunk, whole or the last of its tree; `is_root`: the only one.
pub fn chunk(bytes: []const u8, number: u64, is_root: bool) Value {
    assert(bytes.len <= chunk_bytes and (bytes.len > 0 or is_root));
    var value = iv;
    var done: usize = 0;
    while (true) {
        const size = @min(block_bytes, bytes.len - done);
        const is_last = done + size == bytes.len;
        var flags: u32 = if (done == 0) chunk_start else 0;
        if (is_last) flags |= chunk_end;
        if (is_last and is_root) flags |= root_flag;
        value = compressOne(value, bytes[done..][0..size], number, flags);
        if (is_last) return toBytes(value);
        done += size;
    }
}

pub fn parent(left: Value, right: Value, is_root: bool) Value {
    const flags: u32 = if (is_root) parent_flag | root_flag else parent_flag;
    return toBytes(compressOne(iv, &(left ++ right), 0, flags));
}

const testing = std.testing;

fn standard(bytes: []const u8) Value {
    var value: Value = undefined;
    std.crypto.hash.Blake3.hash(bytes, &value, .{});
    return value;
}

test "one chunk is a hash" {
    var bytes: [chunk_bytes]u8 = undefined;
    for (&bytes, 0..) |*byte, i| byte.* = @truncate(i % 251);
    for (0..chunk_bytes + 1) |size|
        try testing.expectEqual(standard(bytes[0..size]), chunk(bytes[0..size], 0, true));
}

test "chunks and parents side by side are those one by one" {
    const count = 2 * lanes + 3;
    var bytes: [count * chunk_bytes]u8 = undefined;
    for (&bytes, 0..) |*byte, i| byte.* = @truncate(i % 251);
    for ([_]u64{ 0, 1, (1 << 32) - 2, 1 << 40 }) |first| {
        for (1..count + 1) |size| {
            var values: [count + 1]Value = undefined;
            values[size] = @splat(0xaa);
            chunks(&bytes, size, first, &values);
            for (values[0..size], 0..) |value, i| {
                const one = bytes[i * chunk_bytes ..][0..chunk_bytes];
                try testing.expectEqual(chunk(one, first + i, false), value);
            }
            try testing.expectEqual(@as(Value, @splat(0xaa)), values[size]);
            const before = values;
            parents(&values, size / 2, &values);
            for (0..size / 2) |i|
                try testing.expectEqual(parent(before[2 * i], before[2 * i + 1], false), values[i]);
        }
    }
}

test "a parent of two chunks is a hash" {
    var bytes: [2 * chunk_bytes]u8 = undefined;
    for (&bytes, 0..) |*byte, i| byte.* = @truncate(i % 251);
    var values: [2]Value = undefined;
    chunks(&bytes, 2, 0, &values);
    try testing.expectEqual(standard(&bytes), parent(values[0], values[1], true));
}
