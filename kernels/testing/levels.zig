//! The objects that are linked into the library, as they are shipped, against the scalar code and
//! the golden vectors: every level that this machine has. Names the others.
const std = @import("std");
const conformance = @import("conformance.zig");
const dispatch = @import("../dispatch.zig");
const extremes = @import("matvec_extremes.zig");
const products = @import("matvec.zig");
const vectors = @import("vectors.zig");

test "every level of this machine equals the scalar code and the golden vectors" {
    for (0..dispatch.count) |i| {
        const level: u32 = @intCast(i);
        const name = dispatch.nameOf(level);
        if (dispatch.mask() >> @intCast(level) & 1 == 0) {
            std.debug.print("skipped: object of level {s} (this CPU cannot run it)\n", .{name});
            continue;
        }
        const table = dispatch.tableOf(level);
        try conformance.testTable(name, table);
        try vectors.testTable(name, table);
        try products.testTable(name, table);
        try extremes.testExtremeScales(table);
    }
}
