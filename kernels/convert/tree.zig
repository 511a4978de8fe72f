//! The BLAKE3 hash of bytes that come piece by piece in any order, from several threads at once.
//! What is known is a set of nodes of the tree: two that are siblings become their parent. Bytes at
//! the edges of a piece wait until the rest of their chunk has come. Workers take pieces nearly in
//! order, so that there are seldom more than a few dozen of either.
const std = @import("std");
const assert = std.debug.assert;
const blake3 = @import("../core/blake3.zig");
const table = @import("../table.zig");
const Value = blake3.Value;
const chunk_bytes = blake3.chunk_bytes;

/// Chunks that are hashed at once, by one call of a level's function.
const run_chunks = 64;

/// A node covers chunks index << level up to (index + 1) << level.
const Node = struct { level: u6, index: u64 };

/// A chunk of which only a part has come.
const Fragment = struct { filled: u32 = 0, bytes: [chunk_bytes]u8 = undefined };

pub const Tree = struct {
    /// Bytes in all.
    size: u64,
    mutex: std.Thread.Mutex = .{},
    nodes: std.AutoHashMapUnmanaged(Node, Value) = .empty,
    fragments: std.AutoHashMapUnmanaged(u64, *Fragment) = .empty,
    bytes_added: u64 = 0,
    /// Of all bytes, once they have come.
    hash: Value = @splat(0),

    pub fn init(size: u64) Tree {
        // The hash of nothing is there from the start.
        return .{ .size = size, .hash = if (size == 0) blake3.chunk("", 0, true) else @splat(0) };
    }

    pub fn deinit(tree: *Tree, gpa: std.mem.Allocator) void {
        var fragments = tree.fragments.valueIterator();
        while (fragments.next()) |fragment| gpa.destroy(fragment.*);
        tree.fragments.deinit(gpa);
        tree.nodes.deinit(gpa);
        tree.* = undefined;
    }

    fn chunkCount(tree: *const Tree) u64 {
        return @max(1, std.math.divCeil(u64, tree.size, chunk_bytes) catch unreachable);
    }

    /// Adds `bytes`, which begin at `offset` and of which none has come before.
    pub fn add(
        tree: *Tree,
        gpa: std.mem.Allocator,
        functions: *const table.Hashing,
        bytes: []const u8,
        offset: u64,
    ) error{OutOfMemory}!void {
        assert(offset <= tree.size and bytes.len <= tree.size - offset);
        var rest = bytes;
        var at = offset;
        while (rest.len > 0) {
            const number = at / chunk_bytes;
            const whole = rest.len / chunk_bytes;
            const is_single = tree.size <= chunk_bytes;
            var size: usize = undefined;
            if (at % chunk_bytes == 0 and whole > 0 and !is_single) {
                const count = @min(whole, run_chunks - number % run_chunks);
                size = @intCast(count * chunk_bytes);
                try tree.addChunks(gpa, functions, rest[0..size], number);
            } else {
                size = @intCast(@min(rest.len, chunk_bytes - at % chunk_bytes));
                try tree.addPart(gpa, rest[0..size], at);
            }
            rest = rest[size..];
            at += size;
        }
        tree.mutex.lock();
        defer tree.mutex.unlock();
        tree.bytes_added += bytes.len;
        if (tree.bytes_added == tree.size and bytes.len > 0) tree.finish(gpa);
    }

    /// Whole chunks; their values are joined as far as possible before the lock is taken.
    fn addChunks(
        tree: *Tree,
        gpa: std.mem.Allocator,
        functions: *const table.Hashing,
        bytes: []const u8,
        first: u64,
    ) error{OutOfMemory}!void {
        var values: [run_chunks]Value = undefined;
        var begin: u64 = first;
        var count: u64 = bytes.len / chunk_bytes;
        functions.chunks(bytes.ptr, count, first, &values);
        tree.mutex.lock();
        defer tree.mutex.unlock();
        var level: u6 = 0;
        while (count > 0) : (level += 1) {
            if (begin % 2 == 1) {
                try tree.insert(gpa, .{ .level = level, .index = begin }, values[0]);
                std.mem.copyForwards(Value, values[0 .. count - 1], values[1..count]);
                begin += 1;
                count -= 1;
            }
            // Above the root there is nothing; what makes it is left to `finish`.
            if (count == 2 and tree.isRoot(.{ .level = level + 1, .index = begin / 2 })) {
                for (values[0..2], begin..) |value, index|
                    try tree.insert(gpa, .{ .level = level, .index = index }, value);
                return;
            }
            if (count % 2 == 1) {
                const last: Node = .{ .level = level, .index = begin + count - 1 };
                try tree.insert(gpa, last, values[count - 1]);
                count -= 1;
            }
            functions.parents(&values, count / 2, &values);
            begin /= 2;
            count /= 2;
        }
    }

    /// Bytes within one chunk.
    fn addPart(
        tree: *Tree,
        gpa: std.mem.Allocator,
        bytes: []const u8,
        offset: u64,
    ) error{OutOfMemory}!void {
        const number = offset / chunk_bytes;
        const chunk_size: u32 = @intCast(@min(chunk_bytes, tree.size - number * chunk_bytes));
        tree.mutex.lock();
        defer tree.mutex.unlock();
        const entry = try tree.fragments.getOrPut(gpa, number);
        if (!entry.found_existing) {
            entry.value_ptr.* = gpa.create(Fragment) catch |err| {
                tree.fragments.removeByPtr(entry.key_ptr);
                return err;
            };
            entry.value_ptr.*.filled = 0;
        }
        const fragment = entry.value_ptr.*;
        @memcpy(fragment.bytes[@intCast(offset % chunk_bytes)..][0..bytes.len], bytes);
        fragment.filled += @intCast(bytes.len);
        assert(fragment.filled <= chunk_size);
        if (fragment.filled < chunk_size) return;
        const is_root = tree.size <= chunk_bytes;
        const value = blake3.chunk(fragment.bytes[0..chunk_size], number, is_root);
        assert(tree.fragments.remove(number));
        gpa.destroy(fragment);
        try tree.insert(gpa, .{ .level = 0, .index = number }, value);
    }

    fn isRoot(tree: *const Tree, node: Node) bool {
        return node.index == 0 and @as(u128, 1) << node.level >= tree.chunkCount();
    }

    /// A node whose sibling is known becomes its parent, and so on.
    fn insert(tree: *Tree, gpa: std.mem.Allocator, at: Node, value: Value) error{OutOfMemory}!void {
        var node = at;
        var joined = value;
        while (true) {
            const up: Node = .{ .level = node.level + 1, .index = node.index / 2 };
            if (tree.isRoot(up)) break;
            const sibling: Node = .{ .level = node.level, .index = node.index ^ 1 };
            const other = tree.nodes.fetchRemove(sibling) orelse break;
            joined = if (node.index % 2 == 0)
                blake3.parent(joined, other.value, false)
            else
                blake3.parent(other.value, joined, false);
            node = up;
        }
        try tree.nodes.put(gpa, node, joined);
    }

    /// Joins the nodes that are left, which tile the chunks from the left with ever smaller ones.
    fn finish(tree: *Tree, gpa: std.mem.Allocator) void {
        assert(tree.fragments.count() == 0);
        const count = tree.chunkCount();
        if (count == 1) {
            tree.hash = tree.nodes.get(.{ .level = 0, .index = 0 }).?;
        } else {
            // From the right; the whole tree's last join is of the largest left part.
            var end = count;
            var joined: ?Value = null;
            while (end > 0) {
                const level = leftLevel(end, count);
                const node: Node = .{ .level = level, .index = (end - 1) >> level };
                const value = tree.nodes.get(node).?;
                end = node.index << level;
                joined = if (joined) |right| blake3.parent(value, right, end == 0) else value;
            }
            tree.hash = joined.?;
        }
        tree.nodes.clearAndFree(gpa);
        tree.fragments.clearAndFree(gpa);
    }

    /// Level of the node that ends at chunk `end` and is no root.
    fn leftLevel(end: u64, count: u64) u6 {
        const level: u6 = @intCast(@ctz(end));
        return if (end == count and @as(u64, 1) << level == count) level - 1 else level;
    }
};

