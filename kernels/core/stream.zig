//! Memory read and copied as fast as one core of this level can: the limits that kernels are
//! measured against.
const std = @import("std");
const builtin = @import("builtin");
const vector = @import("vector.zig");

const Register = @Vector(vector.register_bytes, u8);
const page = 4096;

/// Reads every byte from the first to the last, as a plain loop does.
pub fn read(source: [*]align(4096) const u8, size: u64) void {
    readRuns(1, source, size);
}

/// Reads every byte in four runs side by side, which keeps more of a core's requests in flight.
pub fn readInterleaved(source: [*]align(4096) const u8, size: u64) void {
    const run_count = 4;
    const whole = size - size % (run_count * page);
    readRuns(run_count, source, whole);
    readRuns(1, @alignCast(source + whole), size - whole);
}

inline fn readRuns(
    comptime run_count: comptime_int,
    source: [*]align(4096) const u8,
    size: u64,
) void {
    @setRuntimeSafety(false);
    const registers = 8;
    const step = registers * @sizeOf(Register);
    const run = size / run_count;
    var seen: [registers]Register = @splat(@splat(0));
    var at: u64 = 0;
    while (at < run) : (at += step) {
        inline for (0..run_count) |i| {
            inline for (&seen, 0..) |*register, j|
                register.* |= vector.load(Register, source + i * run + at + j * @sizeOf(Register));
        }
    }
    inline for (seen) |register| std.mem.doNotOptimizeAway(register);
}

pub fn copy(source: [*]align(4096) const u8, target: [*]align(4096) u8, size: u64) void {
    @setRuntimeSafety(false);
    @memcpy(target[0..size], source[0..size]);
}

/// With stores that go around the caches, where the architecture has them.
pub fn copyStreaming(source: [*]align(4096) const u8, target: [*]align(4096) u8, size: u64) void {
    @setRuntimeSafety(false);
    var at: u64 = 0;
    while (at < size) : (at += 4 * @sizeOf(Register)) {
        inline for (0..4) |i| {
            const offset = at + i * @sizeOf(Register);
            storeStreaming(target + offset, vector.load(Register, source + offset));
        }
    }
    if (builtin.cpu.arch == .x86_64) asm volatile ("sfence" ::: .{ .memory = true });
}

inline fn storeStreaming(target: [*]u8, value: Register) void {
    const place: *Register = @ptrCast(@alignCast(target));
    switch (builtin.cpu.arch) {
        .x86_64 => if (vector.register_bytes > 16)
            asm volatile ("vmovntdq %[value], (%[place])"
                :
                : [value] "v" (value),
                  [place] "r" (place),
                : .{ .memory = true })
        else
            asm volatile ("movntdq %[value], (%[place])"
                :
                : [value] "x" (value),
                  [place] "r" (place),
                : .{ .memory = true }),
        else => place.* = value,
    }
}

test "copies are copies, and reading stays inside" {
    const size = 7 * page;
    const source = try std.testing.allocator.alignedAlloc(u8, .fromByteUnits(4096), size);
    defer std.testing.allocator.free(source);
    for (source, 0..) |*byte, i| byte.* = @truncate(i % 251);
    const target = try std.testing.allocator.alignedAlloc(u8, .fromByteUnits(4096), size);
    defer std.testing.allocator.free(target);
    inline for (.{ copy, copyStreaming }) |function| {
        @memset(target, 0xaa);
        function(source.ptr, target.ptr, size);
        try std.testing.expectEqualSlices(u8, source, target);
    }
    read(source.ptr, size);
    readInterleaved(source.ptr, size);
}
