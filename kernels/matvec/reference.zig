//! W · x in f64, from the source files by the scalar code: what products are checked against.
//! Neither tiles nor kernels take part; weights that were rounded at load are rounded again, by the
//! same rule, unless the stored ones are asked for.
const std = @import("std");
const abi = @import("../abi.zig");
const dispatch = @import("../dispatch.zig");
const fault = @import("../convert/fault.zig");
const memory = @import("../machine/memory.zig");
const pool = @import("../machine/pool.zig");
const requantize = @import("requantize.zig");
const dots = @import("dot.zig");
const rows = @import("rows.zig");
const Matrix = @import("matrix.zig").Matrix;
const Tile = @import("../table.zig").Tile;

pub fn run(matrix: *Matrix) void {
    work(matrix) catch {
        matrix.gpa.free(matrix.reference);
        matrix.reference = &.{};
    };
}

fn work(matrix: *Matrix) fault.Error!void {
    const step = matrix.step();
    var files = rows.Files.init(matrix.gpa, matrix.plan, &matrix.stop) catch
        return matrix.stop.fail(.{ .status = .out_of_memory });
    defer files.deinit();
    try files.open();
    const shape: rows.Shape = .init(step, 1);
    var crew: Crew = .{ .matrix = matrix, .files = &files, .shape = shape };
    const result = pool.run(matrix.gpa, matrix.team.placements, &crew, Crew.runWorker);
    _ = result catch |err| switch (err) {
        error.OutOfMemory => return matrix.stop.fail(.{ .status = .out_of_memory }),
        else => return matrix.stop.fail(.io(.thread, .AGAIN, abi.none)),
    };
    if (matrix.stop.isRequested()) return error.Fault;
    try files.check();
}

const Crew = struct {
    matrix: *Matrix,
    files: *rows.Files,
    shape: rows.Shape,
    next: std.atomic.Value(u64) = .init(0),
    mutex: std.Thread.Mutex = .{},

    fn runWorker(crew: *Crew, _: u32) void {
        const matrix = crew.matrix;
        crew.sum() catch |err| switch (err) {
            error.Fault => {},
            error.OutOfMemory => matrix.stop.fail(.{ .status = .out_of_memory }) catch {},
            error.BudgetExceeded => matrix.stop.fail(.{ .status = .memory_limit }) catch {},
        };
    }

    fn sum(crew: *Crew) !void {
        const matrix = crew.matrix;
        const step = matrix.step();
        var reader: rows.Reader = try .init(step, crew.files, &matrix.budget, crew.shape);
        defer reader.deinit();
        const memory_values = try memory.allocate(&matrix.budget, step.columns * @sizeOf(f32));
        defer memory.free(&matrix.budget, memory_values);
        const values = std.mem.bytesAsSlice(f32, memory_values)[0..@intCast(step.columns)];
        const is_transposed = step.transposed == 1;
        const sums = try matrix.gpa.alloc(f64, if (is_transposed) matrix.reference.len else 0);
        defer matrix.gpa.free(sums);
        @memset(sums, 0);
        defer if (is_transposed) crew.addAll(sums);
        while (true) {
            const begin = crew.next.fetchAdd(crew.shape.row_count, .monotonic);
            if (begin >= step.rows) return;
            if (matrix.stop.isRequested()) return error.Fault;
            const count = @min(crew.shape.row_count, step.rows - begin);
            var tile = try reader.read(matrix.reference_item, begin, count);
            tile.row_count = 1;
            tile.target = @ptrCast(values.ptr);
            tile.target_stride = step.columns;
            const base = tile;
            for (0..count) |i| {
                for (0..step.source_count) |source| tile.sources[source] = base.line(source, i);
                tile.row_begin = begin + i;
                crew.decodeRow(&tile, values);
                if (is_transposed)
                    addColumn(matrix, begin + i, values, sums)
                else
                    sumRow(matrix, begin + i, values);
            }
            _ = matrix.bytes_done.fetchAdd(count * step.columns, .monotonic);
        }
    }

    fn decodeRow(crew: *Crew, tile: *const Tile, values: []f32) void {
        const matrix = crew.matrix;
        const step = matrix.step();
        _ = dispatch.scalar.decode[@intFromEnum(step.codec)][@intFromEnum(abi.Dtype.f32)](tile);
        const is_rounded = matrix.codec != step.codec and !matrix.reference_is_stored;
        if (is_rounded) roundValues(values);
    }

    /// A stored row is a row of W: its sum.
    fn sumRow(matrix: *Matrix, row: u64, values: []const f32) void {
        const batch = matrix.reference.len / matrix.rows;
        for (0..batch) |column| {
            const x = matrix.reference_x[@intCast(column * matrix.columns)..][0..values.len];
            var total: f64 = 0;
            for (values, x) |weight, activation| total += @as(f64, weight) * activation;
            matrix.reference[@intCast(column * matrix.rows + row)] = total;
        }
    }

    /// A stored row is a column of W: its part of all sums.
    fn addColumn(matrix: *const Matrix, index: u64, values: []const f32, sums: []f64) void {
        const batch = sums.len / matrix.rows;
        for (0..batch) |column| {
            const activation: f64 = matrix.reference_x[@intCast(column * matrix.columns + index)];
            const totals = sums[@intCast(column * matrix.rows)..][0..values.len];
            for (totals, values) |*total, weight| total.* += weight * activation;
        }
    }

    fn addAll(crew: *Crew, sums: []const f64) void {
        crew.mutex.lock();
        defer crew.mutex.unlock();
        for (crew.matrix.reference, sums) |*total, part| total.* += part;
    }
};

fn roundValues(values: []f32) void {
    var begin: usize = 0;
    while (begin < values.len) : (begin += dots.span_columns) {
        const span = values[begin..@min(begin + dots.span_columns, values.len)];
        requantize.dequantize(&requantize.quantize(span), span);
    }
}
