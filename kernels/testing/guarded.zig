//! Memory between two pages that fault: a test that reads or writes a byte too far ends in a
//! signal.
const std = @import("std");
const assert = std.debug.assert;

pub const Guarded = struct {
    mapping: []align(std.heap.page_size_min) u8,

    pub fn init(size_max: usize) !Guarded {
        const page = std.heap.pageSize();
        const inner_size = std.mem.alignForward(usize, size_max + 1, page);
        const mapping = try std.posix.mmap(
            null,
            inner_size + 2 * page,
            std.posix.PROT.NONE,
            .{ .TYPE = .PRIVATE, .ANONYMOUS = true },
            -1,
            0,
        );
        const middle = mapping[page..][0..inner_size];
        try std.posix.mprotect(@alignCast(middle), std.posix.PROT.READ | std.posix.PROT.WRITE);
        return .{ .mapping = mapping };
    }

    pub fn deinit(guarded: Guarded) void {
        std.posix.munmap(guarded.mapping);
    }

    /// `size` bytes that end `gap` bytes before the page that faults.
    pub fn atEnd(guarded: Guarded, size: usize, gap: usize) []u8 {
        const bytes = guarded.inner();
        return bytes[bytes.len - size - gap ..][0..size];
    }

    /// `size` bytes that start `gap` bytes after the page that faults.
    pub fn atStart(guarded: Guarded, size: usize, gap: usize) []u8 {
        return guarded.inner()[gap..][0..size];
    }

    fn inner(guarded: Guarded) []u8 {
        const page = std.heap.pageSize();
        return guarded.mapping[page .. guarded.mapping.len - page];
    }
};
