//! One suite for every table of functions: each codec and target must give the scalar code's bits,
//! count and nothing else, whatever the size, the position of the tile, and the addresses; so must
//! each transposition.
const std = @import("std");
const abi = @import("../abi.zig");
const codecs = @import("../codecs.zig");
const matrix_file = @import("matrix.zig");
const Guarded = @import("guarded.zig").Guarded;
const Matrix = matrix_file.Matrix;
const Sample = codecs.Sample;
const Table = @import("../table.zig").Table;
const TransposeFn = @import("../table.zig").TransposeFn;

const canary = 0xa5;
const row_count_max = 12;
const column_count_max = 2881;

/// Every column count up to five times the longest unrolled step of a row, then sizes around powers
/// of two and real ones.
const column_count_every = 321;
const column_counts_more = [_]usize{ 511, 512, 513, 1023, 1025, 2880, column_count_max };

/// Of the comparisons, one in DQ_CONFORMANCE_EVERY is made, and all where it is not set. An emulated
/// CPU cannot afford them all; a prime number spreads them over sizes, tails and addresses.
const every_name = "DQ_CONFORMANCE_EVERY";
/// The one codec that is compared, for work on it.
const codec_name = "DQ_CONFORMANCE_CODEC";

/// How many comparisons there are for one that is made.
pub fn every() !u32 {
    return try std.fmt.parseInt(u32, std.posix.getenv(every_name) orelse "1", 10);
}

/// Compares `table` with the scalar table. `name` stands in the message of a failure.
pub fn testTable(name: []const u8, table: *const Table) !void {
    const seed = std.testing.random_seed;
    errdefer std.debug.print("conformance of {s} fails with seed {d}\n", .{ name, seed });
    var prng: std.Random.DefaultPrng = .init(seed);
    var thinning: Thinning = .{ .every = try every() };
    const only = std.posix.getenv(codec_name);
    inline for (@typeInfo(codecs.all).@"struct".decls) |codec| {
        const is_asked = only == null or std.mem.eql(u8, only.?, codec.name);
        if (is_asked) for (@field(codecs.all, codec.name).samples) |sample| {
            errdefer std.debug.print("codec {s}, sample {s}\n", .{ codec.name, sample.name });
            const tag = @field(abi.Codec, codec.name);
            const suite = try Suite.init(tag, sample, table, prng.random(), &thinning);
            defer suite.deinit();
            try suite.testCheck();
            try suite.testSizes();
            try suite.testParts();
        };
    }
    try testTranspose(u16, table.transpose16, prng.random());
    try testTranspose(u32, table.transpose32, prng.random());
}

const Thinning = struct {
    every: u32,
    turn: u32 = 0,

    fn isDue(thinning: *Thinning) bool {
        thinning.turn = (thinning.turn + 1) % thinning.every;
        return thinning.turn == 0;
    }
};

