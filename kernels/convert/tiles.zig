//! How steps are cut into work. A tile is a rectangle of one stored matrix that fills a worker's
//! output buffer: some whole rows or a piece of one row, or, where the matrix is transposed, a
//! strip of columns, which is a run of target rows. Tiles begin at multiples of the step's
//! alignments. An item is what a worker takes from the cursor: some tiles of one matrix.
const std = @import("std");
const assert = std.debug.assert;
const abi = @import("../abi.zig");
const plan_file = @import("plan.zig");
const rows_file = @import("rows.zig");
const memory = @import("../machine/memory.zig");

/// Wanted sizes of a worker's buffers; a step that cannot be cut that small gets more.
pub const Limits = struct {
    output_bytes: u64,
    input_bytes: u64,
};

/// A transposed tile is decoded in rectangles that stay in the first-level cache. With 4-bit codes
/// these columns are one cache line of the source, so that no line is fetched twice.
const scratch_bytes_wanted = 16 << 10;
const scratch_columns_wanted = 128;

/// Tiles that a worker maps at once.
const window_tiles_max = 16;

/// How much larger than wanted the output of a strip may be.
const strip_growth_max = 8;

/// Sources of a tile stand in the input buffer at multiples of this.
pub fn inputAlign(io: abi.IoMode) u64 {
    return if (io == .direct) memory.alignment else 64;
}

/// What `cut` decides for one step.
pub const Cut = struct {
    tile_rows: u64,
    tile_columns: u64,
    /// Tiles of one matrix, down and across.
    row_tiles: u64,
    column_tiles: u64,
    /// Tiles of one matrix that a worker takes at once.
    item_tiles: u64,
    /// Read mode, transposed: a worker reads a matrix once and keeps it for all its tiles.
    whole_matrix: bool,
    /// The rectangles of transposed tiles.
    scratch_rows: u64,
    scratch_columns: u64,
    output_bytes: u64,
    scratch_bytes: u64,
    input_bytes: u64,

    pub fn matrixTiles(c: Cut) u64 {
        return c.row_tiles * c.column_tiles;
    }

    pub fn matrixItems(c: Cut) u64 {
        return divCeil(c.matrixTiles(), c.item_tiles);
    }

    pub fn tileCount(c: Cut, step: *const abi.Step) u64 {
        return step.batch_count * c.matrixTiles();
    }

    pub fn itemCount(c: Cut, step: *const abi.Step) u64 {
        return step.batch_count * c.matrixItems();
    }

    /// Tile `index` of a matrix.
    pub fn tile(c: Cut, step: *const abi.Step, batch: u64, index: u64) Tile {
        assert(batch < step.batch_count and index < c.matrixTiles());
        // Transposed tiles follow the columns, since these are the rows of the target.
        const transposed = step.transposed == 1;
        const row_index = if (transposed) index % c.row_tiles else index / c.column_tiles;
        const column_index = if (transposed) index / c.row_tiles else index % c.column_tiles;
        const row_begin = row_index * c.tile_rows;
        const column_begin = column_index * c.tile_columns;
        return .{
            .batch = batch,
            .row_begin = row_begin,
            .row_count = @min(c.tile_rows, step.rows - row_begin),
            .column_begin = column_begin,
            .column_count = @min(c.tile_columns, step.columns - column_begin),
        };
    }
};

pub const Tile = struct {
    batch: u64,
    row_begin: u64,
    row_count: u64,
    column_begin: u64,
    column_count: u64,

    pub fn elements(t: Tile) u64 {
        return t.row_count * t.column_count;
    }

    /// The tile's elements as runs of the target: `count` runs of `size` elements, `stride` apart,
    /// from `begin` on.
    pub fn runs(t: Tile, step: *const abi.Step) Runs {
        const matrix = t.batch * step.rows * step.columns;
        const transposed = step.transposed == 1;
        const line = if (transposed) step.rows else step.columns;
        const first = if (transposed) t.column_begin else t.row_begin;
        const offset = if (transposed) t.row_begin else t.column_begin;
        const count = if (transposed) t.column_count else t.row_count;
        const size = if (transposed) t.row_count else t.column_count;
        const begin = matrix + first * line + offset;
        if (size == line) return .{ .begin = begin, .count = 1, .size = count * size, .stride = 0 };
        return .{ .begin = begin, .count = count, .size = size, .stride = line };
    }
};

