//! Why a job ends early. The first fault wins; all workers stop at it.
const std = @import("std");
const abi = @import("../abi.zig");
const E = std.os.linux.E;

/// What the report says of it. Steps and files by their number in the plan.
pub const Fault = struct {
    status: abi.Status,
    operation: abi.Operation = .none,
    errno: u32 = 0,
    file: u32 = abi.none,
    step: u32 = abi.none,
    /// Of the step.
    source: u32 = abi.none,

    pub fn io(operation: abi.Operation, failed: E, file: u32) Fault {
        return .{
            .status = .io,
            .operation = operation,
            .errno = @intFromEnum(failed),
            .file = file,
        };
    }

    pub fn sourceChanged(file: u32) Fault {
        return .{ .status = .source_changed, .file = file };
    }

    /// A target that a verify job finds in another size.
    pub fn sizeDiffers(file: u32) Fault {
        return .{ .status = .mismatch, .operation = .stat, .file = file };
    }

    /// A target whose first bytes are not those of the plan.
    pub fn headDiffers(file: u32) Fault {
        return .{ .status = .mismatch, .operation = .read, .file = file };
    }
};

/// Functions that can fail return this and leave the fault with the job.
pub const Error = error{Fault};

/// The fault of a job, and the flag that its workers look at.
pub const Stop = struct {
    mutex: std.Thread.Mutex = .{},
    first: ?Fault = null,
    requested: std.atomic.Value(bool) = .init(false),

    pub fn isRequested(stop: *const Stop) bool {
        return stop.requested.load(.monotonic);
    }

    /// Keeps the fault if it is the first one.
    pub fn fail(stop: *Stop, fault: Fault) Error {
        stop.mutex.lock();
        defer stop.mutex.unlock();
        if (stop.first == null) stop.first = fault;
        stop.requested.store(true, .monotonic);
        return error.Fault;
    }
};

test "the first fault wins" {
    var stop: Stop = .{};
    try std.testing.expect(!stop.isRequested());
    try std.testing.expectEqual(error.Fault, stop.fail(.io(.write, .NOSPC, 3)));
    try std.testing.expectEqual(error.Fault, stop.fail(.sourceChanged(1)));
    try std.testing.expect(stop.isRequested());
    try std.testing.expectEqual(28, stop.first.?.errno);
    try std.testing.expectEqual(3, stop.first.?.file);
}
