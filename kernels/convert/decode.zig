//! Decodes a tile from bytes in memory, row by row or transposed. The bytes are views of sources:
//! of a map, of a worker's input buffer, or of a caller's memory.
const std = @import("std");
const assert = std.debug.assert;
const abi = @import("../abi.zig");
const table = @import("../table.zig");
const plan_file = @import("plan.zig");
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
        return function(&tileOf(step, views, tile, target.output.ptr, tile.column_count));
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
            non_finite_count += function(&tileOf(
                step,
                views,
                part,
                target.scratch.ptr,
                part.column_count,
            ));
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

fn tileOf(
    step: *const abi.Step,
    views: *const Views,
    tile: tiles.Tile,
    target: [*]u8,
    stride: u64,
) table.Tile {
    var result: table.Tile = .{
        .sources = undefined,
        .strides = undefined,
        .rows_per_line = undefined,
        .parameters = step.parameters,
        .row_begin = tile.row_begin,
        .row_count = tile.row_count,
        .column_begin = tile.column_begin,
        .column_count = tile.column_count,
        .columns = step.columns,
        .target = target,
        .target_stride = stride,
    };
    for (step.sources[0..step.source_count], 0..) |*source, i| {
        result.sources[i] = views[i].line(source, tile.row_begin);
        result.strides[i] = views[i].stride;
        result.rows_per_line[i] = source.rows_per_line;
    }
    return result;
}