const testing = std.testing;

const scalar: table.Hashing = .{ .chunks = &blake3.chunks, .parents = &blake3.parents };

test "pieces in any order give the hash of the whole" {
    var prng = std.Random.DefaultPrng.init(3);
    const random = prng.random();
    const bytes = try testing.allocator.alloc(u8, 300 * chunk_bytes);
    defer testing.allocator.free(bytes);
    random.bytes(bytes);
    const sizes = [_]usize{ 0, 1, 1023, 1024, 1025, 2047, 2048, 2049, 3072, 4096, 5000, 64 << 10 };
    for (0..300) |round| {
        const size = if (round < sizes.len) sizes[round] else random.uintAtMost(usize, bytes.len);
        errdefer std.debug.print("size {d}\n", .{size});
        var cuts: [24]usize = undefined;
        for (&cuts) |*cut| cut.* = random.uintAtMost(usize, size);
        for (cuts[2..8]) |*cut| cut.* -= cut.* % chunk_bytes;
        cuts[0] = 0;
        cuts[1] = size;
        std.mem.sort(usize, &cuts, {}, std.sort.asc(usize));
        var order: [cuts.len - 1]usize = undefined;
        for (&order, 0..) |*index, i| index.* = i;
        if (round % 3 != 0) random.shuffle(usize, &order);
        var tree: Tree = .init(size);
        defer tree.deinit(testing.allocator);
        for (order) |index| {
            const piece = bytes[cuts[index]..cuts[index + 1]];
            try tree.add(testing.allocator, &scalar, piece, cuts[index]);
        }
        var expected: Value = undefined;
        std.crypto.hash.Blake3.hash(bytes[0..size], &expected, .{});
        try testing.expectEqual(expected, tree.hash);
        try testing.expectEqual(0, tree.nodes.count());
    }
}

test "few nodes wait where pieces come in order" {
    var tree: Tree = .init(1 << 30);
    defer tree.deinit(testing.allocator);
    const bytes = try testing.allocator.alloc(u8, 500_001);
    defer testing.allocator.free(bytes);
    @memset(bytes, 5);
    var offset: u64 = 0;
    while (offset + bytes.len <= 40 << 20) : (offset += bytes.len) {
        try tree.add(testing.allocator, &scalar, bytes, offset);
        try testing.expect(tree.nodes.count() < 20 and tree.fragments.count() < 2);
    }
}
