//! One product: activations are prepared once, then each worker of the team multiplies its own
//! tiles and, when these are done, those of workers on the same memory node that are late.
const std = @import("std");
const assert = std.debug.assert;
const abi = @import("../abi.zig");
const table = @import("../table.zig");
const matrix_file = @import("matrix.zig");
const Matrix = matrix_file.Matrix;
const Share = matrix_file.Share;

/// A matrix from here on is not in the last-level cache when the next product comes.
const cache_bytes = 32 << 20;

/// Sizes fit: see `check`.
pub const Request = struct {
    x: []const f32,
    y: []f32,
    bias: ?[]const f32 = null,
    item: u64 = 0,
    batch: u64 = 1,
    activation: abi.Activation = .none,
    arithmetic: abi.Arithmetic = .auto,
};

/// The request, if it fits the matrix.
pub fn check(matrix: *const Matrix, request: *const abi.MatrixRequest) error{BadArgument}!Request {
    if (request.stored > 1) return error.BadArgument;
    if (request.batch < 1 or request.batch > abi.batch_max) return error.BadArgument;
    if (request.item >= matrix.step().batch_count) return error.BadArgument;
    if (!table.fits(request.activation, matrix.rows, matrix.pairing)) return error.BadArgument;
    const has_int8 = matrix.kernels().multiply_int8 != null;
    if (request.arithmetic == .int8 and !has_int8) return error.BadArgument;
    const results = if (table.isOfPairs(request.activation)) matrix.rows / 2 else matrix.rows;
    if (request.x_count != matrix.columns * request.batch) return error.BadArgument;
    if (request.y_count != results * request.batch) return error.BadArgument;
    if (request.bias_count != 0 and request.bias_count != matrix.rows) return error.BadArgument;
    return .{
        .x = try elements([]const f32, request.x, request.x_count),
        .y = try elements([]f32, request.y, request.y_count),
        .bias = if (request.bias_count == 0)
            null
        else
            try elements([]const f32, request.bias, request.bias_count),
        .item = request.item,
        .batch = request.batch,
        .activation = request.activation,
        .arithmetic = request.arithmetic,
    };
}

fn elements(comptime Slice: type, address: u64, count: u64) error{BadArgument}!Slice {
    if (address == 0 or address % @alignOf(f32) != 0) return error.BadArgument;
    const many: [*]f32 = @ptrFromInt(@as(usize, @intCast(address)));
    return many[0..@intCast(count)];
}

/// Computes y; false where an activation is out of range, and y is as it was.
pub fn run(matrix: *Matrix, request: Request) bool {
    matrix.mutex.lock();
    defer matrix.mutex.unlock();
    const arithmetic = if (request.arithmetic == .auto) matrix.arithmetic else request.arithmetic;
    if (!prepare(matrix, request, arithmetic)) return false;
    const results = if (table.isOfPairs(request.activation)) matrix.rows / 2 else matrix.rows;
    var round: Round = .{
        .matrix = matrix,
        .item = request.item,
        .function = switch (arithmetic) {
            .float => matrix.kernels().multiply_float.?,
            .int8 => matrix.kernels().multiply_int8.?,
            .auto => unreachable,
        },
        .product = .{
            .tiles = undefined,
            .tile_bytes = matrix.tile_bytes,
            .tile_first = undefined,
            .tile_count = undefined,
            .rows = matrix.rows,
            .x = &matrix.activations,
            .batch = request.batch,
            .bias = if (request.bias) |bias| bias.ptr else null,
            .y = request.y.ptr,
            .y_stride = results,
            .activation = request.activation,
            .pairing = matrix.pairing,
            .is_streaming = matrix.tileCount() * matrix.tile_bytes > cache_bytes,
        },
    };
    for (matrix.shares) |*share| share.next.store(share.tile_begin, .monotonic);
    const worker_count: u32 = @intCast(matrix.shares.len);
    matrix.team.run(worker_count, .{ .context = &round, .function = Round.runWorker });
    return true;
}

fn prepare(matrix: *Matrix, request: Request, arithmetic: abi.Arithmetic) bool {
    const columns = matrix.columns;
    const function = switch (arithmetic) {
        .float => matrix.kernels().prepare_float.?,
        .int8 => matrix.kernels().prepare_int8.?,
        .auto => unreachable,
    };
    for (0..request.batch) |column| {
        const x = request.x[@intCast(column * columns)..][0..@intCast(columns)];
        if (!function(&matrix.activations, column, inOrder(matrix, x).ptr, columns)) return false;
    }
    return true;
}

/// Activations in the order of the tiles' columns.
fn inOrder(matrix: *Matrix, x: []const f32) []const f32 {
    const positions = matrix.positions orelse return x;
    for (positions, x) |position, value| matrix.ordered_x[position] = value;
    return matrix.ordered_x;
}

const Round = struct {
    matrix: *Matrix,
    item: u64,
    function: table.ProductFn,
    product: table.Product,

    fn runWorker(context: *anyopaque, worker: u32) void {
        const round: *Round = @ptrCast(@alignCast(context));
        const shares = round.matrix.shares;
        const placements = round.matrix.team.placements;
        for (0..shares.len) |i| {
            const other = (worker + i) % shares.len;
            if (placements[other].node != placements[worker].node) continue;
            round.multiplyShare(&shares[other]);
        }
    }

    fn multiplyShare(round: *const Round, share: *Share) void {
        const chunk = round.matrix.chunk_tiles;
        // Looked at first: a cursor that is at its end stays in the other worker's cache.
        while (share.next.load(.monotonic) < share.tile_end) {
            const begin = share.next.fetchAdd(chunk, .monotonic);
            if (begin >= share.tile_end) return;
            var product = round.product;
            product.tiles = round.matrix.tile(share, round.item, begin);
            product.tile_first = begin;
            product.tile_count = @min(chunk, share.tile_end - begin);
            round.function(&product);
        }
    }
};
