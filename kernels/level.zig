//! Root of the object that build.zig makes for each CPU level: the table of this level's functions,
//! exported hidden.
const std = @import("std");
const blake3 = @import("core/blake3.zig");
const checksum = @import("core/checksum.zig");
const codecs = @import("codecs.zig");
const product = @import("matvec/product.zig");
const table = @import("table.zig");
const transpose = @import("core/transpose.zig").transpose;
const options = @import("level_options");

/// Data that all levels share is linked once, from elsewhere.
pub const links_shared_data = {};

const level_table: table.Table = .{
    .decode = codecs.decoders(decode),
    .transpose16 = transposer(u16),
    .transpose32 = transposer(u32),
    .matvec = codecs.matvecs(product.functionsOf),
    .stream = codecs.streams,
    .hashing = .{ .chunks = &blake3.chunks, .parents = &blake3.parents },
    .checksum = &checksum.blocks,
};

fn decode(comptime codec: type, comptime target: codecs.Target, tile: *const table.Tile) u64 {
    return codec.decode(target, tile);
}

fn transposer(comptime Element: type) table.TransposeFn {
    return &struct {
        fn call(
            source: [*]const u8,
            source_stride: u64,
            target: [*]u8,
            target_stride: u64,
            rows: u64,
            columns: u64,
        ) callconv(.c) void {
            transpose(
                Element,
                @ptrCast(@alignCast(source)),
                source_stride,
                @ptrCast(@alignCast(target)),
                target_stride,
                rows,
                columns,
            );
        }
    }.call;
}

comptime {
    @export(&level_table, .{ .name = "dq_table_" ++ options.symbol, .visibility = .hidden });
}

test "this level equals the scalar code" {
    try @import("testing/conformance.zig").testTable(options.name, &level_table);
}

test "this level and the scalar code equal the golden vectors" {
    const vectors = @import("testing/vectors.zig");
    try vectors.testTable(options.name, &level_table);
    try vectors.testTable("scalar", &codecs.scalar_table);
}

test "products of this level equal the scalar code's and come close to f64's" {
    try @import("testing/matvec.zig").testTable(options.name, &level_table);
    try @import("testing/matvec_kinds.zig").testKinds();
    try @import("testing/matvec_extremes.zig").testExtremeScales(&level_table);
}

test {
    _ = @import("codecs/bit_stream.zig");
    _ = @import("core/blake3.zig");
    _ = @import("core/checksum.zig");
    _ = @import("core/integer.zig");
    _ = @import("core/math.zig");
    _ = @import("core/minifloat.zig");
    _ = @import("core/stream.zig");
    _ = @import("matvec/activation.zig");
    _ = @import("matvec/quantize.zig");
    _ = @import("matvec/scale.zig");
    _ = @import("testing/minifloat_test.zig");
    _ = @import("testing/vector_test.zig");
}
