//! What a verify job found: how many elements differ, and the first of them in the order of the
//! plan.
const std = @import("std");
const abi = @import("../abi.zig");
const plan_file = @import("plan.zig");

pub const Mismatch = struct {
    count: u64 = 0,
    step: u32 = abi.none,
    element: u64 = 0,
    found: u32 = 0,
    expected: u32 = 0,

    /// Compares a run of elements that begins at `element` of the dense tensor, bit for bit.
    pub fn compare(
        mismatch: *Mismatch,
        step: u32,
        dtype: abi.Dtype,
        element: u64,
        found: []const u8,
        expected: []const u8,
    ) void {
        if (std.mem.eql(u8, found, expected)) return;
        switch (plan_file.elementSize(dtype)) {
            inline 1, 2, 4 => |size| mismatch.compareElements(size, step, element, found, expected),
            else => unreachable,
        }
    }

    fn compareElements(
        mismatch: *Mismatch,
        comptime size: usize,
        step: u32,
        element: u64,
        found: []const u8,
        expected: []const u8,
    ) void {
        const Bits = std.meta.Int(.unsigned, size * 8);
        for (0..found.len / size) |i| {
            const a = std.mem.readInt(Bits, found[i * size ..][0..size], .little);
            const b = std.mem.readInt(Bits, expected[i * size ..][0..size], .little);
            if (a == b) continue;
            mismatch.merge(.{
                .count = 1,
                .step = step,
                .element = element + i,
                .found = a,
                .expected = b,
            });
        }
    }

    /// Adds what another worker found.
    pub fn merge(mismatch: *Mismatch, other: Mismatch) void {
        if (other.count == 0) return;
        const first = mismatch.count == 0 or other.step < mismatch.step or
            (other.step == mismatch.step and other.element < mismatch.element);
        const count = mismatch.count + other.count;
        if (first) mismatch.* = other;
        mismatch.count = count;
    }
};

test "the first element in plan order is kept, all are counted" {
    var mismatch: Mismatch = .{};
    mismatch.compare(2, .f16, 10, "aabbcc", "aabbcc");
    try std.testing.expectEqual(Mismatch{}, mismatch);
    mismatch.compare(2, .f16, 10, "aaXbcX", "aabbcc");
    try std.testing.expectEqual(2, mismatch.count);
    try std.testing.expectEqual(11, mismatch.element);
    try std.testing.expectEqual('b' << 8 | 'X', mismatch.found);
    mismatch.compare(1, .f32, 90, "aaab", "aaaa");
    mismatch.compare(2, .bytes, 0, "a", "b");
    try std.testing.expectEqual(4, mismatch.count);
    try std.testing.expectEqual(1, mismatch.step);
    try std.testing.expectEqual(90, mismatch.element);
}
