//! Everything about the machine that a user is told or that decides a default, gathered for
//! abi.Machine. The CPU level is the caller's to add.
const std = @import("std");
const Dir = std.fs.Dir;
const abi = @import("../abi.zig");
const cgroup = @import("cgroup.zig");
const topology_file = @import("topology.zig");
const Topology = topology_file.Topology;

/// What `thread_count` 0 means: a worker for each allowed core, but no more than the cgroup can
/// keep running.
pub fn defaultThreadCount(topology: Topology, limits: cgroup.Limits) u32 {
    const milli = limits.cpu_milli orelse return topology.core_count;
    const cpus = std.math.divCeil(u32, milli, 1000) catch unreachable;
    return @max(1, @min(topology.core_count, cpus));
}

/// Fills all but the level fields. `root` stands for "/".
pub fn describe(
    gpa: std.mem.Allocator,
    root: Dir,
    allowed: topology_file.CpuSet,
) error{OutOfMemory}!abi.Machine {
    var machine: abi.Machine = std.mem.zeroes(abi.Machine);
    var system = root.openDir("sys/devices/system", .{}) catch root;
    defer if (system.fd != root.fd) system.close();
    var topology = try topology_file.read(gpa, system, allowed);
    defer topology.deinit(gpa);
    const limits = cgroup.read(root);

    machine.cpu_count_online = topology.cpu_count_online;
    machine.cpu_count_allowed = @intCast(topology.cpus.len);
    machine.core_count_allowed = topology.core_count;
    machine.node_count = topology.node_count;
    machine.cpu_limit_milli = limits.cpu_milli orelse 0;
    machine.thread_count = defaultThreadCount(topology, limits);
    machine.memory_limit_cgroup = limits.memory orelse 0;
    readCpuName(root, &machine.cpu);
    readMemory(root, &machine);
    readHugePages(root, &machine);
    return machine;
}

/// Where the workers of a team of the default size are, as many as there is room for; returns their
/// number.
pub fn describeWorkers(
    gpa: std.mem.Allocator,
    topology: Topology,
    limits: cgroup.Limits,
    places: []abi.WorkerPlace,
) error{OutOfMemory}!u32 {
    const count = defaultThreadCount(topology, limits);
    const placements = try topology.place(gpa, count);
    defer gpa.free(placements);
    const known = @min(places.len, placements.len);
    for (places[0..known], placements[0..known]) |*place, *placement| place.* = .{
        .node = placement.node_id,
        .cpu = placement.onlyCpu() orelse abi.none,
    };
    return count;
}

/// The first "model name" of /proc/cpuinfo; arm64 gives none.
fn readCpuName(root: Dir, name: *[64]u8) void {
    var buffer: [4096]u8 = undefined;
    const text = readSome(root, "proc/cpuinfo", &buffer) orelse return;
    const value = valueOf(text, "model name") orelse return;
    const size = @min(value.len, name.len - 1);
    for (name[0..size], value[0..size]) |*to, from|
        to.* = if (std.ascii.isPrint(from)) from else '?';
}

fn readMemory(root: Dir, machine: *abi.Machine) void {
    var buffer: [4096]u8 = undefined;
    const text = readSome(root, "proc/meminfo", &buffer) orelse return;
    machine.memory_total = parseKib(valueOf(text, "MemTotal"));
    machine.memory_available = parseKib(valueOf(text, "MemAvailable"));
}

/// The chosen word stands in brackets: "always [madvise] never".
fn readHugePages(root: Dir, machine: *abi.Machine) void {
    const folder = "sys/kernel/mm/transparent_hugepage/";
    var buffer: [128]u8 = undefined;
    const text = readSome(root, folder ++ "enabled", &buffer) orelse return;
    if (std.mem.indexOf(u8, text, "[madvise]") != null) machine.huge_pages = 1;
    if (std.mem.indexOf(u8, text, "[always]") != null) machine.huge_pages = 2;
    const size = readSome(root, folder ++ "hpage_pmd_size", &buffer) orelse return;
    const bytes = std.fmt.parseInt(u64, std.mem.trim(u8, size, " \n"), 10) catch return;
    machine.huge_page_kib = std.math.cast(u32, bytes / 1024) orelse 0;
}

/// The start of a file: what stands beyond the buffer is not needed here.
fn readSome(root: Dir, path: []const u8, buffer: []u8) ?[]const u8 {
    return root.readFile(path, buffer) catch null;
}

