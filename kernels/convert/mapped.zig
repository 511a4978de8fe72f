//! How much of mapped sources is in the process: what --max-memory has to count of files that are
//! read without a buffer.
const std = @import("std");
const abi = @import("../abi.zig");
const memory = @import("../machine/memory.zig");
const plan_file = @import("plan.zig");
const source_file = @import("source.zig");
const tiles = @import("tiles.zig");

/// Bytes of maps that one worker has in the process at a time.
pub const Mapped = struct {
    /// Of a matrix that every tile needs whole.
    matrix: u64 = 0,
    /// With the window of an item.
    all: u64 = 0,

    /// A bound for any item of a step. A file has no more than its size in the process, however far
    /// the system maps around a page.
    pub fn of(plan: plan_file.Plan, step: *const abi.Step, cut: tiles.Cut) Mapped {
        var result: Mapped = .{};
        for (step.sources[0..step.source_count]) |*source| {
            const around = 2 * source_file.fault_around;
            const file = memory.charged(plan.files[source.file].size);
            const matrix = tiles.linesOf(step, source, tiles.matrixOf(step, 0)).extent();
            const most = @min(file, matrix + around);
            const wide = tiles.isMatrixWide(step, source);
            if (wide) result.matrix += most;
            result.all += if (wide) most else @min(most, itemBytes(step, source, cut) + around);
        }
        return result;
    }
};

/// A bound of the bytes from the first to the last of an item, in a source whose lines the tiles
/// follow.
fn itemBytes(step: *const abi.Step, source: *const abi.Source, cut: tiles.Cut) u64 {
    if (cut.tile_rows == 1 and source.rows_per_line == 1) {
        // Pieces of lines, one behind the other: a piece more for where they are cut.
        const piece = plan_file.lineUse(source, cut.tile_columns);
        const gap = source.line_bytes - plan_file.lineUse(source, step.columns);
        return (cut.item_tiles + 1) * (piece + gap);
    }
    const tile_rows = std.math.divCeil(u64, cut.item_tiles, cut.column_tiles) catch unreachable;
    const lines: tiles.Tile = .{
        .batch = 0,
        .row_begin = 0,
        .row_count = @min(step.rows, cut.tile_rows * (tile_rows + 1)),
        .column_begin = 0,
        .column_count = step.columns,
    };
    return tiles.linesOf(step, source, lines).extent() + source.line_bytes;
}
