//! Whole jobs with the allocator that finds leaks, and with one that fails at every call.
const std = @import("std");
const abi = @import("../abi.zig");
const job_case = @import("../testing/job_case.zig");
const Job = @import("job.zig").Job;
const job_file = @import("job.zig");
const JobCase = job_case.JobCase;
const optionsOf = job_case.optionsOf;
const testing = std.testing;

test "convert, then verify, in each mode, without a leak" {
    var case: JobCase = try .init(JobCase.small);
    defer case.deinit();
    for ([_]abi.IoMode{ .mmap, .pread, .direct }) |io| {
        const converted = try case.run(testing.allocator, &optionsOf(.convert, io));
        try testing.expectEqual(.ok, converted.status);
        try testing.expectEqual(case.target_bytes, converted.bytes_written);
        const verified = try case.run(testing.allocator, &optionsOf(.verify, io));
        try testing.expectEqual(.ok, verified.status);
        const compared = case.target_bytes - 2 * case.element_count;
        try testing.expectEqual(compared, verified.elements_compared);
        const measure = try job_file.measure(testing.allocator, case.plan, &optionsOf(.verify, io));
        try testing.expect(verified.memory_bytes <= measure.memory_bytes);
        try case.deleteTarget();
    }
}

test "a job that is destroyed at once leaves neither memory nor a target" {
    var case: JobCase = try .init(JobCase.small);
    defer case.deinit();
    for (0..50) |_| {
        const job = try Job.start(testing.allocator, case.plan, &optionsOf(.convert, .mmap));
        job.cancel();
        const cancelled = job.isRunning();
        job.destroy();
        if (cancelled) {
            if (case.hasTarget()) try case.deleteTarget();
        } else try case.deleteTarget();
    }
}

test "every allocation may fail" {
    var case: JobCase = try .init(JobCase.small);
    defer case.deinit();
    try testing.checkAllAllocationFailures(testing.allocator, struct {
        fn run(gpa: std.mem.Allocator, context: *JobCase) !void {
            const report = try context.run(gpa, &optionsOf(.convert, .mmap));
            context.deleteTarget() catch |err| switch (err) {
                error.FileNotFound => if (report.status == .ok) return err,
                else => return err,
            };
            // The threads' own allocations fail after the start: the report says so.
            if (report.status == .out_of_memory) return error.OutOfMemory;
            try testing.expectEqual(.ok, report.status);
        }
    }.run, .{&case});
}
