//! Rows of a stored weight, read for packing and for the reference: lines of the source files come
//! into a buffer of the worker, some megabytes at a time.
const std = @import("std");
const assert = std.debug.assert;
const abi = @import("../abi.zig");
const decode = @import("../convert/decode.zig");
const fault = @import("../convert/fault.zig");
const plan_file = @import("../convert/plan.zig");
const tiles = @import("../convert/tiles.zig");
const guard = @import("../convert/guard.zig");
const memory = @import("../machine/memory.zig");
const rows_file = @import("../convert/rows.zig");
const table = @import("../table.zig");
const SourceFile = @import("../convert/source.zig").SourceFile;

/// Bytes that are wanted in a buffer.
const buffer_bytes_wanted = 2 << 20;

/// The files of a plan that is only read.
pub const Files = struct {
    gpa: std.mem.Allocator,
    files: []SourceFile,
    watches: []guard.Watch,

    pub fn init(
        gpa: std.mem.Allocator,
        plan: plan_file.Plan,
        stop: *fault.Stop,
    ) error{OutOfMemory}!Files {
        const watches = try gpa.alloc(guard.Watch, plan.files.len);
        errdefer gpa.free(watches);
        @memset(watches, .{});
        const files = try gpa.alloc(SourceFile, plan.files.len);
        for (files, plan.files, watches, 0..) |*file, *described, *watch, i|
            file.* = .init(@intCast(i), plan.path(i), described, watch, stop);
        return .{ .gpa = gpa, .files = files, .watches = watches };
    }

    pub fn deinit(files: *Files) void {
        for (files.files) |*file| file.deinit();
        files.gpa.free(files.files);
        files.gpa.free(files.watches);
    }

    /// Opens all files, which must be those whose headers were read.
    pub fn open(files: *Files) fault.Error!void {
        for (files.files) |*file| try file.acquire(.pread);
    }

    /// Looks whether they still are.
    pub fn check(files: *Files) fault.Error!void {
        for (files.files) |*file| try file.checkIdentity();
    }
};

/// How many rows a reader takes at once, and the room for them.
pub const Shape = struct {
    row_count: u64,
    buffer_bytes: u64,

    /// A multiple of the alignment of rows and of `multiple`.
    pub fn init(step: *const abi.Step, multiple: u64) Shape {
        return ofColumns(step, multiple, step.columns);
    }

    /// Of pieces of so many columns, wherever they begin.
    pub fn ofColumns(step: *const abi.Step, multiple: u64, column_count: u64) Shape {
        const unit = std.math.lcm(multiple, step.row_align);
        const room: Room = .{ .step = step, .column_count = column_count };
        const bytes = room.forRows(@min(unit, step.rows));
        const units = @max(1, buffer_bytes_wanted / @max(1, bytes));
        const row_count = @min(std.math.mul(u64, unit, units) catch step.rows, step.rows);
        const buffer_bytes = room.forWholes() + room.forRows(row_count);
        return .{ .row_count = row_count, .buffer_bytes = buffer_bytes };
    }
};

const Room = struct {
    step: *const abi.Step,
    column_count: u64,

    /// Of sources that have lines. Rows that do not begin at a line's first one may take a line more.
    fn forRows(room: Room, row_count: u64) u64 {
        const step = room.step;
        var bytes: u64 = 0;
        for (step.sources[0..step.source_count]) |*source| {
            if (source.rows_per_line == 0) continue;
            var rect = rectangle(step, 0, 0, row_count);
            const more = if (source.rows_per_line > 1) source.rows_per_line else 0;
            rect.row_count = @min(step.rows, row_count + more);
            // A piece that begins within a unit may take a unit more.
            rect.column_count = @min(step.columns, room.column_count + source.unit_columns);
            bytes += tiles.inputSize(tiles.linesOf(step, source, rect), .pread);
        }
        return bytes;
    }

    /// Of sources that serve all rows.
    fn forWholes(room: Room) u64 {
        const step = room.step;
        var bytes: u64 = 0;
        for (step.sources[0..step.source_count]) |*source| {
            if (source.rows_per_line > 0) continue;
            const lines = tiles.linesOf(step, source, tiles.matrixOf(step, 0));
            bytes += tiles.inputSize(lines, .pread);
        }
        return bytes;
    }
};

pub const Reader = struct {
    step: *const abi.Step,
    files: *Files,
    budget: *memory.Budget,
    buffer: memory.Bytes,
    views: decode.Views = undefined,
    /// The matrix of which sources without lines are in the buffer.
    whole_item: ?u64 = null,

    pub fn init(
        step: *const abi.Step,
        files: *Files,
        budget: *memory.Budget,
        shape: Shape,
    ) error{ BudgetExceeded, OutOfMemory }!Reader {
        return .{
            .step = step,
            .files = files,
            .budget = budget,
            .buffer = try memory.allocate(budget, shape.buffer_bytes),
        };
    }

    pub fn deinit(reader: *Reader) void {
        memory.free(reader.budget, reader.buffer);
    }

    /// Rows row_begin … of matrix `item`, as a tile without a target. Valid until the next read.
    pub fn read(reader: *Reader, item: u64, row_begin: u64, row_count: u64) fault.Error!table.Tile {
        return reader.readTile(rectangle(reader.step, item, row_begin, row_count));
    }

    /// A rectangle, likewise.
    pub fn readTile(reader: *Reader, rect: tiles.Tile) fault.Error!table.Tile {
        // What serves all rows stands first, and stays there for the next read of the matrix.
        var begin: usize = 0;
        for ([_]bool{ true, false }) |is_whole| {
            for (reader.step.sources[0..reader.step.source_count], 0..) |*source, i| {
                if ((source.rows_per_line == 0) != is_whole) continue;
                const lines = tiles.linesOf(reader.step, source, rect);
                const size = tiles.inputSize(lines, .pread);
                const part = reader.buffer[begin..][0..@intCast(size)];
                begin += part.len;
                if (is_whole and reader.whole_item == rect.batch) continue;
                const placed = try reader.files.files[source.file].read(lines, part);
                assert(placed.skip == 0);
                reader.views[i] = .{
                    .base = @intFromPtr(part.ptr) -% @as(usize, @intCast(lines.lead)),
                    .stride = placed.stride,
                    .first_line = tiles.firstLine(reader.step, source, rect),
                };
            }
        }
        reader.whole_item = rect.batch;
        const row_begin = rect.row_begin;
        const run: rows_file.Run = .{
            .part = 0,
            .stored_begin = row_begin,
            .stored_step = 1,
            .tile_begin = 0,
            .tile_step = 1,
            .count = rect.row_count,
        };
        // Who decodes to a target sets its address.
        return decode.tileOf(reader.step, &reader.views, rect, run, undefined);
    }
};

fn rectangle(step: *const abi.Step, item: u64, row_begin: u64, row_count: u64) tiles.Tile {
    return .{
        .batch = item,
        .row_begin = row_begin,
        .row_count = row_count,
        .column_begin = 0,
        .column_count = step.columns,
    };
}
