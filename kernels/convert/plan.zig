//! The plan buffer of abi.Plan, copied and checked: after `parse` every index, span and product is
//! in bounds, so that the rest of the engine computes without checks. A plan that fails here was
//! made wrongly: its files were checked before.
const std = @import("std");
const abi = @import("../abi.zig");
const codecs = @import("../codecs.zig");
const rows_file = @import("rows.zig");

pub const Error = error{ BadPlan, OutOfMemory };

/// Bound of rows, columns and batches alone, so that sums of a few of them cannot overflow.
const extent_max = 1 << 48;
/// Longest path that the system takes, without its NUL.
const path_size_max = std.posix.PATH_MAX - 1;

pub const Plan = struct {
    memory: []align(8) u8,
    files: []const abi.File,
    steps: []const abi.Step,
    text: []const u8,

    pub fn parse(gpa: std.mem.Allocator, bytes: []const u8, kind: abi.JobKind) Error!Plan {
        const memory = try gpa.alignedAlloc(u8, .of(u64), bytes.len);
        errdefer gpa.free(memory);
        @memcpy(memory, bytes);
        const plan = try split(memory);
        for (plan.files) |*file| try checkFile(file, plan.text);
        for (plan.steps) |*step| try checkStep(step, plan.files, kind);
        if (kind == .digest) for (plan.files) |file| try require(file.role == .source);
        if (kind == .convert) try checkCover(gpa, plan);
        return plan;
    }

    pub fn deinit(plan: *Plan, gpa: std.mem.Allocator) void {
        gpa.free(plan.memory);
        plan.* = undefined;
    }

    pub fn path(plan: Plan, file: usize) []const u8 {
        return plan.text[plan.files[file].path_offset..][0..plan.files[file].path_size];
    }

    pub fn head(plan: Plan, file: usize) []const u8 {
        return plan.text[plan.files[file].head_offset..][0..plan.files[file].head_size];
    }
};

/// Bytes of one element of a target.
pub fn elementSize(dtype: abi.Dtype) u64 {
    return switch (dtype) {
        .f32 => 4,
        .f16, .bf16 => 2,
        .bytes => 1,
    };
}

/// Lines of one batch item.
pub fn lineCount(source: *const abi.Source, rows: u64) u64 {
    if (source.rows_per_line == 0) return 1;
    return std.math.divCeil(u64, rows, source.rows_per_line) catch unreachable;
}

/// Bytes at the start of a line that hold the first `columns` columns.
pub fn lineUse(source: *const abi.Source, columns: u64) u64 {
    if (source.unit_columns == 0) return source.line_bytes;
    const units = std.math.divCeil(u64, columns, source.unit_columns) catch unreachable;
    return units * source.unit_bytes;
}

/// Bytes from the first to the last byte of one batch item.
pub fn itemSize(step: *const abi.Step, source: *const abi.Source) u64 {
    if (source.rows_per_line == 0) return source.size - (step.batch_count - 1) * source.batch_bytes;
    const lines = lineCount(source, rows_file.perPart(step));
    return (lines - 1) * source.line_bytes + lineUse(source, step.columns);
}

fn split(memory: []align(8) u8) Error!Plan {
    if (memory.len < @sizeOf(abi.Plan)) return error.BadPlan;
    const start: *const abi.Plan = @ptrCast(memory.ptr);
    if (start.hash != abi.hash or start.reserved != 0) return error.BadPlan;
    const files_begin = @sizeOf(abi.Plan);
    const steps_begin = files_begin + @as(u64, start.file_count) * @sizeOf(abi.File);
    const text_begin = steps_begin + @as(u64, start.step_count) * @sizeOf(abi.Step);
    try require(start.text_size <= memory.len);
    try require(text_begin + start.text_size == memory.len);
    comptime std.debug.assert(@sizeOf(abi.Plan) % 8 == 0 and @sizeOf(abi.File) % 8 == 0);
    const files: [*]const abi.File = @ptrCast(@alignCast(memory.ptr + files_begin));
    const steps: [*]const abi.Step = @ptrCast(@alignCast(memory.ptr + steps_begin));
    return .{
        .memory = memory,
        .files = files[0..start.file_count],
        .steps = steps[0..start.step_count],
        .text = memory[text_begin..],
    };
}

