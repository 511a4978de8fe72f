//! Golden vectors: stored bytes and what the format's reference library makes of them
//! (test/vectors/*.json). build.zig hands the files over as the module `golden_vectors`, so that
//! the tests need no file system.
const std = @import("std");
const abi = @import("../abi.zig");
const codecs = @import("../codecs.zig");
const float = @import("../core/float.zig");
const golden = @import("golden_vectors");
const Table = @import("../table.zig").Table;
const Tile = @import("../table.zig").Tile;

/// A file as it is written; test/vectors/vector.py describes the fields.
const Vector = struct {
    codec: []const u8,
    rows: u64,
    columns: u64,
    parameters: []const u32,
    /// Number of the matrix, where a batch shares its bytes.
    batch: u64 = 0,
    sources: []const Source,
    expect: struct { bf16: []const u8, f16: []const u8, f32: []const u8 },

    const Source = struct {
        rows_per_line: u32,
        line_bytes: u64,
        unit_columns: u32,
        unit_bytes: u32,
        hex: []const u8,
    };
};

/// Decodes every vector with `table`. Each codec must have one.
pub fn testTable(name: []const u8, table: *const Table) !void {
    var seen: std.EnumSet(abi.Codec) = .initEmpty();
    for (golden.files) |file| {
        errdefer std.debug.print("golden vector {s} at level {s}\n", .{ file.name, name });
        const parsed = try std.json.parseFromSlice(Vector, std.testing.allocator, file.text, .{
            .ignore_unknown_fields = true,
        });
        defer parsed.deinit();
        const codec = std.meta.stringToEnum(abi.Codec, parsed.value.codec) orelse
            return error.UnknownCodec;
        seen.insert(codec);
        try testVector(parsed.value, codec, table, parsed.arena.allocator());
    }
    for (std.enums.values(abi.Codec)) |codec| {
        if (codec == .copy or seen.contains(codec)) continue;
        std.debug.print("no golden vector of codec {s}\n", .{@tagName(codec)});
        return error.VectorMissing;
    }
}

fn testVector(
    vector: Vector,
    codec: abi.Codec,
    table: *const Table,
    arena: std.mem.Allocator,
) !void {
    var parameters: [abi.parameter_count_max]u32 = @splat(0);
    @memcpy(parameters[0..vector.parameters.len], vector.parameters);
    var tile: Tile = .{
        .sources = undefined,
        .strides = @splat(0),
        .rows_per_line = @splat(0),
        .parameters = parameters,
        .row_begin = 0,
        .row_count = vector.rows,
        .column_begin = 0,
        .column_count = vector.columns,
        .columns = vector.columns,
        .batch = vector.batch,
        .target = undefined,
        .target_stride = vector.columns,
    };
    const sources = try arena.alloc(abi.Source, vector.sources.len);
    for (vector.sources, sources, 0..) |stored, *source, i| {
        const bytes = try decodeHex(arena, stored.hex);
        source.* = .{
            .file = 0,
            .rows_per_line = stored.rows_per_line,
            .offset = 0,
            .size = bytes.len,
            .line_bytes = stored.line_bytes,
            .batch_bytes = 0,
            .unit_columns = stored.unit_columns,
            .unit_bytes = stored.unit_bytes,
        };
        tile.sources[i] = bytes.ptr;
        tile.strides[i] = stored.line_bytes;
        tile.rows_per_line[i] = stored.rows_per_line;
    }
    try std.testing.expect(codecs.check(codec, .{
        .rows = vector.rows,
        .columns = vector.columns,
        .parameters = &parameters,
        .sources = sources,
    }));
    inline for (comptime std.enums.values(codecs.Target)) |target| {
        errdefer std.debug.print("target {s}\n", .{@tagName(target)});
        const Bits = target.Bits();
        const expected = try decodeHex(arena, @field(vector.expect, @tagName(target)));
        try std.testing.expectEqual(vector.rows * vector.columns * @sizeOf(Bits), expected.len);
        const found = try arena.alloc(Bits, vector.rows * vector.columns);
        tile.target = @ptrCast(found.ptr);
        const count = table.decode[@intFromEnum(codec)][@intFromEnum(target)](&tile);
        var expected_count: u64 = 0;
        for (found, 0..) |bits, i| {
            const bytes = expected[i * @sizeOf(Bits) ..][0..@sizeOf(Bits)];
            const wanted = std.mem.readInt(Bits, bytes, .little);
            expected_count += @intFromBool(!float.isFinite(target, wanted));
            // Libraries differ in the payload and sign of a NaN; ours are stated in core/float.zig
            // and tested there.
            if (isNan(target, wanted) and isNan(target, bits)) continue;
            errdefer std.debug.print("element {d}\n", .{i});
            try std.testing.expectEqual(wanted, bits);
        }
        try std.testing.expectEqual(expected_count, count);
    }
}

fn isNan(comptime target: codecs.Target, bits: target.Bits()) bool {
    const magnitude = bits & ~(@as(target.Bits(), 1) << (@bitSizeOf(target.Bits()) - 1));
    return magnitude > target.exponentMask();
}

fn decodeHex(arena: std.mem.Allocator, hex: []const u8) ![]u8 {
    return std.fmt.hexToBytes(try arena.alloc(u8, hex.len / 2), hex);
}
