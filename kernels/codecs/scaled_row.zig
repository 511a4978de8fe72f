//! A stored row of small floats under scales (scaled.zig), as its vector code sees it: the scales
//! of some columns at a time.
const std = @import("std");
const scale_file = @import("scale.zig");
const Dtype = scale_file.Dtype;
const Tile = @import("../table.zig").Tile;

/// What a product is rounded to before it becomes an element of the target.
pub const Rounding = enum(u32) {
    none = 0,
    f16 = 1,
    bf16 = 2,

    /// Of the values; 0: as many as f32 has.
    pub fn significantBits(rounding: Rounding) u32 {
        return switch (rounding) {
            .none => 0,
            .f16 => 11,
            .bf16 => 8,
        };
    }

    pub fn of(tile: *const Tile) Rounding {
        return @enumFromInt(tile.parameters[2]);
    }
};

/// Columns that are decoded at once.
pub const step = 32;
/// Columns that are looked through for special scales and codes, before they are decoded out of the
/// first-level cache.
pub const chunk_columns = 2048;

/// The scales of a chunk, each for some steps in sequence.
pub const Blocks = struct {
    scales: [chunk_columns / step + 1]f32,
    /// Steps of the first one, which may have begun before the chunk, and of each other.
    first_steps: u64,
    steps: u64,
    /// Bits of the largest and the smallest magnitude; NaN is above infinity.
    highest: u32,
    lowest: u32,

    pub inline fn setOne(blocks: *Blocks, scale: f32) void {
        blocks.scales[0] = scale;
        blocks.first_steps = chunk_columns;
        blocks.steps = chunk_columns;
        blocks.highest = magnitudeBits(scale);
        blocks.lowest = blocks.highest;
    }

    pub inline fn read(
        blocks: *Blocks,
        dtype: Dtype,
        stored: [*]const u8,
        first: u64,
        count: u64,
    ) void {
        @setRuntimeSafety(false);
        var highest: u32 = 0;
        var lowest: u32 = std.math.maxInt(u32);
        for (blocks.scales[0..count], first..) |*scale, index| {
            scale.* = dtype.read(stored, index);
            highest = @max(highest, magnitudeBits(scale.*));
            lowest = @min(lowest, magnitudeBits(scale.*));
        }
        blocks.highest = highest;
        blocks.lowest = lowest;
    }

    /// Of step `index` of the chunk.
    pub inline fn scaleOf(blocks: *const Blocks, index: u64) f32 {
        if (index < blocks.first_steps) return blocks.scales[0];
        return blocks.scales[1 + (index - blocks.first_steps) / blocks.steps];
    }

    /// Whether a product has no more bits than its code, and so is a bf16 as it is.
    pub inline fn keepsBits(blocks: *const Blocks, dtype: ?Dtype) bool {
        const is_power_of_two = dtype == .e8m0 or dtype == .e8m0fnu;
        return is_power_of_two and blocks.lowest >= @as(u32, @bitCast(@as(f32, 0x1p-100)));
    }

    inline fn magnitudeBits(scale: f32) u32 {
        return @as(u32, @bitCast(scale)) & 0x7fff_ffff;
    }
};

/// The part of a stored row that a tile takes.
pub const Row = struct {
    /// Those of its first column.
    codes: [*]const u8,
    /// Distance of the bytes to ask for.
    ahead: usize,
    dtype: ?Dtype,
    /// Those of column 0 of the matrix.
    scales: [*]const u8,
    width: u64,
    rounding: Rounding,
    /// First column in the matrix.
    begin: u64,
    count: u64,

    /// The scales of the columns first … first + count - 1.
    pub inline fn readBlocks(row: *const Row, blocks: *Blocks, first: u64, count: u64) void {
        const dtype = row.dtype orelse return blocks.setOne(1);
        if (row.width == 0) return blocks.setOne(dtype.read(row.scales, 0));
        const begin = row.begin + first;
        const block = begin / row.width;
        const block_count = (begin + count - 1) / row.width + 1 - block;
        blocks.steps = row.width / step;
        blocks.first_steps = ((block + 1) * row.width - begin) / step;
        switch (dtype) {
            inline else => |d| blocks.read(d, row.scales, block, block_count),
        }
    }

    /// The scales of the columns first … first + count - 1, then zeros.
    pub inline fn readColumns(row: *const Row, scales: *[step]f32, first: u64, count: u64) void {
        const dtype = row.dtype.?;
        const begin = row.begin + first;
        if (row.width == 1 and count == step) {
            scales.* = switch (dtype) {
                inline else => |d| d.readVector(step, row.scales, begin),
            };
            return;
        }
        scales.* = @splat(0);
        var done: u64 = 0;
        while (done < count) {
            const block = (begin + done) / row.width;
            const end = @min(count, (block + 1) * row.width - begin);
            @memset(scales[done..end], dtype.read(row.scales, block));
            done = end;
        }
    }
};
