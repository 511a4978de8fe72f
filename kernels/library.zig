//! Root of libdequantizer.so: checks the arguments of every call, turns errors into abi.Status, and
//! exports exactly abi.functions, each with the type that abi.zig gives it.
const std = @import("std");
const abi = @import("abi.zig");
const codecs = @import("codecs.zig");
const dispatch = @import("dispatch.zig");
const handles_file = @import("handles.zig");
const job_file = @import("convert/job.zig");
const decode_file = @import("convert/matrix.zig");
const plan_file = @import("convert/plan.zig");
const cgroup = @import("machine/cgroup.zig");
const describe = @import("machine/describe.zig");
const topology = @import("machine/topology.zig");
const matrix_file = @import("matvec/matrix.zig");
const multiply = @import("matvec/multiply.zig");
const stream_file = @import("bench/stream.zig");
const teams_file = @import("matvec/teams.zig");
const Job = job_file.Job;
const Matrix = matrix_file.Matrix;
const Stream = stream_file.Stream;

const gpa = std.heap.c_allocator;

/// More jobs at once than any program has a use for.
const job_count_max = 64;

/// A model has a few hundred weights.
const matrix_count_max = 256;
const stream_count_max = 8;

/// Guards the handles: calls may come from several threads of the host.
var mutex: std.Thread.Mutex = .{};
var jobs: handles_file.Handles(Job, job_count_max) = .{};
var matrices: handles_file.Handles(Matrix, matrix_count_max) = .{};
var streams: handles_file.Handles(Stream, stream_count_max) = .{};
var teams: teams_file.Teams = .{};