pub const Runs = struct { begin: u64, count: u64, size: u64, stride: u64 };

/// Where the bytes of some rows and columns are: `lines` lines of `size` bytes, `stride` apart, the
/// first at `begin` in the file. `lead` bytes of each line stand before them, and are not needed.
pub const Lines = struct {
    begin: u64,
    lines: u64,
    size: u64,
    stride: u64,
    lead: u64,

    /// Bytes from the first to the last.
    pub fn extent(l: Lines) u64 {
        return (l.lines - 1) * l.stride + l.size;
    }
};

/// The lines that a tile needs of a source. A source without rows is needed whole.
pub fn linesOf(step: *const abi.Step, source: *const abi.Source, t: Tile) Lines {
    const item = source.offset + t.batch * source.batch_bytes;
    if (source.rows_per_line == 0) {
        const size = plan_file.itemSize(step, source);
        return .{ .begin = item, .lines = 1, .size = size, .stride = size, .lead = 0 };
    }
    const first = firstLine(step, source, t);
    const last = (rows_file.perPartOf(step, t.row_begin + t.row_count) - 1) / source.rows_per_line;
    var lead: u64 = 0;
    if (source.unit_columns != 0) lead = t.column_begin / source.unit_columns * source.unit_bytes;
    const end = plan_file.lineUse(source, t.column_begin + t.column_count);
    return .{
        .begin = item + first * source.line_bytes + lead,
        .lines = last - first + 1,
        .size = end - lead,
        .stride = source.line_bytes,
        .lead = lead,
    };
}

/// The first line that a tile needs of a source.
pub fn firstLine(step: *const abi.Step, source: *const abi.Source, t: Tile) u64 {
    if (source.rows_per_line == 0) return 0;
    return rows_file.perPartOf(step, t.row_begin) / source.rows_per_line;
}

/// Whether a mapped source is made present once for all tiles of a matrix: every tile reads in all
/// of it.
pub fn isMatrixWide(step: *const abi.Step, source: *const abi.Source) bool {
    return step.transposed == 1 or source.rows_per_line == 0;
}

/// Every line of batch item `batch`.
pub fn matrixOf(step: *const abi.Step, batch: u64) Tile {
    return .{
        .batch = batch,
        .row_begin = 0,
        .row_count = step.rows,
        .column_begin = 0,
        .column_count = step.columns,
    };
}

/// Whether the lines of a read are taken from the file as they stand there, gaps included, in one
/// call.
pub fn readsWhole(lines: Lines) bool {
    return lines.lines == 1 or lines.size * 2 >= lines.stride;
}

/// Bytes of the input buffer that the lines take. Direct reads begin and end at borders, wherever
/// the lines do.
pub fn inputSize(lines: Lines, io: abi.IoMode) u64 {
    var size = if (readsWhole(lines)) lines.extent() else lines.lines * lines.size;
    if (io == .direct) size += memory.alignment;
    return std.mem.alignForward(u64, size, inputAlign(io));
}

/// Cuts a step so that its buffers come near `limits`.
pub fn cut(step: *const abi.Step, io: abi.IoMode, limits: Limits, thread_count: u32) Cut {
    assert(io != .auto);
    var output = limits.output_bytes;
    var result = cutOutput(step, output, io, limits.input_bytes);
    while (result.input_bytes > limits.input_bytes and output > 1) {
        output /= 2;
        const smaller = cutOutput(step, output, io, limits.input_bytes);
        if (smaller.input_bytes < result.input_bytes) result = smaller;
    }
    if (step.transposed == 0) {
        // A run of tiles is mapped, or asked for ahead, at once, but is never so long that some
        // workers are left without.
        const share = result.matrixTiles() * step.batch_count / (@as(u64, thread_count) * 8);
        result.item_tiles = std.math.clamp(share, 1, @min(window_tiles_max, result.matrixTiles()));
    }
    if (result.whole_matrix) {
        // Every item reads its matrix: few items, yet enough of them that all workers end at about
        // the same time.
        const wanted = result.matrixTiles() * step.batch_count / (@as(u64, thread_count) * 4);
        result.item_tiles = std.math.clamp(wanted, 1, result.matrixTiles());
    }
    return result;
}

