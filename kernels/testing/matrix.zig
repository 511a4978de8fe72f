//! Matrices of stored bytes for tests: laid out as a codec's sample says, each source in guarded
//! memory of its own.
const std = @import("std");
const assert = std.debug.assert;
const abi = @import("../abi.zig");
const geometry_file = @import("../codecs/geometry.zig");
const Geometry = geometry_file.Geometry;
const Guarded = @import("guarded.zig").Guarded;
const Sample = geometry_file.Sample;
const Tile = @import("../table.zig").Tile;

/// Where the bytes of a source lie in their guarded memory.
pub const Placement = enum { at_start, at_start_plus_one, at_end };

/// How bytes are made up. A period that is prime shows blocks that changed places.
pub const Fill = enum { random, period_251 };

pub const Matrix = struct {
    sample: Sample,
    rows: u64,
    columns: u64,
    batch: u64,
    sources: [abi.source_count_max]abi.Source,
    bytes: [abi.source_count_max][]u8,

    pub fn init(
        sample: Sample,
        rows: u64,
        columns: u64,
        memories: []const Guarded,
        placement: Placement,
        fill: Fill,
        random: std.Random,
    ) Matrix {
        assert(rows % sample.row_unit == 0 and columns % sample.column_unit == 0);
        var matrix: Matrix = .{
            .sample = sample,
            .rows = rows,
            .columns = columns,
            .batch = random.uintLessThan(u64, 8),
            .sources = undefined,
            .bytes = undefined,
        };
        for (sample.sources, memories[0..sample.sources.len], 0..) |shape, memory, i| {
            const source = shape.of(rows, columns);
            matrix.sources[i] = source;
            matrix.bytes[i] = switch (placement) {
                .at_start => memory.atStart(source.size, 0),
                .at_start_plus_one => memory.atStart(source.size, 1),
                .at_end => memory.atEnd(source.size, 0),
            };
            shape.fill(matrix.bytes[i], random);
            const alphabet = shape.alphabet;
            if (fill == .period_251 and shape.words.len == 0) for (matrix.bytes[i], 0..) |*byte, p| {
                const value: u8 = @intCast(p % 251);
                byte.* = if (alphabet.len == 0) value else alphabet[value % alphabet.len];
            };
        }
        return matrix;
    }

    pub fn geometry(matrix: *const Matrix) Geometry {
        return .{
            .rows = matrix.rows,
            .columns = matrix.columns,
            .row_align = matrix.sample.row_align,
            .column_align = matrix.sample.column_align,
            .parameters = &matrix.sample.parameters,
            .sources = matrix.sources[0..matrix.sample.sources.len],
        };
    }

    /// The tile of these rows and columns, without a target.
    pub fn tile(
        matrix: *const Matrix,
        row_begin: u64,
        row_count: u64,
        column_begin: u64,
        column_count: u64,
    ) Tile {
        var result: Tile = .{
            .sources = undefined,
            .strides = @splat(0),
            .rows_per_line = @splat(0),
            .parameters = matrix.sample.parameters,
            .row_begin = row_begin,
            .row_count = row_count,
            .column_begin = column_begin,
            .column_count = column_count,
            .columns = matrix.columns,
            .batch = matrix.batch,
            .target = undefined,
            .target_stride = column_count,
        };
        for (matrix.geometry().sources, 0..) |source, i| {
            const line = if (source.rows_per_line == 0) 0 else row_begin / source.rows_per_line;
            result.sources[i] = matrix.bytes[i].ptr + line * source.line_bytes;
            result.strides[i] = source.line_bytes;
            result.rows_per_line[i] = source.rows_per_line;
        }
        return result;
    }
};

/// Bytes that the largest source of a matrix takes.
pub fn sourceBytesMax(sample: Sample, rows: u64, columns: u64) u64 {
    var bytes: u64 = 0;
    for (sample.sources) |shape| bytes = @max(bytes, shape.of(rows, columns).size);
    return bytes;
}

test "a tile's lines serve as many rows as their source says" {
    const sample: Sample = .{ .name = "lines", .row_align = 2, .sources = &.{
        .{ .rows_per_line = 1, .unit_columns = 2, .unit_bytes = 1 },
        .{ .rows_per_line = 3, .unit_columns = 4, .unit_bytes = 2 },
        .{ .rows_per_line = 0, .bytes_per_row = 4 },
    } };
    var memories: [3]Guarded = undefined;
    for (&memories) |*memory| memory.* = try .init(sourceBytesMax(sample, 10, 7));
    defer for (memories) |memory| memory.deinit();
    var prng: std.Random.DefaultPrng = .init(std.testing.random_seed);
    const m: Matrix = .init(sample, 10, 7, &memories, .at_end, .random, prng.random());
    try std.testing.expectEqual(10 * 4, m.bytes[0].len);
    try std.testing.expectEqual(4 * 4, m.bytes[1].len);
    try std.testing.expectEqual(10 * 4, m.bytes[2].len);
    var begin: u64 = 0;
    while (begin < m.rows) : (begin += sample.row_align) {
        const part = m.tile(begin, m.rows - begin, 0, m.columns);
        for (0..part.row_count) |row| {
            try std.testing.expectEqual(m.bytes[0].ptr + (begin + row) * 4, part.line(0, row));
            try std.testing.expectEqual(m.bytes[1].ptr + (begin + row) / 3 * 4, part.line(1, row));
            try std.testing.expectEqual(m.bytes[2].ptr, part.line(2, row));
        }
    }
}
