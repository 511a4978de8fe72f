//! The plan buffer of abi.Plan, copied and checked: after `parse` every index, span and product is in bounds, so that the
//! rest of the engine computes without checks. A plan that fails here was made wrongly: its files were checked before.
const std = @import("std");
const abi = @import("../abi.zig");
const codecs = @import("../codecs.zig");

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
        for (plan.files) |*file| try checkFile(file, plan.text, kind);
        for (plan.steps) |*step| try checkStep(step, plan.files);
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
    return (lineCount(source, step.rows) - 1) * source.line_bytes + lineUse(source, step.columns);
}

fn split(memory: []align(8) u8) Error!Plan {
    if (memory.len < @sizeOf(abi.Plan)) return error.BadPlan;
    const start: *const abi.Plan = @ptrCast(memory.ptr);
    if (start.hash != abi.hash or start.reserved != 0) return error.BadPlan;
    const files_begin = @sizeOf(abi.Plan);
    const steps_begin = files_begin + @as(u64, start.file_count) * @sizeOf(abi.File);
    const text_begin = steps_begin + @as(u64, start.step_count) * @sizeOf(abi.Step);
    if (start.text_size > memory.len or text_begin + start.text_size != memory.len) return error.BadPlan;
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

/// Whether the integer in each enum field is one of the enum's values; until then the fields must not be read as enums.
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

fn checkFile(file: *const abi.File, text: []const u8, kind: abi.JobKind) Error!void {
    try require(enumsAreValid(abi.File, file));
    try require(file.path_size > 0 and file.path_size <= path_size_max);
    try require(inside(file.path_offset, file.path_size, text.len));
    const path = text[file.path_offset..][0..file.path_size];
    try require(std.mem.indexOfScalar(u8, path, 0) == null);
    try require(inside(file.head_offset, file.head_size, text.len));
    try require(file.head_size <= file.size);
    try require(file.size <= std.math.maxInt(i64)); // off_t
    if (file.role == .source) try require(file.head_size == 0);
    _ = kind;
}

fn checkStep(step: *const abi.Step, files: []const abi.File) Error!void {
    try require(enumsAreValid(abi.Step, step));
    try require(step.reserved == 0 and step.transposed <= 1);
    try require(step.source_count >= 1 and step.source_count <= abi.source_count_max);
    try require(step.row_align > 0 and step.column_align > 0);
    try require((step.codec == .copy) == (step.dtype == .bytes));
    try require(try targetSize(step) == step.target_size);

    try require(step.target_file < files.len);
    const target = files[step.target_file];
    try require(target.role == .target and step.target_offset >= target.head_size);
    try require(inside(step.target_offset, step.target_size, target.size));

    const sources = step.sources[0..step.source_count];
    for (sources) |*source| {
        try require(source.file < files.len);
        const file = files[source.file];
        try require(file.role == .source and inside(source.offset, source.size, file.size));
        try checkSource(source, step.batch_count, step.rows, step.columns);
    }
    if (step.codec == .copy) return checkCopy(step);
    try require(codecs.check(step.codec, .{
        .rows = step.rows,
        .columns = step.columns,
        .row_align = step.row_align,
        .column_align = step.column_align,
        .parameters = &step.parameters,
        .sources = sources,
    }));
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
pub fn checkSource(source: *const abi.Source, batch_count: u64, rows: u64, columns: u64) error{BadPlan}!void {
    try require(source.size > 0 and source.line_bytes > 0 and source.line_bytes <= source.size);
    try require((source.unit_columns == 0) == (source.unit_bytes == 0));
    var use = source.line_bytes;
    if (source.unit_columns != 0) {
        const units = std.math.divCeil(u64, columns, source.unit_columns) catch unreachable;
        use = std.math.mul(u64, units, source.unit_bytes) catch return error.BadPlan;
        try require(use <= source.line_bytes);
    }
    const lines = std.math.mul(u64, lineCount(source, rows) - 1, source.line_bytes) catch return error.BadPlan;
    const items = std.math.mul(u64, batch_count - 1, source.batch_bytes) catch return error.BadPlan;
    const before = std.math.add(u64, lines, items) catch return error.BadPlan;
    try require(inside(before, use, source.size));
}

/// Bytes have no blocks: one source, each stored row a line, byte for byte.
fn checkCopy(step: *const abi.Step) error{BadPlan}!void {
    const source = step.sources[0];
    try require(step.source_count == 1 and step.transposed == 0);
    try require(source.rows_per_line == 1 and source.unit_columns > 0);
    try require(source.unit_columns == source.unit_bytes and step.column_align % source.unit_columns == 0);
    for (step.parameters) |parameter| try require(parameter == 0);
}

/// Every byte of a target belongs to its head or to exactly one step: an output never holds bytes that nobody wrote.
fn checkCover(gpa: std.mem.Allocator, plan: Plan) Error!void {
    const order = try gpa.alloc(u32, plan.steps.len);
    defer gpa.free(order);
    for (order, 0..) |*index, i| index.* = @intCast(i);
    std.mem.sort(u32, order, plan.steps, struct {
        fn before(steps: []const abi.Step, a: u32, b: u32) bool {
            if (steps[a].target_file != steps[b].target_file) return steps[a].target_file < steps[b].target_file;
            return steps[a].target_offset < steps[b].target_offset;
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
