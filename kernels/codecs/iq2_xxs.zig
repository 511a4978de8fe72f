//! ggml IQ2_XXS: 256 columns in 66 bytes.
//!
//!     d f16 | for each 32 columns: four numbers of grid entries 4 bytes, word u32
//!
//! Each entry is eight magnitudes. Bits 7t … 7t + 6 of the word number the signs of entry t; its
//! four highest bits are the scale.      d · (0.5 + scale) / 4 · ±entry
const std = @import("std");
const grids = @import("iq_grids.zig").grids;
const ggml = @import("ggml.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 66;
    pub const scales_are_f16 = true;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 15.5 / 4.0 * 43.0, block);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const group = block + 2 + i / 32 * 8;
        const word = std.mem.readInt(u32, group[4..8], .little);
        const t = i % 32 / 8;
        const scale: f32 = @floatFromInt(word >> 28);
        const magnitude: f32 = @floatFromInt(grids.iq2_xxs[group[t]][i % 8]);
        const signs = grids.signs[word >> @intCast(7 * t) & 127];
        const db = ggml.product(ggml.half(block), (0.5 + scale) * 0.25);
        return ggml.signed(ggml.product(db, magnitude), signs >> @intCast(i % 8));
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.scaleOf(block) * 0.25;
        for (0..8) |g| {
            const group = block + 2 + 8 * g;
            const word = std.mem.readInt(u32, group[4..8], .little);
            const db = d * (0.5 + @as(f32, @floatFromInt(word >> 28)));
            inline for (0..2) |pair| {
                const signs = grids.signs[word >> 14 * pair & 127] |
                    @as(u16, grids.signs[word >> (14 * pair + 7) & 127]) << 8;
                const numbers = group + 2 * pair;
                const grid = &grids.iq2_xxs;
                const entries = ggml.joined(u8, &grid[numbers[0]], &grid[numbers[1]]);
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
