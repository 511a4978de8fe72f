//! Steps and plans for the tests of convert/: shapes that real formats have, and random ones.
const std = @import("std");
const abi = @import("../abi.zig");
const system = @import("../machine/system.zig");
const plan_file = @import("../convert/plan.zig");

/// An MXFP4 weight as gpt-oss stores it: codes, then scales, from the start of file 0.
pub fn mxfp4(batch: u64, rows: u64, columns: u64, transposed: bool) abi.Step {
    var step = empty(.mxfp4, .bf16, batch, rows, columns);
    step.transposed = @intFromBool(transposed);
    step.column_align = 32;
    step.source_count = 2;
    const codes = columns / 2;
    const scales = std.math.divCeil(u64, columns, 32) catch unreachable;
    step.sources[0] = lines(0, batch, rows, codes, 32, 16);
    step.sources[1] = lines(batch * rows * codes, batch, rows, scales, 32, 1);
    return step;
}

/// Bytes of a plain tensor, as one row.
pub fn copy(size: u64) abi.Step {
    var step = empty(.copy, .bytes, 1, 1, size);
    step.source_count = 1;
    step.sources[0] = lines(0, 1, 1, size, 1, 1);
    return step;
}

/// Every kind of source at once: rows of their own, scales of row groups, and a table that belongs
/// to all rows. No codec is like this; the geometry is what counts.
pub fn random(prng: std.Random) abi.Step {
    const unit: u32 = @as(u32, 1) << prng.uintLessThan(u5, 6);
    const parts: u32 = if (prng.boolean()) 1 else 2;
    const middle: u32 = if (parts > 1) 1 else 1 + prng.uintLessThan(u32, 3);
    const inner: u32 = if (middle == 1) 1 else 1 + prng.uintLessThan(u32, 6);
    const row_unit = parts * middle * inner;
    const batch = 1 + prng.uintLessThan(u64, 4);
    const rows = row_unit * (1 + prng.uintLessThan(u64, 300 / row_unit));
    const columns = unit * (1 + prng.uintLessThan(u64, 40));
    const dtypes = [_]abi.Dtype{ .f32, .f16, .bf16 };
    var step = empty(.bf16, dtypes[prng.uintLessThan(usize, dtypes.len)], batch, rows, columns);
    step.transposed = prng.uintLessThan(u32, 2);
    step.part_count = parts;
    step.swap_middle = middle;
    step.swap_inner = inner;
    step.row_align = row_unit * (1 + prng.uintLessThan(u32, 4));
    step.column_align = unit;
    step.source_count = 4;
    const per_line = 1 + prng.uintLessThan(u32, 9);
    const group: u32 = 1 + prng.uintLessThan(u32, 200);
    const gap = prng.uintLessThan(u64, 3) * 50;
    step.sources[0] = lines(7, batch, rows, columns / unit * 3 + gap, unit, 3);
    step.sources[1] = grouped(
        step,
        per_line,
        std.math.divCeil(u64, columns, group) catch unreachable,
        group,
        1,
    );
    step.sources[2] = grouped(step, per_line, 11, 0, 0);
    step.sources[3] = grouped(step, 0, 37, 0, 0);
    return step;
}

fn empty(codec: abi.Codec, dtype: abi.Dtype, batch: u64, rows: u64, columns: u64) abi.Step {
    var step = std.mem.zeroes(abi.Step);
    step.codec = codec;
    step.dtype = dtype;
    step.batch_count = batch;
    step.rows = rows;
    step.columns = columns;
    step.row_align = 1;
    step.column_align = 1;
    step.target_file = 1;
    step.part_count = 1;
    step.swap_middle = 1;
    step.swap_inner = 1;
    step.target_size = batch * rows * columns * plan_file.elementSize(dtype);
    return step;
}

fn lines(
    offset: u64,
    batch: u64,
    rows: u64,
    line_bytes: u64,
    unit_columns: u32,
    unit_bytes: u32,
) abi.Source {
    return .{
        .file = 0,
        .rows_per_line = 1,
        .offset = offset,
        .size = batch * rows * line_bytes,
        .line_bytes = line_bytes,
        .batch_bytes = rows * line_bytes,
        .unit_columns = unit_columns,
        .unit_bytes = unit_bytes,
    };
}

fn grouped(
    step: abi.Step,
    rows_per_line: u32,
    line_bytes: u64,
    unit_columns: u32,
    unit_bytes: u32,
) abi.Source {
    var source = lines(100, step.batch_count, step.rows, line_bytes, unit_columns, unit_bytes);
    source.rows_per_line = rows_per_line;
    source.batch_bytes = plan_file.lineCount(&source, step.rows) * line_bytes;
    source.size = step.batch_count * source.batch_bytes;
    return source;
}

/// A plan buffer of one source and one target that holds the steps one behind the other after
/// `head`. The files are not there.
pub fn encode(gpa: std.mem.Allocator, steps: []const abi.Step, head: []const u8) ![]u8 {
    return encodeIn(gpa, steps, head, "", std.mem.zeroes(std.posix.Stat));
}

/// As `encode`, with `source` (of which `stat` is given) and `target` in `folder`.
pub fn encodeIn(
    gpa: std.mem.Allocator,
    steps: []const abi.Step,
    head: []const u8,
    folder: []const u8,
    stat: std.posix.Stat,
) ![]u8 {
    const names = [2][]const u8{ "/source", "/target" };
    const identity: system.Identity = .of(stat);
    var files = std.mem.zeroes([2]abi.File);
    for (&files, names, 0..) |*file, name, i| {
        file.path_size = @intCast(folder.len + name.len);
        file.path_offset = i * file.path_size;
    }
    files[0].role = .source;
    files[0].size = identity.size;
    files[0].device = identity.device;
    files[0].inode = identity.inode;
    files[0].mtime_ns = identity.mtime_ns;
    files[1].role = .target;
    files[1].head_offset = 2 * files[0].path_size;
    files[1].head_size = head.len;
    files[1].size = head.len;
    const placed = try gpa.dupe(abi.Step, steps);
    defer gpa.free(placed);
    for (placed) |*step| {
        step.target_offset = files[1].size;
        files[1].size += step.target_size;
        for (step.sources[0..step.source_count]) |source|
            files[0].size = @max(files[0].size, source.offset + source.size);
    }
    const start: abi.Plan = .{
        .hash = abi.hash,
        .file_count = files.len,
        .step_count = @intCast(steps.len),
        .text_size = 2 * files[0].path_size + head.len,
    };
    return std.mem.concat(gpa, u8, &.{
        std.mem.asBytes(&start),
        std.mem.sliceAsBytes(&files),
        std.mem.sliceAsBytes(placed),
        folder,
        names[0],
        folder,
        names[1],
        head,
    });
}