const Suite = struct {
    codec: abi.Codec,
    sample: Sample,
    table: *const Table,
    random: std.Random,
    memories: [abi.source_count_max]Guarded,
    /// Where the table under test writes, and the scalar one.
    found: Guarded,
    expected: Guarded,
    thinning: *Thinning,

    fn init(
        codec: abi.Codec,
        sample: Sample,
        table: *const Table,
        random: std.Random,
        thinning: *Thinning,
    ) !Suite {
        const row_step = @max(sample.row_unit, sample.row_align);
        const rows = std.mem.alignForward(u64, row_count_max, row_step);
        const target_bytes = (rows + 1) * (column_count_max + 16) * 4;
        var suite: Suite = .{
            .codec = codec,
            .sample = sample,
            .table = table,
            .random = random,
            .memories = undefined,
            .found = try .init(target_bytes),
            .expected = try .init(target_bytes),
            .thinning = thinning,
        };
        const columns = column_count_max + sample.column_unit;
        const source_bytes = matrix_file.sourceBytesMax(sample, rows, columns);
        for (&suite.memories) |*memory| memory.* = try .init(source_bytes);
        return suite;
    }

    fn deinit(suite: Suite) void {
        for (suite.memories) |memory| memory.deinit();
        suite.found.deinit();
        suite.expected.deinit();
    }

    /// The sample is accepted; with a source too many or too few, a unit of other size, a short
    /// line or a parameter without a meaning it is not.
    fn testCheck(suite: Suite) !void {
        const rows = @as(u64, 4) * suite.sample.row_unit;
        const unit: u64 = suite.sample.column_unit;
        const columns = unit * (std.math.divCeil(u64, 64, unit) catch unreachable);
        const good = suite.matrix(rows, columns, .at_start, .random);
        try std.testing.expect(codecs.check(suite.codec, good.geometry()));
        for (0..abi.source_count_max + 1) |count| {
            var geometry = good.geometry();
            if (count == geometry.sources.len) continue;
            var sources: [abi.source_count_max]abi.Source = @splat(good.sources[0]);
            @memcpy(sources[0..geometry.sources.len], geometry.sources);
            geometry.sources = sources[0..count];
            try std.testing.expect(!codecs.check(suite.codec, geometry));
        }
        for (0..suite.sample.sources.len) |i| {
            if (good.sources[i].unit_columns == 0) continue;
            var bad = good;
            bad.sources[i].line_bytes -= 1;
            try std.testing.expect(!codecs.check(suite.codec, bad.geometry()));
            bad = good;
            bad.sources[i].unit_bytes += 1;
            bad.sources[i].line_bytes *= 2;
            try std.testing.expect(!codecs.check(suite.codec, bad.geometry()));
        }
        var parameters = suite.sample.parameters;
        parameters[abi.parameter_count_max - 1] = abi.none;
        var geometry = good.geometry();
        geometry.parameters = &parameters;
        try std.testing.expect(!codecs.check(suite.codec, geometry));
    }

    /// Whole matrices of every number of columns.
    fn testSizes(suite: Suite) !void {
        for (0..column_count_every + column_counts_more.len) |i| {
            const is_short = i < column_count_every;
            const columns = if (is_short) i else column_counts_more[i - column_count_every];
            if (columns % suite.sample.column_unit != 0) continue;
            const rows = suite.sample.row_unit * @as(u64, if (is_short) 1 + i % 3 else 2);
            for (std.enums.values(matrix_file.Placement)) |placement| {
                const fill: matrix_file.Fill = if (i % 5 == 0) .period_251 else .random;
                const m = suite.matrix(rows, columns, placement, fill);
                try suite.compare(&m, 0, rows, 0, columns, i % 4);
            }
        }
        const m = suite.matrix(suite.sample.row_unit, suite.sample.column_unit, .at_end, .random);
        try suite.compare(&m, 0, 0, 0, suite.sample.column_unit, 0);
    }

    /// Parts of one matrix: every pair of tile borders that the alignment allows, and cut rows.
    fn testParts(suite: Suite) !void {
        const row_step = suite.sample.row_align;
        const row_unit = @max(suite.sample.row_unit, row_step);
        const rows = std.mem.alignForward(u64, row_count_max, row_unit);
        const column_step = @max(suite.sample.column_align, 8);
        const columns = std.mem.alignForward(u64, 9 * column_step + 5, suite.sample.column_unit);
        const m = suite.matrix(rows, columns, .at_end, .random);
        var row: u64 = 0;
        while (row < rows) : (row += @max(row_step, rows / 3)) {
            var begin: u64 = 0;
            while (begin < columns) : (begin += column_step) {
                var end = begin + column_step;
                while (end < columns + column_step) : (end += column_step) {
                    const count = @min(end, columns) - begin;
                    const shift = (begin + end) / column_step % 4;
                    try suite.compare(&m, row, rows - row, begin, count, shift);
                }
            }
        }
    }

    fn matrix(
        suite: Suite,
        rows: u64,
        columns: u64,
        placement: matrix_file.Placement,
        fill: matrix_file.Fill,
    ) Matrix {
        return .init(suite.sample, rows, columns, &suite.memories, placement, fill, suite.random);
    }

    /// Decodes one tile with both tables into memory full of canaries, which then must be equal to
    /// the last byte. `shift` varies the stride, the address and the side on which the faulting
    /// page lies.
    fn compare(
        suite: Suite,
        m: *const Matrix,
        row: u64,
        row_count: u64,
        column: u64,
        column_count: u64,
        shift: u64,
    ) !void {
        if (!suite.thinning.isDue()) return;
        errdefer std.debug.print("matrix {d}x{d}, tile at {d},{d} of {d}x{d}, shift {d}\n", .{
            m.rows, m.columns, row, column, row_count, column_count, shift,
        });
        for (std.enums.values(codecs.Target)) |target| {
            errdefer std.debug.print("target {s}\n", .{@tagName(target)});
            const element_bytes: u64 = if (target == .f32) 4 else 2;
            const stride = column_count + 3 * (shift % 2);
            const size = row_count * stride * element_bytes;
            const gap = (shift / 2) * element_bytes;
            var bytes: [2][]u8 = undefined;
            var counts: [2]u64 = undefined;
            for (
                &bytes,
                &counts,
                [_]*const Table{ suite.table, &codecs.scalar_table },
                [_]Guarded{ suite.found, suite.expected },
            ) |*written, *count, table, memory| {
                // Even shifts end at the page that faults, odd ones start after it.
                written.* = if (shift % 2 == 0)
                    memory.atEnd(size + gap, 0)
                else
                    memory.atStart(size + gap, 0);
                @memset(written.*, canary);
                var tile = m.tile(row, row_count, column, column_count);
                tile.target = written.ptr + gap;
                tile.target_stride = stride;
                count.* = table.decode[@intFromEnum(suite.codec)][@intFromEnum(target)](&tile);
                // Only tiles whose results are not all finite are asked for faults of scales.
                if (count.* == 0)
                    try std.testing.expectEqual(null, codecs.scaleFault(suite.codec, &tile));
            }
            try std.testing.expectEqualSlices(u8, bytes[1], bytes[0]);
            try std.testing.expectEqual(counts[1], counts[0]);
        }
    }
};

