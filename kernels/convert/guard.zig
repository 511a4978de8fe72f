//! Keeps a mapped file that is truncated under us from ending the process. Touching what is beyond
//! the end of a mapped file raises SIGBUS in the thread that reads (mmap(2)). While a job has maps, a
//! handler for the whole process looks whether the address is in one of them; then it puts a zero
//! page there, marks the map as failed, and lets the thread go on: the job looks at the mark after
//! each tile and gives up. Any other SIGBUS goes to the handler that was there before.
const std = @import("std");
const assert = std.debug.assert;
const linux = std.os.linux;
const page_size = std.heap.page_size_min;

comptime {
    // Both architectures are built for systems with 4 KiB pages or more; the handler rounds to the
    // real size.
    assert(page_size == 4096);
}

/// A mapped range. `end` is written last and read first: a range whose end is 0 is not there yet.
pub const Watch = struct {
    begin: std.atomic.Value(usize) = .init(0),
    end: std.atomic.Value(usize) = .init(0),
    /// There was no file behind a part of the map.
    failed: std.atomic.Value(bool) = .init(false),

    pub fn set(watch: *Watch, bytes: []const u8) void {
        watch.begin.store(@intFromPtr(bytes.ptr), .release);
        watch.end.store(@intFromPtr(bytes.ptr) + bytes.len, .release);
    }

    /// The map goes.
    pub fn clear(watch: *Watch) void {
        watch.end.store(0, .release);
    }

    fn contains(watch: *const Watch, address: usize) bool {
        return address < watch.end.load(.acquire) and address >= watch.begin.load(.acquire);
    }
};

/// The watches of one job, which stay where they are until `remove`.
pub const Group = struct {
    watches: []Watch,
    next: std.atomic.Value(?*Group) = .init(null),
};

var mutex: std.Thread.Mutex = .{};
/// Groups that the handler looks at.
var groups: std.atomic.Value(?*Group) = .init(null);
/// Threads inside the handler, which may be looking at a group that was just taken out.
var inside: std.atomic.Value(u32) = .init(0);
var previous: std.posix.Sigaction = undefined;

pub fn add(group: *Group) void {
    mutex.lock();
    defer mutex.unlock();
    const first = groups.load(.monotonic);
    group.next.store(first, .monotonic);
    groups.store(group, .release);
    if (first == null) std.posix.sigaction(linux.SIG.BUS, &.{
        .handler = .{ .sigaction = handle },
        .mask = std.posix.sigemptyset(),
        .flags = std.posix.SA.SIGINFO | std.posix.SA.ONSTACK,
    }, &previous);
}

/// The group's memory may go after this. Its maps must be gone before, or no longer be read.
pub fn remove(group: *Group) void {
    mutex.lock();
    defer mutex.unlock();
    if (groups.load(.monotonic) == group) {
        groups.store(group.next.load(.monotonic), .seq_cst);
    } else {
        var before = groups.load(.monotonic).?;
        while (before.next.load(.monotonic) != group) before = before.next.load(.monotonic).?;
        before.next.store(group.next.load(.monotonic), .seq_cst);
    }
    while (inside.load(.seq_cst) != 0) std.Thread.yield() catch {};
    if (groups.load(.monotonic) != null) return;
    // The handler goes back only where nobody has put another one on top of ours since.
    var current: std.posix.Sigaction = undefined;
    std.posix.sigaction(linux.SIG.BUS, null, &current);
    if (current.handler.sigaction == handle) std.posix.sigaction(linux.SIG.BUS, &previous, null);
}

fn handle(signal: i32, info: *const linux.siginfo_t, context: ?*anyopaque) callconv(.c) void {
    if (replacePage(@intFromPtr(info.fields.sigfault.addr))) return;
    forward(signal, info, context);
}

/// Only system calls and atomics: this runs in a signal handler.
fn replacePage(address: usize) bool {
    _ = inside.fetchAdd(1, .seq_cst);
    defer _ = inside.fetchSub(1, .seq_cst);
    var each = groups.load(.seq_cst);
    while (each) |group| : (each = group.next.load(.seq_cst)) {
        for (group.watches) |*watch| {
            if (!watch.contains(address)) continue;
            const size = std.heap.pageSize();
            const flags: linux.MAP = .{ .TYPE = .PRIVATE, .ANONYMOUS = true, .FIXED = true };
            const page: ?[*]u8 = @ptrFromInt(address - address % size);
            const access = linux.PROT.READ | linux.PROT.WRITE; // targets are written
            const mapped = linux.mmap(page, size, access, flags, -1, 0);
            if (linux.E.init(mapped) != .SUCCESS) return false;
            watch.failed.store(true, .release);
            return true;
        }
    }
    return false;
}

