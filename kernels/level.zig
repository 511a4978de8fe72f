//! Root of the object that build.zig makes for each CPU level: the table of this level's functions, exported hidden.
const std = @import("std");
const codecs = @import("codecs.zig");
const table = @import("table.zig");
const options = @import("level_options");

const level_table: table.Table = .{
    .decode = codecs.decoders(codecs.decodeScalar),
    .transpose16 = codecs.scalar_table.transpose16,
    .transpose32 = codecs.scalar_table.transpose32,
};

comptime {
    @export(&level_table, .{ .name = "dq_table_" ++ options.symbol, .visibility = .hidden });
}
