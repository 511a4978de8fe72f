//! Whole jobs with the allocator that finds leaks, and with one that fails at every call.
const std = @import("std");
const abi = @import("../abi.zig");
const samples = @import("../testing/steps.zig");
const Job = @import("job.zig").Job;
const job_file = @import("job.zig");
const testing = std.testing;

/// A folder with a source of MXFP4 codes, and a plan that decodes and copies it.
const Case = struct {
    tmp: testing.TmpDir,
    plan: []u8,

    fn init() !Case {
        var tmp = testing.tmpDir(.{});
        errdefer tmp.cleanup();
        var source: [3 * 40 * 96 * 17 / 32]u8 = undefined;
        for (&source, 0..) |*byte, i| byte.* = @truncate(i * 7 % 251);
        try tmp.dir.writeFile(.{ .sub_path = "source", .data = &source });
        const steps = [_]abi.Step{
            samples.mxfp4(3, 40, 96, true),
            samples.copy(source.len),
            samples.mxfp4(3, 40, 96, false),
        };
        var buffer: [std.fs.max_path_bytes]u8 = undefined;
        const folder = try tmp.dir.realpath(".", &buffer);
        const stat = try std.posix.fstatat(tmp.dir.fd, "source", 0);
        const plan = try samples.encodeIn(testing.allocator, &steps, "head", folder, stat);
        return .{ .tmp = tmp, .plan = plan };
    }

    fn deinit(case: *Case) void {
        testing.allocator.free(case.plan);
        case.tmp.cleanup();
    }
};

fn optionsOf(kind: abi.JobKind, io: abi.IoMode) abi.JobOptions {
    return .{
        .kind = kind,
        .io = io,
        .thread_count = 3,
        .sync = 1,
        .memory_max = 1 << 24,
        .sample_tiles = 0,
        .check_scales = 0,
        .keep_done = 0,
        .hashes = 0,
        .target_io = io,
        .drop_cache = 1,
    };
}

fn finish(gpa: std.mem.Allocator, plan: []const u8, options: *const abi.JobOptions) !abi.Report {
    const job = try Job.start(gpa, plan, options);
    defer job.destroy();
    while (job.isRunning()) std.Thread.yield() catch {};
    try testing.expectEqual(0, job.progress().running);
    try testing.expectEqual(job.report().status, job.progress().status);
    return job.report();
}

test "convert, then verify, in each mode, without a leak" {
    var case: Case = try .init();
    defer case.deinit();
    for ([_]abi.IoMode{ .mmap, .pread, .direct }) |io| {
        const converted = try finish(testing.allocator, case.plan, &optionsOf(.convert, io));
        try testing.expectEqual(.ok, converted.status);
        const written = 2 * 3 * 40 * 96 * 2 + 3 * 40 * 96 * 17 / 32;
        try testing.expectEqual(written, converted.bytes_written);
        const verified = try finish(testing.allocator, case.plan, &optionsOf(.verify, io));
        try testing.expectEqual(.ok, verified.status);
        try testing.expectEqual(written - 2 * 3 * 40 * 96, verified.elements_compared);
        const measure = try job_file.measure(testing.allocator, case.plan, &optionsOf(.verify, io));
        try testing.expect(verified.memory_bytes <= measure.memory_bytes);
        try case.tmp.dir.deleteFile("target");
    }
}

test "a job that is destroyed at once leaves neither memory nor a target" {
    var case: Case = try .init();
    defer case.deinit();
    for (0..50) |_| {
        const job = try Job.start(testing.allocator, case.plan, &optionsOf(.convert, .mmap));
        job.cancel();
        const cancelled = job.isRunning();
        job.destroy();
        if (cancelled) {
            const found = case.tmp.dir.statFile("target");
            if (found) |_| try case.tmp.dir.deleteFile("target") else |err| {
                try testing.expectEqual(error.FileNotFound, err);
            }
        } else try case.tmp.dir.deleteFile("target");
    }
}

test "every allocation may fail" {
    var case: Case = try .init();
    defer case.deinit();
    try testing.checkAllAllocationFailures(testing.allocator, struct {
        fn run(gpa: std.mem.Allocator, context: *Case) !void {
            const report = try finish(gpa, context.plan, &optionsOf(.convert, .mmap));
            context.tmp.dir.deleteFile("target") catch |err| switch (err) {
                error.FileNotFound => if (report.status == .ok) return err,
                else => return err,
            };
            // The threads' own allocations fail after the start: the report says so.
            if (report.status == .out_of_memory) return error.OutOfMemory;
            try testing.expectEqual(.ok, report.status);
        }
    }.run, .{&case});
}