fn forward(signal: i32, info: *const linux.siginfo_t, context: ?*anyopaque) void {
    if (previous.flags & std.posix.SA.SIGINFO != 0) {
        if (previous.handler.sigaction) |function| return function(signal, info, context);
    } else if (previous.handler.handler) |function| {
        if (function != std.posix.SIG.IGN) return function(signal);
    }
    // Nobody else cares: the default action, when the instruction is tried again.
    const default: std.posix.Sigaction = .{
        .handler = .{ .handler = std.posix.SIG.DFL },
        .mask = std.posix.sigemptyset(),
        .flags = 0,
    };
    std.posix.sigaction(linux.SIG.BUS, &default, null);
}

fn mapTruncated(dir: std.fs.Dir, name: []const u8) ![]align(page_size) u8 {
    const file = try dir.createFile(name, .{ .read = true });
    defer file.close();
    try file.setEndPos(3 * page_size);
    const flags: std.posix.MAP = .{ .TYPE = .SHARED };
    const bytes = try std.posix.mmap(null, 3 * page_size, linux.PROT.READ, flags, file.handle, 0);
    try file.setEndPos(page_size + 1);
    return bytes;
}

const testing = std.testing;

test "a read beyond a truncated file gives zeros and a mark" {
    var tmp = testing.tmpDir(.{});
    defer tmp.cleanup();
    const bytes = try mapTruncated(tmp.dir, "a");
    defer std.posix.munmap(bytes);
    const other = try mapTruncated(tmp.dir, "b");
    defer std.posix.munmap(other);
    var before: std.posix.Sigaction = undefined;
    std.posix.sigaction(linux.SIG.BUS, null, &before);

    var watches = [_]Watch{ .{}, .{} };
    watches[1].set(bytes);
    var group: Group = .{ .watches = &watches };
    var other_watches = [_]Watch{.{}};
    other_watches[0].set(other);
    var other_group: Group = .{ .watches = &other_watches };
    add(&group);
    add(&other_group);
    const volatile_bytes: [*]volatile u8 = bytes.ptr;
    try testing.expectEqual(0, volatile_bytes[page_size]);
    try testing.expect(!watches[1].failed.load(.acquire));
    try testing.expectEqual(0, volatile_bytes[3 * page_size - 1]);
    try testing.expect(watches[1].failed.load(.acquire) and !watches[0].failed.load(.acquire));
    remove(&group);
    const volatile_other: [*]volatile u8 = other.ptr;
    try testing.expectEqual(0, volatile_other[2 * page_size]);
    try testing.expect(other_watches[0].failed.load(.acquire));
    remove(&other_group);

    var after: std.posix.Sigaction = undefined;
    std.posix.sigaction(linux.SIG.BUS, null, &after);
    try testing.expectEqual(before.handler.sigaction, after.handler.sigaction);
}

test "a fault elsewhere reaches the handler that was there before" {
    const Before = struct {
        var count: u32 = 0;
        fn handle(_: i32, info: *const linux.siginfo_t, _: ?*anyopaque) callconv(.c) void {
            count += 1;
            const flags: linux.MAP = .{ .TYPE = .PRIVATE, .ANONYMOUS = true, .FIXED = true };
            const address = @intFromPtr(info.fields.sigfault.addr);
            const page = std.mem.alignBackward(usize, address, page_size);
            _ = linux.mmap(@ptrFromInt(page), page_size, linux.PROT.READ, flags, -1, 0);
        }
    };
    var original: std.posix.Sigaction = undefined;
    std.posix.sigaction(linux.SIG.BUS, &.{
        .handler = .{ .sigaction = Before.handle },
        .mask = std.posix.sigemptyset(),
        .flags = std.posix.SA.SIGINFO,
    }, &original);
    defer std.posix.sigaction(linux.SIG.BUS, &original, null);

    var tmp = testing.tmpDir(.{});
    defer tmp.cleanup();
    const bytes = try mapTruncated(tmp.dir, "a");
    defer std.posix.munmap(bytes);
    var watches = [_]Watch{.{}};
    var group: Group = .{ .watches = &watches };
    add(&group);
    defer remove(&group);
    const volatile_bytes: [*]volatile u8 = bytes.ptr;
    try testing.expectEqual(0, volatile_bytes[2 * page_size]);
    try testing.expectEqual(1, Before.count);
    try testing.expect(!watches[0].failed.load(.acquire));
}
