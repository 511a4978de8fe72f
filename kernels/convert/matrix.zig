//! One matrix decoded in the caller's thread from and to the caller's memory: `dq_decode`.
const std = @import("std");
const abi = @import("../abi.zig");
const codecs = @import("../codecs.zig");
const table = @import("../table.zig");
const decode_file = @import("decode.zig");
const plan_file = @import("plan.zig");
const tiles = @import("tiles.zig");

/// Larger work is a job's.
const target_size_max = 1 << 30;

/// Checks the request like a step of a plan and decodes it. Enums have been checked. Returns how
/// many results are NaN or infinite.
pub fn decode(
    gpa: std.mem.Allocator,
    functions: *const table.Table,
    request: *const abi.DecodeRequest,
) error{ BadArgument, OutOfMemory }!u64 {
    const step = stepOf(request) catch return error.BadArgument;
    const target: [*]u8 = @ptrFromInt(request.target);
    const size = plan_file.elementSize(step.dtype);
    // One tile; where it is transposed, all of it stands in scratch.
    const scratch_size: usize = if (step.transposed == 1) @intCast(step.target_size) else 0;
    const scratch = try gpa.alignedAlloc(u8, .@"64", scratch_size);
    defer gpa.free(scratch);
    if (request.target % size != 0) return error.BadArgument;
    var views: decode_file.Views = undefined;
    for (step.sources[0..step.source_count], 0..) |*source, i|
        views[i] = .{ .base = request.addresses[i], .stride = source.line_bytes, .first_line = 0 };
    return decode_file.decode(functions, &step, &views, tiles.matrixOf(&step, 0), .{
        .output = target[0..@intCast(step.target_size)],
        .scratch = scratch,
        .scratch_rows = step.rows,
        .scratch_columns = step.columns,
    });
}

fn stepOf(request: *const abi.DecodeRequest) error{BadPlan}!abi.Step {
    const step: abi.Step = .{
        .codec = request.codec,
        .dtype = request.dtype,
        .transposed = request.transposed,
        .source_count = request.source_count,
        .batch_count = 1,
        .rows = request.rows,
        .columns = request.columns,
        .row_align = 1,
        .column_align = 1,
        .target_file = abi.none,
        .part_count = 1,
        .swap_middle = 1,
        .swap_inner = 1,
        .target_offset = 0,
        .target_size = request.target_size,
        .parameters = request.parameters,
        .sources = request.sources,
    };
    if (step.codec == .copy or step.dtype == .bytes or step.transposed > 1) return error.BadPlan;
    if (step.source_count == 0 or step.source_count > abi.source_count_max) return error.BadPlan;
    if (request.target == 0 or step.target_size > target_size_max) return error.BadPlan;
    if (try plan_file.targetSize(&step) != step.target_size) return error.BadPlan;
    for (step.sources[0..step.source_count], 0..) |*source, i| {
        if (request.addresses[i] == 0) return error.BadPlan;
        try plan_file.checkSource(source, 1, step.rows, step.columns);
    }
    // One tile begins at 0, whatever the codec's blocks are.
    const geometry: codecs.Geometry = .{
        .rows = step.rows,
        .columns = step.columns,
        .parameters = &step.parameters,
        .sources = step.sources[0..step.source_count],
    };
    if (!codecs.check(step.codec, geometry)) return error.BadPlan;
    return step;
}
