//! A running plan: one thread that leads the engine, and the state that calls from outside look at.
const std = @import("std");
const abi = @import("../abi.zig");
const cgroup = @import("../machine/cgroup.zig");
const describe = @import("../machine/describe.zig");
const pool = @import("../machine/pool.zig");
const topology = @import("../machine/topology.zig");
const plan_file = @import("plan.zig");
const Engine = @import("engine.zig").Engine;
const Fault = @import("fault.zig").Fault;
const Plan = plan_file.Plan;
const Setup = @import("setup.zig").Setup;
const Tree = @import("tree.zig").Tree;

pub const Error = plan_file.Error || error{ MemoryLimit, ThreadFailed };

pub const Job = struct {
    gpa: std.mem.Allocator,
    engine: Engine,
    thread: std.Thread,
    timer: std.time.Timer,
    elapsed_ns: u64,
    /// Written last by the job's thread: what it wrote before may be read after this is false.
    running: std.atomic.Value(bool),

    /// Checks the plan, and starts the job's thread.
    pub fn start(
        gpa: std.mem.Allocator,
        bytes: []const u8,
        options: *const abi.JobOptions,
    ) Error!*Job {
        const job = try gpa.create(Job);
        errdefer gpa.destroy(job);
        var machine = try topology.readMachine(gpa);
        defer machine.deinit(gpa);
        {
            var plan: Plan = try .parse(gpa, bytes, options.kind);
            errdefer plan.deinit(gpa);
            var setup: Setup = try .init(gpa, plan, options, coreCount(machine));
            errdefer setup.deinit(gpa);
            try job.engine.init(gpa, plan, setup, options, machine);
        }
        errdefer job.engine.deinit();
        job.gpa = gpa;
        job.elapsed_ns = 0;
        job.running = .init(true);
        job.timer = std.time.Timer.start() catch return error.ThreadFailed;
        job.thread = pool.spawn(lead, .{job}) catch return error.ThreadFailed;
        return job;
    }

    fn lead(job: *Job) void {
        job.engine.run();
        job.elapsed_ns = job.timer.read();
        job.running.store(false, .release);
    }

    pub fn isRunning(job: *const Job) bool {
        return job.running.load(.acquire);
    }

    pub fn cancel(job: *Job) void {
        if (!job.isRunning()) return;
        job.engine.stop.fail(.{ .status = .cancelled }) catch {};
    }

    /// Cancels, waits for the threads and frees everything.
    pub fn destroy(job: *Job) void {
        job.cancel();
        job.thread.join();
        job.engine.deinit();
        job.gpa.destroy(job);
    }

    pub fn progress(job: *Job) abi.Progress {
        const running = job.isRunning();
        return .{
            .bytes_done = job.engine.bytes_done.load(.monotonic),
            .bytes_total = job.engine.bytes_total,
            .step = job.engine.step_current.load(.monotonic),
            .running = @intFromBool(running),
            .status = if (running) .ok else job.status(),
            .files_done = job.engine.files_done.load(.acquire),
        };
    }

    pub fn fileReport(job: *const Job, file: u32) error{BadArgument}!abi.FileReport {
        if (file >= job.engine.seals.len) return error.BadArgument;
        return job.engine.fileReport(file);
    }

    /// Of a job that hashes, and has ended.
    pub fn stepHashes(job: *const Job, first: u32, count: u32) error{BadArgument}![]const Tree {
        const trees = job.engine.step_trees;
        if (job.isRunning() or first > trees.len or count > trees.len - first)
            return error.BadArgument;
        return trees[first..][0..count];
    }

    fn status(job: *const Job) abi.Status {
        if (job.engine.stop.first) |fault| return fault.status;
        return if (job.engine.tally.mismatch.count > 0) .mismatch else .ok;
    }

    /// Only of a job that has ended.
    pub fn report(job: *Job) abi.Report {
        std.debug.assert(!job.isRunning());
        const engine = &job.engine;
        const fault: Fault = engine.stop.first orelse .{ .status = job.status() };
        const tally = engine.tally;
        return .{
            .status = fault.status,
            .errno = fault.errno,
            .operation = fault.operation,
            .file = fault.file,
            .step = fault.step,
            .thread_count = engine.thread_count,
            .io = engine.setup.io,
            .target_io = engine.setup.target_io,
            .refused_file = engine.refusedFile(),
            .source = fault.source,
            .memory_bytes = engine.budget.peak.load(.monotonic),
            .bytes_read = tally.bytes_read,
            .bytes_written = tally.bytes_written,
            .elements_compared = tally.elements_compared,
            .non_finite_count = tally.non_finite_count,
            .non_finite_step = tally.non_finite_step,
            .mismatch_step = tally.mismatch.step,
            .mismatch_count = tally.mismatch.count,
            .mismatch_element = tally.mismatch.element,
            .mismatch_found = tally.mismatch.found,
            .mismatch_expected = tally.mismatch.expected,
            .elapsed_ns = job.elapsed_ns,
        };
    }
};

/// What the job would need, without touching a file.
pub fn measure(
    gpa: std.mem.Allocator,
    bytes: []const u8,
    options: *const abi.JobOptions,
) Error!abi.Measure {
    var machine = try topology.readMachine(gpa);
    defer machine.deinit(gpa);
    var plan: Plan = try .parse(gpa, bytes, options.kind);
    defer plan.deinit(gpa);
    var setup: Setup = try .init(gpa, plan, options, coreCount(machine));
    defer setup.deinit(gpa);
    return .{
        .thread_count = setup.thread_count,
        .io = setup.io,
        .target_io = setup.target_io,
        .tile_count = setup.tileCount(plan),
        .memory_bytes = setup.memoryBytes(),
    };
}

fn coreCount(machine: topology.Topology) u32 {
    return describe.defaultThreadCount(machine, cgroup.readMachine());
}
