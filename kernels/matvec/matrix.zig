//! A weight in tiles, each in the memory of the worker that packed it and multiplies it ever after.
//! load.zig fills it, multiply.zig uses it.
const std = @import("std");
const assert = std.debug.assert;
const abi = @import("../abi.zig");
const codecs = @import("../codecs.zig");
const dispatch = @import("../dispatch.zig");
const fault = @import("../convert/fault.zig");
const memory = @import("../machine/memory.zig");
const plan_file = @import("../convert/plan.zig");
const pool = @import("../machine/pool.zig");
const table = @import("../table.zig");
const dots = @import("dot.zig");
const load_file = @import("load.zig");
const reference = @import("reference.zig");
const teams_file = @import("teams.zig");
const Team = @import("team.zig").Team;

/// A worker more pays from about here: it reads this much while a round of the team takes its 1 to
/// 2 µs a dozen times.
const worker_bytes_min = 192 << 10;

/// Bytes of tiles that a worker takes at once: two streams of some pages, small against a share.
const chunk_bytes_wanted = 192 << 10;
/// Chunks of a share, at least: what its worker has not begun when others are done, they can take.
const chunk_count_min = 8;

pub const Error = plan_file.Error || teams_file.Error || error{ MemoryLimit, NoProducts, FloatOnly };

/// The tiles of one worker: tile_begin … tile_end - 1 of each matrix of the batch.
pub const Share = struct {
    tile_begin: u64,
    tile_end: u64,
    tiles: memory.Bytes = &.{},
    is_loaded: bool = false,
    binding: abi.Binding = .none,
    /// Why the memory is not bound.
    binding_errno: u32 = 0,
    non_finite_count: u64 = 0,
    bytes_read: u64 = 0,
    /// Of the product that runs: the next tile that nobody has taken.
    next: std.atomic.Value(u64) align(std.atomic.cache_line) = .init(0),

    pub fn tileCount(share: *const Share) u64 {
        return share.tile_end - share.tile_begin;
    }
};

