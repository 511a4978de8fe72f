//! `zig build bench-matvec [-- ROWS [COLUMNS]]`: what each technique of the products is worth on one
//! core of this machine. A ladder of ways to multiply one MXFP4 matrix by one vector, each with one
//! technique more than the one above it, and below it the ways that leave single techniques out.
//! All take turns; medians. Without ROWS: a matrix far larger than caches, and one that fits them.
const std = @import("std");
const abi = @import("abi.zig");
const float = @import("core/float.zig");
const integer = @import("core/integer.zig");
const math = @import("core/math.zig");
const stream = @import("core/stream.zig");
const mxfp4 = @import("codecs/mxfp4.zig");
const dots = @import("matvec/dot.zig");
const int8 = @import("matvec/int8.zig");
const product_file = @import("matvec/product.zig");
const quantize = @import("matvec/quantize.zig");
const table = @import("table.zig");

const dot = mxfp4.dot;
const rounds = 9;
const block_columns = 32;

/// One matrix, row by row as it is stored and in tiles, and the activations in every form.
const Data = struct {
    rows: usize,
    columns: usize,
    /// [rows][columns / 2]
    codes: []const u8,
    /// [rows][columns / 32]
    scales: []const u8,
    tiles: []align(64) u8,
    x: []align(64) f32,
    /// Even columns of each block before its odd ones.
    x_parted: []align(64) f32,
    /// One dense row, or all of them.
    dense: []align(64) f32,
    y: []f32,
    activations: table.Activations,

    fn blocks(data: *const Data) usize {
        return data.columns / block_columns;
    }

    fn bytes(data: *const Data) usize {
        return data.codes.len + data.scales.len;
    }
};

fn scaleOf(exponent: u8) f32 {
    return @bitCast(@as(u32, exponent) << 23);
}

/// As people first write it: the weight becomes an f32 matrix in memory, and that is multiplied.
fn expandThenMultiply(data: *const Data) void {
    for (0..data.rows) |row| decodeRow(data, row, data.dense[row * data.columns ..]);
    for (0..data.rows) |row| {
        var sum: f32 = 0;
        for (data.dense[row * data.columns ..][0..data.columns], data.x) |weight, x| sum += weight * x;
        data.y[row] = sum;
    }
}

fn decodeRow(data: *const Data, row: usize, target: []f32) void {
    const codes = data.codes[row * data.columns / 2 ..];
    for (0..data.columns) |column| {
        const byte = codes[column / 2];
        const code = if (column % 2 == 0) byte & 15 else byte >> 4;
        const exponent = data.scales[(row * data.columns + column) / block_columns];
        target[column] = float.e2m1[code] * scaleOf(exponent);
    }
}

/// Fused: no dense weight is written. A branch picks each nibble.
fn fusedWithBranches(data: *const Data) void {
    @setRuntimeSafety(false);
    for (0..data.rows) |row| {
        const codes = data.codes[row * data.columns / 2 ..];
        var sum: f32 = 0;
        for (0..data.columns) |column| {
            const byte = codes[column / 2];
            // Opaque, or the compiler would make the branchless form of it.
            var code = byte;
            if (column % 2 == 1) code >>= 4;
            std.mem.doNotOptimizeAway(&code);
            const exponent = data.scales[(row * data.columns + column) / block_columns];
            sum += float.e2m1[code & 15] * scaleOf(exponent) * data.x[column];
        }
        data.y[row] = sum;
    }
}

/// Both nibbles of a byte at once, from a table in memory.
fn fusedScalar(comptime mode: std.builtin.FloatMode, comptime safety: bool) fn (*const Data) void {
    return struct {
        fn run(data: *const Data) void {
            @setRuntimeSafety(safety);
            @setFloatMode(mode);
            for (0..data.rows) |row| {
                var total: f32 = 0;
                for (0..data.blocks()) |block| {
                    const begin = row * data.blocks() + block;
                    const codes = data.codes[begin * 16 ..][0..16];
                    const x = data.x_parted[block * block_columns ..][0..block_columns];
                    var sum: f32 = 0;
                    for (codes, 0..) |byte, i| {
                        sum += float.e2m1[byte & 15] * x[i];
                        sum += float.e2m1[byte >> 4] * x[16 + i];
                    }
                    total += sum * scaleOf(data.scales[begin]);
                }
                data.y[row] = total;
            }
        }
    }.run;
}

