//! The matrix that zig build bench-matvec multiplies.
const std = @import("std");
const abi = @import("../abi.zig");
const mxfp4 = @import("../codecs/mxfp4.zig");
const dots = @import("../matvec/dot.zig");
const product_file = @import("../matvec/product.zig");
const quantize = @import("../matvec/quantize.zig");
const table = @import("../table.zig");
const ways = @import("matvec_ways.zig");
const Data = ways.Data;

/// A matrix of random codes, in every form that a way to multiply it wants.
pub fn make(gpa: std.mem.Allocator, rows: usize, columns: usize) !Data {
    var prng: std.Random.DefaultPrng = .init(1);
    const random = prng.random();
    const blocks = columns / ways.block_columns;
    const codes = try gpa.alloc(u8, rows * columns / 2);
    random.bytes(codes);
    const scales = try gpa.alloc(u8, rows * blocks);
    for (scales) |*scale| scale.* = random.intRangeAtMost(u8, 115, 125);
    const tile_bytes = dots.Layout(ways.dot).tileBytes(blocks);
    const tiles_bytes = tile_bytes * rows / dots.tile_rows;
    const tiles = try allocatePages(gpa, tiles_bytes, std.posix.MADV.HUGEPAGE);
    const in_small_pages = try allocatePages(gpa, tiles_bytes, std.posix.MADV.NOHUGEPAGE);
    const weights = try gpa.alignedAlloc(f32, .@"64", rows * columns);
    const source: table.Tile = std.mem.zeroInit(table.Tile, .{
        .sources = @as([abi.source_count_max][*]const u8, .{ codes.ptr, scales.ptr } ++
            .{codes.ptr} ** (abi.source_count_max - 2)),
        .strides = @as([abi.source_count_max]u64, .{ columns / 2, blocks } ++
            .{0} ** (abi.source_count_max - 2)),
        .rows_per_line = @as([abi.source_count_max]u32, @splat(1)),
        .row_count = rows,
        .columns = columns,
        .column_count = columns,
        .target = @as([*]u8, @ptrCast(weights.ptr)),
        .target_stride = columns,
    });
    const pack = product_file.functionsOf(mxfp4)[0].pack.?;
    for (0..rows / dots.tile_rows) |tile| {
        const place: [*]align(64) u8 = @alignCast(tiles.ptr + tile * tile_bytes);
        _ = pack(&source, tile * dots.tile_rows, dots.tile_rows, 0, place);
    }
    @memcpy(in_small_pages, tiles);
    const x = try gpa.alignedAlloc(f32, .@"64", columns);
    for (x) |*value| value.* = random.floatNorm(f32);
    const parted = try gpa.alignedAlloc(f32, .@"64", columns);
    for (0..columns) |i| {
        const place = i / 32 * 32 + (i % 2) * 16 + i % 32 / 2;
        parted[place] = x[i];
    }
    const batch = ways.batch_max;
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
        _ = quantize.prepareFloat(ways.dot.order, &activations, column, x.ptr, columns);
        _ = quantize.prepareInt8(ways.dot, &activations, column, x.ptr, columns);
    }
    return .{
        .rows = rows,
        .columns = columns,
        .stored = source,
        .codes = codes,
        .scales = scales,
        .tiles = tiles,
        .tiles_in_small_pages = in_small_pages,
        .x = x,
        .x_parted = parted,
        .dense = weights,
        .y = try gpa.alloc(f32, rows * batch),
        .activations = activations,
    };
}

/// Pages of a matrix, about which the system gets one piece of advice.
fn allocatePages(gpa: std.mem.Allocator, size: usize, advice: u32) ![]align(4096) u8 {
    const pages = try gpa.alignedAlloc(u8, .fromByteUnits(2 << 20), size);
    try std.posix.madvise(pages.ptr, pages.len, advice);
    return pages;
}