/// Extents of the tiles for an output buffer of about `output_bytes`.
fn cutOutput(step: *const abi.Step, output_bytes: u64, io: abi.IoMode, input_max: u64) Cut {
    const size = plan_file.elementSize(step.dtype);
    const elements = @max(1, output_bytes / size);
    var result: Cut = undefined;
    if (step.transposed == 1) {
        // A strip over all rows is one run of the target, its parts are a run for each column. So
        // strips may be larger than wanted, until they are as wide as the scratch.
        const strip = elements * strip_growth_max;
        const wide = elements / step.rows;
        const columns = @max(
            wide - wide % scratch_columns_wanted,
            @min(scratch_columns_wanted, strip / step.rows),
        );
        result.tile_columns = fit(columns, step.column_align, step.columns);
        const whole = result.tile_columns * step.rows <= strip;
        const rows = if (whole) step.rows else elements / result.tile_columns;
        result.tile_rows = fit(rows, step.row_align, step.rows);
    } else {
        result.tile_rows = fit(elements / step.columns, step.row_align, step.rows);
        result.tile_columns = fit(elements / result.tile_rows, step.column_align, step.columns);
        // Pieces of one long row end at pages of the target's buffer where that is possible.
        const page = std.math.lcm(step.column_align, memory.alignment / size);
        const pieces = result.tile_rows == 1 and result.tile_columns < step.columns;
        if (pieces and result.tile_columns > page)
            result.tile_columns -= result.tile_columns % page;
    }
    result.row_tiles = divCeil(step.rows, result.tile_rows);
    result.column_tiles = divCeil(step.columns, result.tile_columns);
    result.item_tiles = 1;
    result.whole_matrix = false;
    result.output_bytes = result.tile_rows * result.tile_columns * size;
    result.scratch_bytes = 0;
    if (step.transposed == 1) {
        const columns = fit(scratch_columns_wanted, step.column_align, result.tile_columns);
        result.scratch_columns = columns;
        const rows = scratch_bytes_wanted / (columns * size);
        result.scratch_rows = fit(rows, step.row_align, result.tile_rows);
        result.scratch_bytes = result.scratch_rows * result.scratch_columns * size;
    }
    result.input_bytes = if (io == .mmap) 0 else inputBytes(step, &result, io, input_max);
    return result;
}

fn divCeil(numerator: u64, denominator: u64) u64 {
    return std.math.divCeil(u64, numerator, denominator) catch unreachable;
}

/// The largest multiple of `alignment` up to `wanted`, at least one; all of `whole` where that
/// reaches its end.
fn fit(wanted: u64, alignment: u64, whole: u64) u64 {
    const aligned = @max(alignment, wanted - wanted % alignment);
    return @min(aligned, whole);
}

/// Bytes of the input buffer for the step's largest tile; decides whether a matrix is read at once.
fn inputBytes(step: *const abi.Step, result: *Cut, io: abi.IoMode, input_max: u64) u64 {
    const sources = step.sources[0..step.source_count];
    if (step.transposed == 1) {
        var whole: u64 = 0;
        for (sources) |*source|
            whole += inputSize(linesOf(step, source, matrixOf(step, 0)), io);
        if (whole <= input_max) {
            result.whole_matrix = true;
            return whole;
        }
    }
    var size: u64 = 0;
    for (sources) |*source| size += tileInputMax(step, source, result.*, io);
    return size;
}

/// A bound of what any tile takes of a source: a tile that starts within a line or unit touches one
/// more.
fn tileInputMax(step: *const abi.Step, source: *const abi.Source, c: Cut, io: abi.IoMode) u64 {
    if (source.rows_per_line == 0)
        return inputSize(linesOf(step, source, matrixOf(step, 0)), io);
    const lines = @min(
        plan_file.lineCount(source, rows_file.perPart(step)),
        divCeil(c.tile_rows, source.rows_per_line) +
            @intFromBool(c.tile_rows % source.rows_per_line != 0),
    );
    var size = plan_file.lineUse(source, step.columns);
    if (source.unit_columns != 0 and c.tile_columns < step.columns) {
        const cuts_unit = c.tile_columns % source.unit_columns != 0;
        const extra: u64 = if (cuts_unit) source.unit_bytes else 0;
        size = @min(size, plan_file.lineUse(source, c.tile_columns) + extra);
    }
    return inputSize(.{
        .begin = 0,
        .lines = lines,
        .size = size,
        .stride = source.line_bytes,
        .lead = 0,
    }, io);
}

const testing = std.testing;
const samples = @import("../testing/steps.zig");