fn testTranspose(comptime Element: type, function: TransposeFn, random: std.Random) !void {
    const lengths = [_]usize{ 0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100 };
    const longest = lengths[lengths.len - 1] + 4;
    const source_memory: Guarded = try .init(longest * longest * @sizeOf(Element));
    defer source_memory.deinit();
    const target_memory: Guarded = try .init(longest * longest * @sizeOf(Element));
    defer target_memory.deinit();
    for (lengths) |rows| for (lengths) |columns| for (0..4) |shift| {
        errdefer std.debug.print("transpose {s} {d}x{d}, shift {d}\n", .{
            @typeName(Element), rows, columns, shift,
        });
        const source_stride = columns + shift;
        const target_stride = rows + shift % 3;
        const source_bytes = source_memory.atEnd(rows * source_stride * @sizeOf(Element), 0);
        const target_bytes = target_memory.atEnd(columns * target_stride * @sizeOf(Element), 0);
        random.bytes(source_bytes);
        @memset(target_bytes, canary);
        function(source_bytes.ptr, source_stride, target_bytes.ptr, target_stride, rows, columns);
        const source = std.mem.bytesAsSlice(Element, source_bytes);
        const target = std.mem.bytesAsSlice(Element, target_bytes);
        for (target, 0..) |element, i| {
            const c = i / target_stride;
            const r = i % target_stride;
            const untouched: Element = @truncate(0xa5a5_a5a5);
            const expected = if (r < rows) source[r * source_stride + c] else untouched;
            try std.testing.expectEqual(expected, element);
        }
    };
}