/// A shuffle looks codes up, register by register; sums cross lanes at the end of each row.
fn fusedVector(data: *const Data) void {
    @setRuntimeSafety(false);
    const entries = comptime blk: {
        var entries: [16]u8 = undefined;
        for (&entries, dot.codes.four) |*entry, value| entry.* = @bitCast(value);
        break :blk entries;
    };
    const length = 4 * integer.lane_count;
    const per_block = 16 / @min(16, length);
    for (0..data.rows) |row| {
        var sums: [4]@Vector(4, f32) = @splat(@splat(0));
        for (0..data.blocks()) |block| {
            const begin = row * data.blocks() + block;
            const scale: @Vector(4, f32) = @splat(scaleOf(data.scales[begin]));
            var bytes: [length]u8 = @splat(0);
            inline for (0..per_block) |part| {
                const size = @min(16, length);
                bytes[0..size].* = data.codes[begin * 16 + part * length ..][0..size].*;
                const nibbles = integer.split(bytes);
                const halves = [2][length]u8{
                    integer.lookup(&entries, nibbles.low),
                    integer.lookup(&entries, nibbles.high),
                };
                inline for (halves, 0..) |half, h| inline for (0..4) |i| {
                    const integers: @Vector(4, i8) = @bitCast(@as([4]u8, half[i * 4 ..][0..4].*));
                    const weights: @Vector(4, f32) = @floatFromInt(@as(@Vector(4, i32), integers));
                    const x: @Vector(4, f32) = data.x_parted[block * 32 + h * 16 + i * 4 ..][0..4].*;
                    sums[i] = math.mulAdd(weights * x, scale, sums[i]);
                };
            }
        }
        data.y[row] = 0.5 * @reduce(.Add, sums[0] + sums[1] + sums[2] + sums[3]);
    }
}

/// The products themselves, in tiles of 16 rows.
fn tiled(
    comptime arithmetic: abi.Arithmetic,
    comptime options: int8.Options,
    comptime batch: u64,
    comptime streaming: bool,
) fn (*const Data) void {
    return struct {
        fn run(data: *const Data) void {
            const tile_bytes = dots.Layout(dot).tileBytes(data.blocks());
            product_file.multiplyTiles(dot, arithmetic, options, &.{
                .tiles = data.tiles.ptr,
                .tile_bytes = tile_bytes,
                .tile_first = 0,
                .tile_count = data.rows / dots.tile_rows,
                .rows = data.rows,
                .x = &data.activations,
                .batch = batch,
                .bias = null,
                .y = data.y.ptr,
                .y_stride = data.rows,
                .activation = .none,
                .pairing = .none,
                .is_streaming = streaming,
            });
        }
    }.run;
}

fn readTiles(data: *const Data) void {
    stream.read(@alignCast(data.tiles.ptr), data.tiles.len / 4096 * 4096);
}

const Way = struct {
    name: []const u8,
    run: *const fn (*const Data) void,
    /// Number of the way that this one is compared with.
    than: ?usize,
    /// Products of one run.
    count: u64 = 1,
};

const plain: int8.Options = .{ .prefetch = 0 };
const near: int8.Options = .{ .prefetch = 1024 };
const far: int8.Options = .{ .prefetch = 4096 };
const ways = [_]Way{
    .{ .name = "decode to f32 in memory, then multiply", .run = &expandThenMultiply, .than = null },
    .{ .name = "fused, a branch for each nibble", .run = &fusedWithBranches, .than = 0 },
    .{ .name = "branchless nibbles, table in memory", .run = &fusedScalar(.strict, false), .than = 1 },
    .{ .name = "lookup by shuffle, row by row", .run = &fusedVector, .than = 2 },
    .{ .name = "16 rows interleaved, FMA", .run = &tiled(.float, plain, 1, false), .than = 3 },
    .{ .name = "int8 activations, exact sums", .run = &tiled(.int8, plain, 1, false), .than = 4 },
    .{ .name = "prefetch", .run = &tiled(.int8, .{}, 1, false), .than = 5 },
    .{ .name = "two streams", .run = &tiled(.int8, .{}, 1, true), .than = 6 },
    .{ .name = "four columns in one pass", .run = &tiled(.int8, .{}, 4, true), .than = 7, .count = 4 },
    .{ .name = "scalar code, float mode optimized", .run = &fusedScalar(.optimized, false), .than = 2 },
    .{ .name = "scalar code, with safety checks", .run = &fusedScalar(.strict, true), .than = 2 },
    .{ .name = "prefetch 1 KiB instead of 2", .run = &tiled(.int8, near, 1, true), .than = 7 },
    .{ .name = "prefetch 4 KiB instead of 2", .run = &tiled(.int8, far, 1, true), .than = 7 },
    .{ .name = "float with prefetch", .run = &tiled(.float, .{}, 1, false), .than = 4 },
    .{ .name = "reading the tiles alone", .run = &readTiles, .than = 7 },
};

