//! ggml IQ3_XXS: 256 columns in 98 bytes.
//!
//!     d f16 | numbers of grid entries 64 bytes | for each 32 columns a word u32
//!
//! Each entry is four magnitudes. Bits 7t … 7t + 6 of a word number the signs of its columns 8t …
//! 8t + 7; its four highest bits are the scale.      d · (0.5 + scale) / 2 · ±entry
const std = @import("std");
const grids = @import("iq_grids.zig").grids;
const ggml = @import("ggml.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 98;
    pub const scales_are_f16 = true;
    const words_at = 66;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 15.5 / 2.0 * 62.0, block);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const word = std.mem.readInt(u32, block[words_at + i / 32 * 4 ..][0..4], .little);
        const scale: f32 = @floatFromInt(word >> 28);
        const magnitude: f32 = @floatFromInt(grids.iq3_xxs[block[2 + i / 4]][i % 4]);
        const signs = grids.signs[word >> @intCast(i % 32 / 8 * 7) & 127];
        const db = ggml.product(ggml.half(block), (0.5 + scale) * 0.5);
        return ggml.signed(ggml.product(db, magnitude), signs >> @intCast(i % 8));
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.scaleOf(block) * 0.5;
        for (0..8) |g| {
            const word = std.mem.readInt(u32, block[words_at + 4 * g ..][0..4], .little);
            const db = d * (0.5 + @as(f32, @floatFromInt(word >> 28)));
            inline for (0..2) |pair| {
                const signs = grids.signs[word >> 14 * pair & 127] |
                    @as(u16, grids.signs[word >> (14 * pair + 7) & 127]) << 8;
                const numbers = block + 2 + 8 * g + 4 * pair;
                const entries = ggml.gathered(&grids.iq3_xxs, numbers[0..4].*);
                out.put(32 * g + 16 * pair, ggml.turned(ggml.scaled(entries, db), signs));
            }
        }
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
