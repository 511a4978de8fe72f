//! Which CPUs this process may use, which of them are one core, and which memory node each is next
//! to. Read from a folder laid out like /sys/devices/system (Linux:
//! Documentation/admin-guide/cputopology.rst, numaperf.rst), so that tests bring their own. What a
//! file does not say is assumed away: no sibling list means a core of its own, no node means node
//! 0.
const std = @import("std");
const assert = std.debug.assert;
const linux = std.os.linux;
const Dir = std.fs.Dir;

/// Linux itself stops at 8192 (CONFIG_NR_CPUS of x86).
pub const cpu_count_max = 8192;
pub const CpuSet = std.StaticBitSet(cpu_count_max);

/// A CPU that is online and allowed. `core` and `node` count from 0 without gaps, in the order of
/// the CPUs.
pub const Cpu = struct { id: u32, core: u32, node: u32 };

/// Where a worker runs: bound to these CPUs, and nearest to the memory of `node`.
pub const Placement = struct {
    cpus: CpuSet,
    node: u32,
    /// The system's number of the node.
    node_id: u32,
    /// There are several nodes, so that it matters where memory is.
    has_near_memory: bool,

    /// Wherever the system puts it.
    pub fn anywhere() Placement {
        return .{ .cpus = allowedCpus(), .node = 0, .node_id = 0, .has_near_memory = false };
    }

    /// The one CPU that it is bound to, if it is one.
    pub fn onlyCpu(placement: *const Placement) ?u32 {
        if (placement.cpus.count() != 1) return null;
        return @intCast(placement.cpus.findFirstSet().?);
    }
};

pub const Topology = struct {
    cpus: []Cpu,
    cpu_count_online: u32,
    core_count: u32,
    /// Nodes that have an allowed CPU.
    node_count: u32,
    /// The system's number of each.
    node_ids: []u32,

    pub fn deinit(topology: *Topology, gpa: std.mem.Allocator) void {
        gpa.free(topology.cpus);
        gpa.free(topology.node_ids);
        topology.* = undefined;
    }

    /// Places `thread_count` workers, taking cores from the nodes in turn. Where there is a worker
    /// for every core each is pinned to one; fewer workers may move within their node, so that
    /// several processes with few workers each do not meet on the first cores; and so may workers
    /// beyond the number of cores.
    pub fn place(topology: Topology, gpa: std.mem.Allocator, thread_count: u32) ![]Placement {
        const cores = try topology.coreOrder(gpa);
        defer gpa.free(cores);
        const placements = try gpa.alloc(Placement, thread_count);
        const pinned = thread_count >= cores.len;
        for (placements, 0..) |*placement, i| {
            const cpu = cores[i % cores.len];
            placement.* = .{
                .cpus = .initEmpty(),
                .node = cpu.node,
                .node_id = topology.node_ids[cpu.node],
                .has_near_memory = topology.node_count > 1,
            };
            if (pinned and i < cores.len) {
                placement.cpus.set(cpu.id);
            } else for (topology.cpus) |other| {
                if (other.node == cpu.node) placement.cpus.set(other.id);
            }
        }
        return placements;
    }

    /// The first CPU of each core: the first core of every node, then the second of every node, and
    /// so on.
    fn coreOrder(topology: Topology, gpa: std.mem.Allocator) ![]Cpu {
        const Rank = struct {
            cpu: Cpu,
            rank: u32,
            fn before(_: void, a: @This(), b: @This()) bool {
                return if (a.rank == b.rank) a.cpu.node < b.cpu.node else a.rank < b.rank;
            }
        };
        const ranks = try gpa.alloc(Rank, topology.core_count);
        defer gpa.free(ranks);
        const counts = try gpa.alloc(u32, topology.node_count);
        defer gpa.free(counts);
        @memset(counts, 0);
        var known: u32 = 0;
        for (topology.cpus) |cpu| {
            if (cpu.core != known) continue; // a sibling of a core that is in the list
            ranks[known] = .{ .cpu = cpu, .rank = counts[cpu.node] };
            counts[cpu.node] += 1;
            known += 1;
        }
        assert(known == topology.core_count);
        std.mem.sort(Rank, ranks, {}, Rank.before);
        const order = try gpa.alloc(Cpu, ranks.len);
        for (order, ranks) |*cpu, rank| cpu.* = rank.cpu;
        return order;
    }
};

