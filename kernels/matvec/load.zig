//! Fills the tiles of a matrix: each worker, on the core where it will multiply, reads its rows and
//! packs them, so that their pages come from the memory next to it. Then, where it is left open, a
//! measurement decides the arithmetic.
const std = @import("std");
const abi = @import("../abi.zig");
const memory = @import("../machine/memory.zig");
const pool = @import("../machine/pool.zig");
const fault = @import("../convert/fault.zig");
const table = @import("../table.zig");
const columns = @import("columns.zig");
const dots = @import("dot.zig");
const multiply = @import("multiply.zig");
const rows = @import("rows.zig");
const matrix_file = @import("matrix.zig");
const Matrix = matrix_file.Matrix;
const Share = matrix_file.Share;

/// int8 must be this much faster to be worth its rounding.
const gain_min = 1.05;
const probe_count = 5;

pub fn run(matrix: *Matrix) void {
    work(matrix) catch return;
    matrix.is_loaded = true;
}

fn work(matrix: *Matrix) fault.Error!void {
    const step = matrix.step();
    matrix.bytes_total = step.batch_count * matrix.tileCount() * matrix.tile_bytes;
    var files = rows.Files.init(matrix.gpa, matrix.plan, &matrix.stop) catch
        return outOfMemory(matrix);
    defer files.deinit();
    try files.open();
    if (step.transposed == 1) columns.findOrder(matrix, &files) catch |err| return switch (err) {
        error.Fault => error.Fault,
        error.OutOfMemory => outOfMemory(matrix),
        error.BudgetExceeded => matrix.stop.fail(.{ .status = .memory_limit }),
        error.NoProducts => matrix.stop.fail(.{ .status = .no_products }),
    };
    var crew: Crew = .{ .matrix = matrix, .files = &files };
    const placements = matrix.team.placements[0..matrix.shares.len];
    const result = pool.run(matrix.gpa, placements, &crew, Crew.runWorker);
    const started = result catch |err| switch (err) {
        error.OutOfMemory => return outOfMemory(matrix),
        else => return matrix.stop.fail(.io(.thread, .AGAIN, abi.none)),
    };
    if (matrix.stop.isRequested()) return error.Fault;
    // Threads that the system had no room for leave their shares to this one.
    if (started < placements.len) for (matrix.shares) |*share| {
        if (!share.is_loaded) try crew.load(share);
    };
    try files.check();
    try chooseArithmetic(matrix);
}

fn outOfMemory(matrix: *Matrix) fault.Error {
    return matrix.stop.fail(.{ .status = .out_of_memory });
}

const Crew = struct {
    matrix: *Matrix,
    files: *rows.Files,

    fn runWorker(crew: *Crew, worker: u32) void {
        crew.load(&crew.matrix.shares[worker]) catch {};
    }

    fn load(crew: *Crew, share: *Share) fault.Error!void {
        const matrix = crew.matrix;
        crew.fill(share) catch |err| return switch (err) {
            error.Fault => error.Fault,
            error.OutOfMemory => outOfMemory(matrix),
            error.BudgetExceeded => matrix.stop.fail(.{ .status = .memory_limit }),
        };
    }

    fn fill(crew: *Crew, share: *Share) !void {
        const matrix = crew.matrix;
        const step = matrix.step();
        const size = step.batch_count * share.tileCount() * matrix.tile_bytes;
        share.tiles = try memory.allocate(&matrix.budget, size);
        crew.bindTiles(share);
        if (step.transposed == 1) {
            try columns.fill(matrix, crew.files, share);
            share.is_loaded = true;
            return;
        }
        const half = dots.tile_rows / 2;
        const unit: u64 = if (matrix.pairing == .halves) half else dots.tile_rows;
        const shape: rows.Shape = .init(step, unit);
        var reader: rows.Reader = try .init(step, crew.files, &matrix.budget, shape);
        defer reader.deinit();
        var values: memory.Bytes = &.{};
        defer if (values.len > 0) memory.free(&matrix.budget, values);
        if (matrix.codec != step.codec)
            values = try memory.allocate(&matrix.budget, step.columns * @sizeOf(f32));
        var packer: Packer = .{
            .matrix = matrix,
            .share = share,
            .reader = &reader,
            .values = std.mem.bytesAsSlice(f32, values),
        };
        const end = if (matrix.pairing == .halves) step.rows / 2 else step.rows;
        for (0..step.batch_count) |item| {
            var row = share.tile_begin * unit;
            const row_end = @min(share.tile_end * unit, end);
            while (row < row_end) : (row += shape.row_count) {
                const count = @min(shape.row_count, row_end - row);
                try packer.pack(item, row, count, 0);
                if (matrix.pairing == .halves) try packer.pack(item, row, count, step.rows / 2);
            }
        }
        share.is_loaded = true;
    }

    fn bindTiles(crew: *Crew, share: *Share) void {
        const index = share - crew.matrix.shares.ptr;
        const placement = &crew.matrix.team.placements[index];
        if (!placement.has_near_memory) return;
        const result = memory.preferNode(share.tiles, placement.node_id);
        share.binding = if (result == .SUCCESS) .bound else .refused;
        share.binding_errno = @intFromEnum(result);
    }
};

