//! Working memory: whole pages from the system, huge ones where the system gives them, counted
//! against a job's budget.
const std = @import("std");
const assert = std.debug.assert;
const linux = std.os.linux;

/// Alignment of every buffer; what O_DIRECT and the page cache work in.
pub const alignment = 4096;
const huge_page_size = 2 << 20;

pub const Bytes = []align(alignment) u8;

/// Bytes that a job may have in buffers, and had at the most.
pub const Budget = struct {
    max: u64,
    used: std.atomic.Value(u64) = .init(0),
    peak: std.atomic.Value(u64) = .init(0),

    pub fn init(max: u64) Budget {
        return .{ .max = max };
    }

    fn take(budget: *Budget, size: u64) error{BudgetExceeded}!void {
        const before = budget.used.fetchAdd(size, .monotonic);
        if (before + size > budget.max) {
            _ = budget.used.fetchSub(size, .monotonic);
            return error.BudgetExceeded;
        }
        _ = budget.peak.fetchMax(before + size, .monotonic);
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
    errdefer _ = budget.used.fetchSub(length, .monotonic);
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

pub fn free(budget: *Budget, bytes: Bytes) void {
    _ = budget.used.fetchSub(bytes.len, .monotonic);
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