pub const Matrix = struct {
    gpa: std.mem.Allocator,
    plan: plan_file.Plan,
    options: abi.MatrixOptions,
    functions: *const table.Table,
    level: []const u8,
    codec: abi.Codec,
    /// Of the codec's forms.
    form: u8,
    pairing: abi.Pairing,
    /// Of W in W · x: where the step is transposed, the columns and rows that are stored.
    rows: u64,
    columns: u64,
    /// Where each column of W stands in the tiles; null: in its place. Known when loading has begun.
    positions: ?[]u32 = null,
    /// Settled when loading has ended.
    arithmetic: abi.Arithmetic,
    float_ns: u64 = 0,
    int8_ns: u64 = 0,
    tile_bytes: u64,
    chunk_tiles: u64,
    shares: []Share,
    team: *Team,
    teams: *teams_file.Teams,
    /// Activations of the product that runs.
    activations: table.Activations,
    room: memory.Bytes,
    ordered_x: []f32 = &.{},
    budget: memory.Budget,
    /// One product at a time.
    mutex: std.Thread.Mutex = .{},
    /// Calls that use the matrix at the moment.
    user_count: std.atomic.Value(u32) = .init(0),

    thread: ?std.Thread = null,
    timer: std.time.Timer,
    stop: fault.Stop = .{},
    is_running: std.atomic.Value(bool) = .init(false),
    is_loaded: bool = false,
    bytes_done: std.atomic.Value(u64) = .init(0),
    bytes_total: u64 = 0,
    elapsed_ns: u64 = 0,
    /// [batch][rows], of the last reference that ended well.
    reference: []f64 = &.{},
    reference_x: []f32 = &.{},
    reference_item: u64 = 0,
    /// Of the weight as it is stored, though the tiles hold it rounded.
    reference_is_stored: bool = false,

    pub fn create(
        gpa: std.mem.Allocator,
        teams: *teams_file.Teams,
        bytes: []const u8,
        options: *const abi.MatrixOptions,
    ) Error!*Matrix {
        var plan: plan_file.Plan = try .parse(gpa, bytes, .load);
        errdefer plan.deinit(gpa);
        if (plan.steps.len != 1) return error.BadPlan;
        const from = &plan.steps[0];
        const functions = dispatch.active();
        const codec = if (options.tile_codec == .copy) from.codec else options.tile_codec;
        const form = formOf(codec, from) orelse return error.NoProducts;
        const offered = functions.matvec[@intFromEnum(codec)][form];
        // A codec becomes another one by way of its values, row by row.
        if (codec != from.codec) {
            if (offered.pack_values == null or from.transposed == 1) return error.NoProducts;
        } else if ((offered.pack_columns != null) != (from.transposed == 1)) return error.NoProducts;
        if (options.arithmetic == .int8 and offered.multiply_int8 == null) return error.FloatOnly;
        const row_count = if (from.transposed == 1) from.columns else from.rows;
        const column_count = if (from.transposed == 1) from.rows else from.columns;
        if (options.pairing == .halves and row_count % 2 != 0) return error.BadPlan;
        const team = try teams.acquire(gpa, options.thread_count, options.numa == 1);
        errdefer teams.release(team);
        const matrix = try gpa.create(Matrix);
        errdefer gpa.destroy(matrix);
        const spans = std.math.divCeil(u64, column_count, dots.span_columns) catch unreachable;
        const tile_bytes = codecs.tileBytes(codec, form, spans);
        matrix.* = .{
            .gpa = gpa,
            .plan = plan,
            .options = options.*,
            .functions = functions,
            .level = dispatch.activeName(),
            .codec = codec,
            .form = form,
            .pairing = options.pairing,
            .rows = row_count,
            .columns = column_count,
            .arithmetic = options.arithmetic,
            .tile_bytes = tile_bytes,
            .chunk_tiles = undefined,
            .shares = undefined,
            .team = team,
            .teams = teams,
            .activations = undefined,
            .room = undefined,
            .budget = .init(options.memory_max),
            .timer = std.time.Timer.start() catch return error.ThreadFailed,
        };
        matrix.shares = try matrix.split();
        errdefer gpa.free(matrix.shares);
        const chunk_max = matrix.shares[0].tileCount() / chunk_count_min;
        matrix.chunk_tiles = @max(1, @min(chunk_bytes_wanted / tile_bytes, chunk_max));
        try matrix.makeRoom(spans);
        return matrix;
    }

    /// Cancels, waits for whoever uses the matrix, and frees everything.
    pub fn destroy(matrix: *Matrix) void {
        matrix.cancel();
        if (matrix.thread) |thread| thread.join();
        while (matrix.user_count.load(.acquire) > 0) std.Thread.sleep(50 * std.time.ns_per_us);
        const gpa = matrix.gpa;
        for (matrix.shares) |share| {
            if (share.tiles.len > 0) memory.free(&matrix.budget, share.tiles);
        }
        memory.free(&matrix.budget, matrix.room);
        matrix.teams.release(matrix.team);
        gpa.free(matrix.shares);
        if (matrix.positions) |positions| gpa.free(positions);
        gpa.free(matrix.reference);
        gpa.free(matrix.reference_x);
        matrix.plan.deinit(gpa);
        gpa.destroy(matrix);
    }

    /// Of a codec that values are rounded to, the first.
    fn formOf(codec: abi.Codec, from: *const abi.Step) ?u8 {
        return if (codec == from.codec) codecs.dotForm(codec, codecs.geometryOf(from)) else 0;
    }

    pub fn step(matrix: *const Matrix) *const abi.Step {
        return &matrix.plan.steps[0];
    }

    pub fn kernels(matrix: *const Matrix) table.Matvec {
        return matrix.functions.matvec[@intFromEnum(matrix.codec)][matrix.form];
    }

    pub fn tileCount(matrix: *const Matrix) u64 {
        return table.tileCount(matrix.rows, matrix.pairing);
    }

    /// Tile `number` of matrix `item`, in the share that has it.
    pub fn tile(
        matrix: *const Matrix,
        share: *const Share,
        item: u64,
        number: u64,
    ) [*]align(64) u8 {
        assert(number >= share.tile_begin and number < share.tile_end);
        const index = item * share.tileCount() + number - share.tile_begin;
        return @alignCast(share.tiles.ptr + @as(usize, @intCast(index * matrix.tile_bytes)));
    }

    /// Even runs of tiles for as many workers as pay.
    fn split(matrix: *Matrix) error{OutOfMemory}![]Share {
        const tile_count = matrix.tileCount();
        const count = workerCount(matrix.team.placements.len, tile_count, matrix.tile_bytes);
        const shares = try matrix.gpa.alloc(Share, @intCast(count));
        for (shares, 0..) |*share, i| share.* = .{
            .tile_begin = tile_count * i / count,
            .tile_end = tile_count * (i + 1) / count,
        };
        return shares;
    }

    /// Memory for the activations of the largest batch.
    fn makeRoom(matrix: *Matrix, spans: u64) error{ MemoryLimit, OutOfMemory }!void {
        const blocks = codecs.spanBlocks(matrix.codec, matrix.form);
        const count = spans * abi.batch_max;
        const sizes = [_]u64{
            count * dots.span_columns * @sizeOf(f32),
            count * dots.span_columns,
            count * @sizeOf(f32),
            count * blocks * @sizeOf(u32),
            count * blocks * @sizeOf(f32),
            // One column in the order of the tiles.
            if (matrix.step().transposed == 1) matrix.columns * @sizeOf(f32) else 0,
        };
        var parts: [sizes.len][*]align(64) u8 = undefined;
        var total: u64 = 0;
        for (sizes) |size| total += std.mem.alignForward(u64, size, 64);
        matrix.room = memory.allocate(&matrix.budget, total) catch |err| return switch (err) {
            error.BudgetExceeded => error.MemoryLimit,
            error.OutOfMemory => error.OutOfMemory,
        };
        var begin: usize = 0;
        for (&parts, sizes) |*part, size| {
            part.* = @alignCast(matrix.room.ptr + begin);
            begin += @intCast(std.mem.alignForward(u64, size, 64));
        }
        matrix.activations = .{
            .span_count = spans,
            .span_blocks = blocks,
            .values = @ptrCast(parts[0]),
            .codes = @ptrCast(parts[1]),
            .scales = @ptrCast(parts[2]),
            .corrections = @ptrCast(parts[3]),
            .sums = @ptrCast(parts[4]),
        };
        matrix.ordered_x = if (sizes[5] > 0)
            @as([*]f32, @ptrCast(parts[5]))[0..@intCast(matrix.columns)]
        else
            &.{};
    }

    /// Starts to read the plan's step into tiles.
    pub fn startLoad(matrix: *Matrix) error{ThreadFailed}!void {
        matrix.bytes_total = matrix.shares.len; // until the sizes are known
        try matrix.startThread(load_file.run);
    }

    pub fn startThread(matrix: *Matrix, comptime work: fn (*Matrix) void) error{ThreadFailed}!void {
        assert(!matrix.isRunning());
        if (matrix.thread) |thread| thread.join();
        matrix.thread = null;
        matrix.stop = .{};
        matrix.bytes_done.store(0, .monotonic);
        matrix.is_running.store(true, .monotonic);
        errdefer matrix.is_running.store(false, .monotonic);
        matrix.timer.reset();
        const Body = struct {
            fn main(m: *Matrix) void {
                work(m);
                m.elapsed_ns = m.timer.read();
                m.is_running.store(false, .release);
            }
        };
        matrix.thread = pool.spawn(Body.main, .{matrix}) catch return error.ThreadFailed;
    }

    pub fn isRunning(matrix: *const Matrix) bool {
        return matrix.is_running.load(.acquire);
    }

    pub fn cancel(matrix: *Matrix) void {
        if (!matrix.isRunning()) return;
        matrix.stop.fail(.{ .status = .cancelled }) catch {};
    }

    pub fn progress(matrix: *Matrix) abi.Progress {
        const running = matrix.isRunning();
        return .{
            .bytes_done = matrix.bytes_done.load(.monotonic),
            .bytes_total = matrix.bytes_total,
            .step = 0,
            .running = @intFromBool(running),
            .status = if (running) .ok else matrix.status(),
            .files_done = 0,
        };
    }

    fn status(matrix: *const Matrix) abi.Status {
        return if (matrix.stop.first) |first| first.status else .ok;
    }

    /// Of what ran last, which has ended.
    pub fn report(matrix: *Matrix) abi.Report {
        assert(!matrix.isRunning());
        const first: fault.Fault = matrix.stop.first orelse .{ .status = .ok };
        var result = std.mem.zeroes(abi.Report);
        result.status = first.status;
        result.errno = first.errno;
        result.operation = first.operation;
        result.file = first.file;
        result.step = first.step;
        result.thread_count = @intCast(matrix.team.placements.len);
        result.io = .pread;
        result.target_io = .pread;
        result.refused_file = abi.none;
        result.memory_bytes = matrix.budget.peak.load(.monotonic);
        result.non_finite_step = abi.none;
        result.mismatch_step = abi.none;
        result.source = abi.none;
        for (matrix.shares) |share| {
            result.bytes_read += share.bytes_read;
            result.non_finite_count += share.non_finite_count;
        }
        if (result.non_finite_count > 0) result.non_finite_step = 0;
        result.elapsed_ns = matrix.elapsed_ns;
        return result;
    }

    pub fn info(matrix: *const Matrix) abi.MatrixInfo {
        var result = std.mem.zeroes(abi.MatrixInfo);
        const from = matrix.step();
        result.rows = matrix.rows;
        result.columns = matrix.columns;
        result.batch_count = from.batch_count;
        result.matrix_bytes = matrix.tileCount() * matrix.tile_bytes;
        for (matrix.shares) |share| {
            result.memory_bytes += share.tiles.len;
            result.non_finite_count += share.non_finite_count;
        }
        result.codec = matrix.codec;
        result.arithmetic = matrix.arithmetic;
        if (matrix.codec == from.codec) result.weight_bits = codecs.weightBits(from.codec, codecs.geometryOf(from));
        result.has_int8 = @intFromBool(matrix.kernels().multiply_int8 != null);
        result.pairing = matrix.pairing;
        result.worker_count = @intCast(matrix.shares.len);
        result.thread_count = @intCast(matrix.team.placements.len);
        result.float_ns = matrix.float_ns;
        result.int8_ns = matrix.int8_ns;
        @memcpy(result.level[0..matrix.level.len], matrix.level);
        return result;
    }

    /// Rows of a worker; with pairs, those of the first half.
    pub fn shareInfo(matrix: *const Matrix, worker: u32) error{BadArgument}!abi.MatrixShare {
        if (worker >= matrix.shares.len) return error.BadArgument;
        const share = &matrix.shares[worker];
        const placement = &matrix.team.placements[worker];
        const rows = matrix.rows;
        const halves = matrix.pairing == .halves;
        const rows_per_tile: u64 = if (halves) dots.tile_rows / 2 else dots.tile_rows;
        const end = if (halves) rows / 2 else rows;
        return .{
            .row_begin = share.tile_begin * rows_per_tile,
            .row_end = @min(share.tile_end * rows_per_tile, end),
            .memory_bytes = share.tiles.len,
            .node = placement.node_id,
            .cpu = placement.onlyCpu() orelse abi.none,
            .binding = share.binding,
            .binding_errno = share.binding_errno,
        };
    }

    /// Starts the f64 product of a request's activations.
    pub fn startReference(matrix: *Matrix, request: *const abi.MatrixRequest) Error!void {
        const x = @as([*]const f32, @ptrFromInt(request.x))[0..@intCast(request.x_count)];
        const sums = try matrix.gpa.alloc(f64, @intCast(matrix.rows * request.batch));
        errdefer matrix.gpa.free(sums);
        @memset(sums, 0);
        const copy = try matrix.gpa.dupe(f32, x);
        matrix.gpa.free(matrix.reference);
        matrix.gpa.free(matrix.reference_x);
        matrix.reference = sums;
        matrix.reference_x = copy;
        matrix.reference_item = request.item;
        matrix.reference_is_stored = request.stored == 1;
        matrix.bytes_total = matrix.rows * matrix.columns;
        try matrix.startThread(reference.run);
    }
};

