//! The workers of products: threads that stay, bound to their cores, and a barrier. The thread that
//! asks for a product is worker 0, so that a product on one worker costs no synchronization, and on
//! several none of them waits for a thread that sleeps while its core is taken.
//!
//! A worker that has nothing to do looks at the signal for a while and then sleeps in a futex. On
//! two cores of Zen 3 an empty round takes 0.3 µs while the workers look, 10 to 50 µs from sleep.
const std = @import("std");
const assert = std.debug.assert;
const linux = std.os.linux;
const pool = @import("../machine/pool.zig");
const topology = @import("../machine/topology.zig");
const Futex = std.Thread.Futex;

/// Looks at the signal before a worker sleeps: 50 to 200 µs, by the length of the CPU's pause.
const look_count = 4096;

/// Bits of the signal that hold the number of workers of a round.
const count_bits = 10;
pub const worker_count_max = (1 << count_bits) - 1;

pub const Error = error{ OutOfMemory, ThreadFailed };

/// What a worker does in a round.
pub const Work = struct {
    context: *anyopaque,
    function: *const fn (context: *anyopaque, worker: u32) void,
};

pub const Team = struct {
    gpa: std.mem.Allocator,
    placements: []topology.Placement,
    threads: []std.Thread,
    /// One round at a time.
    mutex: std.Thread.Mutex = .{},
    /// Of the round that runs. Only its workers look at it.
    work: Work = undefined,
    /// Number of the round above the number of its workers; 0 workers: the end.
    signal: std.atomic.Value(u32) align(std.atomic.cache_line) = .init(1),
    /// Workers of the round, but for worker 0, that are not done.
    left: std.atomic.Value(u32) align(std.atomic.cache_line) = .init(0),
    sleepers: std.atomic.Value(u32) = .init(0),
    caller_sleeps: std.atomic.Value(bool) = .init(false),

    /// Takes over `placements`.
    pub fn create(gpa: std.mem.Allocator, placements: []topology.Placement) Error!*Team {
        assert(placements.len >= 1 and placements.len <= worker_count_max);
        const team = try gpa.create(Team);
        errdefer gpa.destroy(team);
        const threads = try gpa.alloc(std.Thread, placements.len - 1);
        errdefer gpa.free(threads);
        team.* = .{ .gpa = gpa, .placements = placements, .threads = threads };
        for (threads, 1..) |*thread, i| {
            thread.* = pool.spawn(main, .{ team, @as(u32, @intCast(i)) }) catch {
                team.stop(threads[0 .. i - 1]);
                return error.ThreadFailed;
            };
        }
        return team;
    }

    pub fn destroy(team: *Team) void {
        team.stop(team.threads);
        const gpa = team.gpa;
        gpa.free(team.threads);
        gpa.free(team.placements);
        gpa.destroy(team);
    }

    fn stop(team: *Team, threads: []const std.Thread) void {
        team.send(0);
        for (threads) |thread| thread.join();
    }

    /// Runs `work` on workers 0 … count - 1, of which this thread is the first, and returns when
    /// all are done.
    pub fn run(team: *Team, count: u32, work: Work) void {
        assert(count >= 1 and count <= team.placements.len);
        if (count == 1) return work.function(work.context, 0);
        team.mutex.lock();
        defer team.mutex.unlock();
        moveTo(team.placements[0].cpus);
        team.work = work;
        team.left.store(count - 1, .monotonic);
        team.send(count);
        work.function(work.context, 0);
        team.awaitOthers();
    }

    fn send(team: *Team, count: u32) void {
        const round = team.signal.load(.monotonic) >> count_bits;
        team.signal.store(round +% 1 << count_bits | count, .seq_cst);
        if (team.sleepers.load(.seq_cst) > 0) Futex.wake(&team.signal, std.math.maxInt(u32));
    }

    fn awaitOthers(team: *Team) void {
        for (0..look_count) |_| {
            if (team.left.load(.acquire) == 0) return;
            std.atomic.spinLoopHint();
        }
        team.caller_sleeps.store(true, .seq_cst);
        while (true) {
            const left = team.left.load(.seq_cst);
            if (left == 0) break;
            Futex.wait(&team.left, left);
        }
        team.caller_sleeps.store(false, .monotonic);
    }

    fn main(team: *Team, worker: u32) void {
        topology.bind(team.placements[worker].cpus);
        var seen: u32 = 1;
        while (true) {
            seen = team.awaitSignal(seen);
            const count = seen & worker_count_max;
            if (count == 0) return;
            if (worker >= count) continue;
            team.work.function(team.work.context, worker);
            if (team.left.fetchSub(1, .seq_cst) == 1 and team.caller_sleeps.load(.seq_cst))
                Futex.wake(&team.left, 1);
        }
    }

    /// The signal once it is another than `seen`.
    fn awaitSignal(team: *Team, seen: u32) u32 {
        for (0..look_count) |_| {
            const now = team.signal.load(.acquire);
            if (now != seen) return now;
            std.atomic.spinLoopHint();
        }
        _ = team.sleepers.fetchAdd(1, .seq_cst);
        defer _ = team.sleepers.fetchSub(1, .monotonic);
        while (true) {
            const now = team.signal.load(.seq_cst);
            if (now != seen) return now;
            Futex.wait(&team.signal, seen);
        }
    }
};