/// Puts rows that were read into the tiles of a share.
const Packer = struct {
    matrix: *Matrix,
    share: *Share,
    reader: *rows.Reader,
    /// One row, where values are packed instead of codes.
    values: []f32,

    /// Rows begin + offset …; `begin` is where they count from in the order of tiles.
    fn pack(packer: *Packer, item: u64, begin: u64, count: u64, offset: u64) !void {
        const matrix = packer.matrix;
        const step = matrix.step();
        if (matrix.stop.isRequested()) return error.Fault;
        const source = try packer.reader.read(item, begin + offset, count);
        const halves = matrix.pairing == .halves;
        const unit: u64 = if (halves) dots.tile_rows / 2 else dots.tile_rows;
        const lane: u64 = if (offset > 0) dots.tile_rows / 2 else 0;
        var done: u64 = 0;
        while (done < count) : (done += unit) {
            const tile = matrix.tile(packer.share, item, (begin + done) / unit);
            const lane_count = @min(unit, count - done);
            if (matrix.codec == step.codec) {
                const function = matrix.kernels().pack.?;
                packer.share.non_finite_count += function(&source, done, lane_count, lane, tile);
            } else for (0..lane_count) |i| try packer.packValues(&source, done + i, lane + i, tile);
        }
        const tiles_done = std.math.divCeil(u64, count, unit) catch unreachable;
        const parts: u64 = if (halves) 2 else 1;
        _ = matrix.bytes_done.fetchAdd(tiles_done * matrix.tile_bytes / parts, .monotonic);
        for (step.sources[0..step.source_count]) |from|
            packer.share.bytes_read += from.size * count / (step.batch_count * step.rows);
    }

    fn packValues(
        packer: *Packer,
        source: *const table.Tile,
        row: u64,
        lane: u64,
        tile: [*]align(64) u8,
    ) !void {
        const matrix = packer.matrix;
        const step = matrix.step();
        var one = source.*;
        for (0..step.source_count) |i| one.sources[i] = source.line(i, row);
        one.row_begin = source.row_begin + row;
        one.row_count = 1;
        one.target = @ptrCast(packer.values.ptr);
        one.target_stride = step.columns;
        const decoders = &matrix.functions.decode[@intFromEnum(step.codec)];
        const decode = decoders[@intFromEnum(abi.Dtype.f32)];
        // There is no code for NaN or infinity.
        if (decode(&one) > 0) return matrix.stop.fail(.{ .status = .out_of_range, .step = 0 });
        matrix.kernels().pack_values.?(packer.values.ptr, step.columns, lane, tile);
    }
};

/// Both arithmetics in turns; the fastest of a few runs counts for each.
fn chooseArithmetic(matrix: *Matrix) fault.Error!void {
    if (matrix.arithmetic != .auto) return;
    matrix.arithmetic = .float;
    if (matrix.kernels().multiply_int8 == null) return;
    const x = matrix.gpa.alloc(f32, @intCast(matrix.columns)) catch return outOfMemory(matrix);
    defer matrix.gpa.free(x);
    const y = matrix.gpa.alloc(f32, @intCast(matrix.rows)) catch return outOfMemory(matrix);
    defer matrix.gpa.free(y);
    for (x, 0..) |*value, i| value.* = @as(f32, @floatFromInt(i % 251)) - 125;
    var best: [2]u64 = @splat(std.math.maxInt(u64));
    for (0..probe_count) |_| for ([_]abi.Arithmetic{ .float, .int8 }, &best) |arithmetic, *ns| {
        if (matrix.stop.isRequested()) return error.Fault;
        var timer = std.time.Timer.start() catch return outOfMemory(matrix);
        const done = multiply.run(matrix, .{ .x = x, .y = y, .arithmetic = arithmetic });
        std.debug.assert(done);
        ns.* = @min(ns.*, timer.read());
    };
    matrix.float_ns = best[0];
    matrix.int8_ns = best[1];
    const gain = @as(f64, @floatFromInt(best[0])) / @as(f64, @floatFromInt(best[1]));
    if (gain >= gain_min) matrix.arithmetic = .int8;
}
