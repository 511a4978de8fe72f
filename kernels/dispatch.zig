//! Chooses the CPU level at run time: the best one that the CPU has and the operating system saves
//! the registers of, unless DQ_LEVEL or `select` names another. The scalar code is the last level,
//! which every CPU can run.
const std = @import("std");
const build_options = @import("build_options");
const builtin = @import("builtin");
const detect = @import("detect.zig");
const levels = @import("levels.zig");
pub const abi = @import("abi.zig");
pub const codecs = @import("codecs.zig");
pub const table = @import("table.zig");
const Table = table.Table;

/// The levels of this library: all of levels.zig, unless it was built with -Dlevels.
const rows = blk: {
    const all = levels.of(builtin.cpu.arch);
    var kept: []const std.meta.Elem(@TypeOf(all)) = &.{};
    for (all) |level| {
        for (build_options.level_symbols) |symbol| {
            if (std.mem.eql(u8, symbol, level.symbol)) kept = kept ++ .{level};
        }
    }
    break :blk kept[0..kept.len].*;
};

/// All levels, the scalar code among them.
pub const count: u32 = rows.len + 1;

/// The code without vectors.
pub const scalar: *const Table = &codecs.scalar_table;
pub const scalar_name = "scalar";

/// Index of the active level plus one; 0 until the first use.
var chosen: std.atomic.Value(u32) = .init(0);

/// `select` was called, so that DQ_LEVEL has no say any more.
var selected: std.atomic.Value(bool) = .init(false);

/// The table of the level in use. The first use settles it by DQ_LEVEL and the CPU.
pub fn active() *const Table {
    return tableOf(activeIndex());
}

pub fn activeName() []const u8 {
    return nameOf(activeIndex());
}

/// Makes the named level the active one; an empty name: the best one. Tables that were handed out
/// stay valid.
pub fn select(name: []const u8) error{Unsupported}!void {
    const index = if (name.len == 0) best() else try find(name);
    chosen.store(index + 1, .release);
    selected.store(true, .release);
}

/// `Unsupported` when nothing was selected and DQ_LEVEL names a level that does not exist or that
/// this CPU lacks. `active` is the best level then, so entry points that start work ask this first.
pub fn checkEnvironment() error{Unsupported}!void {
    if (selected.load(.acquire)) return;
    if (environmentName()) |name| _ = try find(name);
}

/// Level `index`, best first, the scalar code last.
pub fn nameOf(index: u32) []const u8 {
    const names = comptime blk: {
        var list: [count][]const u8 = undefined;
        for (rows, 0..) |level, i| list[i] = level.name;
        list[rows.len] = scalar_name;
        break :blk list;
    };
    return names[index];
}

/// The table of level `index`; calling into it takes a CPU that has the level (see `mask`).
pub fn tableOf(index: u32) *const Table {
    inline for (rows, 0..) |level, i| {
        if (index == i) return @extern(*const Table, .{
            .name = "dq_table_" ++ level.symbol,
            .visibility = .hidden,
        });
    }
    return scalar;
}

/// Bit i: level i runs here.
pub fn mask() u32 {
    var bits: u32 = 1 << rows.len;
    inline for (rows, 0..) |level, i| {
        if (detect.hasAll(level.features)) bits |= 1 << i;
    }
    return bits;
}

fn activeIndex() u32 {
    const known = chosen.load(.acquire);
    if (known != 0) return known - 1;
    const named = if (environmentName()) |name| find(name) catch null else null;
    const index = named orelse best();
    // Threads that race here found the same level; one that lost against `select` gives way to it.
    if (chosen.cmpxchgStrong(0, index + 1, .acq_rel, .acquire)) |other| return other - 1;
    return index;
}

fn best() u32 {
    return @ctz(mask());
}

fn find(name: []const u8) error{Unsupported}!u32 {
    for (0..count) |i| {
        const index: u32 = @intCast(i);
        if (!std.mem.eql(u8, nameOf(index), name)) continue;
        return if (mask() >> @intCast(index) & 1 == 1) index else error.Unsupported;
    }
    return error.Unsupported;
}

fn environmentName() ?[]const u8 {
    const name = std.posix.getenv("DQ_LEVEL") orelse return null;
    return if (name.len == 0) null else name;
}

test "the scalar level is always there, last, and the best level is the first of the mask" {
    try std.testing.expect(mask() >> (count - 1) & 1 == 1);
    try std.testing.expectEqualStrings("scalar", nameOf(count - 1));
    try std.testing.expectEqual(scalar, tableOf(count - 1));
    try select("");
    try std.testing.expectEqualStrings(nameOf(@ctz(mask())), activeName());
}

test "select takes the levels of the mask and refuses all others" {
    defer select("") catch unreachable;
    for (0..count) |i| {
        const name = nameOf(@intCast(i));
        if (mask() >> @intCast(i) & 1 == 1) {
            try select(name);
            try std.testing.expectEqualStrings(name, activeName());
            try std.testing.expectEqual(tableOf(@intCast(i)), active());
        } else try std.testing.expectError(error.Unsupported, select(name));
    }
    const before = activeName();
    try std.testing.expectError(error.Unsupported, select("avx9"));
    try std.testing.expectError(error.Unsupported, select("AVX2"));
    try std.testing.expectEqualStrings(before, activeName());
}

test "the mask is what Zig's own detection says" {
    const family = switch (builtin.cpu.arch) {
        .x86_64 => std.Target.x86,
        .aarch64 => std.Target.aarch64,
        else => unreachable,
    };
    const host = try std.zig.system.resolveTargetQuery(.{});
    var expected: u32 = 1 << rows.len;
    inline for (rows, 0..) |level, i| {
        if (host.cpu.features.isSuperSetOf(family.featureSet(level.features))) expected |= 1 << i;
    }
    try std.testing.expectEqual(expected, mask());
}
