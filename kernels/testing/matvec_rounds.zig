//! What the workers of a product cost and gain on this machine: an empty round of the team, and a
//! product on all cores with workers that are bound to their cores and with such that are not.
const std = @import("std");
const dots = @import("../matvec/dot.zig");
const Team = @import("../matvec/team.zig").Team;
const Teams = @import("../matvec/teams.zig").Teams;
const ways = @import("matvec_ways.zig");

const rounds = 41;
/// Empty rounds that are timed together.
const round_count = 1000;
/// Products before the one that is timed.
const warm_count = 4;
/// A matrix beyond this comes from memory.
const cache_bytes = 32 << 20;
/// Long enough for every worker to fall asleep.
const sleep_ns = 2 * std.time.ns_per_ms;

pub fn measure(gpa: std.mem.Allocator, out: *std.Io.Writer, data: *const ways.Data) !void {
    var teams: Teams = .{};
    const bound = try teams.acquire(gpa, 0, true);
    defer teams.release(bound);
    const free = try teams.acquire(gpa, 0, false);
    defer teams.release(free);
    try out.print("\n{d} workers\n", .{bound.placements.len});
    const line = "{s:<54} {d:>8.2}us\n";
    try out.print(line, .{ "an empty round, workers awake", try emptyRound(bound, true) });
    try out.print(line, .{ "an empty round, workers asleep", try emptyRound(bound, false) });
    var samples: [2][rounds]f64 = undefined;
    for (0..rounds) |round| for ([_]*Team{ bound, free }, &samples) |team, *times| {
        // The first ones wake this team while the other one falls asleep.
        for (0..warm_count) |_| _ = try timeProduct(team, data);
        times[round] = try timeProduct(team, data);
    };
    const names = [_][]const u8{ "product, workers bound to cores", "product, workers anywhere" };
    for (names, &samples) |name, *times|
        try out.print("{s:<54} {d:>8.1}us, p90 {d:.1}us\n", .{
            name, quantile(times, 50), quantile(times, 90),
        });
}

/// Microseconds of a round in which no worker has anything to do, the median.
fn emptyRound(team: *Team, awake: bool) !f64 {
    const Nothing = struct {
        fn work(_: *anyopaque, _: u32) void {}
    };
    const count: u32 = @intCast(team.placements.len);
    var unused: u8 = 0;
    const each: usize = if (awake) round_count else 1;
    var times: [rounds]f64 = undefined;
    for (&times) |*time| {
        if (!awake) std.Thread.sleep(sleep_ns);
        var timer = try std.time.Timer.start();
        for (0..each) |_| team.run(count, .{ .context = &unused, .function = Nothing.work });
        time.* = @as(f64, @floatFromInt(timer.read())) / 1e3 / @as(f64, @floatFromInt(each));
    }
    return quantile(&times, 50);
}

const Round = struct {
    data: *const ways.Data,
    worker_count: u32,

    fn work(context: *anyopaque, worker: u32) void {
        const round: *const Round = @ptrCast(@alignCast(context));
        const tile_count = round.data.rows / dots.tile_rows;
        const begin = tile_count * worker / round.worker_count;
        const end = tile_count * (worker + 1) / round.worker_count;
        if (round.data.bytes() > cache_bytes)
            return ways.multiplyRange(.int8, .{ .is_streaming = true }, round.data, begin, end);
        ways.multiplyRange(.int8, .{}, round.data, begin, end);
    }
};

/// Microseconds of one product, the tiles split evenly.
fn timeProduct(team: *Team, data: *const ways.Data) !f64 {
    var round: Round = .{ .data = data, .worker_count = @intCast(team.placements.len) };
    var timer = try std.time.Timer.start();
    team.run(round.worker_count, .{ .context = &round, .function = Round.work });
    return @as(f64, @floatFromInt(timer.read())) / 1e3;
}

fn quantile(times: []f64, percent: usize) f64 {
    std.mem.sort(f64, times, {}, std.sort.asc(f64));
    return times[times.len * percent / 100];
}