/// Brings this thread to one of the CPUs, if it runs elsewhere, without binding it for good: it is
/// the host's. Left where the scheduler put it, it could share a core with another worker.
fn moveTo(cpus: topology.CpuSet) void {
    var cpu: usize = 0; // the kernel writes the lower half
    if (linux.E.init(linux.getcpu(&cpu, null)) != .SUCCESS) return;
    if (cpu < topology.cpu_count_max and cpus.isSet(cpu)) return;
    const before = topology.allowedCpus();
    topology.bind(cpus);
    topology.bind(before);
}

const testing = std.testing;

fn testPlacements(count: usize) ![]topology.Placement {
    const placements = try testing.allocator.alloc(topology.Placement, count);
    for (placements) |*placement| placement.* = .anywhere();
    return placements;
}

const Counts = struct {
    of: [6]std.atomic.Value(u32) = @splat(.init(0)),

    fn work(context: *anyopaque, worker: u32) void {
        const counts: *Counts = @ptrCast(@alignCast(context));
        _ = counts.of[worker].fetchAdd(1, .monotonic);
    }
};

test "every worker of a round runs once, however many rounds, awake or from sleep" {
    const team: *Team = try .create(testing.allocator, try testPlacements(6));
    defer team.destroy();
    var prng: std.Random.DefaultPrng = .init(5);
    var expected: [6]u32 = @splat(0);
    var counts: Counts = .{};
    for (0..2000) |round| {
        // From time to time long enough for the workers to fall asleep.
        if (round % 500 == 0) std.Thread.sleep(2 * std.time.ns_per_ms);
        const count = prng.random().intRangeAtMost(u32, 1, 6);
        team.run(count, .{ .context = &counts, .function = Counts.work });
        for (expected[0..count]) |*number| number.* += 1;
        for (expected, &counts.of) |number, *found|
            try testing.expectEqual(number, found.load(.monotonic));
    }
}

test "threads of the host take turns" {
    const team: *Team = try .create(testing.allocator, try testPlacements(3));
    defer team.destroy();
    var counts: Counts = .{};
    const Host = struct {
        fn main(t: *Team, c: *Counts) void {
            for (0..300) |_| t.run(3, .{ .context = c, .function = Counts.work });
        }
    };
    var hosts: [3]std.Thread = undefined;
    for (&hosts) |*host| host.* = try std.Thread.spawn(.{}, Host.main, .{ team, &counts });
    for (hosts) |host| host.join();
    for (counts.of[0..3]) |*found| try testing.expectEqual(900, found.load(.monotonic));
}

test "a team of one has no thread" {
    const team: *Team = try .create(testing.allocator, try testPlacements(1));
    defer team.destroy();
    var counts: Counts = .{};
    team.run(1, .{ .context = &counts, .function = Counts.work });
    try testing.expectEqual(1, counts.of[0].load(.monotonic));
}