/// "key : value" or "key: value" on a line of its own.
fn valueOf(text: []const u8, key: []const u8) ?[]const u8 {
    var lines = std.mem.tokenizeScalar(u8, text, '\n');
    while (lines.next()) |line| {
        const colon = std.mem.indexOfScalar(u8, line, ':') orelse continue;
        if (!std.mem.eql(u8, std.mem.trim(u8, line[0..colon], " \t"), key)) continue;
        return std.mem.trim(u8, line[colon + 1 ..], " \t");
    }
    return null;
}

/// "16384 kB" as bytes; 0 where there is no such number.
fn parseKib(value: ?[]const u8) u64 {
    var words = std.mem.tokenizeScalar(u8, value orelse return 0, ' ');
    const kib = std.fmt.parseInt(u64, words.next() orelse return 0, 10) catch return 0;
    return std.math.mul(u64, kib, 1024) catch 0;
}

const testing = std.testing;
const Fixture = @import("../testing/fixture.zig").Fixture;

test "a machine with everything" {
    var fixture: Fixture = try .init(&.{
        .{ "sys/devices/system/cpu/online", "0-3\n" },
        .{ "proc/self/cgroup", "0::/\n" },
        .{ "proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n" },
        .{ "sys/fs/cgroup/cpu.max", "250000 100000\n" },
        .{ "sys/fs/cgroup/memory.max", "8192\n" },
        .{ "proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\n" },
        .{ "proc/meminfo", "MemTotal:       1000 kB\nMemFree: 5 kB\nMemAvailable:    400 kB\n" },
        .{ "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n" },
        .{ "sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n" },
    });
    defer fixture.deinit();
    const machine = try describe(
        testing.allocator,
        fixture.dir(),
        try topology_file.parseCpuList("1-3"),
    );
    try testing.expectEqualStrings("Some CPU @ 3 GHz", std.mem.sliceTo(&machine.cpu, 0));
    try testing.expectEqual(4, machine.cpu_count_online);
    try testing.expectEqual(3, machine.cpu_count_allowed);
    try testing.expectEqual(3, machine.core_count_allowed);
    try testing.expectEqual(2500, machine.cpu_limit_milli);
    try testing.expectEqual(3, machine.thread_count);
    try testing.expectEqual(1000 * 1024, machine.memory_total);
    try testing.expectEqual(400 * 1024, machine.memory_available);
    try testing.expectEqual(8192, machine.memory_limit_cgroup);
    try testing.expectEqual(1, machine.huge_pages);
    try testing.expectEqual(2048, machine.huge_page_kib);
}

test "a machine that shows nothing" {
    var fixture: Fixture = try .init(&.{});
    defer fixture.deinit();
    const machine = try describe(
        testing.allocator,
        fixture.dir(),
        try topology_file.parseCpuList("0"),
    );
    try testing.expectEqual(1, machine.thread_count);
    try testing.expectEqual(0, machine.memory_total);
    try testing.expectEqual(0, machine.cpu[0]);
}

test "workers of a default team, on cores of two nodes, cut by the cgroup" {
    var cpus: [4]topology_file.Cpu = undefined;
    for (&cpus, 0..) |*cpu, i| {
        const id: u32 = @intCast(i);
        cpu.* = .{ .id = id, .core = id, .node = id / 2 };
    }
    var node_ids = [_]u32{ 0, 2 };
    const topology: Topology = .{
        .cpus = &cpus,
        .cpu_count_online = 4,
        .core_count = 4,
        .node_count = 2,
        .node_ids = &node_ids,
    };
    var places: [3]abi.WorkerPlace = undefined;
    try testing.expectEqual(4, try describeWorkers(testing.allocator, topology, .{}, &places));
    try testing.expectEqualSlices(abi.WorkerPlace, &.{
        .{ .node = 0, .cpu = 0 },
        .{ .node = 2, .cpu = 2 },
        .{ .node = 0, .cpu = 1 },
    }, &places);
    // Fewer workers than cores may move within their node.
    const limits: cgroup.Limits = .{ .cpu_milli = 2000 };
    try testing.expectEqual(2, try describeWorkers(testing.allocator, topology, limits, &places));
    try testing.expectEqual(abi.WorkerPlace{ .node = 2, .cpu = abi.none }, places[1]);
}

test "the cgroup bounds the default, never below one thread" {
    const topology: Topology = .{
        .cpus = &.{},
        .cpu_count_online = 8,
        .core_count = 8,
        .node_count = 1,
        .node_ids = &.{},
    };
    try testing.expectEqual(8, defaultThreadCount(topology, .{}));
    try testing.expectEqual(8, defaultThreadCount(topology, .{ .cpu_milli = 64_000 }));
    try testing.expectEqual(2, defaultThreadCount(topology, .{ .cpu_milli = 1001 }));
    try testing.expectEqual(1, defaultThreadCount(topology, .{ .cpu_milli = 1 }));
}
