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

pub fn copy(source: [*]const u8, target: [*]u8, size: u64) void {
    @setRuntimeSafety(false);
    @memcpy(target[0..size], source[0..size]);
}

/// With stores that go around the caches, where the architecture has them; the ends that are no
/// whole cache lines with ordinary ones.
pub fn copyStreaming(source: [*]const u8, target: [*]u8, size: u64) void {
    @setRuntimeSafety(false);
    const line = 4 * @sizeOf(Register);
    const head = @min(size, -%@intFromPtr(target) % line);
    @memcpy(target[0..head], source[0..head]);
    var at: u64 = head;
    while (at + line <= size) : (at += line) {
        inline for (0..4) |i| {
            const offset = at + i * @sizeOf(Register);
            storeStreaming(target + offset, vector.load(Register, source + offset));
        }
    }
    @memcpy(target[at..size], source[at..size]);
    if (builtin.cpu.arch == .x86_64) asm volatile ("sfence" ::: .{ .memory = true });
}

/// Writes every byte, around the caches where the architecture can.
pub fn writeStreaming(target: [*]align(4096) u8, size: u64) void {
    @setRuntimeSafety(false);
    var at: u64 = 0;
    while (at < size) : (at += 4 * @sizeOf(Register)) {
        inline for (0..4) |i| storeStreaming(target + at + i * @sizeOf(Register), @splat(0x5a));
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

test "copies are copies, of any size at any address, and reading stays inside" {
    const size = 7 * page;
    const source = try std.testing.allocator.alignedAlloc(u8, .fromByteUnits(4096), size);
    defer std.testing.allocator.free(source);
    for (source, 0..) |*byte, i| byte.* = @truncate(i % 251);
    const target = try std.testing.allocator.alignedAlloc(u8, .fromByteUnits(4096), size);
    defer std.testing.allocator.free(target);
    inline for (.{ copy, copyStreaming }) |function| {
        for ([_][3]u64{
            .{ 0, 0, size }, .{ 3, 5, size - 5 }, .{ 64, 1, 300 }, .{ 1, 0, 63 }, .{ 0, 250, 6 },
            .{ 7, 0, 0 },
        }) |case| {
            const from, const to, const count = case;
            @memset(target, 0xaa);
            function(source[from..].ptr, target[to..].ptr, count);
            try std.testing.expectEqualSlices(u8, source[from..][0..count], target[to..][0..count]);
            try std.testing.expect(std.mem.allEqual(u8, target[0..to], 0xaa));
            try std.testing.expect(std.mem.allEqual(u8, target[to + count ..], 0xaa));
        }
    }
    read(source.ptr, size);
    readInterleaved(source.ptr, size);
    writeStreaming(target.ptr, size - page);
    try std.testing.expect(std.mem.allEqual(u8, target[0 .. size - page], 0x5a));
    try std.testing.expect(std.mem.allEqual(u8, target[size - page ..], 0xaa));
}
