//! Decodes a tile from bytes in memory, row by row or transposed. The bytes are views of sources:
//! of a map, of a worker's input buffer, or of a caller's memory.
const std = @import("std");
const assert = std.debug.assert;
const abi = @import("../abi.zig");
const codecs = @import("../codecs.zig");
const table = @import("../table.zig");
const plan_file = @import("plan.zig");
const rows_file = @import("rows.zig");
const tiles = @import("tiles.zig");

/// Lines of a source in memory.
pub const View = struct {
    /// Address of column 0 of line `first_line`. Where only a piece of each line was read, this is
    /// before the buffer.
    base: usize,
    stride: u64,
    first_line: u64,

    /// The line that serves stored row `row`.
    pub fn line(view: View, source: *const abi.Source, row: u64) [*]const u8 {
        if (source.rows_per_line == 0) return @ptrFromInt(view.base);
        const number = row / source.rows_per_line;
        assert(number >= view.first_line);
        return @ptrFromInt(view.base +% (number - view.first_line) * view.stride);
    }
};

pub const Views = [abi.source_count_max]View;

/// What a decode writes to, and its rectangle of scratch where the step is transposed.
pub const Target = struct {
    output: []u8,
    scratch: []u8,
    scratch_rows: u64,
    scratch_columns: u64,
};

/// Writes the tile's elements in the order of the target and returns how many are NaN or infinite.
pub fn decode(
    functions: *const table.Table,
    step: *const abi.Step,
    views: *const Views,
    tile: tiles.Tile,
    target: Target,
) u64 {
    assert(step.codec != .copy);
    const size = plan_file.elementSize(step.dtype);
    assert(target.output.len >= tile.elements() * size);
    const function = functions.decode[@intFromEnum(step.codec)][@intFromEnum(step.dtype)];
    if (step.transposed == 0) {
        return decodeRuns(function, step, views, tile, target.output.ptr);
    }
    assert(target.scratch.len >= target.scratch_rows * target.scratch_columns * size);
    const transpose = if (size == 2) functions.transpose16 else functions.transpose32;
    var non_finite_count: u64 = 0;
    var row: u64 = 0;
    while (row < tile.row_count) : (row += target.scratch_rows) {
        const row_count = @min(target.scratch_rows, tile.row_count - row);
        var column: u64 = 0;
        while (column < tile.column_count) : (column += target.scratch_columns) {
            const part: tiles.Tile = .{
                .batch = tile.batch,
                .row_begin = tile.row_begin + row,
                .row_count = row_count,
                .column_begin = tile.column_begin + column,
                .column_count = @min(target.scratch_columns, tile.column_count - column),
            };
            non_finite_count += decodeRuns(function, step, views, part, target.scratch.ptr);
            const place = target.output.ptr + (column * tile.row_count + row) * size;
            transpose(
                target.scratch.ptr,
                part.column_count,
                place,
                tile.row_count,
                row_count,
                part.column_count,
            );
        }
    }
    return non_finite_count;
}

/// A rectangle to rows of `tile.column_count` elements.
fn decodeRuns(
    function: table.DecodeFn,
    step: *const abi.Step,
    views: *const Views,
    tile: tiles.Tile,
    target: [*]u8,
) u64 {
    const row_bytes = tile.column_count * plan_file.elementSize(step.dtype);
    var runs: rows_file.Runs = .init(step, tile);
    var non_finite_count: u64 = 0;
    while (runs.next()) |run| {
        const part = tileOf(step, views, tile, run, target + run.tile_begin * row_bytes);
        non_finite_count += function(&part);
    }
    return non_finite_count;
}

/// The source of the step that holds a scale of this tile which is not possible: codecs.scaleFault.
pub fn scaleFault(step: *const abi.Step, views: *const Views, tile: tiles.Tile) ?u32 {
    var runs: rows_file.Runs = .init(step, tile);
    while (runs.next()) |run| {
        // What would be written is not looked at.
        const part = tileOf(step, views, tile, run, undefined);
        const source = codecs.scaleFault(step.codec, &part) orelse continue;
        return @as(u32, @intCast(run.part)) * (step.source_count / step.part_count) + source;
    }
    return null;
}

/// A run of a tile's rows as codecs take it.
pub fn tileOf(
    step: *const abi.Step,
    views: *const Views,
    tile: tiles.Tile,
    run: rows_file.Run,
    target: [*]u8,
) table.Tile {
    var result: table.Tile = .{
        .sources = undefined,
        .strides = undefined,
        .rows_per_line = undefined,
        .parameters = step.parameters,
        .row_begin = run.stored_begin,
        .row_count = run.count,
        .column_begin = tile.column_begin,
        .column_count = tile.column_count,
        .columns = step.columns,
        .batch = tile.batch,
        .target = target,
        .target_stride = tile.column_count * run.tile_step,
    };
    const count = step.source_count / step.part_count;
    const first = run.part * count;
    for (step.sources[first..][0..count], views[first..][0..count], 0..) |*source, view, i| {
        result.sources[i] = view.line(source, run.stored_begin);
        result.strides[i] = view.stride * run.stored_step;
        result.rows_per_line[i] = source.rows_per_line;
    }
    return result;
}
