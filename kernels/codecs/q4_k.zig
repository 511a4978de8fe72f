//! ggml Q4_K: 256 columns in 144 bytes; each 32 columns have a scale and a minimum of 6 bits
//! (k_scales.zig).
//!
//!     d f16 | dmin f16 | scales and minima 12 bytes | codes 128 bytes
//!
//! Bytes 32p … 32p + 31 of the codes: low nibbles are columns 64p … 64p + 31, high ones the 32
//! after them. (d · scale) · code - dmin · minimum
const std = @import("std");
const ggml = @import("ggml.zig");
const vector = @import("../core/vector.zig");
const k_scales = @import("k_scales.zig");
const dots = @import("../matvec/dot.zig");
const Tile = @import("../table.zig").Tile;

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 144;
    pub const scales_are_f16 = true;
    const codes_at = 16;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 2 * 63 * 15, block) and
            ggml.isModerate(target, 2 * 63, block + 2);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const byte = block[codes_at + i / 64 * 32 + i % 32];
        const code: f32 = @floatFromInt(if (i % 64 < 32) byte & 15 else byte >> 4);
        return k_scales.value(block, i / 32, code);
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const groups: k_scales.Groups = .init(block);
        inline for (0..4) |pair| {
            const bytes = vector.load(@Vector(32, u8), block + codes_at + 32 * pair);
            out.put(64 * pair, groups.apply(2 * pair, ggml.lowNibbles(bytes)));
            out.put(64 * pair + 32, groups.apply(2 * pair + 1, ggml.highNibbles(bytes)));
        }
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;

/// For products: both f16 and all integers stay what they are.
pub const dot_forms = [_]dots.Form{.{ .coded = .{
    .codes = .{ .four = std.simd.iota(i8, 16) },
    .block_columns = 32,
    .scale = .uint8,
    .has_minimum = true,
    .order = dots.halves_order,
} }};

pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: *[16]u8) void {
    const block = codec.blockAt(tile, row, column);
    const bytes: @Vector(32, u8) = block[16 + column % 256 / 64 * 32 ..][0..32].*;
    const nibbles: [32]u8 = if (column % 64 < 32) ggml.lowNibbles(bytes) else ggml.highNibbles(bytes);
    for (codes, nibbles[0..16], nibbles[16..]) |*byte, low, high| byte.* = low | high << 4;
}

const products = k_scales.Dots(codec);
pub const blockScale = products.blockScale;
pub const blockMinimum = products.blockMinimum;
pub const segmentFactors = products.segmentFactors;
