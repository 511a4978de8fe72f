//! ggml Q2_K: 256 columns in 84 bytes; each 16 columns have a scale and a minimum of 4 bits.
//!
//!     scales 16 bytes: low nibble scale, high nibble minimum | codes 64 bytes | d f16 | dmin f16
//!
//! Half h of the columns is in bytes 32h … 32h + 31 of the codes: bits 2s and 2s + 1 of them are
//! its columns 32s … 32s + 31.      (d · scale) · code - dmin · minimum
const ggml = @import("ggml.zig");
const vector = @import("../core/vector.zig");

const codes_at = 16;
const d_at = 80;
const dmin_at = 82;

fn codeAt(block: [*]const u8, i: usize) u8 {
    return block[codes_at + i / 128 * 32 + i % 32] >> @intCast(i % 128 / 32 * 2) & 3;
}
const std = @import("std");
const dots = @import("../matvec/dot.zig");
const Tile = @import("../table.zig").Tile;

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 84;
    pub const scales_are_f16 = true;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 90, block + d_at) and
            ggml.isModerate(target, 30, block + dmin_at);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const code: f32 = @floatFromInt(codeAt(block, i));
        const scale: f32 = @floatFromInt(block[i / 16] & 15);
        const minimum: f32 = @floatFromInt(block[i / 16] >> 4);
        const low = ggml.product(ggml.half(block + dmin_at), minimum);
        return ggml.multiplyAdd(ggml.product(ggml.half(block + d_at), scale), code, -low);
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const both = vector.load(@Vector(16, u8), block);
        const scales: [16]f32 = ggml.scaled(ggml.lowNibbles(both), ggml.scaleOf(block + d_at));
        const minima: [16]f32 = ggml.scaled(ggml.highNibbles(both), ggml.scaleOf(block + dmin_at));
        for (0..2) |half| {
            const bytes = vector.load(@Vector(32, u8), block + codes_at + 32 * half);
            inline for (0..4) |s| {
                const codes: [32]u8 = ggml.pairs(bytes, 2 * s);
                inline for (0..2) |part| {
                    const group = 8 * half + 2 * s + part;
                    const sixteen: @Vector(16, u8) = codes[16 * part ..][0..16].*;
                    const minimum = ggml.splat(16, minima[group]);
                    out.put(16 * group, ggml.scaled(sixteen, scales[group]) - minimum);
                }
            }
        }
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;

/// For products: codes become nibbles; both f16 and all integers stay what they are.
pub const dot_forms = [_]dots.Form{.{ .coded = .{
    .codes = .{ .four = std.simd.iota(i8, 16) },
    .block_columns = 16,
    .scale = .uint8,
    .has_minimum = true,
    .order = dots.neighbour_order,
} }};

pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: *[16]u8) void {
    const block = codec.blockAt(tile, row, column);
    for (codes, 0..) |*byte, j| {
        const i = column % 256 + 2 * j;
        byte.* = codeAt(block, i) | codeAt(block, i + 1) << 4;
    }
}

pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32 {
    return codec.blockAt(tile, row, column)[column % 256 / 16] & 15;
}

pub fn blockMinimum(tile: *const Tile, row: u64, column: u64) u32 {
    return codec.blockAt(tile, row, column)[column % 256 / 16] >> 4;
}

/// d and dmin, as they stand.
pub fn segmentFactors(tile: *const Tile, row: u64, column: u64) u32 {
    return std.mem.readInt(u32, codec.blockAt(tile, row, column)[d_at..][0..4], .little);
}
