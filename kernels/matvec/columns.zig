//! Fills the tiles of a weight that is stored [in, out] (lanes.zig): a worker reads the stored columns
//! that are its rows, some stored rows at a time.
const std = @import("std");
const codecs = @import("../codecs.zig");
const table = @import("../table.zig");
const fault = @import("../convert/fault.zig");
const dots = @import("dot.zig");
const lanes = @import("lanes.zig");
const matrix_file = @import("matrix.zig");
const order = @import("order.zig");
const rows = @import("rows.zig");
const Matrix = matrix_file.Matrix;
const Share = matrix_file.Share;

const Error = fault.Error || error{ OutOfMemory, BudgetExceeded };

/// Looks which order the stored rows have in the tiles.
pub fn findOrder(matrix: *Matrix, files: *rows.Files) (Error || error{NoProducts})!void {
    const step = matrix.step();
    const count = @min(step.row_align, step.rows);
    const width = @min(step.column_align, step.columns);
    var reader = try readerOf(matrix, files, .ofColumns(step, 1, width));
    defer reader.deinit();
    const groups = try matrix.gpa.alloc(u32, @intCast(step.rows));
    defer matrix.gpa.free(groups);
    const source = try reader.readTile(.{
        .batch = 0,
        .row_begin = 0,
        .row_count = count,
        .column_begin = 0,
        .column_count = width,
    });
    if (!codecs.rowGroups(matrix.codec, &source, groups)) return;
    const block_columns = codecs.blockColumns(matrix.codec, matrix.form);
    matrix.positions = try order.positionsOf(matrix.gpa, groups, block_columns);
}

fn readerOf(matrix: *Matrix, files: *rows.Files, shape: rows.Shape) !rows.Reader {
    return .init(matrix.step(), files, &matrix.budget, shape);
}

/// Reads and packs all tiles of a share, which are zero.
pub fn fill(matrix: *Matrix, files: *rows.Files, share: *Share) Error!void {
    const step = matrix.step();
    const halves = matrix.pairing == .halves;
    const unit: u64 = if (halves) lanes.count else dots.tile_rows;
    const end = if (halves) matrix.rows / 2 else matrix.rows;
    var part: Part = .{
        .matrix = matrix,
        .share = share,
        .begin = share.tile_begin * unit,
        .end = @min(share.tile_end * unit, end),
    };
    const width = part.end - part.begin + step.column_align;
    const shape: rows.Shape = .ofColumns(step, 1, @min(step.columns, width));
    var reader = try readerOf(matrix, files, shape);
    defer reader.deinit();
    for (0..step.batch_count) |item| {
        part.item = item;
        var row: u64 = 0;
        while (row < step.rows) : (row += shape.row_count) {
            const count = @min(shape.row_count, step.rows - row);
            try part.pack(&reader, row, count, 0);
            if (halves) try part.pack(&reader, row, count, end);
        }
    }
}

/// The rows of a worker; with pairs, those of the first half.
const Part = struct {
    matrix: *Matrix,
    share: *Share,
    begin: u64,
    end: u64,
    item: u64 = 0,

    /// Stored rows row … of the part's columns, `offset` further right.
    fn pack(part: *Part, reader: *rows.Reader, row: u64, count: u64, offset: u64) Error!void {
        const matrix = part.matrix;
        const step = matrix.step();
        if (matrix.stop.isRequested()) return error.Fault;
        const first = part.begin + offset;
        const column_begin = first - first % step.column_align;
        const source = try reader.readTile(.{
            .batch = part.item,
            .row_begin = row,
            .row_count = count,
            .column_begin = column_begin,
            .column_count = part.end + offset - column_begin,
        });
        for (part.share.tile_begin..part.share.tile_end) |number| {
            if (matrix.pairing == .halves) {
                part.packLanes(&source, number, @intFromBool(offset > 0));
            } else for (0..2) |half| part.packLanes(&source, number, half);
        }
        part.countBytes(row, count);
    }

    fn packLanes(part: *Part, source: *const table.Tile, number: u64, half: u64) void {
        const matrix = part.matrix;
        const run = table.runsOf(matrix.rows, matrix.pairing, number)[half];
        if (run.count == 0) return;
        const tile = matrix.tile(part.share, part.item, number);
        part.share.non_finite_count += matrix.kernels().pack_columns.?(source, &.{
            .begin = run.begin,
            .count = run.count,
            .lane = half * lanes.count,
            .positions = if (matrix.positions) |positions| positions.ptr else null,
        }, tile);
    }

    fn countBytes(part: *Part, row: u64, count: u64) void {
        const matrix = part.matrix;
        const step = matrix.step();
        const parts: u64 = if (matrix.pairing == .halves) 2 else 1;
        const all = part.share.tileCount() * matrix.tile_bytes;
        // So that the sum is right, whatever the quotients leave.
        const done = (row + count) * all / step.rows - row * all / step.rows;
        _ = matrix.bytes_done.fetchAdd(done / parts, .monotonic);
        for (step.sources[0..step.source_count]) |from| {
            const of_rows = from.size * count / (step.batch_count * step.rows);
            part.share.bytes_read += of_rows * (part.end - part.begin) / step.columns;
        }
    }
};
