//! ggml Q6_K: 256 columns in 210 bytes; each 16 columns have a signed scale of 8 bits.
//!
//!     low bits 128 bytes | high bits 64 bytes | scales 16 signed bytes | d f16
//!
//! Half h of the columns is in low bytes 64h … 64h + 63 and high bytes 32h … 32h + 31. Its columns
//! 32t + l have the low nibbles of low byte 32(t % 2) + l where t < 2, else the high ones, and bits
//! 2t and 2t + 1 of high byte l. (d · scale) · (code - 32)
const ggml = @import("ggml.zig");
const vector = @import("../core/vector.zig");
const dots = @import("../matvec/dot.zig");
const Tile = @import("../table.zig").Tile;

const high_at = 128;
const scales_at = 192;
const d_at = 208;

/// The code of element `i` less 32.
fn integerAt(block: [*]const u8, i: usize) i8 {
    const h = i / 128;
    const t = i % 128 / 32;
    const byte = block[64 * h + i % 64];
    const low = if (t < 2) byte & 15 else byte >> 4;
    const high = block[high_at + 32 * h + i % 32] >> @intCast(2 * t) & 3;
    return @as(i8, @intCast(low | high << 4)) - 32;
}

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 210;
    pub const scales_are_f16 = true;
    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 128 * 32, block + d_at);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const scale: i8 = @bitCast(block[scales_at + i / 16]);
        const d = ggml.product(ggml.half(block + d_at), @floatFromInt(scale));
        return ggml.product(d, @floatFromInt(integerAt(block, i)));
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const scales: [16]f32 = ggml.scaled(
            vector.load(@Vector(16, i8), block + scales_at),
            ggml.scaleOf(block + d_at),
        );
        for (0..2) |half| {
            const high = vector.load(@Vector(32, u8), block + high_at + 32 * half);
            inline for (0..4) |t| {
                const bytes = vector.load(@Vector(32, u8), block + 64 * half + t % 2 * 32);
                const low = if (t < 2) ggml.lowNibbles(bytes) else ggml.highNibbles(bytes);
                const codes: [32]i8 = ggml.centered(low | ggml.pairs(high, 2 * t) << @splat(4), 32);
                inline for (0..2) |part| {
                    const group = 8 * half + 2 * t + part;
                    const sixteen: @Vector(16, i8) = codes[16 * part ..][0..16].*;
                    out.put(16 * group, ggml.scaled(sixteen, scales[group]));
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

/// For products: codes become bytes; the f16 and the integer scales stay what they are.
pub const dot_forms = [_]dots.Form{.{ .coded = .{
    .codes = .eight,
    .block_columns = 16,
    .scale = .int8,
    .order = dots.column_order,
} }};

pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: *[32]u8) void {
    const block = codec.blockAt(tile, row, column);
    for (codes, column % 256..) |*code, i| code.* = @bitCast(integerAt(block, i));
}

pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32 {
    return codec.blockAt(tile, row, column)[scales_at + column % 256 / 16];
}

pub fn segmentFactors(tile: *const Tile, row: u64, column: u64) u32 {
    return ggml.halfBits(codec.blockAt(tile, row, column)[d_at..]);
}
