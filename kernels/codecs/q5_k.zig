//! ggml Q5_K: 256 columns in 176 bytes; each 32 columns have a scale and a minimum of 6 bits
//! (k_scales.zig).
//!
//!     d f16 | dmin f16 | scales and minima 12 bytes | fifth bits 32 bytes | low bits 128 bytes
//!
//! The low bits are as in Q4_K.
//!
//! Bit j of the fifth bits' byte l is of column 32j + l.      (d · scale) · code - dmin · minimum
const ggml = @import("ggml.zig");
const vector = @import("../core/vector.zig");
const k_scales = @import("k_scales.zig");

const fifth_at = 16;
const low_at = 48;

fn codeAt(block: [*]const u8, i: usize) u8 {
    const byte = block[low_at + i / 64 * 32 + i % 32];
    const low = if (i % 64 < 32) byte & 15 else byte >> 4;
    return low | (block[fifth_at + i % 32] >> @intCast(i / 32) & 1) << 4;
}
const dots = @import("../matvec/dot.zig");
const Tile = @import("../table.zig").Tile;

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 176;
    pub const scales_are_f16 = true;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 2 * 63 * 31, block) and
            ggml.isModerate(target, 2 * 63, block + 2);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        return k_scales.value(block, i / 32, @floatFromInt(codeAt(block, i)));
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const groups: k_scales.Groups = .init(block);
        const fifth = vector.load(@Vector(32, u8), block + fifth_at);
        inline for (0..4) |pair| {
            const bytes = vector.load(@Vector(32, u8), block + low_at + 32 * pair);
            const low = ggml.lowNibbles(bytes) | bit(fifth, 2 * pair) << @splat(4);
            const high = ggml.highNibbles(bytes) | bit(fifth, 2 * pair + 1) << @splat(4);
            out.put(64 * pair, groups.apply(2 * pair, low));
            out.put(64 * pair + 32, groups.apply(2 * pair + 1, high));
        }
    }

    inline fn bit(bytes: @Vector(32, u8), comptime position: u3) @Vector(32, u8) {
        return bytes >> @splat(position) & @as(@Vector(32, u8), @splat(1));
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;

/// For products: codes become bytes; both f16 and all integers stay what they are.
pub const dot_forms = [_]dots.Form{.{ .coded = .{
    .codes = .eight,
    .block_columns = 32,
    .scale = .uint8,
    .has_minimum = true,
    .order = dots.column_order,
} }};

pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: *[32]u8) void {
    const block = codec.blockAt(tile, row, column);
    for (codes, column % 256..) |*code, i| code.* = codeAt(block, i);
}

const products = k_scales.Dots(codec);
pub const blockScale = products.blockScale;
pub const blockMinimum = products.blockMinimum;
pub const segmentFactors = products.segmentFactors;
