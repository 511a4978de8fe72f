//! What a job decides before it starts: threads, I/O mode, how each step is cut, and the buffers of
//! a worker. A pure function of the plan, the options and the number of cores, so that
//! `dq_job_measure` and the job itself agree.
const std = @import("std");
const abi = @import("../abi.zig");
const memory = @import("../machine/memory.zig");
const Mapped = @import("mapped.zig").Mapped;
const output = @import("output.zig");
const tiles = @import("tiles.zig");
const plan_file = @import("plan.zig");
const Plan = plan_file.Plan;

/// About a second-level cache: what is decoded is still there when it is written. Measured on
/// tmpfs, 128 KiB to 1.5 MiB are alike.
pub const output_bytes_wanted = 512 << 10;
/// A device is slow to begin: each write should be long.
const output_bytes_wanted_direct = 4 << 20;
const output_bytes_min = 4 << 10;
const input_bytes_min = 64 << 10;

pub const thread_count_max = 4096;

/// Sizes of the parts of one worker's memory, in the order in which they stand there.
pub const Buffers = struct {
    output: u64 = 0,
    /// Verify: what the target file holds.
    compare: u64 = 0,
    scratch: u64 = 0,
    input: u64 = 0,
    /// Not a buffer: what stays of maps in the process at the most.
    mapped: u64 = 0,

    /// Those that stand in memory one after the other.
    pub const parts = .{ "output", "compare", "scratch", "input" };

    pub fn allocated(buffers: Buffers) u64 {
        var sum: u64 = 0;
        inline for (parts) |name| sum += memory.charged(@field(buffers, name));
        return sum;
    }

    pub fn total(buffers: Buffers) u64 {
        return @max(buffers.allocated(), memory.charged(1)) + memory.charged(buffers.mapped);
    }
};

