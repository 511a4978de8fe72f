//! The CPU time and memory that control groups grant this process, for both hierarchies (Linux:
//! Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, scheduler/sched-bwc.rst).
//! Everything is read below one folder that stands for "/", so that tests bring their own. What
//! cannot be read does not limit.
const std = @import("std");
const Dir = std.fs.Dir;

pub const Limits = struct {
    /// Thousandths of a CPU.
    cpu_milli: ?u32 = null,
    /// Bytes.
    memory: ?u64 = null,

    fn narrow(limits: *Limits, other: Limits) void {
        if (other.cpu_milli) |milli| limits.cpu_milli = @min(milli, limits.cpu_milli orelse milli);
        if (other.memory) |bytes| limits.memory = @min(bytes, limits.memory orelse bytes);
    }
};

/// v1 has a hierarchy for each controller, v2 one for all.
const Hierarchy = enum { v2, v1_cpu, v1_memory };

/// The narrowest limits from this process's group up to the root of what it sees.
pub fn read(root: Dir) Limits {
    var limits: Limits = .{};
    var cgroup_buffer: [16 << 10]u8 = undefined;
    var mount_buffer: [256 << 10]u8 = undefined;
    const groups = root.readFile("proc/self/cgroup", &cgroup_buffer) catch return limits;
    const mounts = root.readFile("proc/self/mountinfo", &mount_buffer) catch return limits;
    for (std.enums.values(Hierarchy)) |hierarchy| {
        const group = findGroup(groups, hierarchy) orelse continue;
        const mount = findMount(mounts, hierarchy) orelse continue;
        var path_buffer: [std.fs.max_path_bytes]u8 = undefined;
        var path = join(&path_buffer, mount, group) orelse continue;
        while (true) {
            if (root.openDir(path, .{})) |folder| {
                var open = folder;
                defer open.close();
                limits.narrow(readFolder(open, hierarchy));
            } else |_| {}
            if (path.len <= mount.point.len - 1) break;
            path = std.fs.path.dirname(path) orelse break;
        }
    }
    return limits;
}

pub fn readMachine() Limits {
    var root = std.fs.openDirAbsolute("/", .{}) catch return .{};
    defer root.close();
    return read(root);
}

const Mount = struct {
    /// The group that is shown at the mount point.
    group: []const u8,
    point: []const u8,
};

/// Path of the process's group: "0::/a/b" in v2, "4:cpu,cpuacct:/a/b" in v1.
fn findGroup(groups: []const u8, hierarchy: Hierarchy) ?[]const u8 {
    var lines = std.mem.tokenizeScalar(u8, groups, '\n');
    while (lines.next()) |line| {
        var parts = std.mem.splitScalar(u8, line, ':');
        _ = parts.next() orelse continue;
        const controllers = parts.next() orelse continue;
        if (matches(controllers, hierarchy)) return parts.rest();
    }
    return null;
}

/// "31 23 0:28 /group /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate".
fn findMount(mounts: []const u8, hierarchy: Hierarchy) ?Mount {
    var lines = std.mem.tokenizeScalar(u8, mounts, '\n');
    while (lines.next()) |line| {
        const separator = std.mem.indexOf(u8, line, " - ") orelse continue;
        var kind = std.mem.tokenizeScalar(u8, line[separator + 3 ..], ' ');
        const file_system = kind.next() orelse continue;
        _ = kind.next() orelse continue;
        const wanted = if (hierarchy == .v2) "cgroup2" else "cgroup";
        if (!std.mem.eql(u8, file_system, wanted)) continue;
        if (hierarchy != .v2 and !matches(kind.next() orelse continue, hierarchy)) continue;
        var fields = std.mem.tokenizeScalar(u8, line[0..separator], ' ');
        for (0..3) |_| _ = fields.next();
        const group = fields.next() orelse continue;
        const point = fields.next() orelse continue;
        if (point.len < 2 or point[0] != '/') continue;
        return .{ .group = group, .point = point };
    }
    return null;
}

fn matches(controllers: []const u8, hierarchy: Hierarchy) bool {
    const name = switch (hierarchy) {
        .v2 => return controllers.len == 0,
        .v1_cpu => "cpu",
        .v1_memory => "memory",
    };
    var each = std.mem.splitScalar(u8, controllers, ',');
    while (each.next()) |controller| if (std.mem.eql(u8, controller, name)) return true;
    return false;
}

/// The folder of `group`, without the leading slash. A container often sees only its own group,
/// under a path of the host that is not mounted here: then the mount point itself is the group.
fn join(buffer: []u8, mount: Mount, group: []const u8) ?[]const u8 {
    const point = mount.point[1..];
    const inside = if (std.mem.eql(u8, mount.group, "/"))
        group
    else if (std.mem.startsWith(u8, group, mount.group))
        group[mount.group.len..]
    else
        "";
    const relative = std.mem.trim(u8, inside, "/");
    if (relative.len == 0 or std.mem.startsWith(u8, relative, "..")) return point;
    return std.fmt.bufPrint(buffer, "{s}/{s}", .{ point, relative }) catch null;
}