/// Workers that pay, of a team of `team_count`: a small matrix is done before more of them have
/// heard of it.
fn workerCount(team_count: u64, tile_count: u64, tile_bytes: u64) u64 {
    const paying = @max(1, tile_count * tile_bytes / worker_bytes_min);
    return @min(team_count, tile_count, paying);
}

test "small matrices have fewer workers" {
    const of = dots.Layout(@import("../codecs/mxfp4.zig").dot);
    const cases = [_]struct { rows: u64, columns: u64, workers: u64 }{
        .{ .rows = 16, .columns = 2880, .workers = 1 },
        .{ .rows = 64, .columns = 4096, .workers = 1 },
        .{ .rows = 256, .columns = 2880, .workers = 1 },
        .{ .rows = 512, .columns = 2880, .workers = 3 },
        .{ .rows = 2880, .columns = 2880, .workers = 22 },
        .{ .rows = 5760, .columns = 2880, .workers = 44 },
        .{ .rows = 65536, .columns = 2880, .workers = 64 },
        // A tile is the least that a worker has.
        .{ .rows = 32, .columns = 1 << 20, .workers = 2 },
    };
    for (cases) |case| {
        const tile_bytes = of.tileBytes(case.columns / dots.span_columns);
        const count = workerCount(64, case.rows / dots.tile_rows, tile_bytes);
        try std.testing.expectEqual(case.workers, count);
    }
}