fn require(condition: bool) error{BadPlan}!void {
    if (!condition) return error.BadPlan;
}

/// Whether the integer in each enum field is one of the enum's values; until then the fields must
/// not be read as enums.
pub fn enumsAreValid(comptime S: type, value: *const S) bool {
    const bytes: [*]const u8 = @ptrCast(value);
    inline for (@typeInfo(S).@"struct".fields) |field| {
        if (@typeInfo(field.type) != .@"enum") continue;
        const Tag = @typeInfo(field.type).@"enum".tag_type;
        const raw = std.mem.bytesToValue(Tag, bytes[@offsetOf(S, field.name)..][0..@sizeOf(Tag)]);
        _ = std.meta.intToEnum(field.type, raw) catch return false;
    }
    return true;
}

/// begin + size <= limit, without overflow.
fn inside(begin: u64, size: u64, limit: u64) bool {
    return begin <= limit and size <= limit - begin;
}

fn checkFile(file: *const abi.File, text: []const u8) Error!void {
    try require(enumsAreValid(abi.File, file));
    try require(file.path_size > 0 and file.path_size <= path_size_max);
    try require(inside(file.path_offset, file.path_size, text.len));
    const path = text[file.path_offset..][0..file.path_size];
    try require(std.mem.indexOfScalar(u8, path, 0) == null);
    try require(inside(file.head_offset, file.head_size, text.len));
    try require(file.head_size <= file.size);
    try require(file.size <= std.math.maxInt(i64)); // off_t
    if (file.role == .source) try require(file.head_size == 0);
}

fn checkStep(step: *const abi.Step, files: []const abi.File, kind: abi.JobKind) Error!void {
    try require(enumsAreValid(abi.Step, step));
    try require(step.transposed <= 1);
    try require(step.source_count >= 1 and step.source_count <= abi.source_count_max);
    try require(step.row_align > 0 and step.column_align > 0);
    try require((step.codec == .copy) == (step.dtype == .bytes));
    try require(try targetSize(step) == step.target_size);
    try require(rows_file.areValid(step));

    if (kind == .load) {
        try require(step.target_file == abi.none and step.target_offset == 0);
        try require(step.codec != .copy);
        try require(rows_file.areAsStored(step));
    } else if (kind == .digest) {
        try require(step.target_file == abi.none and step.target_offset == 0);
        // One row, so that the bytes of a tile follow each other.
        try require(step.codec == .copy and step.batch_count == 1 and step.rows == 1);
    } else try checkTarget(step, files);

    const sources = step.sources[0..step.source_count];
    for (sources) |*source| {
        try require(source.file < files.len);
        const file = files[source.file];
        try require(file.role == .source and inside(source.offset, source.size, file.size));
        try checkSource(source, step.batch_count, rows_file.perPart(step), step.columns);
    }
    if (step.codec == .copy) return checkCopy(step);
    const part_sources = step.source_count / step.part_count;
    for (0..step.part_count) |part| {
        try require(codecs.check(step.codec, .{
            .rows = rows_file.perPart(step),
            .columns = step.columns,
            .row_align = step.row_align / step.part_count,
            .column_align = step.column_align,
            .parameters = &step.parameters,
            .sources = sources[part * part_sources ..][0..part_sources],
        }));
    }
}

fn checkTarget(step: *const abi.Step, files: []const abi.File) Error!void {
    try require(step.target_file < files.len);
    const target = files[step.target_file];
    try require(target.role == .target and step.target_offset >= target.head_size);
    try require(inside(step.target_offset, step.target_size, target.size));
}

/// The bytes of all elements; each extent is at least 1.
pub fn targetSize(step: *const abi.Step) error{BadPlan}!u64 {
    var size = elementSize(step.dtype);
    for ([_]u64{ step.batch_count, step.rows, step.columns }) |extent| {
        try require(extent > 0 and extent <= extent_max);
        size = std.math.mul(u64, size, extent) catch return error.BadPlan;
    }
    return size;
}