fn measure(gpa: std.mem.Allocator, out: *std.Io.Writer, rows: usize, columns: usize) !void {
    var data = try makeData(gpa, rows, columns);
    var times: [ways.len][rounds]u64 = undefined;
    // Short runs are repeated, so that the clock's own cost is lost in them.
    const inner = @max(1, 2_000_000 / data.bytes());
    for (0..rounds) |round| for (ways, &times) |way, *way_times| {
        var timer = try std.time.Timer.start();
        for (0..inner) |_| way.run(&data);
        way_times[round] = timer.read() / inner;
        std.mem.doNotOptimizeAway(data.y.ptr);
    };
    try out.print("{d} x {d}, {d:.1} MB of codes and scales\n", .{
        rows, columns, @as(f64, @floatFromInt(data.bytes())) / 1e6,
    });
    try out.print("{s:<42} {s:>10} {s:>8} {s:>8}\n", .{ "", "time", "GB/s", "gain" });
    var medians: [ways.len]f64 = undefined;
    for (&medians, &times, ways) |*median, *way_times, way| {
        std.mem.sort(u64, way_times, {}, std.sort.asc(u64));
        median.* = @as(f64, @floatFromInt(way_times[rounds / 2])) / @as(f64, @floatFromInt(way.count));
    }
    for (ways, medians) |way, median| {
        const rate = @as(f64, @floatFromInt(data.bytes())) / median;
        try out.print("{s:<42} {d:>8.0}us {d:>8.2}", .{ way.name, median / 1e3, rate });
        if (way.than) |than| try out.print(" {d:>7.2}x", .{medians[than] / median});
        try out.print("\n", .{});
    }
    try out.print("\n", .{});
    try out.flush();
}

fn makeData(gpa: std.mem.Allocator, rows: usize, columns: usize) !Data {
    var prng: std.Random.DefaultPrng = .init(1);
    const random = prng.random();
    const blocks = columns / block_columns;
    const codes = try gpa.alloc(u8, rows * columns / 2);
    random.bytes(codes);
    const scales = try gpa.alloc(u8, rows * blocks);
    for (scales) |*scale| scale.* = random.intRangeAtMost(u8, 115, 125);
    const tile_bytes = dots.Layout(dot).tileBytes(blocks);
    const tiles_bytes = tile_bytes * rows / dots.tile_rows;
    const tiles = try gpa.alignedAlloc(u8, .fromByteUnits(4096), tiles_bytes);
    const source: table.Tile = std.mem.zeroInit(table.Tile, .{
        .sources = @as([abi.source_count_max][*]const u8, .{ codes.ptr, scales.ptr } ++
            .{codes.ptr} ** (abi.source_count_max - 2)),
        .strides = @as([abi.source_count_max]u64, .{ columns / 2, blocks } ++
            .{0} ** (abi.source_count_max - 2)),
        .rows_per_line = @as([abi.source_count_max]u32, @splat(1)),
        .columns = columns,
        .target = tiles.ptr,
    });
    const pack = product_file.functionsOf(mxfp4).pack.?;
    for (0..rows / dots.tile_rows) |tile| {
        const place: [*]align(64) u8 = @alignCast(tiles.ptr + tile * tile_bytes);
        _ = pack(&source, tile * dots.tile_rows, dots.tile_rows, 0, place);
    }
    const x = try gpa.alignedAlloc(f32, .@"64", columns);
    for (x) |*value| value.* = random.floatNorm(f32);
    const parted = try gpa.alignedAlloc(f32, .@"64", columns);
    for (0..columns) |i| {
        const place = i / 32 * 32 + (i % 2) * 16 + i % 32 / 2;
        parted[place] = x[i];
    }
    const batch = 4;
    var activations: table.Activations = .{
        .span_count = blocks,
        .span_blocks = 1,
        .values = (try gpa.alignedAlloc(f32, .@"64", batch * columns)).ptr,
        .codes = (try gpa.alignedAlloc(i8, .@"64", batch * columns)).ptr,
        .scales = (try gpa.alloc(f32, batch * blocks)).ptr,
        .corrections = (try gpa.alloc(u32, batch * blocks)).ptr,
        .sums = (try gpa.alloc(f32, batch * blocks)).ptr,
    };
    for (0..batch) |column| {
        _ = quantize.prepareFloat(dot.order, &activations, column, x.ptr, columns);
        _ = quantize.prepareInt8(dot, &activations, column, x.ptr, columns);
    }
    return .{
        .rows = rows,
        .columns = columns,
        .codes = codes,
        .scales = scales,
        .tiles = @alignCast(tiles),
        .x = x,
        .x_parted = parted,
        .dense = try gpa.alignedAlloc(f32, .@"64", rows * columns),
        .y = try gpa.alloc(f32, rows * batch),
        .activations = activations,
    };
}

pub fn main() !void {
    var arena: std.heap.ArenaAllocator = .init(std.heap.page_allocator);
    defer arena.deinit();
    var buffer: [4096]u8 = undefined;
    var stdout = std.fs.File.stdout().writerStreaming(&buffer);
    const arguments = try std.process.argsAlloc(arena.allocator());
    if (arguments.len > 1) {
        const rows = try std.fmt.parseInt(usize, arguments[1], 10);
        const columns = if (arguments.len > 2)
            try std.fmt.parseInt(usize, arguments[2], 10)
        else
            2880;
        return measure(
            arena.allocator(),
            &stdout.interface,
            std.mem.alignForward(usize, rows, dots.tile_rows),
            std.mem.alignForward(usize, columns, block_columns),
        );
    }
    for ([_]usize{ 65536, 3072 }) |rows| {
        try measure(arena.allocator(), &stdout.interface, rows, 2880);
        _ = arena.reset(.free_all);
    }
}