fn readFolder(folder: Dir, hierarchy: Hierarchy) Limits {
    var buffer: [128]u8 = undefined;
    switch (hierarchy) {
        .v2 => {
            var limits: Limits = .{};
            // The root group has neither file; a group may lack the one of a controller that is
            // off.
            if (folder.readFile("cpu.max", &buffer)) |text| {
                limits.cpu_milli = parseCpuMax(text);
            } else |_| {}
            if (folder.readFile("memory.max", &buffer)) |text| {
                limits.memory = parseMemory(text);
            } else |_| {}
            return limits;
        },
        .v1_cpu => {
            var period_buffer: [128]u8 = undefined;
            const quota = folder.readFile("cpu.cfs_quota_us", &buffer) catch return .{};
            const period = folder.readFile("cpu.cfs_period_us", &period_buffer) catch return .{};
            return .{ .cpu_milli = cpuMilli(trim(quota), trim(period)) };
        },
        .v1_memory => {
            const text = folder.readFile("memory.limit_in_bytes", &buffer) catch return .{};
            return .{ .memory = parseMemory(text) };
        },
    }
}

fn trim(text: []const u8) []const u8 {
    return std.mem.trim(u8, text, " \t\r\n");
}

/// "max 100000" or "150000 100000".
fn parseCpuMax(text: []const u8) ?u32 {
    var parts = std.mem.tokenizeAny(u8, text, " \n");
    const quota = parts.next() orelse return null;
    return cpuMilli(quota, parts.next() orelse return null);
}

fn cpuMilli(quota_text: []const u8, period_text: []const u8) ?u32 {
    const quota = std.fmt.parseInt(u64, quota_text, 10) catch return null; // "max", and -1 of v1
    const period = std.fmt.parseInt(u64, period_text, 10) catch return null;
    if (quota == 0 or period == 0) return null;
    const milli = std.math.mul(u64, quota, 1000) catch return null;
    return std.math.cast(u32, @max(1, milli / period));
}

/// "max", or bytes; v1 says "no limit" by a number near 2^63.
fn parseMemory(text: []const u8) ?u64 {
    const bytes = std.fmt.parseInt(u64, trim(text), 10) catch return null;
    return if (bytes >= 1 << 60) null else bytes;
}

const testing = std.testing;
const Fixture = @import("../testing/fixture.zig").Fixture;

fn expectLimits(expected: Limits, files: []const [2][]const u8) !void {
    var fixture: Fixture = try .init(files);
    defer fixture.deinit();
    try testing.expectEqual(expected, read(fixture.dir()));
}

test "v2: the narrowest group on the way to the root counts" {
    try expectLimits(.{ .cpu_milli = 1500, .memory = 1 << 30 }, &.{
        .{ "proc/self/cgroup", "0::/kube/pod\n" },
        .{ "proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n" },
        .{ "sys/fs/cgroup/kube/cpu.max", "150000 100000\n" },
        .{ "sys/fs/cgroup/kube/pod/cpu.max", "400000 100000\n" },
        .{ "sys/fs/cgroup/kube/memory.max", "max\n" },
        .{ "sys/fs/cgroup/kube/pod/memory.max", "1073741824\n" },
    });
}

test "v2: a container that sees its own group as the root" {
    try expectLimits(.{ .cpu_milli = 500, .memory = 4096 }, &.{
        .{ "proc/self/cgroup", "0::/\n" },
        .{ "proc/self/mountinfo", "30 23 0:26 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup rw\n" },
        .{ "sys/fs/cgroup/cpu.max", "50000 100000\n" },
        .{ "sys/fs/cgroup/memory.max", "4096\n" },
    });
}

test "v1: controllers in hierarchies of their own" {
    try expectLimits(.{ .cpu_milli = 2500, .memory = 2 << 30 }, &.{
        .{ "proc/self/cgroup", "5:memory:/job\n4:cpu,cpuacct:/job\n0::/\n" },
        .{
            "proc/self/mountinfo",
            "1 2 0:9 / /sys rw - sysfs sysfs rw\n" ++
                "31 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" ++
                "32 30 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" ++
                "33 30 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        },
        .{ "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "250000\n" },
        .{ "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n" },
        .{ "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n" },
        .{ "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n" },
        .{ "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n" },
        .{ "sys/fs/cgroup/memory/job/memory.limit_in_bytes", "2147483648\n" },
    });
}

test "no limits, and files that say nothing" {
    try expectLimits(.{}, &.{});
    try expectLimits(.{}, &.{
        .{ "proc/self/cgroup", "garbage\n0::/../outside\n" },
        .{
            "proc/self/mountinfo",
            "garbage\n30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        },
        .{ "sys/fs/cgroup/cpu.max", "max 100000\n" },
        .{ "sys/fs/cgroup/memory.max", "\n" },
    });
}

test "this machine's limits can be read" {
    const limits = readMachine();
    if (limits.memory) |bytes| try testing.expect(bytes > 0);
    if (limits.cpu_milli) |milli| try testing.expect(milli > 0);
}