const CallError = error{
    BadArgument,
    BadPlan,
    BadHandle,
    TooMany,
    OutOfMemory,
    Unsupported,
    MemoryLimit,
    ThreadFailed,
    OutOfRange,
    NoProducts,
    FloatOnly,
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
        error.OutOfRange => .out_of_range,
        error.NoProducts => .no_products,
        error.FloatOnly => .float_only,
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

    pub fn dq_machine_workers(places: [*]abi.WorkerPlace, count_max: u32) callconv(.c) u32 {
        return describeWorkers(places[0..count_max]) catch 0;
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

    pub fn dq_job_file(job: u32, file: u32, report: *abi.FileReport) callconv(.c) abi.Status {
        mutex.lock();
        defer mutex.unlock();
        const found = jobs.get(job) catch |err| return statusOf(err);
        report.* = found.fileReport(file) catch |err| return statusOf(err);
        return .ok;
    }

    pub fn dq_job_hashes(
        job: u32,
        first: u32,
        hashes: [*]u8,
        count: u32,
    ) callconv(.c) abi.Status {
        mutex.lock();
        defer mutex.unlock();
        const found = jobs.get(job) catch |err| return statusOf(err);
        const steps = found.stepHashes(first, count) catch |err| return statusOf(err);
        for (steps, 0..) |*tree, i| @memcpy(hashes[i * 32 ..][0..32], &tree.hash);
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

    pub fn dq_matrix_load(
        plan: [*]const u8,
        plan_size: u32,
        options: *const abi.MatrixOptions,
        matrix: *u32,
    ) callconv(.c) abi.Status {
        return statusOf(loadMatrix(plan[0..plan_size], options, matrix));
    }

    pub fn dq_matrix_poll(matrix: u32, progress: *abi.Progress) callconv(.c) abi.Status {
        const found = borrow(&matrices, matrix) catch |err| return statusOf(err);
        defer giveBack(found);
        progress.* = found.progress();
        return .ok;
    }

    pub fn dq_matrix_cancel(matrix: u32) callconv(.c) abi.Status {
        const found = borrow(&matrices, matrix) catch |err| return statusOf(err);
        defer giveBack(found);
        found.cancel();
        return .ok;
    }

    pub fn dq_matrix_report(matrix: u32, report: *abi.Report) callconv(.c) abi.Status {
        const found = borrow(&matrices, matrix) catch |err| return statusOf(err);
        defer giveBack(found);
        if (found.isRunning()) return .bad_argument;
        report.* = found.report();
        return .ok;
    }

    pub fn dq_matrix_info(matrix: u32, info: *abi.MatrixInfo) callconv(.c) abi.Status {
        const found = borrow(&matrices, matrix) catch |err| return statusOf(err);
        defer giveBack(found);
        if (!isReady(found)) return .bad_argument;
        info.* = found.info();
        return .ok;
    }

    pub fn dq_matrix_share(
        matrix: u32,
        worker: u32,
        share: *abi.MatrixShare,
    ) callconv(.c) abi.Status {
        const found = borrow(&matrices, matrix) catch |err| return statusOf(err);
        defer giveBack(found);
        if (!isReady(found)) return .bad_argument;
        share.* = found.shareInfo(worker) catch |err| return statusOf(err);
        return .ok;
    }

    pub fn dq_matrix_multiply(
        matrix: u32,
        request: *const abi.MatrixRequest,
    ) callconv(.c) abi.Status {
        return statusOf(multiplyMatrix(matrix, request, &.{}));
    }

    pub fn dq_matrix_repeat(
        matrix: u32,
        request: *const abi.MatrixRequest,
        times: [*]u64,
        count: u32,
    ) callconv(.c) abi.Status {
        return statusOf(multiplyMatrix(matrix, request, times[0..count]));
    }

    pub fn dq_matrix_reference(
        matrix: u32,
        request: *const abi.MatrixRequest,
    ) callconv(.c) abi.Status {
        return statusOf(startReference(matrix, request));
    }

    pub fn dq_matrix_reference_read(matrix: u32, sums: [*]f64, count: u32) callconv(.c) abi.Status {
        const found = borrow(&matrices, matrix) catch |err| return statusOf(err);
        defer giveBack(found);
        if (!isReady(found) or found.reference.len != count) return .bad_argument;
        @memcpy(sums[0..count], found.reference);
        return .ok;
    }

    pub fn dq_matrix_destroy(matrix: u32) callconv(.c) abi.Status {
        return destroy(&matrices, matrix);
    }

    pub fn dq_stream_create(
        options: *const abi.StreamOptions,
        stream: *u32,
    ) callconv(.c) abi.Status {
        return statusOf(createStream(options, stream));
    }

    pub fn dq_stream_measure(stream: u32, kind: u32, elapsed_ns: *u64) callconv(.c) abi.Status {
        const what = std.meta.intToEnum(abi.Stream, kind) catch return .bad_argument;
        const found = borrow(&streams, stream) catch |err| return statusOf(err);
        defer giveBack(found);
        elapsed_ns.* = found.measure(what);
        return .ok;
    }

    pub fn dq_stream_decode(
        stream: u32,
        request: *const abi.StreamDecode,
        pass: *abi.StreamPass,
    ) callconv(.c) abi.Status {
        if (!plan_file.enumsAreValid(abi.StreamDecode, request)) return .bad_argument;
        if (request.reserved != 0) return .bad_argument;
        const found = borrow(&streams, stream) catch |err| return statusOf(err);
        defer giveBack(found);
        pass.* = found.decode(request) catch |err| return statusOf(err);
        return .ok;
    }

    pub fn dq_stream_destroy(stream: u32) callconv(.c) abi.Status {
        return destroy(&streams, stream);
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

fn describeWorkers(places: []abi.WorkerPlace) error{OutOfMemory}!u32 {
    var machine = try topology.readMachine(gpa);
    defer machine.deinit(gpa);
    return describe.describeWorkers(gpa, machine, cgroup.readMachine(), places);
}

fn decode(request: *const abi.DecodeRequest, non_finite_count: *u64) CallError!void {
    if (!plan_file.enumsAreValid(abi.DecodeRequest, request)) return error.BadArgument;
    try dispatch.checkEnvironment();
    non_finite_count.* = try decode_file.decode(gpa, dispatch.active(), request);
}

fn checkOptions(options: *const abi.JobOptions) CallError!void {
    if (!plan_file.enumsAreValid(abi.JobOptions, options)) return error.BadArgument;
    if (options.check_scales > 1 or options.sync > 1) return error.BadArgument;
    if (options.keep_done > 1 or options.hashes > 1) return error.BadArgument;
    if (options.hashes == 1 and options.kind == .verify) return error.BadArgument;
    if (options.drop_cache > 1) return error.BadArgument;
    if (options.kind == .load) return error.BadArgument; // of matrices
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

/// The object of a handle, which its destruction waits for until it is given back.
fn borrow(handles: anytype, handle: u32) error{BadHandle}!@TypeOf(handles.slots[0].item.?) {
    mutex.lock();
    defer mutex.unlock();
    const found = try handles.get(handle);
    _ = found.user_count.fetchAdd(1, .acquire);
    return found;
}

fn giveBack(found: anytype) void {
    _ = found.user_count.fetchSub(1, .release);
}

fn destroy(handles: anytype, handle: u32) abi.Status {
    const found = blk: {
        mutex.lock();
        defer mutex.unlock();
        break :blk handles.remove(handle) catch |err| return statusOf(err);
    };
    found.destroy();
    return .ok;
}

fn isReady(matrix: *const Matrix) bool {
    return !matrix.isRunning() and matrix.is_loaded;
}

fn loadMatrix(plan: []const u8, options: *const abi.MatrixOptions, handle: *u32) CallError!void {
    if (!plan_file.enumsAreValid(abi.MatrixOptions, options)) return error.BadArgument;
    if (options.reserved != 0 or options.numa > 1) return error.BadArgument;
    const matrix = try Matrix.create(gpa, &teams, plan, options);
    errdefer matrix.destroy();
    try matrix.startLoad();
    mutex.lock();
    defer mutex.unlock();
    handle.* = try matrices.add(matrix);
}

/// Once, or once for each of `times`.
fn multiplyMatrix(handle: u32, request: *const abi.MatrixRequest, times: []u64) CallError!void {
    if (!plan_file.enumsAreValid(abi.MatrixRequest, request)) return error.BadArgument;
    const matrix = try borrow(&matrices, handle);
    defer giveBack(matrix);
    if (!isReady(matrix)) return error.BadArgument;
    const checked = try multiply.check(matrix, request);
    if (times.len == 0) {
        if (!multiply.run(matrix, checked)) return error.OutOfRange;
        return;
    }
    for (times) |*ns| {
        var timer = std.time.Timer.start() catch return error.Unsupported;
        if (!multiply.run(matrix, checked)) return error.OutOfRange;
        ns.* = timer.read();
    }
}

fn startReference(handle: u32, request: *const abi.MatrixRequest) CallError!void {
    if (!plan_file.enumsAreValid(abi.MatrixRequest, request)) return error.BadArgument;
    const matrix = try borrow(&matrices, handle);
    defer giveBack(matrix);
    if (!isReady(matrix)) return error.BadArgument;
    const item_count = matrix.step().batch_count;
    if (request.item >= item_count or request.batch < 1 or request.batch > abi.batch_max)
        return error.BadArgument;
    if (request.x_count != matrix.columns * request.batch or request.x == 0 or request.x % 4 != 0)
        return error.BadArgument;
    try matrix.startReference(request);
}

fn createStream(options: *const abi.StreamOptions, handle: *u32) CallError!void {
    const stream = try Stream.create(gpa, &teams, options);
    errdefer stream.destroy();
    mutex.lock();
    defer mutex.unlock();
    handle.* = try streams.add(stream);
}