pub const Setup = struct {
    thread_count: u32,
    io: abi.IoMode,
    target_io: abi.IoMode,
    cuts: []tiles.Cut,
    /// Number of items before each step, and of all steps at the end.
    item_begins: []u64,
    buffers: Buffers,
    /// verify: tiles of each step that are compared; 0: all.
    sample_tiles: u32,

    pub fn init(
        gpa: std.mem.Allocator,
        plan: Plan,
        options: *const abi.JobOptions,
        core_count: u32,
    ) error{ OutOfMemory, MemoryLimit }!Setup {
        var setup: Setup = .{
            .thread_count = 0,
            .io = undefined,
            // Verify jobs read targets in the order in which they decode, through the page cache.
            .target_io = switch (options.target_io) {
                .auto => .pread,
                else => |io| if (options.kind == .convert) io else .pread,
            },
            .cuts = try gpa.alloc(tiles.Cut, plan.steps.len),
            .item_begins = &.{},
            .buffers = .{},
            .sample_tiles = if (options.kind == .verify) options.sample_tiles else 0,
        };
        errdefer gpa.free(setup.cuts);
        setup.item_begins = try gpa.alloc(u64, plan.steps.len + 1);
        errdefer gpa.free(setup.item_begins);
        const wanted = if (options.thread_count == 0) core_count else options.thread_count;
        const threads = @min(thread_count_max, wanted);
        // With a warm page cache reading is a few percent faster than mapping, from a disk they are
        // alike, and a file that shrinks is told by a short read instead of a signal.
        try setup.fit(plan, options, if (options.io == .auto) .pread else options.io, threads);
        return setup;
    }

    /// Cuts all steps, with buffers and threads that the limit of memory allows.
    fn fit(
        setup: *Setup,
        plan: Plan,
        options: *const abi.JobOptions,
        io: abi.IoMode,
        threads: u32,
    ) error{MemoryLimit}!void {
        setup.io = io;
        setup.thread_count = threads;
        var limits = setup.wantedLimits(options, threads);
        while (true) {
            setup.cutAll(plan, options.kind, limits);
            if (setup.memoryBytes() <= options.memory_max) return;
            // Smaller buffers cost a little speed, fewer threads cost much.
            if (limits.output_bytes > output_bytes_wanted) {
                limits.output_bytes /= 2;
            } else if (limits.input_bytes > input_bytes_min and setup.buffers.input > 0) {
                limits.input_bytes /= 2;
            } else if (limits.output_bytes > output_bytes_min) {
                limits.output_bytes /= 2;
            } else if (setup.io == .mmap) {
                // Reads need less at a time than maps, and are about as fast.
                setup.io = .pread;
                limits = setup.wantedLimits(options, threads);
            } else if (setup.thread_count > 1) {
                const affordable = options.memory_max / setup.buffers.total();
                setup.thread_count = @intCast(@max(1, @min(setup.thread_count - 1, affordable)));
            } else if (setup.target_io == .mmap) {
                setup.target_io = .pread;
            } else return error.MemoryLimit;
        }
    }

    fn wantedLimits(setup: Setup, options: *const abi.JobOptions, threads: u32) tiles.Limits {
        return .{
            .output_bytes = if (setup.target_io == .direct)
                output_bytes_wanted_direct
            else
                output_bytes_wanted,
            // A transposed matrix is read at once where all of it may stay in memory.
            .input_bytes = @max(input_bytes_min, options.memory_max / threads),
        };
    }

    pub fn deinit(setup: *Setup, gpa: std.mem.Allocator) void {
        gpa.free(setup.cuts);
        gpa.free(setup.item_begins);
        setup.* = undefined;
    }

    fn cutAll(setup: *Setup, plan: Plan, kind: abi.JobKind, limits: tiles.Limits) void {
        var buffers: Buffers = .{};
        var items: u64 = 0;
        var matrix_max: u64 = 0;
        for (plan.steps, setup.cuts, setup.item_begins[0..plan.steps.len]) |*step, *cut, *begin| {
            cut.* = tiles.cut(step, setup.io, limits, setup.thread_count);
            begin.* = items;
            items += setup.stepItems(step, cut.*);
            // Bytes that are only copied go to the target from where they are, unless that is not
            // where a direct write can take them.
            const direct = setup.target_io == .direct;
            const copies = step.codec == .copy and kind == .convert and !direct;
            if (!copies) buffers.output = @max(buffers.output, cut.output_bytes);
            if (kind == .verify) buffers.compare = @max(buffers.compare, cut.output_bytes);
            buffers.scratch = @max(buffers.scratch, cut.scratch_bytes);
            buffers.input = @max(buffers.input, cut.input_bytes);
            if (setup.io != .mmap) continue;
            const mapped: Mapped = .of(plan, step, cut.*);
            buffers.mapped = @max(buffers.mapped, mapped.all);
            matrix_max = @max(matrix_max, mapped.matrix);
        }
        // A matrix goes only when the next one is there.
        buffers.mapped += matrix_max;
        // A tile begins in the buffer where it begins between two borders of the file.
        if (setup.target_io == .direct and buffers.output > 0) buffers.output += memory.alignment;
        if (setup.target_io == .mmap) buffers.mapped += output.window_bytes + memory.alignment;
        setup.item_begins[plan.steps.len] = items;
        setup.buffers = buffers;
        setup.thread_count = @intCast(std.math.clamp(items, 1, setup.thread_count));
    }

    pub fn memoryBytes(setup: Setup) u64 {
        return setup.thread_count * setup.buffers.total();
    }

    pub fn itemCount(setup: Setup) u64 {
        return setup.item_begins[setup.cuts.len];
    }

    /// Items of one step: the sampled tiles one by one, or all of them as they were cut.
    fn stepItems(setup: Setup, step: *const abi.Step, cut: tiles.Cut) u64 {
        const count = cut.tileCount(step);
        if (setup.sampleCount(count)) |sample| return sample;
        return cut.itemCount(step);
    }

    /// How many of `count` tiles are compared, where it is not all.
    fn sampleCount(setup: Setup, count: u64) ?u64 {
        // The first and the last tile are two.
        const wanted = @max(2, setup.sample_tiles);
        return if (setup.sample_tiles == 0 or wanted >= count) null else wanted;
    }

    /// Tiles that the job works on.
    pub fn tileCount(setup: Setup, plan: Plan) u64 {
        var sum: u64 = 0;
        for (plan.steps, setup.cuts) |*step, cut| {
            const count = cut.tileCount(step);
            sum += setup.sampleCount(count) orelse count;
        }
        return sum;
    }

    /// Bytes of the target that the job writes or compares for a step.
    pub fn stepBytes(setup: Setup, plan: Plan, index: usize) u64 {
        const step = &plan.steps[index];
        const cut = setup.cuts[index];
        if (setup.sampleCount(cut.tileCount(step)) == null) return step.target_size;
        var sum: u64 = 0;
        for (setup.item_begins[index]..setup.item_begins[index + 1]) |number| {
            const one = setup.item(plan, number);
            const tile = cut.tile(step, one.batch, one.tile_begin);
            sum += tile.elements() * plan_file.elementSize(step.dtype);
        }
        return sum;
    }

    pub const Item = struct {
        step: u32,
        batch: u64,
        /// Tiles of the matrix.
        tile_begin: u64,
        tile_end: u64,
    };

    pub fn item(setup: Setup, plan: Plan, index: u64) Item {
        const step_index = setup.stepOf(index);
        const step = &plan.steps[step_index];
        const cut = setup.cuts[step_index];
        const within = index - setup.item_begins[step_index];
        const tile_count = cut.tileCount(step);
        if (setup.sampleCount(tile_count)) |sample| {
            const number: u64 = @intCast(@as(u128, within) * (tile_count - 1) / (sample - 1));
            const begin = number % cut.matrixTiles();
            return .{
                .step = step_index,
                .batch = number / cut.matrixTiles(),
                .tile_begin = begin,
                .tile_end = begin + 1,
            };
        }
        const begin = within % cut.matrixItems() * cut.item_tiles;
        return .{
            .step = step_index,
            .batch = within / cut.matrixItems(),
            .tile_begin = begin,
            .tile_end = @min(begin + cut.item_tiles, cut.matrixTiles()),
        };
    }

    /// The step whose items hold `index`.
    fn stepOf(setup: Setup, index: u64) u32 {
        std.debug.assert(index < setup.itemCount());
        var low: usize = 0;
        var high: usize = setup.cuts.len;
        while (high - low > 1) {
            const middle = low + (high - low) / 2;
            if (setup.item_begins[middle] <= index) low = middle else high = middle;
        }
        return @intCast(low);
    }

    /// Items of step `index`.
    pub fn itemsOf(setup: Setup, index: usize) u64 {
        return setup.item_begins[index + 1] - setup.item_begins[index];
    }
};

