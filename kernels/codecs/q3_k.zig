//! ggml Q3_K: 256 columns in 110 bytes; each 16 columns have a scale of 6 bits around 32.
//!
//!     high bits 32 bytes | low bits 64 bytes | scales 12 bytes | d f16
//!
//! Half h of the columns is in bytes 32h … 32h + 31 of the low bits: bits 2s and 2s + 1 of them are
//! its columns 32s … 32s + 31, whose high bits are bit 4h + s of the 32 bytes. Scale j: four bits
//! in nibble j / 8 of byte j % 8, two in bits 2(j / 4) of byte 8 + j % 4. (d · (scale - 32)) ·
//! (code - 4)
const ggml = @import("ggml.zig");
const std = @import("std");
const vector = @import("../core/vector.zig");

const low_at = 32;
const scales_at = 96;
const d_at = 108;

fn codeAt(block: [*]const u8, i: usize) u8 {
    const h = i / 128;
    const s = i % 128 / 32;
    const low = block[low_at + 32 * h + i % 32] >> @intCast(2 * s) & 3;
    return low | (block[i % 32] >> @intCast(4 * h + s) & 1) << 2;
}

/// Scale `j` less 32.
fn scaleAt(block: [*]const u8, j: usize) i8 {
    const bytes = block + scales_at;
    const low = bytes[j % 8] >> @intCast(4 * (j / 8)) & 15;
    const high = bytes[8 + j % 4] >> @intCast(2 * (j / 4)) & 3;
    return @as(i8, @intCast(low | high << 4)) - 32;
}
const dots = @import("../matvec/dot.zig");
const Tile = @import("../table.zig").Tile;

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 110;
    pub const scales_are_f16 = true;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 128, block + d_at);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const code: f32 = @floatFromInt(codeAt(block, i));
        const d = ggml.product(ggml.half(block + d_at), @floatFromInt(scaleAt(block, i / 16)));
        return ggml.product(d, code - 4);
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.scaleOf(block + d_at);
        const scales: [16]f32 = ggml.scaled(scalesOf(block + scales_at), d);
        const high = vector.load(@Vector(32, u8), block);
        inline for (0..2) |half| {
            const low = vector.load(@Vector(32, u8), block + low_at + 32 * half);
            inline for (0..4) |s| {
                const bit = high >> @splat(4 * half + s) & @as(@Vector(32, u8), @splat(1));
                const codes: [32]i8 = ggml.centered(ggml.pairs(low, 2 * s) | bit << @splat(2), 4);
                inline for (0..2) |part| {
                    const group = 8 * half + 2 * s + part;
                    const sixteen: @Vector(16, i8) = codes[16 * part ..][0..16].*;
                    out.put(16 * group, ggml.scaled(sixteen, scales[group]));
                }
            }
        }
    }

    inline fn scalesOf(bytes: [*]const u8) @Vector(16, i8) {
        const low = vector.load(@Vector(8, u8), bytes);
        const word = std.mem.readInt(u32, bytes[8..12], .little);
        const shifts: @Vector(4, u5) = .{ 0, 2, 4, 6 };
        const high: @Vector(16, u8) = @bitCast(@as(@Vector(4, u32), @splat(word)) >> shifts &
            @as(@Vector(4, u32), @splat(0x0303_0303)));
        const nibbles = std.simd.join(ggml.lowNibbles(low), ggml.highNibbles(low));
        return ggml.centered(nibbles | high << @splat(4), 32);
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;

/// For products: codes become nibbles around 8; the f16 and the integer scales stay what they are.
pub const dot_forms = [_]dots.Form{.{ .coded = .{
    .codes = .{ .four = dots.centered_nibbles },
    .block_columns = 16,
    .scale = .int8,
    .order = dots.neighbour_order,
} }};

pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: *[16]u8) void {
    const block = codec.blockAt(tile, row, column);
    for (codes, 0..) |*byte, j| {
        const i = column % 256 + 2 * j;
        byte.* = codeAt(block, i) + 4 | codeAt(block, i + 1) + 4 << 4;
    }
}

pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32 {
    return @as(u8, @bitCast(scaleAt(codec.blockAt(tile, row, column), column % 256 / 16)));
}

pub fn segmentFactors(tile: *const Tile, row: u64, column: u64) u32 {
    return ggml.halfBits(codec.blockAt(tile, row, column)[d_at..]);
}
