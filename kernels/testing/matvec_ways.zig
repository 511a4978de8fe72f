//! Ways to multiply one MXFP4 matrix by one vector, from the one that people first write to the one
//! that this library has, each with or without one technique: what zig build bench-matvec times.
const std = @import("std");
const abi = @import("../abi.zig");
const float = @import("../core/float.zig");
const integer = @import("../core/integer.zig");
const math = @import("../core/math.zig");
const stream = @import("../core/stream.zig");
const mxfp4 = @import("../codecs/mxfp4.zig");
const dots = @import("../matvec/dot.zig");
const int8 = @import("../matvec/int8.zig");
const product_file = @import("../matvec/product.zig");
const table = @import("../table.zig");

pub const dot = mxfp4.dot;
pub const block_columns = 32;
/// Columns of the batch that the activations are prepared for.
pub const batch_max = 4;

/// One matrix, row by row as it is stored and in tiles, and the activations in every form.
pub const Data = struct {
    rows: usize,
    columns: usize,
    /// The stored matrix as the codec's decoder takes it: codes [rows][columns / 2], scales
    /// [rows][columns / 32].
    stored: table.Tile,
    codes: []const u8,
    scales: []const u8,
    tiles: []align(4096) u8,
    /// The same in pages of 4 KiB.
    tiles_in_small_pages: []align(4096) u8,
    x: []align(64) f32,
    /// Even columns of each block before its odd ones.
    x_parted: []align(64) f32,
    /// [rows][columns]
    dense: []align(64) f32,
    y: []f32,
    activations: table.Activations,

    pub fn blocks(data: *const Data) usize {
        return data.columns / block_columns;
    }

    pub fn bytes(data: *const Data) usize {
        return data.codes.len + data.scales.len;
    }
};

pub const Run = *const fn (*const Data) void;

fn scaleOf(exponent: u8) f32 {
    return @bitCast(@as(u32, exponent) << 23);
}

/// As people first write it: the weight becomes an f32 matrix in memory, and that is multiplied.
pub fn expandByElement(data: *const Data) void {
    for (0..data.rows) |row| {
        const codes = data.codes[row * data.columns / 2 ..];
        for (data.dense[row * data.columns ..][0..data.columns], 0..) |*weight, column| {
            const byte = codes[column / 2];
            const code = if (column % 2 == 0) byte & 15 else byte >> 4;
            const exponent = data.scales[(row * data.columns + column) / block_columns];
            weight.* = float.e2m1[code] * scaleOf(exponent);
        }
    }
    for (0..data.rows) |row| {
        var sum: f32 = 0;
        const weights = data.dense[row * data.columns ..][0..data.columns];
        for (weights, data.x) |weight, x| sum += weight * x;
        data.y[row] = sum;
    }
}

/// The same with the fastest of both halves: this library's decoder, and a dense product of four
/// rows at a time.
pub fn expandFast(data: *const Data) void {
    _ = mxfp4.decode(.f32, &data.stored);
    dense(4)(data);
}

/// A row-major f32 matrix times x, `row_count` rows for each load of x.
pub fn dense(comptime row_count: comptime_int) Run {
    const length = 8;
    const chains = 4;
    const Floats = @Vector(length, f32);
    return struct {
        fn run(data: *const Data) void {
            @setRuntimeSafety(false);
            var row: usize = 0;
            while (row + row_count <= data.rows) : (row += row_count) {
                var sums: [row_count][chains]Floats = @splat(@splat(@splat(0)));
                var column: usize = 0;
                while (column < data.columns) : (column += length * chains) {
                    inline for (0..chains) |chain| {
                        const at = column + chain * length;
                        const x: Floats = data.x[at..][0..length].*;
                        inline for (&sums, 0..) |*sum, i| {
                            const begin = (row + i) * data.columns + at;
                            const weights: Floats = data.dense[begin..][0..length].*;
                            sum[chain] = math.mulAdd(weights, x, sum[chain]);
                        }
                    }
                }
                inline for (&sums, 0..) |*sum, i|
                    data.y[row + i] = @reduce(.Add, sum[0] + sum[1] + sum[2] + sum[3]);
            }
        }
    }.run;
}