fn expectCover(step: *const abi.Step, c: Cut, io: abi.IoMode) !void {
    const count: usize = @intCast(step.batch_count * step.rows * step.columns);
    const seen = try testing.allocator.alloc(u8, count);
    defer testing.allocator.free(seen);
    @memset(seen, 0);
    for (0..step.batch_count) |batch| {
        for (0..c.matrixTiles()) |index| {
            const t = c.tile(step, batch, index);
            try testing.expect(t.row_count > 0 and t.column_count > 0);
            try testing.expectEqual(0, t.row_begin % step.row_align);
            try testing.expectEqual(0, t.column_begin % step.column_align);
            try testing.expect(t.elements() * plan_file.elementSize(step.dtype) <= c.output_bytes);
            var input: u64 = 0;
            for (step.sources[0..step.source_count]) |*source| {
                const l = linesOf(step, source, t);
                try testing.expect(l.begin >= source.offset + batch * source.batch_bytes);
                try testing.expect(l.begin + l.extent() <= source.offset + source.size);
                input += inputSize(l, io);
            }
            if (!c.whole_matrix and c.input_bytes > 0) try testing.expect(input <= c.input_bytes);
            const r = t.runs(step);
            try testing.expectEqual(t.elements(), r.count * r.size);
            for (0..r.count) |i| {
                for (seen[r.begin + i * r.stride ..][0..r.size]) |*times| times.* += 1;
            }
        }
    }
    try testing.expect(std.mem.allEqual(u8, seen, 1));
}

test "tiles cover every element once, within their buffers" {
    var prng = std.Random.DefaultPrng.init(5);
    for (0..400) |round| {
        const step = samples.random(prng.random());
        errdefer std.debug.print("round {d}: {any}\n", .{ round, step });
        const limits: Limits = .{
            .output_bytes = prng.random().intRangeAtMost(u64, 1, 20_000),
            .input_bytes = prng.random().intRangeAtMost(u64, 1, 20_000),
        };
        for ([_]abi.IoMode{ .mmap, .pread, .direct }) |io| {
            const c = cut(&step, io, limits, 1 + prng.random().uintLessThan(u32, 8));
            try expectCover(&step, c, io);
            try testing.expect(c.item_tiles >= 1 and c.item_tiles <= c.matrixTiles());
            if (io == .mmap) try testing.expectEqual(0, c.input_bytes);
            if (step.transposed == 0) continue;
            const whole_columns = c.scratch_columns == step.columns;
            try testing.expect(whole_columns or c.scratch_columns % step.column_align == 0);
            const whole_rows = c.scratch_rows == c.tile_rows;
            try testing.expect(whole_rows or c.scratch_rows % step.row_align == 0);
        }
    }
}

test "an expert of gpt-oss" {
    const limits: Limits = .{ .output_bytes = 256 << 10, .input_bytes = 16 << 20 };
    const rowwise = samples.mxfp4(32, 5760, 2880, false);
    const rows = cut(&rowwise, .mmap, limits, 2);
    try testing.expectEqual(45, rows.tile_rows);
    try testing.expectEqual(2880, rows.tile_columns);
    try testing.expectEqual(128, rows.matrixTiles());
    const transposed = samples.mxfp4(32, 5760, 2880, true);
    const strips = cut(&transposed, .mmap, limits, 2);
    try testing.expectEqual(5760, strips.tile_rows);
    try testing.expectEqual(128, strips.tile_columns);
    try testing.expectEqual(64, strips.scratch_rows);
    try testing.expectEqual(1, strips.item_tiles);
    const read = cut(&transposed, .pread, limits, 2);
    try testing.expect(read.whole_matrix);
    try testing.expectEqual(5760 * 1440 + 5760 * 90, read.input_bytes);
    try testing.expectEqual(23, read.item_tiles);
    const narrow: Limits = .{ .output_bytes = 256 << 10, .input_bytes = 1 << 20 };
    const gathered = cut(&transposed, .pread, narrow, 2);
    try testing.expect(!gathered.whole_matrix);
    try testing.expect(gathered.input_bytes <= 1 << 20);
}

test "pieces of one long row end at pages" {
    const step = samples.copy(10_000_001);
    const c = cut(&step, .mmap, .{ .output_bytes = 300_000, .input_bytes = 1 << 20 }, 2);
    try testing.expectEqual(1, c.tile_rows);
    try testing.expectEqual(300_000 - 300_000 % 4096, c.tile_columns);
}