/// The CPUs that sched_setaffinity, cpusets and the container leave to this process.
pub fn allowedCpus() CpuSet {
    var words: [cpu_count_max / 64]u64 = @splat(0);
    const size = linux.syscall3(
        .sched_getaffinity,
        0,
        @sizeOf(@TypeOf(words)),
        @intFromPtr(&words),
    );
    var set: CpuSet = .initEmpty();
    if (linux.E.init(size) != .SUCCESS) {
        set.set(0); // no such failure is documented for the caller itself; one CPU is always right
        return set;
    }
    for (words, 0..) |word, i| {
        var rest = word;
        while (rest != 0) : (rest &= rest - 1) set.set(i * 64 + @ctz(rest));
    }
    return set;
}

/// Binds the calling thread. A cpuset that changed meanwhile makes this fail, which costs speed
/// only.
pub fn bind(cpus: CpuSet) void {
    var words: [cpu_count_max / 64]u64 = @splat(0);
    var each = cpus.iterator(.{});
    while (each.next()) |cpu| words[cpu / 64] |= @as(u64, 1) << @intCast(cpu % 64);
    _ = linux.syscall3(.sched_setaffinity, 0, @sizeOf(@TypeOf(words)), @intFromPtr(&words));
}

/// Reads `system`, a folder like /sys/devices/system, for the CPUs in `allowed`.
pub fn read(gpa: std.mem.Allocator, system: Dir, allowed: CpuSet) error{OutOfMemory}!Topology {
    const online = readCpuList(system, "cpu/online") orelse allowed;
    var usable = online.intersectWith(allowed);
    if (usable.count() == 0) usable = allowed;
    assert(usable.count() > 0);

    const cpus = try gpa.alloc(Cpu, usable.count());
    errdefer gpa.free(cpus);
    var core_ids: std.AutoHashMapUnmanaged(u32, u32) = .empty;
    defer core_ids.deinit(gpa);
    var node_ids: std.AutoHashMapUnmanaged(u32, u32) = .empty;
    defer node_ids.deinit(gpa);
    const node_of = try readNodes(gpa, system);
    defer gpa.free(node_of);

    var each = usable.iterator(.{});
    for (cpus) |*cpu| {
        const id: u32 = @intCast(each.next().?);
        const core = try core_ids.getOrPutValue(gpa, firstSibling(system, id), core_ids.count());
        const node = try node_ids.getOrPutValue(gpa, node_of[id], node_ids.count());
        cpu.* = .{ .id = id, .core = core.value_ptr.*, .node = node.value_ptr.* };
    }
    const ids = try gpa.alloc(u32, node_ids.count());
    var each_node = node_ids.iterator();
    while (each_node.next()) |node| ids[node.value_ptr.*] = node.key_ptr.*;
    return .{
        .cpus = cpus,
        .cpu_count_online = @intCast(online.count()),
        .core_count = core_ids.count(),
        .node_count = node_ids.count(),
        .node_ids = ids,
    };
}

/// The topology of this machine for this process.
pub fn readMachine(gpa: std.mem.Allocator) error{OutOfMemory}!Topology {
    var system = std.fs.openDirAbsolute("/sys/devices/system", .{}) catch std.fs.cwd();
    defer if (system.fd != std.fs.cwd().fd) system.close();
    return read(gpa, system, allowedCpus());
}

/// The lowest CPU of the core that `id` is on: the name of the core.
fn firstSibling(system: Dir, id: u32) u32 {
    // core_cpus_list is the name since Linux 5.3; the older name stays beside it.
    inline for (.{ "core_cpus_list", "thread_siblings_list" }) |file| {
        var path: [64]u8 = undefined;
        const name = std.fmt.bufPrint(
            &path,
            "cpu/cpu{d}/topology/" ++ file,
            .{id},
        ) catch unreachable;
        if (readCpuList(system, name)) |siblings| {
            if (siblings.findFirstSet()) |first| return @intCast(first);
        }
    }
    return id;
}

/// The node of every CPU, by the number that the system gives it.
fn readNodes(gpa: std.mem.Allocator, system: Dir) error{OutOfMemory}![]u32 {
    const node_of = try gpa.alloc(u32, cpu_count_max);
    @memset(node_of, 0);
    const nodes = readCpuList(system, "node/online") orelse return node_of;
    var each_node = nodes.iterator(.{});
    while (each_node.next()) |node| {
        var path: [64]u8 = undefined;
        const name = std.fmt.bufPrint(&path, "node/node{d}/cpulist", .{node}) catch unreachable;
        const cpus = readCpuList(system, name) orelse continue;
        var each_cpu = cpus.iterator(.{});
        while (each_cpu.next()) |cpu| node_of[cpu] = @intCast(node);
    }
    return node_of;
}