/// Whether all lines and batch items of a source lie in its `size` bytes.
pub fn checkSource(
    source: *const abi.Source,
    batch_count: u64,
    rows: u64,
    columns: u64,
) error{BadPlan}!void {
    try require(source.size > 0 and source.line_bytes > 0 and source.line_bytes <= source.size);
    try require((source.unit_columns == 0) == (source.unit_bytes == 0));
    var use = source.line_bytes;
    if (source.unit_columns != 0) {
        const units = std.math.divCeil(u64, columns, source.unit_columns) catch unreachable;
        use = std.math.mul(u64, units, source.unit_bytes) catch return error.BadPlan;
        try require(use <= source.line_bytes);
    }
    const line = lineCount(source, rows) - 1;
    const lines = std.math.mul(u64, line, source.line_bytes) catch return error.BadPlan;
    const items = std.math.mul(u64, batch_count - 1, source.batch_bytes) catch return error.BadPlan;
    const before = std.math.add(u64, lines, items) catch return error.BadPlan;
    try require(inside(before, use, source.size));
}

/// Bytes have no blocks: one source, each stored row a line, byte for byte.
fn checkCopy(step: *const abi.Step) error{BadPlan}!void {
    const source = step.sources[0];
    try require(step.source_count == 1 and step.transposed == 0);
    try require(rows_file.areAsStored(step));
    try require(source.rows_per_line == 1 and source.unit_columns > 0);
    try require(source.unit_columns == source.unit_bytes);
    try require(step.column_align % source.unit_columns == 0);
    for (step.parameters) |parameter| try require(parameter == 0);
}

/// Every byte of a target belongs to its head or to exactly one step: an output never holds bytes
/// that nobody wrote.
fn checkCover(gpa: std.mem.Allocator, plan: Plan) Error!void {
    const order = try gpa.alloc(u32, plan.steps.len);
    defer gpa.free(order);
    for (order, 0..) |*index, i| index.* = @intCast(i);
    std.mem.sort(u32, order, plan.steps, struct {
        fn before(steps: []const abi.Step, left: u32, right: u32) bool {
            const a = &steps[left];
            const b = &steps[right];
            if (a.target_file != b.target_file) return a.target_file < b.target_file;
            return a.target_offset < b.target_offset;
        }
    }.before);
    var next: usize = 0;
    for (plan.files, 0..) |file, index| {
        if (file.role != .target) continue;
        var covered = file.head_size;
        while (next < order.len and plan.steps[order[next]].target_file == index) : (next += 1) {
            const step = plan.steps[order[next]];
            try require(step.target_offset == covered);
            covered += step.target_size;
        }
        try require(covered == file.size);
    }
    try require(next == order.len);
}

const testing = std.testing;
const samples = @import("../testing/steps.zig");

fn parseSteps(steps: []const abi.Step) Error!void {
    const bytes = samples.encode(testing.allocator, steps, "head") catch return error.OutOfMemory;
    defer testing.allocator.free(bytes);
    var plan: Plan = try .parse(testing.allocator, bytes, .convert);
    defer plan.deinit(testing.allocator);
    testing.expectEqualStrings("/source", plan.path(0)) catch return error.BadPlan;
    testing.expectEqualStrings("head", plan.head(1)) catch return error.BadPlan;
}

test "plans that are right" {
    try parseSteps(&.{});
    try parseSteps(&.{samples.copy(1)});
    try parseSteps(&.{
        samples.mxfp4(3, 5, 64, true),
        samples.copy(77),
        samples.mxfp4(1, 1, 32, false),
    });
}

