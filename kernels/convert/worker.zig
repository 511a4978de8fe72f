//! One thread of a job: takes items from the cursor, brings their sources into reach, decodes tile
//! by tile, and writes the result or compares it.
const std = @import("std");
const assert = std.debug.assert;
const abi = @import("../abi.zig");
const memory = @import("../machine/memory.zig");
const compare_file = @import("compare.zig");
const decode_file = @import("decode.zig");
const plan_file = @import("plan.zig");
const tiles = @import("tiles.zig");
const Engine = @import("engine.zig").Engine;
const Error = @import("fault.zig").Error;
const Item = @import("setup.zig").Setup.Item;
const SourceFile = @import("source.zig").SourceFile;

/// Bytes of sources that are asked for ahead of the tile that needs them.
const ahead_bytes = 8 << 20;

/// What a worker counted.
pub const Tally = struct {
    bytes_read: u64 = 0,
    bytes_written: u64 = 0,
    elements_compared: u64 = 0,
    non_finite_count: u64 = 0,
    non_finite_step: u32 = abi.none,
    mismatch: compare_file.Mismatch = .{},

    pub fn merge(tally: *Tally, other: Tally) void {
        tally.bytes_read += other.bytes_read;
        tally.bytes_written += other.bytes_written;
        tally.elements_compared += other.elements_compared;
        tally.non_finite_count += other.non_finite_count;
        tally.non_finite_step = @min(tally.non_finite_step, other.non_finite_step);
        tally.mismatch.merge(other.mismatch);
    }
};

/// A matrix of the plan.
const Matrix = struct { step: u32, batch: u64 };