fn readCpuList(system: Dir, path: []const u8) ?CpuSet {
    var buffer: [16 << 10]u8 = undefined;
    const text = system.readFile(path, &buffer) catch return null;
    return parseCpuList(text) catch null;
}

/// "0-3,8,10-11\n"; an empty list is an empty set.
pub fn parseCpuList(text: []const u8) error{BadList}!CpuSet {
    var set: CpuSet = .initEmpty();
    const list = std.mem.trim(u8, text, " \t\r\n\x00");
    if (list.len == 0) return set;
    var items = std.mem.splitScalar(u8, list, ',');
    while (items.next()) |item| {
        const dash = std.mem.indexOfScalar(u8, item, '-');
        const first = parseCpu(item[0 .. dash orelse item.len]) orelse return error.BadList;
        const end = if (dash) |at| item[at + 1 ..] else item;
        const last = parseCpu(end) orelse return error.BadList;
        if (last < first) return error.BadList;
        set.setRangeValue(.{ .start = first, .end = last + 1 }, true);
    }
    return set;
}

fn parseCpu(text: []const u8) ?usize {
    const id = std.fmt.parseInt(usize, text, 10) catch return null;
    return if (id < cpu_count_max) id else null;
}

const testing = std.testing;
const Fixture = @import("../testing/fixture.zig").Fixture;

test parseCpuList {
    try testing.expectEqual(0, (try parseCpuList("\n")).count());
    const set = try parseCpuList("0-2,5,8191\n");
    try testing.expectEqual(5, set.count());
    inline for (.{ 0, 1, 2, 5, 8191 }) |cpu| try testing.expect(set.isSet(cpu));
    inline for (.{ "3-1", "a", "1,,2", "-", "8192", "0-8192", "1-", "18446744073709551616" }) |bad|
        try testing.expectError(error.BadList, parseCpuList(bad));
}

fn setOf(list: []const u8) CpuSet {
    return parseCpuList(list) catch unreachable;
}

test "one node, one CPU a core" {
    var fixture: Fixture = try .init(&.{
        .{ "cpu/online", "0-1\n" },
        .{ "cpu/cpu0/topology/core_cpus_list", "0\n" },
        .{ "cpu/cpu1/topology/core_cpus_list", "1\n" },
        .{ "node/online", "0\n" },
        .{ "node/node0/cpulist", "0-1\n" },
    });
    defer fixture.deinit();
    var topology = try read(testing.allocator, fixture.dir(), setOf("0-1"));
    defer topology.deinit(testing.allocator);
    try testing.expectEqualSlices(Cpu, &.{
        .{ .id = 0, .core = 0, .node = 0 },
        .{ .id = 1, .core = 1, .node = 0 },
    }, topology.cpus);
    try testing.expectEqual(2, topology.core_count);
    try testing.expectEqual(1, topology.node_count);
    try testing.expectEqualSlices(u32, &.{0}, topology.node_ids);

    const pinned = try topology.place(testing.allocator, 2);
    defer testing.allocator.free(pinned);
    try testing.expectEqual(setOf("0"), pinned[0].cpus);
    try testing.expectEqual(setOf("1"), pinned[1].cpus);
    try testing.expectEqual(1, pinned[1].onlyCpu());
    try testing.expect(!pinned[1].has_near_memory);
    const loose = try topology.place(testing.allocator, 1);
    defer testing.allocator.free(loose);
    try testing.expectEqual(setOf("0-1"), loose[0].cpus);
    try testing.expectEqual(null, loose[0].onlyCpu());
}

/// Two sockets of two nodes each, two cores a node, two threads a core: CPU n and n + 8 share a
/// core.
fn twoSockets() !Fixture {
    var fixture: Fixture = try .init(&.{
        .{ "cpu/online", "0-15\n" },
        .{ "node/online", "0-3\n" },
        .{ "node/node0/cpulist", "0-1,8-9\n" },
        .{ "node/node1/cpulist", "2-3,10-11\n" },
        .{ "node/node2/cpulist", "4-5,12-13\n" },
        .{ "node/node3/cpulist", "6-7,14-15\n" },
    });
    errdefer fixture.deinit();
    for (0..16) |cpu| {
        var path: [64]u8 = undefined;
        var list: [16]u8 = undefined;
        try fixture.write(
            try std.fmt.bufPrint(&path, "cpu/cpu{d}/topology/thread_siblings_list", .{cpu}),
            try std.fmt.bufPrint(&list, "{d},{d}\n", .{ cpu % 8, cpu % 8 + 8 }),
        );
    }
    return fixture;
}

