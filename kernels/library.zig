//! Root of libdequantizer.so: checks the arguments of every call, turns errors into abi.Status, and
//! exports exactly abi.functions, each with the type that abi.zig gives it.
const std = @import("std");
const abi = @import("abi.zig");
const codecs = @import("codecs.zig");
const dispatch = @import("dispatch.zig");
const handles_file = @import("handles.zig");
const job_file = @import("convert/job.zig");
const matrix = @import("convert/matrix.zig");
const plan_file = @import("convert/plan.zig");
const describe = @import("machine/describe.zig");
const topology = @import("machine/topology.zig");
const Job = job_file.Job;

const gpa = std.heap.c_allocator;

/// More jobs at once than any program has a use for.
const job_count_max = 64;

/// Guards `jobs`: calls may come from several threads of the host.
var mutex: std.Thread.Mutex = .{};
var jobs: handles_file.Handles(Job, job_count_max) = .{};

const CallError = error{
    BadArgument,
    BadPlan,
    BadHandle,
    TooMany,
    OutOfMemory,
    Unsupported,
    MemoryLimit,
    ThreadFailed,
};

fn statusOf(result: CallError!void) abi.Status {
    result catch |err| return switch (err) {
        error.BadArgument, error.BadPlan => .bad_argument,
        error.BadHandle => .bad_handle,
        error.TooMany => .too_many,
        error.OutOfMemory => .out_of_memory,
        error.Unsupported => .unsupported,
        error.MemoryLimit => .memory_limit,
        error.ThreadFailed => .io,
    };
    return .ok;
}

const exports = struct {
    pub fn dq_abi_hash() callconv(.c) u32 {
        return abi.hash;
    }

    pub fn dq_machine(machine: *abi.Machine) callconv(.c) abi.Status {
        return statusOf(describeMachine(machine));
    }

    pub fn dq_level_name(index: u32, name: [*]u8, name_size_max: u32) callconv(.c) u32 {
        if (index >= dispatch.count) return 0;
        const text = dispatch.nameOf(index);
        const size = @min(text.len, name_size_max);
        @memcpy(name[0..size], text[0..size]);
        return @intCast(size);
    }

    pub fn dq_level_select(name: [*]const u8, name_size: u32) callconv(.c) abi.Status {
        return statusOf(dispatch.select(name[0..name_size]));
    }

    pub fn dq_decode(
        request: *const abi.DecodeRequest,
        non_finite_count: *u64,
    ) callconv(.c) abi.Status {
        return statusOf(decode(request, non_finite_count));
    }

    pub fn dq_job_measure(
        plan: [*]const u8,
        plan_size: u32,
        options: *const abi.JobOptions,
        measure: *abi.Measure,
    ) callconv(.c) abi.Status {
        return statusOf(measureJob(plan[0..plan_size], options, measure));
    }

    pub fn dq_job_start(
        plan: [*]const u8,
        plan_size: u32,
        options: *const abi.JobOptions,
        job: *u32,
    ) callconv(.c) abi.Status {
        return statusOf(startJob(plan[0..plan_size], options, job));
    }

    pub fn dq_job_poll(job: u32, progress: *abi.Progress) callconv(.c) abi.Status {
        mutex.lock();
        defer mutex.unlock();
        const found = jobs.get(job) catch |err| return statusOf(err);
        progress.* = found.progress();
        return .ok;
    }

    pub fn dq_job_cancel(job: u32) callconv(.c) abi.Status {
        mutex.lock();
        defer mutex.unlock();
        const found = jobs.get(job) catch |err| return statusOf(err);
        found.cancel();
        return .ok;
    }

    pub fn dq_job_report(job: u32, report: *abi.Report) callconv(.c) abi.Status {
        mutex.lock();
        defer mutex.unlock();
        const found = jobs.get(job) catch |err| return statusOf(err);
        if (found.isRunning()) return .bad_argument;
        report.* = found.report();
        return .ok;
    }

    pub fn dq_job_destroy(job: u32) callconv(.c) abi.Status {
        const found = blk: {
            mutex.lock();
            defer mutex.unlock();
            break :blk jobs.remove(job) catch |err| return statusOf(err);
        };
        // Outside of the lock: this waits for the job's threads.
        found.destroy();
        return .ok;
    }
};

comptime {
    for (@typeInfo(abi.functions).@"struct".decls) |declaration| {
        const name = declaration.name;
        if (@TypeOf(@field(exports, name)) != @field(abi.functions, name))
            @compileError(name ++ " has another type than abi.zig declares");
        @export(&@field(exports, name), .{ .name = name });
    }
    const declared = @typeInfo(abi.functions).@"struct".decls.len;
    std.debug.assert(@typeInfo(exports).@"struct".decls.len == declared);
}

fn describeMachine(machine: *abi.Machine) CallError!void {
    var root = std.fs.openDirAbsolute("/", .{}) catch return error.Unsupported;
    defer root.close();
    var result = try describe.describe(gpa, root, topology.allowedCpus());
    const level = dispatch.activeName();
    @memcpy(result.level[0..level.len], level);
    result.level_mask = dispatch.mask();
    result.level_count = dispatch.count;
    machine.* = result;
}

fn decode(request: *const abi.DecodeRequest, non_finite_count: *u64) CallError!void {
    if (!plan_file.enumsAreValid(abi.DecodeRequest, request)) return error.BadArgument;
    try dispatch.checkEnvironment();
    non_finite_count.* = try matrix.decode(gpa, dispatch.active(), request);
}

fn checkOptions(options: *const abi.JobOptions) CallError!void {
    if (!plan_file.enumsAreValid(abi.JobOptions, options)) return error.BadArgument;
    if (options.check_scales > 1 or options.sync > 1) return error.BadArgument;
}

fn measureJob(
    plan: []const u8,
    options: *const abi.JobOptions,
    measure: *abi.Measure,
) CallError!void {
    try checkOptions(options);
    measure.* = try job_file.measure(gpa, plan, options);
}

fn startJob(plan: []const u8, options: *const abi.JobOptions, handle: *u32) CallError!void {
    try checkOptions(options);
    try dispatch.checkEnvironment();
    const job = try Job.start(gpa, plan, options);
    errdefer job.destroy();
    mutex.lock();
    defer mutex.unlock();
    handle.* = try jobs.add(job);
}
