//! ggml IQ1_S: 256 columns in 50 bytes.
//!
//!     d f16 | low bits of numbers 32 bytes | for each 32 columns a word u16
//!
//! For each 8 columns a number of eleven bits names an entry of eight values -1, 0, 1; bits 3t … 3t
//! + 2 of the word are the high ones of its number t. Bits 12–14 of the word are the scale, bit 15
//! the sign of the shift. d · (2 · scale + 1) · (entry ± 1/8)
const std = @import("std");
const grids = @import("iq_grids.zig").grids;
const ggml = @import("ggml.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 50;
    pub const scales_are_f16 = true;
    const words_at = 34;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 15 * 1.125, block);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const word = std.mem.readInt(u16, block[words_at + i / 32 * 2 ..][0..2], .little);
        const high = word >> @intCast(i % 32 / 8 * 3) & 7;
        const scale: f32 = @floatFromInt(word >> 12 & 7);
        const shift: f32 = if (word & 0x8000 == 0) 0.125 else -0.125;
        const entry: f32 = @floatFromInt(grids.iq1[block[2 + i / 8] | high << 8][i % 8]);
        return ggml.product(ggml.product(ggml.half(block), 2 * scale + 1), entry + shift);
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.scaleOf(block);
        for (0..8) |g| {
            const word = std.mem.readInt(u16, block[words_at + 2 * g ..][0..2], .little);
            const scale = d * @as(f32, @floatFromInt(2 * (word >> 12 & 7) + 1));
            const shift = ggml.splat(16, if (word & 0x8000 == 0) 0.125 else -0.125);
            inline for (0..2) |pair| {
                const low = block + 2 + 4 * g + 2 * pair;
                const a = low[0] | (word << (8 - 6 * pair) & 0x700);
                const b = low[1] | ((if (pair == 0) word << 5 else word >> 1) & 0x700);
                const entries = ggml.joined(i8, &grids.iq1[a], &grids.iq1[b]);
                out.put(32 * g + 16 * pair, (ggml.floats(entries) + shift) * ggml.splat(16, scale));
            }
        }
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