const testing = std.testing;
const samples = @import("../testing/steps.zig");

fn optionsOf(
    kind: abi.JobKind,
    io: abi.IoMode,
    threads: u32,
    memory_max: u64,
    sample: u32,
) abi.JobOptions {
    return .{
        .kind = kind,
        .io = io,
        .thread_count = threads,
        .sync = 0,
        .memory_max = memory_max,
        .sample_tiles = sample,
        .check_scales = 0,
        .keep_done = 0,
        .hashes = 0,
        .target_io = .pread,
        .drop_cache = 0,
    };
}

fn parseSteps(steps: []const abi.Step) !Plan {
    const bytes = try samples.encode(testing.allocator, steps, "head");
    defer testing.allocator.free(bytes);
    return Plan.parse(testing.allocator, bytes, .convert);
}

test "items are the tiles of all steps, each once" {
    var plan = try parseSteps(&.{
        samples.mxfp4(3, 70, 640, true),
        samples.copy(999_999),
        samples.mxfp4(2, 9, 64, false),
    });
    defer plan.deinit(testing.allocator);
    for ([_]abi.IoMode{ .mmap, .pread, .direct }) |io| {
        var setup: Setup = try .init(
            testing.allocator,
            plan,
            &optionsOf(.convert, io, 3, 1 << 20, 0),
            8,
        );
        defer setup.deinit(testing.allocator);
        var tile_count: u64 = 0;
        var before: ?Setup.Item = null;
        for (0..setup.itemCount()) |index| {
            const item = setup.item(plan, index);
            tile_count += item.tile_end - item.tile_begin;
            if (before) |b| {
                const follows = item.step == b.step and item.batch == b.batch and
                    item.tile_begin == b.tile_end;
                try testing.expect(follows or item.tile_begin == 0);
            } else try testing.expectEqual(0, item.tile_begin);
            before = item;
        }
        try testing.expectEqual(setup.tileCount(plan), tile_count);
        for (plan.steps, 0..) |step, i|
            try testing.expectEqual(step.target_size, setup.stepBytes(plan, i));
    }
}

test "samples hold the first and the last tile" {
    var plan = try parseSteps(&.{samples.mxfp4(4, 500, 640, false)});
    defer plan.deinit(testing.allocator);
    for ([_]u32{ 1, 2, 5 }) |sample| {
        var setup: Setup = try .init(
            testing.allocator,
            plan,
            &optionsOf(.verify, .mmap, 2, 1 << 20, sample),
            8,
        );
        defer setup.deinit(testing.allocator);
        try testing.expectEqual(@max(2, sample), setup.itemCount());
        const first = setup.item(plan, 0);
        const last = setup.item(plan, setup.itemCount() - 1);
        try testing.expectEqual(
            Setup.Item{ .step = 0, .batch = 0, .tile_begin = 0, .tile_end = 1 },
            first,
        );
        try testing.expectEqual(3, last.batch);
        try testing.expectEqual(setup.cuts[0].matrixTiles(), last.tile_end);
        try testing.expect(setup.stepBytes(plan, 0) < plan.steps[0].target_size);
    }
}

