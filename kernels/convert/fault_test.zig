//! Whole jobs in which one system call fails: each of them in turn, with every error that such a
//! call may give. The report names the call and the error, nothing is left of the target, no file
//! stays open. And jobs whose reads and writes move less than was asked: they end well.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("../abi.zig");
const faults = @import("../machine/faults.zig");
const samples = @import("../testing/steps.zig");
const Job = @import("job.zig").Job;
const testing = std.testing;

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

    fn run(case: *Case, kind: abi.JobKind, io: abi.IoMode) !abi.Report {
        const job = try Job.start(testing.allocator, case.plan, &.{
            .kind = kind,
            .io = io,
            .thread_count = 2,
            .sync = 1,
            // Small buffers, so that there are many calls.
            .memory_max = 1 << 16,
            .sample_tiles = 0,
            .check_scales = 0,
            .keep_done = 0,
            .hashes = 0,
        });
        defer job.destroy();
        while (job.isRunning()) std.Thread.yield() catch {};
        return job.report();
    }

    fn hasTarget(case: *Case) bool {
        return if (case.tmp.dir.statFile("target")) |_| true else |_| false;
    }
};

fn openFiles() !usize {
    var folder = try std.fs.openDirAbsolute("/proc/self/fd", .{ .iterate = true });
    defer folder.close();
    var count: usize = 0;
    var entries = folder.iterate();
    while (try entries.next()) |_| count += 1;
    return count;
}

const errors = std.EnumArray(faults.Call, []const linux.E).init(.{
    .open = &.{ .ACCES, .NOENT, .ROFS, .MFILE, .NFILE, .LOOP, .IO, .NOSPC, .DQUOT },
    .stat = &.{ .IO, .STALE },
    .read = &.{ .IO, .STALE },
    .write = &.{ .NOSPC, .DQUOT, .IO, .ROFS, .FBIG },
    .allocate = &.{ .NOSPC, .DQUOT, .IO, .FBIG },
    .sync = &.{ .IO, .NOSPC, .DQUOT },
    .map = &.{ .NOMEM, .NODEV },
});

const operations = std.EnumArray(faults.Call, abi.Operation).init(.{
    .open = .open,
    .stat = .stat,
    .read = .read,
    .write = .write,
    .allocate = .allocate,
    .sync = .sync,
    .map = .map,
});

test "each system call of a job fails, with each error" {
    var case: Case = try .init();
    defer case.deinit();
    const before = try openFiles();
    var injected: u32 = 0;
    for ([_]abi.IoMode{ .mmap, .pread }) |io| for ([_]abi.JobKind{ .convert, .verify }) |kind| {
        if (kind == .verify) try testing.expectEqual(.ok, (try case.run(.convert, io)).status);
        for (std.enums.values(faults.Call)) |call| for (errors.get(call)) |errno| {
            var number: u64 = 0;
            while (true) : (number += 1) {
                faults.inject(.{ .call = call, .number = number, .effect = .{ .errno = errno } });
                const report = case.run(kind, io);
                const happened = faults.clear();
                const found = try report;
                errdefer std.debug.print("{s}: {s} {d} {s}: {any}\n", .{
                    @tagName(kind), @tagName(call), number, @tagName(errno), found,
                });
                if (kind == .convert) try testing.expectEqual(!happened, case.hasTarget());
                if (!happened) {
                    try testing.expectEqual(.ok, found.status);
                    if (kind == .convert) try case.tmp.dir.deleteFile("target");
                    break;
                }
                injected += 1;
                try testing.expectEqual(.io, found.status);
                try testing.expectEqual(operations.get(call), found.operation);
                try testing.expectEqual(@intFromEnum(errno), found.errno);
                try testing.expect(found.file < 2);
            }
        };
        if (kind == .verify) try case.tmp.dir.deleteFile("target");
    };
    try testing.expectEqual(before, try openFiles());
    std.debug.print("{d} faults of system calls injected, none lost\n", .{injected});
}

test "reads and writes that move less, and calls that are interrupted, change nothing" {
    var case: Case = try .init();
    defer case.deinit();
    for ([_]abi.IoMode{ .mmap, .pread }) |io| {
        for ([_]faults.Call{ .read, .write }) |call| for ([_]usize{ 1, 7, 4096 }) |size| {
            faults.inject(.{ .call = call, .number = null, .effect = .{ .short = size } });
            const converted = case.run(.convert, io);
            const verified = case.run(.verify, io);
            _ = faults.clear();
            try testing.expectEqual(.ok, (try converted).status);
            try testing.expectEqual(.ok, (try verified).status);
            try case.tmp.dir.deleteFile("target");
        };
        for ([_]faults.Call{ .open, .read, .write, .allocate, .sync }) |call| {
            for (0..3) |number| {
                faults.inject(.{ .call = call, .number = number, .effect = .{ .errno = .INTR } });
                const converted = case.run(.convert, io);
                _ = faults.clear();
                try testing.expectEqual(.ok, (try converted).status);
                try case.tmp.dir.deleteFile("target");
            }
        }
    }
}
