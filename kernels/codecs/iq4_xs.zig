//! ggml IQ4_XS: 256 columns in 136 bytes; the values of IQ4_NL, and a scale of 6 bits for each 32
//! columns.
//!
//!     d f16 | high bits of scales u16 | low bits of scales 4 bytes | codes 128 bytes
//!
//! Scale g: nibble g of the 4 bytes, and bits 2g and 2g + 1 of the u16 above it. Columns 32g … 32g
//! + 31 have bytes 16g … 16g + 15 of the codes: first the low nibbles, then the high ones. (d ·
//! (scale - 32)) · value(code)
const std = @import("std");
const vector = @import("../core/vector.zig");
const values = @import("iq4_nl.zig").values;
const ggml = @import("ggml.zig");

const codes_at = 8;

/// The scale of group `g` less 32.
fn scaleAt(block: [*]const u8, g: usize) i8 {
    const low = block[4 + g / 2] >> @intCast(g % 2 * 4) & 15;
    const high = block[2 + g / 4] >> @intCast(g % 4 * 2) & 3;
    return @as(i8, @intCast(low | high << 4)) - 32;
}
const dots = @import("../matvec/dot.zig");
const Tile = @import("../table.zig").Tile;

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 136;
    pub const scales_are_f16 = true;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 32 * 127, block);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const g = i / 32;
        const byte = block[codes_at + 16 * g + i % 16];
        const code = if (i % 32 < 16) byte & 15 else byte >> 4;
        const db = ggml.product(ggml.half(block), @floatFromInt(scaleAt(block, g)));
        return ggml.product(db, @floatFromInt(values[code]));
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const scales: [8]f32 = ggml.scaled(scalesOf(block), ggml.scaleOf(block));
        inline for (0..8) |g| {
            const codes = vector.load(@Vector(16, u8), block + codes_at + 16 * g);
            const low = ggml.lookup(&values, ggml.lowNibbles(codes));
            const high = ggml.lookup(&values, ggml.highNibbles(codes));
            out.put(32 * g, ggml.scaled(low, scales[g]));
            out.put(32 * g + 16, ggml.scaled(high, scales[g]));
        }
    }

    inline fn scalesOf(block: [*]const u8) @Vector(8, i32) {
        const Words = @Vector(8, u32);
        const low: Words = @splat(std.mem.readInt(u32, block[4..8], .little));
        const high: Words = @splat(std.mem.readInt(u16, block[2..4], .little));
        const fours: @Vector(8, u5) = .{ 0, 4, 8, 12, 16, 20, 24, 28 };
        const twos: @Vector(8, u5) = .{ 0, 2, 4, 6, 8, 10, 12, 14 };
        const four = low >> fours & @as(Words, @splat(15));
        const two = high >> twos & @as(Words, @splat(3));
        const six: @Vector(8, i32) = @bitCast(four | two << @splat(4));
        return six - @as(@Vector(8, i32), @splat(32));
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;

/// For products: the bytes of the codes, and d, are a tile's as they are.
pub const dot_forms = [_]dots.Form{.{ .coded = .{
    .codes = .{ .four = values },
    .block_columns = 32,
    .scale = .int8,
    .order = dots.halves_order,
} }};

pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: *[16]u8) void {
    codes.* = codec.blockAt(tile, row, column)[codes_at + column % 256 / 2 ..][0..16].*;
}

pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32 {
    return @as(u8, @bitCast(scaleAt(codec.blockAt(tile, row, column), column % 256 / 32)));
}

pub fn segmentFactors(tile: *const Tile, row: u64, column: u64) u32 {
    return ggml.halfBits(codec.blockAt(tile, row, column));
}
