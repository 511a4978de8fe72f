//! A job's threads, and the cursors from which they take work. Work is numbered 0 … count - 1;
//! every memory node has a share of its own, a run of neighbouring numbers, and takes from another
//! node's share only when its own is empty.
const std = @import("std");
const assert = std.debug.assert;
const linux = std.os.linux;
const topology = @import("topology.zig");

/// Enough for the kernels and a signal handler; pages are only used when touched.
const stack_size = 1 << 20;

/// What a thread's own instructions raise.
const fault_signals = [_]u8{
    linux.SIG.BUS,
    linux.SIG.SEGV,
    linux.SIG.ILL,
    linux.SIG.FPE,
    linux.SIG.TRAP,
};
/// glibc cancels threads and changes their user by these (nptl: SIGCANCEL, SIGSETXID).
const libc_signals = [_]u8{ 32, 33 };

pub const Cursor = struct {
    shares: []Share,

    const Share = struct {
        /// On a cache line of its own: all workers of a node write it.
        next: std.atomic.Value(u64) align(std.atomic.cache_line),
        end: u64,
    };

    /// Splits `count` by the number of workers that each node has.
    pub fn init(
        gpa: std.mem.Allocator,
        count: u64,
        placements: []const topology.Placement,
    ) !Cursor {
        assert(placements.len > 0);
        var node_count: u32 = 0;
        for (placements) |placement| node_count = @max(node_count, placement.node + 1);
        const shares = try gpa.alloc(Share, node_count);
        var begin: u64 = 0;
        var worker_count: u64 = 0;
        for (shares, 0..) |*share, node| {
            for (placements) |placement| worker_count += @intFromBool(placement.node == node);
            const end: u64 = @intCast(@as(u128, count) * worker_count / placements.len);
            share.* = .{ .next = .init(begin), .end = end };
            begin = end;
        }
        assert(begin == count);
        return .{ .shares = shares };
    }

    pub fn deinit(cursor: *Cursor, gpa: std.mem.Allocator) void {
        gpa.free(cursor.shares);
        cursor.* = undefined;
    }

    /// The next number for a worker of `node`; null when there is none anywhere. Each number is
    /// given out once.
    pub fn take(cursor: Cursor, node: u32) ?u64 {
        for (0..cursor.shares.len) |i| {
            const share = &cursor.shares[(node + i) % cursor.shares.len];
            // Looked at first, so that an empty share is not counted up without end.
            if (share.next.load(.monotonic) >= share.end) continue;
            const number = share.next.fetchAdd(1, .monotonic);
            if (number < share.end) return number;
        }
        return null;
    }
};

/// Starts a thread that no signal of the process is delivered to; faults of its own instructions
/// still are.
pub fn spawn(comptime function: anytype, arguments: anytype) std.Thread.SpawnError!std.Thread {
    var blocked = linux.sigfillset();
    for (fault_signals ++ libc_signals) |signal| linux.sigdelset(&blocked, signal);
    var before: linux.sigset_t = undefined;
    _ = linux.sigprocmask(linux.SIG.SETMASK, &blocked, &before);
    defer _ = linux.sigprocmask(linux.SIG.SETMASK, &before, null);
    return std.Thread.spawn(.{ .stack_size = stack_size }, function, arguments);
}

/// Runs `work(context, index)` on a thread for each placement and returns when all are done. Where
/// the system has no room for more threads the ones that run do all the work; only none at all is
/// an error. Returns how many ran.
pub fn run(
    gpa: std.mem.Allocator,
    placements: []const topology.Placement,
    context: anytype,
    comptime work: fn (@TypeOf(context), u32) void,
) (error{OutOfMemory} || std.Thread.SpawnError)!u32 {
    const Body = struct {
        fn main(cpus: topology.CpuSet, c: @TypeOf(context), index: u32) void {
            topology.bind(cpus);
            work(c, index);
        }
    };
    const threads = try gpa.alloc(std.Thread, placements.len);
    defer gpa.free(threads);
    var count: u32 = 0;
    var failure: std.Thread.SpawnError = undefined;
    for (placements, 0..) |placement, i| {
        const index: u32 = @intCast(i);
        threads[count] = spawn(Body.main, .{ placement.cpus, context, index }) catch |err| {
            failure = err;
            continue;
        };
        count += 1;
    }
    for (threads[0..count]) |thread| thread.join();
    return if (count == 0) failure else count;
}

const testing = std.testing;

fn placementsOf(nodes: []const u32) ![]topology.Placement {
    const placements = try testing.allocator.alloc(topology.Placement, nodes.len);
    const cpus = topology.allowedCpus();
    for (placements, nodes) |*placement, node|
        placement.* = .{ .cpus = cpus, .node = node, .node_id = node, .has_near_memory = false };
    return placements;
}

test "a node takes its own share first, then steals" {
    const placements = try placementsOf(&.{ 0, 1, 1 });
    defer testing.allocator.free(placements);
    var cursor: Cursor = try .init(testing.allocator, 10, placements);
    defer cursor.deinit(testing.allocator);
    for ([_]u64{ 3, 4, 5 }) |number| try testing.expectEqual(number, cursor.take(1));
    for ([_]u64{ 0, 1, 2, 6, 7 }) |number| try testing.expectEqual(number, cursor.take(0));
    for ([_]u64{ 8, 9 }) |number| try testing.expectEqual(number, cursor.take(1));
    try testing.expectEqual(null, cursor.take(0));
    try testing.expectEqual(null, cursor.take(1));
}

test "no work at all" {
    const placements = try placementsOf(&.{0});
    defer testing.allocator.free(placements);
    var cursor: Cursor = try .init(testing.allocator, 0, placements);
    defer cursor.deinit(testing.allocator);
    try testing.expectEqual(null, cursor.take(0));
}

test "threads share out every number once" {
    const placements = try placementsOf(&.{ 0, 1, 0, 2 });
    defer testing.allocator.free(placements);
    const count = 10_000;
    const Shared = struct {
        cursor: Cursor,
        placements: []const topology.Placement,
        seen: [count]std.atomic.Value(u8) = @splat(.init(0)),
        blocked: std.atomic.Value(u32) = .init(0),

        fn work(shared: *@This(), index: u32) void {
            var mask: linux.sigset_t = undefined;
            _ = linux.sigprocmask(linux.SIG.BLOCK, null, &mask);
            const blocks_interrupt = linux.sigismember(&mask, linux.SIG.INT);
            if (blocks_interrupt and !linux.sigismember(&mask, linux.SIG.BUS))
                _ = shared.blocked.fetchAdd(1, .monotonic);
            while (shared.cursor.take(shared.placements[index].node)) |number|
                _ = shared.seen[number].fetchAdd(1, .monotonic);
        }
    };
    var shared: Shared = .{
        .cursor = try .init(testing.allocator, count, placements),
        .placements = placements,
    };
    defer shared.cursor.deinit(testing.allocator);
    try testing.expectEqual(4, try run(testing.allocator, placements, &shared, Shared.work));
    for (&shared.seen) |*times| try testing.expectEqual(1, times.load(.monotonic));
    try testing.expectEqual(4, shared.blocked.load(.monotonic));
}