test "steps that contradict themselves" {
    const Case = struct { []const u8, *const fn (step: *abi.Step) void };
    const cases = [_]Case{
        .{ "no rows", &struct {
            fn f(step: *abi.Step) void {
                step.rows = 0;
            }
        }.f },
        .{ "more rows than the target has", &struct {
            fn f(step: *abi.Step) void {
                step.rows += 1;
            }
        }.f },
        .{ "a product that overflows to the right size", &struct {
            fn f(step: *abi.Step) void {
                step.batch_count = 1 << 47;
                step.rows = 1 << 47;
            }
        }.f },
        .{ "a source behind the end of its file", &struct {
            fn f(step: *abi.Step) void {
                step.sources[1].offset = std.math.maxInt(u64) - 3;
            }
        }.f },
        .{ "lines that do not fit the source", &struct {
            fn f(step: *abi.Step) void {
                step.sources[0].line_bytes += 1;
            }
        }.f },
        .{ "batch items that overlap the end", &struct {
            fn f(step: *abi.Step) void {
                step.sources[0].batch_bytes = std.math.maxInt(u64) / 2;
            }
        }.f },
        .{ "a line that is shorter than its columns", &struct {
            fn f(step: *abi.Step) void {
                step.sources[1].unit_bytes = 2;
            }
        }.f },
        .{ "no alignment", &struct {
            fn f(step: *abi.Step) void {
                step.column_align = 0;
            }
        }.f },
        .{ "an alignment that cuts blocks", &struct {
            fn f(step: *abi.Step) void {
                step.column_align = 16;
            }
        }.f },
        .{ "a codec that has no such sources", &struct {
            fn f(step: *abi.Step) void {
                step.source_count = 1;
            }
        }.f },
        .{ "more sources than there can be", &struct {
            fn f(step: *abi.Step) void {
                step.source_count = abi.source_count_max + 1;
            }
        }.f },
        .{ "bytes of a codec that gives values", &struct {
            fn f(step: *abi.Step) void {
                step.dtype = .bytes;
            }
        }.f },
        .{ "a target among the sources", &struct {
            fn f(step: *abi.Step) void {
                step.sources[0].file = 1;
            }
        }.f },
        .{ "a file that there is not", &struct {
            fn f(step: *abi.Step) void {
                step.sources[0].file = abi.none;
            }
        }.f },
    };
    for (cases) |case| {
        errdefer std.debug.print("{s}\n", .{case[0]});
        // The file has room, so that only the step itself is wrong.
        var step = samples.mxfp4(3, 5, 64, true);
        case[1](&step);
        var room = samples.copy(1);
        room.sources[0].offset = 1 << 20;
        const bytes = try encodeUnchecked(&.{ step, room });
        defer testing.allocator.free(bytes);
        try testing.expectError(error.BadPlan, Plan.parse(testing.allocator, bytes, .verify));
    }
}

/// As samples.encode, with the sizes of the right step in place of the wrong one's.
fn encodeUnchecked(steps: []const abi.Step) ![]u8 {
    const right = [_]abi.Step{ samples.mxfp4(3, 5, 64, true), steps[1] };
    const bytes = try samples.encode(testing.allocator, &right, "head");
    var wrong = steps[0];
    wrong.target_offset = 4;
    const at = @sizeOf(abi.Plan) + 2 * @sizeOf(abi.File);
    @memcpy(bytes[at..][0..@sizeOf(abi.Step)], std.mem.asBytes(&wrong));
    return bytes;
}

test "a target has no byte that nobody writes, and none that two write" {
    const steps = [_]abi.Step{ samples.copy(10), samples.copy(20) };
    const first = @sizeOf(abi.Plan) + 2 * @sizeOf(abi.File) + @offsetOf(abi.Step, "target_offset");
    for ([_]u64{ 0, 3, 5, 13, 14, 33, 34, 35 }) |offset| {
        const bytes = try samples.encode(testing.allocator, &steps, "head");
        defer testing.allocator.free(bytes);
        std.mem.writeInt(u64, bytes[first..][0..8], offset, .little);
        try testing.expectError(error.BadPlan, Plan.parse(testing.allocator, bytes, .convert));
    }
    // A verify job may look at a part.
    const bytes = try samples.encode(testing.allocator, &steps, "head");
    defer testing.allocator.free(bytes);
    std.mem.writeInt(u64, bytes[first..][0..8], 24, .little);
    var plan: Plan = try .parse(testing.allocator, bytes, .verify);
    plan.deinit(testing.allocator);
}

test "a value that an enum does not have" {
    const bytes = try samples.encode(testing.allocator, &.{samples.copy(10)}, "");
    defer testing.allocator.free(bytes);
    const step = @sizeOf(abi.Plan) + 2 * @sizeOf(abi.File);
    for ([_]usize{ @sizeOf(abi.Plan), step, step + 4 }) |at| {
        const before = bytes[at];
        bytes[at] = 200;
        try testing.expectError(error.BadPlan, Plan.parse(testing.allocator, bytes, .convert));
        bytes[at] = before;
    }
}