/// Fused: no dense weight is written. A branch picks each nibble.
pub fn fusedWithBranches(data: *const Data) void {
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
pub fn fusedScalar(comptime mode: std.builtin.FloatMode, comptime safety: bool) Run {
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

/// How the weights of a block come to stand over the activations.
const Order = enum {
    /// The activations are permuted once, before the product.
    permuted_once,
    /// The weights are interleaved in every block by a mask that the compiler knows.
    comptime_mask,
    /// The weights are put to places that a table in memory names.
    runtime_places,
};

var places: [block_columns]u8 = blk: {
    var initial: [block_columns]u8 = undefined;
    for (&initial, 0..) |*place, i| place.* = i % 2 * 16 + i / 2;
    break :blk initial;
};

const entries: [16]u8 = blk: {
    var initial: [16]u8 = undefined;
    for (&initial, dot.codes.four) |*entry, value| entry.* = @bitCast(value);
    break :blk initial;
};

/// A shuffle looks codes up, register by register; sums cross lanes at the end of each row.
pub fn fusedVector(comptime order: Order) Run {
    return struct {
        fn run(data: *const Data) void {
            @setRuntimeSafety(false);
            // The compiler is not to know what the table holds.
            if (order == .runtime_places) std.mem.doNotOptimizeAway(&places);
            const activations = if (order == .permuted_once) data.x_parted else data.x;
            for (0..data.rows) |row| {
                var sums: [4]@Vector(8, f32) = @splat(@splat(0));
                for (0..data.blocks()) |block| {
                    const begin = row * data.blocks() + block;
                    const scale: @Vector(8, f32) = @splat(scaleOf(data.scales[begin]));
                    const weights = arranged(order, decodeBlock(data.codes[begin * 16 ..][0..16]));
                    inline for (&sums, 0..) |*sum, i| {
                        const codes: @Vector(8, i8) = weights[i * 8 ..][0..8].*;
                        const values: @Vector(8, f32) = @floatFromInt(@as(@Vector(8, i32), codes));
                        const x: @Vector(8, f32) = activations[block * 32 + i * 8 ..][0..8].*;
                        sum.* = math.mulAdd(values * x, scale, sum.*);
                    }
                }
                data.y[row] = dot.unit * @reduce(.Add, sums[0] + sums[1] + sums[2] + sums[3]);
            }
        }
    }.run;
}

/// The integers of a block's low nibbles, then of its high ones.
inline fn decodeBlock(codes: *const [16]u8) [block_columns]i8 {
    const length = 4 * integer.lane_count;
    const size = @min(16, length);
    var weights: [block_columns]u8 = undefined;
    var bytes: [length]u8 = @splat(0);
    bytes[0..size].* = codes[0..size].*;
    const nibbles = integer.split(bytes);
    weights[0..16].* = @as([length]u8, integer.lookup(&entries, nibbles.low))[0..16].*;
    weights[16..32].* = @as([length]u8, integer.lookup(&entries, nibbles.high))[0..16].*;
    return @bitCast(weights);
}

inline fn arranged(comptime order: Order, weights: [block_columns]i8) [block_columns]i8 {
    switch (order) {
        .permuted_once => return weights,
        .comptime_mask => {
            const mask = comptime blk: {
                var mask: [block_columns]i32 = undefined;
                for (&mask, 0..) |*from, i| from.* = i % 2 * 16 + i / 2;
                break :blk mask;
            };
            return @shuffle(i8, @as(@Vector(block_columns, i8), weights), undefined, mask);
        },
        .runtime_places => {
            var found: [block_columns]i8 = undefined;
            for (&found, places) |*to, place| to.* = weights[place];
            return found;
        },
    }
}

pub const Technique = struct {
    options: int8.Options = .{},
    batch: u64 = 1,
    is_streaming: bool = false,
    in_small_pages: bool = false,
};

/// The products themselves, in tiles of 16 rows.
pub fn tiled(comptime arithmetic: abi.Arithmetic, comptime technique: Technique) Run {
    return struct {
        fn run(data: *const Data) void {
            multiplyRange(arithmetic, technique, data, 0, data.rows / dots.tile_rows);
        }
    }.run;
}

/// Tiles `begin` … `end` - 1.
pub fn multiplyRange(
    comptime arithmetic: abi.Arithmetic,
    comptime technique: Technique,
    data: *const Data,
    begin: usize,
    end: usize,
) void {
    const tile_bytes = dots.Layout(dot).tileBytes(data.blocks());
    const tiles = if (technique.in_small_pages) data.tiles_in_small_pages else data.tiles;
    product_file.multiplyTiles(dot, arithmetic, technique.options, &.{
        .tiles = @alignCast(tiles.ptr + begin * tile_bytes),
        .tile_bytes = tile_bytes,
        .tile_first = begin,
        .tile_count = end - begin,
        .rows = data.rows,
        .x = &data.activations,
        .batch = technique.batch,
        .bias = null,
        .y = data.y.ptr,
        .y_stride = data.rows,
        .activation = .none,
        .pairing = .none,
        .is_streaming = technique.is_streaming,
    });
}

pub fn readTiles(data: *const Data) void {
    stream.read(data.tiles.ptr, data.tiles.len / 4096 * 4096);
}

/// In four runs side by side.
pub fn readTilesInterleaved(data: *const Data) void {
    stream.readInterleaved(data.tiles.ptr, data.tiles.len / 4096 * 4096);
}
