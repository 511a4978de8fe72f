//! Whole jobs for tests: a folder with a source of MXFP4 codes, and a plan that decodes it in both
//! orientations and copies it.
const std = @import("std");
const abi = @import("../abi.zig");
const samples = @import("steps.zig");
const Job = @import("../convert/job.zig").Job;
const testing = std.testing;

pub const JobCase = struct {
    tmp: testing.TmpDir,
    plan: []u8,
    /// Elements of the source, and what a job writes but for the head.
    element_count: u64,
    target_bytes: u64,

    pub const small: [3]u64 = .{ 3, 40, 96 };
    /// So large that reads and writes go around the page cache where that is wanted.
    pub const large: [3]u64 = .{ 1, 256, 1024 };

    /// Of `extents`: matrices, rows, columns.
    pub fn init(extents: [3]u64) !JobCase {
        const batch, const rows, const columns = extents;
        const element_count = batch * rows * columns;
        const source = try testing.allocator.alloc(u8, @intCast(element_count / 32 * 17));
        defer testing.allocator.free(source);
        for (source, 0..) |*byte, i| byte.* = @truncate(i * 7 % 251);
        var tmp = testing.tmpDir(.{});
        errdefer tmp.cleanup();
        try tmp.dir.writeFile(.{ .sub_path = "source", .data = source });
        const steps = [_]abi.Step{
            samples.mxfp4(batch, rows, columns, true),
            samples.copy(source.len),
            samples.mxfp4(batch, rows, columns, false),
        };
        var buffer: [std.fs.max_path_bytes]u8 = undefined;
        const folder = try tmp.dir.realpath(".", &buffer);
        const stat = try std.posix.fstatat(tmp.dir.fd, "source", 0);
        return .{
            .tmp = tmp,
            .plan = try samples.encodeIn(testing.allocator, &steps, "head", folder, stat),
            .element_count = element_count,
            .target_bytes = 2 * 2 * element_count + source.len,
        };
    }

    pub fn deinit(case: *JobCase) void {
        testing.allocator.free(case.plan);
        case.tmp.cleanup();
    }

    /// The report of a job that has ended.
    pub fn run(
        case: *const JobCase,
        gpa: std.mem.Allocator,
        options: *const abi.JobOptions,
    ) !abi.Report {
        const job = try Job.start(gpa, case.plan, options);
        defer job.destroy();
        while (job.isRunning()) std.Thread.yield() catch {};
        try testing.expectEqual(0, job.progress().running);
        try testing.expectEqual(job.report().status, job.progress().status);
        return job.report();
    }

    pub fn hasTarget(case: *JobCase) bool {
        return if (case.tmp.dir.statFile("target")) |_| true else |_| false;
    }

    pub fn deleteTarget(case: *JobCase) !void {
        try case.tmp.dir.deleteFile("target");
    }
};

/// Options with one I/O mode for sources and targets.
pub fn optionsOf(kind: abi.JobKind, io: abi.IoMode) abi.JobOptions {
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