test "two sockets with two nodes each and two threads a core" {
    var fixture = try twoSockets();
    defer fixture.deinit();
    var topology = try read(testing.allocator, fixture.dir(), setOf("0-15"));
    defer topology.deinit(testing.allocator);
    try testing.expectEqual(8, topology.core_count);
    try testing.expectEqual(4, topology.node_count);
    try testing.expectEqual(Cpu{ .id = 13, .core = 5, .node = 2 }, topology.cpus[13]);

    const placements = try topology.place(testing.allocator, 9);
    defer testing.allocator.free(placements);
    for (
        placements[0..8],
        [_]u32{ 0, 2, 4, 6, 1, 3, 5, 7 },
        [_]u32{ 0, 1, 2, 3, 0, 1, 2, 3 },
    ) |p, cpu, node| {
        try testing.expectEqual(1, p.cpus.count());
        try testing.expect(p.cpus.isSet(cpu));
        try testing.expectEqual(node, p.node);
        try testing.expectEqual(node, p.node_id);
        try testing.expect(p.has_near_memory);
    }
    try testing.expectEqual(setOf("0-1,8-9"), placements[8].cpus);
}

test "a container that sees half the cores" {
    var fixture = try twoSockets();
    defer fixture.deinit();
    // Node 1's core 3 by its second thread only, and all of node 3.
    var topology = try read(testing.allocator, fixture.dir(), setOf("6-7,11,14-15"));
    defer topology.deinit(testing.allocator);
    try testing.expectEqualSlices(Cpu, &.{
        .{ .id = 6, .core = 0, .node = 0 },
        .{ .id = 7, .core = 1, .node = 0 },
        .{ .id = 11, .core = 2, .node = 1 },
        .{ .id = 14, .core = 0, .node = 0 },
        .{ .id = 15, .core = 1, .node = 0 },
    }, topology.cpus);
    try testing.expectEqual(16, topology.cpu_count_online);
    const placements = try topology.place(testing.allocator, 3);
    defer testing.allocator.free(placements);
    // Nodes count from 0 here, but keep the system's numbers.
    try testing.expectEqualSlices(u32, &.{ 3, 1 }, topology.node_ids);
    try testing.expectEqual(1, placements[1].node);
    try testing.expectEqual(1, placements[1].node_id);
    try testing.expectEqual(3, placements[2].node_id);
    try testing.expectEqual(setOf("6"), placements[0].cpus);
    try testing.expectEqual(setOf("11"), placements[1].cpus);
    try testing.expectEqual(setOf("7"), placements[2].cpus);
}

test "cores that are offline" {
    var fixture: Fixture = try .init(&.{
        .{ "cpu/online", "0,3\n" },
        .{ "cpu/cpu0/topology/core_cpus_list", "0\n" },
        .{ "cpu/cpu3/topology/core_cpus_list", "3\n" },
        .{ "node/online", "0\n" },
        .{ "node/node0/cpulist", "0,3\n" },
    });
    defer fixture.deinit();
    // The affinity mask keeps CPUs that have gone offline.
    var topology = try read(testing.allocator, fixture.dir(), setOf("0-3"));
    defer topology.deinit(testing.allocator);
    try testing.expectEqual(2, topology.core_count);
    try testing.expectEqual(2, topology.cpu_count_online);
    try testing.expectEqual(3, topology.cpus[1].id);
}

test "a system that shows nothing" {
    var fixture: Fixture = try .init(&.{});
    defer fixture.deinit();
    var topology = try read(testing.allocator, fixture.dir(), setOf("2,4"));
    defer topology.deinit(testing.allocator);
    try testing.expectEqual(2, topology.core_count);
    try testing.expectEqual(1, topology.node_count);
}

test "this machine" {
    var topology = try readMachine(testing.allocator);
    defer topology.deinit(testing.allocator);
    try testing.expect(topology.core_count >= 1);
    try testing.expect(topology.cpus.len >= topology.core_count);
    const before = allowedCpus();
    defer bind(before);
    var one: CpuSet = .initEmpty();
    one.set(topology.cpus[topology.cpus.len - 1].id);
    bind(one);
    try testing.expectEqual(one, allowedCpus());
}
