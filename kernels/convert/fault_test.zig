//! Whole jobs in which one system call fails: each of them in turn, with every error that such a
//! call may give. The report names the call and the error, nothing is left of the target, no file
//! stays open. Calls that have another way to do the same fail without a trace. And jobs whose reads
//! and writes move less than was asked: they end well.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("../abi.zig");
const faults = @import("../machine/faults.zig");
const job_case = @import("../testing/job_case.zig");
const JobCase = job_case.JobCase;
const testing = std.testing;

const modes = [_]abi.IoMode{ .mmap, .pread, .direct };

/// Small buffers, so that there are many calls, yet long enough for direct ones.
fn run(case: *JobCase, kind: abi.JobKind, io: abi.IoMode) !abi.Report {
    var options = job_case.optionsOf(kind, io);
    options.thread_count = 2;
    options.memory_max = if (io == .direct) 1 << 22 else 1 << 16;
    return case.run(testing.allocator, &options);
}

fn extentsOf(io: abi.IoMode) [3]u64 {
    return if (io == .direct) JobCase.large else JobCase.small;
}

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
    .open_direct = &.{},
    .read_direct = &.{ .IO, .STALE },
    .write_direct = &.{ .NOSPC, .DQUOT, .IO, .ROFS, .FBIG },
    .map_target = &.{},
    .populate_target = &.{},
});

/// Errors by which a system says that it has no such call here, or not at the moment.
const refusals = std.EnumArray(faults.Call, []const linux.E).initDefault(&.{}, .{
    .open_direct = &.{ .INVAL, .OPNOTSUPP, .MFILE, .ACCES },
    .read_direct = &.{ .INVAL, .OPNOTSUPP },
    .write_direct = &.{ .INVAL, .OPNOTSUPP },
    .map_target = &.{ .NOMEM, .NODEV },
    .populate_target = &.{ .INVAL, .NOMEM, .NOSPC, .PERM },
});

const operations = std.EnumArray(faults.Call, abi.Operation).init(.{
    .open = .open,
    .stat = .stat,
    .read = .read,
    .write = .write,
    .allocate = .allocate,
    .sync = .sync,
    .map = .map,
    .open_direct = .open,
    .read_direct = .read,
    .write_direct = .write,
    .map_target = .map,
    .populate_target = .write,
});

test "each system call of a job fails, with each error" {
    const before = try openFiles();
    var injected: u32 = 0;
    for (modes) |io| for ([_]abi.JobKind{ .convert, .verify }) |kind| {
        var case: JobCase = try .init(extentsOf(io));
        defer case.deinit();
        if (kind == .verify) try testing.expectEqual(.ok, (try run(&case, .convert, io)).status);
        for (std.enums.values(faults.Call)) |call| for (errors.get(call)) |errno| {
            var number: u64 = 0;
            while (try failsAt(&case, kind, io, call, number, errno)) : (number += 1) injected += 1;
        };
    };
    try testing.expectEqual(before, try openFiles());
    std.debug.print("{d} faults of system calls injected, none lost\n", .{injected});
}

/// Whether there was a call of this number; then the job told of its failure.
fn failsAt(
    case: *JobCase,
    kind: abi.JobKind,
    io: abi.IoMode,
    call: faults.Call,
    number: u64,
    errno: linux.E,
) !bool {
    faults.inject(.{ .call = call, .number = number, .effect = .{ .errno = errno } });
    const report = run(case, kind, io);
    const happened = faults.clear();
    const found = try report;
    errdefer std.debug.print("{s} {s}: {s} {d} {s}: {any}\n", .{
        @tagName(io), @tagName(kind), @tagName(call), number, @tagName(errno), found,
    });
    if (kind == .convert) try testing.expectEqual(!happened, case.hasTarget());
    if (!happened) {
        try testing.expectEqual(.ok, found.status);
        if (kind == .convert) try case.deleteTarget();
        return false;
    }
    try testing.expectEqual(.io, found.status);
    try testing.expectEqual(operations.get(call), found.operation);
    try testing.expectEqual(@intFromEnum(errno), found.errno);
    try testing.expect(found.file < 2);
    return true;
}

test "calls that a system refuses are done another way" {
    for (modes) |io| {
        var case: JobCase = try .init(JobCase.large);
        defer case.deinit();
        var options = job_case.optionsOf(.convert, io);
        options.memory_max = 1 << 22;
        const plain = try case.run(testing.allocator, &options);
        try testing.expectEqual(.ok, plain.status);
        try case.deleteTarget();
        if (plain.refused_file != abi.none) {
            std.debug.print("skipped: no direct I/O in the folder of the tests\n", .{});
            continue;
        }
        for (std.enums.values(faults.Call)) |call| for (refusals.get(call)) |errno| {
            for ([_]?u64{ 0, 1, 3, null }) |number| {
                const effect: faults.Effect = .{ .errno = errno };
                faults.inject(.{ .call = call, .number = number, .effect = effect });
                const converted = case.run(testing.allocator, &options);
                const happened = faults.clear();
                errdefer std.debug.print("{s} {s} {s} {any}: {any}\n", .{
                    @tagName(io), @tagName(call), @tagName(errno), number, converted,
                });
                try testing.expectEqual(.ok, (try converted).status);
                const refused = (try converted).refused_file != abi.none;
                try testing.expectEqual(happened and io == .direct, refused);
                const verified = try run(&case, .verify, .direct);
                try testing.expectEqual(.ok, verified.status);
                try case.deleteTarget();
            }
        };
    }
}

test "reads and writes that move less, and calls that are interrupted, change nothing" {
    for (modes) |io| {
        var case: JobCase = try .init(extentsOf(io));
        defer case.deinit();
        for ([_]faults.Call{ .read, .write, .read_direct, .write_direct }) |call| {
            for ([_]usize{ 1, 7, 4096 }) |size| {
                faults.inject(.{ .call = call, .number = null, .effect = .{ .short = size } });
                const converted = run(&case, .convert, io);
                const verified = run(&case, .verify, io);
                _ = faults.clear();
                try testing.expectEqual(.ok, (try converted).status);
                try testing.expectEqual(.ok, (try verified).status);
                try case.deleteTarget();
            }
        }
        for (std.enums.values(faults.Call)) |call| {
            if (call == .stat or call == .map or call == .map_target) continue;
            for (0..3) |number| {
                faults.inject(.{ .call = call, .number = number, .effect = .{ .errno = .INTR } });
                const converted = run(&case, .convert, io);
                _ = faults.clear();
                try testing.expectEqual(.ok, (try converted).status);
                try case.deleteTarget();
            }
        }
    }
}
