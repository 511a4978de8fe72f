//! Teams that are in use, by what they were asked for: matrices share threads.
const std = @import("std");
const assert = std.debug.assert;
const cgroup = @import("../machine/cgroup.zig");
const describe = @import("../machine/describe.zig");
const topology = @import("../machine/topology.zig");
const team_file = @import("team.zig");
const Team = team_file.Team;

/// More kinds of teams at once than any program has a use for.
const team_count_max = 16;

pub const Error = team_file.Error || error{TooMany};

const Entry = struct {
    team: *Team,
    is_bound: bool,
    user_count: u32,
};

pub const Teams = struct {
    mutex: std.Thread.Mutex = .{},
    entries: [team_count_max]?Entry = @splat(null),

    /// A team of `thread_count` workers (0: one for each core that this process may keep busy),
    /// bound to cores and nodes where `is_bound`. To be given back.
    pub fn acquire(
        teams: *Teams,
        gpa: std.mem.Allocator,
        thread_count: u32,
        is_bound: bool,
    ) Error!*Team {
        teams.mutex.lock();
        defer teams.mutex.unlock();
        var machine = try topology.readMachine(gpa);
        defer machine.deinit(gpa);
        const wanted = if (thread_count > 0)
            thread_count
        else
            describe.defaultThreadCount(machine, cgroup.readMachine());
        const count = @min(wanted, team_file.worker_count_max);
        var free: ?*?Entry = null;
        for (&teams.entries) |*slot| {
            const entry = if (slot.*) |*entry| entry else {
                if (free == null) free = slot;
                continue;
            };
            if (entry.team.placements.len != count or entry.is_bound != is_bound) continue;
            entry.user_count += 1;
            return entry.team;
        }
        const slot = free orelse return error.TooMany;
        const placements = try machine.place(gpa, count);
        errdefer gpa.free(placements);
        if (!is_bound) for (placements) |*placement| {
            placement.* = .anywhere();
        };
        const team = try Team.create(gpa, placements);
        slot.* = .{ .team = team, .is_bound = is_bound, .user_count = 1 };
        return team;
    }

    pub fn release(teams: *Teams, team: *Team) void {
        teams.mutex.lock();
        defer teams.mutex.unlock();
        for (&teams.entries) |*slot| {
            const entry = if (slot.*) |*entry| entry else continue;
            if (entry.team != team) continue;
            entry.user_count -= 1;
            if (entry.user_count > 0) return;
            slot.* = null;
            return team.destroy();
        }
        unreachable;
    }
};

const testing = std.testing;

test "who asks for the same gets the same, until the last one has given it back" {
    var teams: Teams = .{};
    const a = try teams.acquire(testing.allocator, 2, true);
    const b = try teams.acquire(testing.allocator, 2, true);
    const c = try teams.acquire(testing.allocator, 2, false);
    const d = try teams.acquire(testing.allocator, 3, true);
    try testing.expectEqual(a, b);
    try testing.expect(a != c and a != d and c != d);
    try testing.expectEqual(2, a.placements.len);
    teams.release(a);
    const e = try teams.acquire(testing.allocator, 2, true);
    try testing.expectEqual(b, e);
    for ([_]*Team{ b, c, d, e }) |team| teams.release(team);
    for (teams.entries) |entry| try testing.expectEqual(null, entry);
}
