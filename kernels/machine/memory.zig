//! Working memory: whole pages from the system, huge ones where the system gives them, counted
//! against a job's budget.
const std = @import("std");
const assert = std.debug.assert;
const linux = std.os.linux;

/// Alignment of every buffer; what O_DIRECT and the page cache work in.
pub const alignment = 4096;
const huge_page_size = 2 << 20;
/// Linux stops at 1024 (CONFIG_NODES_SHIFT 10).
const node_count_max = 1024;

pub const Bytes = []align(alignment) u8;

/// Bytes that a job may have in buffers, and had at the most.
pub const Budget = struct {
    max: u64,
    used: std.atomic.Value(u64) = .init(0),
    peak: std.atomic.Value(u64) = .init(0),

    pub fn init(max: u64) Budget {
        return .{ .max = max };
    }

    pub fn take(budget: *Budget, size: u64) error{BudgetExceeded}!void {
        const before = budget.used.fetchAdd(size, .monotonic);
        if (before + size > budget.max) {
            _ = budget.used.fetchSub(size, .monotonic);
            return error.BudgetExceeded;
        }
        _ = budget.peak.fetchMax(before + size, .monotonic);
    }

    pub fn giveBack(budget: *Budget, size: u64) void {
        _ = budget.used.fetchSub(size, .monotonic);
    }
};

/// What `allocate` charges for `size` bytes: whole pages, which are larger on some arm64 systems.
pub fn charged(size: u64) u64 {
    return std.mem.alignForward(u64, size, @max(alignment, std.heap.pageSize()));
}

/// Zeroed pages, untouched: they come from the node of the thread that first writes them.
pub fn allocate(budget: *Budget, size: u64) error{ BudgetExceeded, OutOfMemory }!Bytes {
    assert(size > 0);
    const length = charged(size);
    try budget.take(length);
    errdefer budget.giveBack(length);
    if (length < huge_page_size) return map(length);

    // Huge pages need an aligned start; the ends that stick out go back at once.
    const whole = try map(length + huge_page_size);
    const address = @intFromPtr(whole.ptr);
    const begin = std.mem.alignForward(usize, address, huge_page_size) - address;
    if (begin > 0) std.posix.munmap(whole[0..begin]);
    const tail: Bytes = @alignCast(whole[begin + length ..]);
    if (tail.len > 0) std.posix.munmap(tail);
    const bytes: Bytes = @alignCast(whole[begin..][0..length]);
    _ = linux.madvise(bytes.ptr, bytes.len, linux.MADV.HUGEPAGE);
    return bytes;
}

/// Asks that pages which are not touched yet come from the node of the system's number `node` while
/// it has any, and stay there. Containers may forbid it (Docker's seccomp profile gives EPERM):
/// pages come from the node of the thread that writes them first then.
pub fn preferNode(bytes: Bytes, node: u32) linux.E {
    const preferred = 1; // MPOL_PREFERRED of linux/mempolicy.h
    var mask: [node_count_max / 64]u64 = @splat(0);
    if (node >= node_count_max) return .INVAL;
    mask[node / 64] = @as(u64, 1) << @intCast(node % 64);
    return linux.E.init(linux.syscall6(
        .mbind,
        @intFromPtr(bytes.ptr),
        bytes.len,
        preferred,
        @intFromPtr(&mask),
        // The kernel reads a bit less than it is told.
        node_count_max + 1,
        0,
    ));
}

pub fn free(budget: *Budget, bytes: Bytes) void {
    budget.giveBack(bytes.len);
    std.posix.munmap(bytes);
}

fn map(length: u64) error{OutOfMemory}!Bytes {
    const flags: std.posix.MAP = .{ .TYPE = .PRIVATE, .ANONYMOUS = true };
    return std.posix.mmap(null, length, linux.PROT.READ | linux.PROT.WRITE, flags, -1, 0) catch
        error.OutOfMemory;
}

test "buffers are aligned, zero, counted and given back" {
    var budget: Budget = .init(8 << 20);
    const small = try allocate(&budget, 5);
    const large = try allocate(&budget, (3 << 20) + 1);
    try std.testing.expectEqual(charged(1), small.len);
    try std.testing.expectEqual((3 << 20) + charged(1), large.len);
    try std.testing.expect(std.mem.isAligned(@intFromPtr(large.ptr), huge_page_size));
    try std.testing.expect(std.mem.allEqual(u8, small, 0) and std.mem.allEqual(u8, large, 0));
    large[large.len - 1] = 1;
    try std.testing.expectError(error.BudgetExceeded, allocate(&budget, 5 << 20));
    try std.testing.expectEqual(small.len + large.len, budget.used.load(.monotonic));
    free(&budget, large);
    const again = try allocate(&budget, 5 << 20);
    free(&budget, again);
    free(&budget, small);
    try std.testing.expectEqual(0, budget.used.load(.monotonic));
    try std.testing.expectEqual((5 << 20) + charged(1), budget.peak.load(.monotonic));
}

test "pages come from the node that is asked for; a node that there is not is refused" {
    var budget: Budget = .init(1 << 20);
    const bytes = try allocate(&budget, 64 << 10);
    defer free(&budget, bytes);
    try std.testing.expect(preferNode(bytes, node_count_max - 1) != .SUCCESS);
    try std.testing.expectEqual(.INVAL, preferNode(bytes, node_count_max));
    const bound = preferNode(bytes, 0);
    if (bound != .SUCCESS) {
        std.debug.print("skipped: mbind is not allowed here ({s})\n", .{@tagName(bound)});
        return error.SkipZigTest;
    }
    bytes[0] = 1;
    var node: c_int = -1;
    const of_address = 3; // MPOL_F_NODE | MPOL_F_ADDR
    const address = @intFromPtr(bytes.ptr);
    const asked = linux.syscall5(.get_mempolicy, @intFromPtr(&node), 0, 0, address, of_address);
    try std.testing.expectEqual(.SUCCESS, linux.E.init(asked));
    try std.testing.expectEqual(0, node);
}
