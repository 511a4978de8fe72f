//! ggml IQ2_XS: 256 columns in 74 bytes.
//!
//!     d f16 | for each 8 columns a word u16 | scales 8 bytes: a nibble for each 16 columns
//!
//! The low nine bits of a word number an entry of eight magnitudes, the high seven its signs.
//! d · (0.5 + scale) / 4 · ±entry
const std = @import("std");
const grids = @import("iq_grids.zig").grids;
const ggml = @import("ggml.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 74;
    pub const scales_are_f16 = true;
    const scales_at = 66;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 15.5 / 4.0 * 43.0, block);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const word = std.mem.readInt(u16, block[2 + i / 8 * 2 ..][0..2], .little);
        const scale: f32 = @floatFromInt(ggml.nibble(block + scales_at, i / 16));
        const magnitude: f32 = @floatFromInt(grids.iq2_xs[word & 511][i % 8]);
        const db = ggml.product(ggml.half(block), (0.5 + scale) * 0.25);
        return ggml.signed(ggml.product(db, magnitude), grids.signs[word >> 9] >> @intCast(i % 8));
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const scales = ggml.nibbleScales(block + scales_at, ggml.scaleOf(block) * 0.25);
        for (0..16) |group| {
            const a = std.mem.readInt(u16, block[2 + 4 * group ..][0..2], .little);
            const b = std.mem.readInt(u16, block[4 + 4 * group ..][0..2], .little);
            const signs = grids.signs[a >> 9] | @as(u16, grids.signs[b >> 9]) << 8;
            const entries = ggml.joined(u8, &grids.iq2_xs[a & 511], &grids.iq2_xs[b & 511]);
            out.put(16 * group, ggml.turned(ggml.scaled(entries, scales[group]), signs));
        }
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
