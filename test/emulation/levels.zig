//! Prints the CPU levels that detection finds, best first, one a line.
const std = @import("std");
const builtin = @import("builtin");
const detect = @import("detect");
const levels = @import("levels");

const rows = levels.of(builtin.cpu.arch);

pub fn main() void {
    inline for (rows) |level| {
        if (detect.hasAll(level.features)) std.debug.print("{s}\n", .{level.name});
    }
}
