//! The scales of ggml's Q4_K and Q5_K: a block of 256 columns starts with d f16, dmin f16, and
//! twelve bytes with a scale and a minimum of 6 bits for each 32 columns. Of the first four groups
//! these are the low bits of bytes 0–3 and 4–7; of the other four, the nibbles of bytes 8–11 (scale
//! low, minimum high) below the two high bits of bytes 0–3 and 4–7.
const std = @import("std");
const ggml = @import("ggml.zig");
const Tile = @import("../table.zig").Tile;

const packed_at = 4;

/// The integer scale of group `j`.
pub fn scaleOf(block: [*]const u8, j: usize) u8 {
    const bytes = block + packed_at;
    return if (j < 4) bytes[j] & 63 else bytes[j + 4] & 15 | bytes[j - 4] >> 6 << 4;
}

/// Its integer minimum.
pub fn minimumOf(block: [*]const u8, j: usize) u8 {
    const bytes = block + packed_at;
    return if (j < 4) bytes[j + 4] & 63 else bytes[j + 4] >> 4 | bytes[j] >> 6 << 4;
}

/// (d · scale) · code - dmin · minimum of group `j`, scalar.
pub fn value(block: [*]const u8, j: usize, code: f32) f32 {
    const low = ggml.product(ggml.half(block + 2), @floatFromInt(minimumOf(block, j)));
    const scale = ggml.product(ggml.half(block), @floatFromInt(scaleOf(block, j)));
    return ggml.multiplyAdd(scale, code, -low);
}

/// The same for all eight groups of an ordinary block.
pub const Groups = struct {
    scales: [8]f32,
    minima: [8]f32,

    pub inline fn init(block: [*]const u8) Groups {
        const bytes = block + packed_at;
        const a = std.mem.readInt(u32, bytes[0..4], .little);
        const b = std.mem.readInt(u32, bytes[4..8], .little);
        const c = std.mem.readInt(u32, bytes[8..12], .little);
        const six_bits = 0x3f3f_3f3f;
        const low = 0x0f0f_0f0f;
        const high = 0x3030_3030;
        const scales: [2]u32 = .{ a & six_bits, (c & low) | (a >> 2 & high) };
        const minima: [2]u32 = .{ b & six_bits, (c >> 4 & low) | (b >> 2 & high) };
        return .{
            .scales = ggml.scaled(@as(@Vector(8, u8), @bitCast(scales)), ggml.scaleOf(block)),
            .minima = ggml.scaled(@as(@Vector(8, u8), @bitCast(minima)), ggml.scaleOf(block + 2)),
        };
    }

    pub inline fn apply(groups: *const Groups, j: usize, codes: @Vector(32, u8)) @Vector(32, f32) {
        return ggml.scaled(codes, groups.scales[j]) - ggml.splat(32, groups.minima[j]);
    }
};

/// For products: all integers and both f16 stay what they are.
pub fn Dots(comptime codec: type) type {
    return struct {
        pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32 {
            return scaleOf(codec.blockAt(tile, row, column), column % 256 / 32);
        }

        pub fn blockMinimum(tile: *const Tile, row: u64, column: u64) u32 {
            return minimumOf(codec.blockAt(tile, row, column), column % 256 / 32);
        }

        /// d and dmin, as they stand.
        pub fn segmentFactors(tile: *const Tile, row: u64, column: u64) u32 {
            return std.mem.readInt(u32, codec.blockAt(tile, row, column)[0..4], .little);
        }
    };
}