pub const Worker = struct {
    engine: *Engine,
    node: u32,
    bytes: memory.Bytes,
    output: []u8,
    compare: []u8,
    scratch: []u8,
    input: []u8,
    /// The matrix whose sources are in `views`, as far as a matrix is made ready at once.
    matrix: ?Matrix = null,
    /// The mapped matrix before it, which other workers may still be reading.
    matrix_before: ?Matrix = null,
    views: decode_file.Views = undefined,
    tally: Tally = .{},

    pub fn init(engine: *Engine, node: u32) error{ OutOfMemory, BudgetExceeded }!Worker {
        const sizes = engine.setup.buffers;
        try engine.budget.take(memory.charged(sizes.mapped));
        errdefer engine.budget.giveBack(memory.charged(sizes.mapped));
        // A plan that only copies mapped bytes needs no buffer at all.
        const bytes = try memory.allocate(&engine.budget, @max(sizes.allocated(), 1));
        var worker: Worker = .{
            .engine = engine,
            .node = node,
            .bytes = bytes,
            .output = &.{},
            .compare = &.{},
            .scratch = &.{},
            .input = &.{},
        };
        var begin: usize = 0;
        inline for (@TypeOf(sizes).parts) |name| {
            const size: usize = @intCast(@field(sizes, name));
            @field(worker, name) = bytes[begin..][0..size];
            begin += @intCast(memory.charged(size));
        }
        return worker;
    }

    pub fn deinit(worker: *Worker) void {
        const budget = &worker.engine.budget;
        memory.free(budget, worker.bytes);
        budget.giveBack(memory.charged(worker.engine.setup.buffers.mapped));
        worker.* = undefined;
    }

    /// Works until there is nothing left to take or the job stops.
    pub fn run(worker: *Worker) void {
        const engine = worker.engine;
        while (!engine.stop.isRequested()) {
            const index = engine.cursor.take(worker.node) orelse break;
            worker.runItem(index) catch break;
        }
        worker.leaveMatrix();
        worker.leaveMatrix();
    }

    fn runItem(worker: *Worker, index: u64) Error!void {
        const engine = worker.engine;
        const item = engine.setup.item(engine.plan, index);
        const step = &engine.plan.steps[item.step];
        const cut = engine.setup.cuts[item.step];
        engine.step_current.store(item.step, .monotonic);
        if (engine.kind != .digest)
            try engine.target(step.target_file).acquire(engine.setup.target_io);
        for (step.sources[0..step.source_count]) |source|
            try engine.source(source.file).acquire(engine.setup.io);
        try worker.enterMatrix(.{ .step = item.step, .batch = item.batch });
        const windowed = engine.setup.io == .mmap and step.transposed == 0;
        if (windowed) try worker.populateWindow(item);
        if (step.transposed == 0) worker.expectAhead(item, index);
        for (item.tile_begin..item.tile_end) |tile_index| {
            if (engine.stop.isRequested()) return error.Fault;
            try worker.runTile(item.step, cut.tile(step, item.batch, tile_index));
        }
        if (windowed) worker.leaveWindow(item);
        worker.forgetSources(item);
        for (0..step.source_count) |i| {
            if (!isFirstUse(step, i)) continue;
            const file = step.sources[i].file;
            if (try engine.source(file).release() and engine.kind == .digest)
                engine.finishFile(file);
        }
        if (engine.kind == .digest) return;
        if (try engine.target(step.target_file).release() and engine.kind == .convert)
            engine.finishFile(step.target_file);
    }

    /// Brings into reach what all tiles of a matrix share.
    fn enterMatrix(worker: *Worker, matrix: Matrix) Error!void {
        if (worker.matrix) |current| if (std.meta.eql(current, matrix)) return;
        worker.leaveMatrix();
        const engine = worker.engine;
        const step = &engine.plan.steps[matrix.step];
        const whole = tiles.matrixOf(step, matrix.batch);
        if (engine.setup.io == .mmap) {
            for (step.sources[0..step.source_count], 0..) |*source, i| {
                const file = engine.source(source.file);
                const lines = tiles.linesOf(step, source, whole);
                worker.views[i] = viewOf(file.map.ptr + lines.begin, lines, 0);
                if (!tiles.isMatrixWide(step, source)) continue;
                try file.populate(lines.begin, lines.begin + lines.extent());
            }
        } else if (engine.setup.cuts[matrix.step].whole_matrix) {
            try worker.readTile(step, whole);
        } else return;
        worker.matrix = matrix;
        if (matrix.batch + 1 < step.batch_count) worker.expectMatrix(step, matrix.batch + 1);
    }

    /// Asks for the sources that a matrix needs at once.
    fn expectMatrix(worker: *Worker, step: *const abi.Step, batch: u64) void {
        for (step.sources[0..step.source_count]) |*source| {
            if (!tiles.isMatrixWide(step, source) or source.batch_bytes == 0) continue;
            const lines = tiles.linesOf(step, source, tiles.matrixOf(step, batch));
            worker.engine.source(source.file).expect(lines.begin, lines.begin + lines.extent());
        }
    }

    /// Forgets the current matrix. Of mapped ones, the one before it leaves the process.
    fn leaveMatrix(worker: *Worker) void {
        const engine = worker.engine;
        if (engine.setup.io == .mmap) {
            if (worker.matrix_before) |matrix| {
                const step = &engine.plan.steps[matrix.step];
                for (step.sources[0..step.source_count]) |*source| {
                    if (!tiles.isMatrixWide(step, source)) continue;
                    const lines = tiles.linesOf(step, source, tiles.matrixOf(step, matrix.batch));
                    engine.source(source.file).drop(lines.begin, lines.begin + lines.extent());
                }
            }
            worker.matrix_before = worker.matrix;
        }
        worker.matrix = null;
    }

    fn runTile(worker: *Worker, step_index: u32, tile: tiles.Tile) Error!void {
        const engine = worker.engine;
        const step = &engine.plan.steps[step_index];
        const mapped = engine.setup.io == .mmap;
        if (!mapped and worker.matrix == null) try worker.readTile(step, tile);
        const gathers = engine.kind != .convert or engine.setup.target_io == .direct;
        if (step.codec == .copy and !gathers) {
            try worker.writeCopy(step_index, tile);
        } else {
            const output = worker.outputOf(step, tile);
            var non_finite_count: u64 = 0;
            switch (step.codec) {
                .copy => worker.gatherCopy(step, tile, output),
                else => non_finite_count = worker.decodeTile(step_index, tile, output),
            }
            if (mapped) try worker.checkMaps(step);
            if (non_finite_count > 0) try worker.checkScales(step_index, tile);
            if (engine.kind == .digest) {
                try worker.digest(step_index, tile, output);
            } else try worker.deliver(step_index, tile, output);
        }
        if (mapped) try worker.checkMaps(step);
        for (step.sources[0..step.source_count]) |*source| {
            const lines = tiles.linesOf(step, source, tile);
            worker.tally.bytes_read += lines.lines * lines.size;
        }
        const bytes = tile.elements() * plan_file.elementSize(step.dtype);
        _ = engine.bytes_done.fetchAdd(bytes, .monotonic);
    }

    /// Where the elements of a tile are made. A direct write takes them from where they are as far
    /// from a border of memory as they come to be from a border of the file.
    fn outputOf(worker: *Worker, step: *const abi.Step, tile: tiles.Tile) []u8 {
        const size = plan_file.elementSize(step.dtype);
        const bytes: usize = @intCast(tile.elements() * size);
        const runs = tile.runs(step);
        const place = step.target_offset + runs.begin * size;
        const direct = worker.engine.setup.target_io == .direct;
        const shifted = direct and runs.count == 1 and place % size == 0;
        const begin: usize = if (shifted) @intCast(place % memory.alignment) else 0;
        return worker.output[begin..][0..bytes];
    }

    /// Returns how many results are not finite.
    fn decodeTile(worker: *Worker, step_index: u32, tile: tiles.Tile, output: []u8) u64 {
        const engine = worker.engine;
        const cut = engine.setup.cuts[step_index];
        const step = &engine.plan.steps[step_index];
        const count = decode_file.decode(engine.functions, step, &worker.views, tile, .{
            .output = output,
            .scratch = worker.scratch,
            .scratch_rows = cut.scratch_rows,
            .scratch_columns = cut.scratch_columns,
        });
        if (count == 0) return 0;
        worker.tally.non_finite_count += count;
        worker.tally.non_finite_step = @min(worker.tally.non_finite_step, step_index);
        if (engine.kind == .convert)
            engine.seals[step.target_file].countNonFinite(count, step_index);
        return count;
    }

    /// Whether results that are not finite come of a scale that no file may hold.
    fn checkScales(worker: *Worker, step_index: u32, tile: tiles.Tile) Error!void {
        const engine = worker.engine;
        if (!engine.check_scales) return;
        const step = &engine.plan.steps[step_index];
        const source = decode_file.scaleFault(step, &worker.views, tile) orelse return;
        return engine.stop.fail(.{
            .status = .bad_scale,
            .file = step.sources[source].file,
            .step = step_index,
            .source = source,
        });
    }

    /// Sums up bytes of a source.
    fn digest(worker: *Worker, step_index: u32, tile: tiles.Tile, bytes: []const u8) Error!void {
        const engine = worker.engine;
        const source = &engine.plan.steps[step_index].sources[0];
        const offset = source.offset + tile.column_begin;
        engine.seals[source.file].add(bytes, offset);
        try engine.hashFile(source.file, bytes, offset);
        try engine.hashStep(step_index, bytes, tile.column_begin);
    }

    /// Writes the decoded elements, or compares them with what the target file has.
    fn deliver(worker: *Worker, step_index: u32, tile: tiles.Tile, output: []const u8) Error!void {
        const engine = worker.engine;
        const step = &engine.plan.steps[step_index];
        const target = engine.target(step.target_file);
        const size = plan_file.elementSize(step.dtype);
        const runs = tile.runs(step);
        const run_bytes: usize = @intCast(runs.size * size);
        for (0..runs.count) |i| {
            const element = runs.begin + i * runs.stride;
            const bytes = output[i * run_bytes ..][0..run_bytes];
            const offset = step.target_offset + element * size;
            if (engine.kind == .convert) {
                try target.write(bytes, offset);
                try engine.hashFile(step.target_file, bytes, offset);
                try engine.hashStep(step_index, bytes, element * size);
                worker.tally.bytes_written += run_bytes;
            } else {
                const found = worker.compare[0..run_bytes];
                try target.read(found, offset);
                worker.tally.mismatch.compare(step_index, step.dtype, element, found, bytes);
                worker.tally.elements_compared += runs.size;
            }
        }
    }

    /// Bytes go to the target from where they are, in one call where the rows stand one after the
    /// other.
    fn writeCopy(worker: *Worker, step_index: u32, tile: tiles.Tile) Error!void {
        const engine = worker.engine;
        const step = &engine.plan.steps[step_index];
        const source = &step.sources[0];
        const target = engine.target(step.target_file);
        const view = worker.views[0];
        const together = tile.column_count == step.columns and view.stride == step.columns;
        const count = if (together) 1 else tile.row_count;
        const size: usize = @intCast(if (together) tile.elements() else tile.column_count);
        for (0..count) |i| {
            const row = tile.row_begin + i;
            const bytes = (view.line(source, row) + tile.column_begin)[0..size];
            const element = (tile.batch * step.rows + row) * step.columns + tile.column_begin;
            try target.writeMapped(engine.source(source.file), bytes, step.target_offset + element);
            try engine.hashFile(step.target_file, bytes, step.target_offset + element);
            try engine.hashStep(step_index, bytes, element);
            worker.tally.bytes_written += size;
        }
    }

    fn gatherCopy(worker: *Worker, step: *const abi.Step, tile: tiles.Tile, output: []u8) void {
        const size: usize = @intCast(tile.column_count);
        for (0..tile.row_count) |i| {
            const line = worker.views[0].line(&step.sources[0], tile.row_begin + i);
            @memcpy(output[i * size ..][0..size], (line + tile.column_begin)[0..size]);
        }
    }

    /// Reads the lines that a tile needs into the input buffer.
    fn readTile(worker: *Worker, step: *const abi.Step, tile: tiles.Tile) Error!void {
        var begin: usize = 0;
        for (step.sources[0..step.source_count], 0..) |*source, i| {
            const lines = tiles.linesOf(step, source, tile);
            const size: usize = @intCast(tiles.inputSize(lines, worker.engine.setup.io));
            const buffer = worker.input[begin..][0..size];
            begin += size;
            const placed = try worker.engine.source(source.file).read(lines, buffer);
            const first = buffer.ptr + placed.skip;
            worker.views[i] = viewOf(first, lines, tiles.firstLine(step, source, tile));
            worker.views[i].stride = placed.stride;
        }
    }

    /// Makes the mapped lines of an item present.
    fn populateWindow(worker: *Worker, item: Item) Error!void {
        const engine = worker.engine;
        const step = &engine.plan.steps[item.step];
        for (step.sources[0..step.source_count]) |*source| {
            if (tiles.isMatrixWide(step, source)) continue;
            const span = worker.windowOf(item, source);
            try engine.source(source.file).populate(span.begin, span.end);
        }
    }

    /// Asks for the lines of a later item of the same step, about `ahead_bytes` away.
    fn expectAhead(worker: *Worker, item: Item, index: u64) void {
        const engine = worker.engine;
        const step = &engine.plan.steps[item.step];
        var bytes: u64 = 0;
        for (step.sources[0..step.source_count]) |*source| {
            if (tiles.isMatrixWide(step, source)) continue;
            const span = worker.windowOf(item, source);
            bytes += span.end - span.begin;
        }
        const later_index = index + @max(1, ahead_bytes / @max(1, bytes));
        if (later_index >= engine.setup.itemCount()) return;
        const later = engine.setup.item(engine.plan, later_index);
        if (later.step != item.step) return;
        for (step.sources[0..step.source_count]) |*source| {
            if (tiles.isMatrixWide(step, source)) continue;
            const span = worker.windowOf(later, source);
            engine.source(source.file).expect(span.begin, span.end);
        }
    }

    fn leaveWindow(worker: *Worker, item: Item) void {
        const engine = worker.engine;
        const step = &engine.plan.steps[item.step];
        for (step.sources[0..step.source_count]) |*source| {
            if (tiles.isMatrixWide(step, source)) continue;
            const span = worker.windowOf(item, source);
            engine.source(source.file).drop(span.begin, span.end);
        }
    }

    /// What the item has read leaves the page cache; of a matrix that all its items read, the one
    /// before, for others may still be reading this one.
    fn forgetSources(worker: *Worker, item: Item) void {
        const engine = worker.engine;
        const step = &engine.plan.steps[item.step];
        const is_last = item.tile_end == engine.setup.cuts[item.step].matrixTiles();
        for (step.sources[0..step.source_count]) |*source| {
            const file = engine.source(source.file);
            if (!tiles.isMatrixWide(step, source)) {
                const span = worker.windowOf(item, source);
                file.forget(span.begin, span.end);
            } else if (is_last and item.batch > 0 and source.batch_bytes > 0) {
                const lines = tiles.linesOf(step, source, tiles.matrixOf(step, item.batch - 1));
                file.forget(lines.begin, lines.begin + lines.extent());
            }
        }
    }

    const Span = struct { begin: u64, end: u64 };

    /// The bytes of a source from an item's first tile to its last.
    fn windowOf(worker: *Worker, item: Item, source: *const abi.Source) Span {
        const engine = worker.engine;
        const step = &engine.plan.steps[item.step];
        const cut = engine.setup.cuts[item.step];
        const first = tiles.linesOf(step, source, cut.tile(step, item.batch, item.tile_begin));
        const last = tiles.linesOf(step, source, cut.tile(step, item.batch, item.tile_end - 1));
        // Pieces of one row follow each other; pieces of several rows share lines, and the last may
        // begin before the first.
        return .{
            .begin = @min(first.begin, last.begin),
            .end = @max(first.begin + first.extent(), last.begin + last.extent()),
        };
    }

    fn checkMaps(worker: *Worker, step: *const abi.Step) Error!void {
        for (step.sources[0..step.source_count]) |*source|
            try worker.engine.source(source.file).checkMap();
    }
};

fn viewOf(bytes: [*]const u8, lines: tiles.Lines, first_line: u64) decode_file.View {
    return .{
        .base = @intFromPtr(bytes) -% lines.lead,
        .stride = lines.stride,
        .first_line = first_line,
    };
}

/// Whether no source before `index` is in the same file.
pub fn isFirstUse(step: *const abi.Step, index: usize) bool {
    for (step.sources[0..index]) |source| if (source.file == step.sources[index].file) return false;
    return true;
}