test "memory is what the limit allows: smaller buffers first, then fewer threads, then none" {
    var plan = try parseSteps(&.{
        samples.mxfp4(32, 5760, 2880, true),
        samples.mxfp4(32, 5760, 2880, false),
    });
    defer plan.deinit(testing.allocator);
    var thread_count: u32 = 64;
    for ([_]u64{ 1 << 32, 1 << 30, 1 << 27, 1 << 24, 1 << 22, 1 << 20, 100_000 }) |memory_max| {
        var setup: Setup = try .init(
            testing.allocator,
            plan,
            &optionsOf(.convert, .pread, 0, memory_max, 0),
            64,
        );
        defer setup.deinit(testing.allocator);
        try testing.expect(setup.memoryBytes() <= memory_max);
        try testing.expect(setup.thread_count <= thread_count and setup.thread_count >= 1);
        thread_count = setup.thread_count;
    }
    try testing.expect(thread_count < 64);
    try testing.expectError(
        error.MemoryLimit,
        Setup.init(testing.allocator, plan, &optionsOf(.convert, .pread, 1, 4096, 0), 64),
    );
}

test "no more threads than there is work" {
    var plan = try parseSteps(&.{samples.copy(10)});
    defer plan.deinit(testing.allocator);
    var setup: Setup = try .init(
        testing.allocator,
        plan,
        &optionsOf(.convert, .auto, 0, 1 << 20, 0),
        64,
    );
    defer setup.deinit(testing.allocator);
    try testing.expectEqual(1, setup.thread_count);
}

test "maps count, and files are read where they would not fit" {
    var plan = try parseSteps(&.{ samples.mxfp4(32, 5760, 2880, true), samples.copy(1000) });
    defer plan.deinit(testing.allocator);
    const Case = struct { u64, abi.IoMode };
    for ([_]Case{ .{ 1 << 30, .auto }, .{ 16 << 20, .auto }, .{ 64 << 20, .mmap } }) |case| {
        const options = optionsOf(.convert, case[1], 1, case[0], 0);
        var setup: Setup = try .init(testing.allocator, plan, &options, 2);
        defer setup.deinit(testing.allocator);
        try testing.expectEqual(if (case[1] == .auto) .pread else case[1], setup.io);
        try testing.expect(setup.memoryBytes() <= case[0]);
        const matrix = 5760 * 2880 / 32 * 17;
        if (setup.io == .mmap) try testing.expect(setup.memoryBytes() > 2 * matrix);
    }
    var small = optionsOf(.convert, .mmap, 1, 256 << 10, 0);
    small.target_io = .mmap;
    var setup: Setup = try .init(testing.allocator, plan, &small, 2);
    defer setup.deinit(testing.allocator);
    try testing.expectEqual(.pread, setup.io);
    try testing.expect(setup.memoryBytes() <= small.memory_max);
}

test "a small file is mapped whatever the limit" {
    var plan = try parseSteps(&.{ samples.mxfp4(2, 32, 64, true), samples.copy(1000) });
    defer plan.deinit(testing.allocator);
    var options = optionsOf(.convert, .mmap, 4, 128 << 10, 0);
    var setup: Setup = try .init(testing.allocator, plan, &options, 4);
    defer setup.deinit(testing.allocator);
    try testing.expectEqual(.mmap, setup.io);
    try testing.expect(setup.memoryBytes() <= options.memory_max);
}

test "tiles of direct writes are long, and as short as memory asks for" {
    var plan = try parseSteps(&.{ samples.mxfp4(4, 5760, 2880, false), samples.copy(1000) });
    defer plan.deinit(testing.allocator);
    for ([_]u64{ 1 << 30, 8 << 20, 1 << 20, 200_000 }) |memory_max| {
        var options = optionsOf(.convert, .direct, 1, memory_max, 0);
        options.target_io = .direct;
        var setup: Setup = try .init(testing.allocator, plan, &options, 2);
        defer setup.deinit(testing.allocator);
        try testing.expectEqual(.direct, setup.target_io);
        try testing.expect(setup.memoryBytes() <= memory_max);
        if (memory_max == 1 << 30) try testing.expect(setup.buffers.output > 3 << 20);
    }
}
