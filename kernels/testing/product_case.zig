//! A random product for tests: a matrix in tiles, of a shape that is a multiple of nothing, with
//! activations, bias and everything else that a table's functions point at.
const std = @import("std");
const testing = std.testing;
const abi = @import("../abi.zig");
const dots = @import("../matvec/dot.zig");
const order = @import("../matvec/order.zig");
const Matrix = @import("matrix.zig").Matrix;
const Sample = @import("../codecs/geometry.zig").Sample;
const table = @import("../table.zig");

const gpa = testing.allocator;

/// A product of random rows, with all that it points at.
pub const Case = struct {
    random: std.Random,
    rows: u64,
    columns: u64,
    batch: u64,
    pairing: abi.Pairing,
    tile_bytes: u64,
    tiles: []align(64) u8,
    x: []f32,
    bias: []f32,
    activations: table.Activations,
    memory: std.heap.ArenaAllocator,
    /// Where the columns stand in the tiles; null: in their places.
    positions: ?[]u32 = null,

    pub fn init(random: std.Random, comptime form: dots.Form, sample: Sample) !Case {
        var memory: std.heap.ArenaAllocator = .init(gpa);
        errdefer memory.deinit();
        const arena = memory.allocator();
        const units = @max(1, 700 / sample.column_unit);
        const columns = random.intRangeAtMost(u64, 1, units) * sample.column_unit;
        const spans = std.math.divCeil(u64, columns, dots.span_columns) catch unreachable;
        const batch = random.intRangeAtMost(u64, 1, abi.batch_max);
        const pairing = random.enumValue(abi.Pairing);
        const rows = random.intRangeAtMost(u64, 1, 50) * @as(u64, if (pairing == .halves) 2 else 1);
        const tile_bytes = dots.tileBytes(form, spans);
        const span_blocks = dots.spanBlocks(form);
        const case: Case = .{
            .random = random,
            .rows = rows,
            .columns = columns,
            .batch = batch,
            .pairing = pairing,
            .tile_bytes = tile_bytes,
            .tiles = try arena.alignedAlloc(
                u8,
                .@"64",
                tile_bytes * table.tileCount(rows, pairing),
            ),
            .x = try arena.alloc(f32, columns * batch),
            .bias = try arena.alloc(f32, rows),
            .activations = .{
                .span_count = spans,
                .span_blocks = span_blocks,
                .values = (try arena.alignedAlloc(f32, .@"64", spans * 32 * batch)).ptr,
                .codes = (try arena.alignedAlloc(i8, .@"64", spans * 32 * batch)).ptr,
                .scales = (try arena.alloc(f32, spans * batch)).ptr,
                .corrections = (try arena.alloc(u32, spans * batch * span_blocks)).ptr,
                .sums = (try arena.alloc(f32, spans * batch * span_blocks)).ptr,
            },
            .memory = memory,
        };
        @memset(case.tiles, 0);
        const size = std.math.exp2(random.float(f32) * 20 - 10);
        for (case.x) |*value| {
            const is_zero = random.uintLessThan(u32, 20) == 0;
            value.* = if (is_zero) 0 else random.floatNorm(f32) * size;
        }
        for (case.bias) |*value| value.* = random.floatNorm(f32);
        return case;
    }

    /// Of rows that name their groups: groups of whole blocks, in a random order of the rows.
    pub fn findPositions(
        case: *Case,
        comptime codec: type,
        comptime form: dots.Form,
        matrix: *const Matrix,
        source: *const table.Tile,
    ) !void {
        if (!@hasDecl(codec, "rowGroups")) return;
        const arena = case.memory.allocator();
        const groups = try arena.alloc(u32, source.row_count);
        if (!codec.rowGroups(source, groups)) return;
        const block_columns = form.coded.block_columns;
        for (groups, 0..) |*group, row| group.* = @intCast(row / block_columns);
        case.random.shuffle(u32, groups);
        const names = matrix.bytes[matrix.sample.sources.len - 1];
        for (groups, 0..) |group, row|
            std.mem.writeInt(u32, names[row * 4 ..][0..4], group, .little);
        // Those of which there are no scales have no group.
        try testing.expect(codec.rowGroups(source, groups));
        case.positions = try order.positionsOf(arena, groups, block_columns);
    }

    /// Of the block of a weight that is scale times code less a minimum: the square of the minimum.
    /// Both terms are rounded at their own size, so that a sum is as exact as they are large, not as
    /// what is left of them (Higham, Accuracy and Stability of Numerical Algorithms, 3.1: the bound is
    /// of the sum of |terms|); a weight near zero may be all rounding. F16 scales times codes are exact
    /// in f32, and keep to the stricter bound. It is read off the tile: a wrong minimum widens the
    /// bound by a millionth of the error it makes.
    pub fn squaredMinimum(
        case: *const Case,
        comptime form: dots.Form,
        row: u64,
        column: u64,
    ) f64 {
        if (form == .dense or !form.coded.has_minimum or form.coded.scale != .f32) return 0;
        const layout = dots.Layout(form.coded);
        const half = dots.tile_rows / 2;
        const second = case.pairing == .halves and row >= case.rows / 2;
        const index = if (second) row - case.rows / 2 else row;
        const each: u64 = if (case.pairing == .halves) half else dots.tile_rows;
        const lane = index % each + @as(u64, if (second) half else 0);
        const position = if (case.positions) |positions| positions[column] else column;
        const at = index / each * case.tile_bytes + layout.minima_at + lane * 4 +
            position / form.coded.block_columns * layout.segment_bytes;
        const minimum: f64 = @as(f32, @bitCast(case.tiles[at..][0..4].*));
        return if (std.math.isFinite(minimum)) minimum * minimum else 0;
    }

    pub fn deinit(case: *Case) void {
        case.memory.deinit();
    }

    /// Lays all rows out in tiles; returns how many scales or values are not finite.
    pub fn pack(case: *Case, functions: *const table.Matvec, source: *const table.Tile) u64 {
        var non_finite_count: u64 = 0;
        for (0..table.tileCount(case.rows, case.pairing)) |number| {
            for (table.runsOf(case.rows, case.pairing, number), 0..) |run, half| {
                const tile: [*]align(64) u8 = @alignCast(case.tiles.ptr + number * case.tile_bytes);
                const lane = half * dots.tile_rows / 2;
                non_finite_count += if (functions.pack) |function|
                    function(source, run.begin, run.count, lane, tile)
                else
                    functions.pack_columns.?(source, &.{
                        .begin = run.begin,
                        .count = run.count,
                        .lane = lane,
                        .positions = if (case.positions) |positions| positions.ptr else null,
                    }, tile);
            }
        }
        return non_finite_count;
    }

    pub fn prepare(case: *Case, function: table.PrepareFn) !void {
        const ordered = try case.memory.allocator().alloc(f32, case.columns);
        for (0..case.batch) |column| {
            var x = case.x[column * case.columns ..][0..case.columns];
            if (case.positions) |positions| {
                for (positions, x) |position, value| ordered[position] = value;
                x = ordered;
            }
            try testing.expect(function(&case.activations, column, x.ptr, case.columns));
        }
    }

    /// y of `function`, or of its tiles in two runs, with a canary behind each column.
    pub fn multiply(
        case: *Case,
        function: table.ProductFn,
        kind: abi.Activation,
        biased: bool,
    ) ![]f32 {
        const results = if (table.isOfPairs(kind)) case.rows / 2 else case.rows;
        const y = try case.memory.allocator().alloc(f32, (results + 1) * case.batch);
        @memset(y, 12345);
        var product: table.Product = .{
            .tiles = case.tiles.ptr,
            .tile_bytes = case.tile_bytes,
            .tile_first = 0,
            .tile_count = case.random.uintAtMost(u64, table.tileCount(case.rows, case.pairing)),
            .rows = case.rows,
            .x = &case.activations,
            .batch = case.batch,
            .bias = if (biased) case.bias.ptr else null,
            .y = y.ptr,
            .y_stride = results + 1,
            .activation = kind,
            .pairing = case.pairing,
            .is_streaming = case.random.boolean(),
        };
        function(&product);
        product.tile_first = product.tile_count;
        product.tiles = @alignCast(product.tiles + product.tile_first * case.tile_bytes);
        product.tile_count = table.tileCount(case.rows, case.pairing) - product.tile_first;
        function(&product);
        for (0..case.batch) |column|
            try testing.expectEqual(12345, y[(results + 1) * column + results]);
        return y;
    }
};

/// All NaN are one.
pub fn expectBits(expected: []const f32, found: []const f32) !void {
    for (expected, found) |a, b| {
        if (a != a and b != b) continue;
        try testing.expectEqual(@as(u32, @bitCast(a)), @as(u32, @bitCast(b)));
    }
}

/// |difference| within `relative` of the largest magnitude of all.
pub fn expectClose(
    case: *const Case,
    expected: []const f32,
    found: []const f32,
    relative: f32,
) !void {
    const stride = expected.len / case.batch;
    var largest: f32 = 0;
    for (expected, 0..) |value, i| {
        if (i % stride < stride - 1) largest = @max(largest, @abs(value));
    }
    for (expected, found) |a, b| try testing.expect(@abs(a - b) <= relative * largest);
}
