//! ggml IQ2_S: 256 columns in 82 bytes.
//!
//!     d f16 | low bits of numbers 32 bytes | signs 32 bytes | high bits 8 bytes | scales 8 bytes
//!
//! For each 8 columns a number of ten bits names an entry of eight magnitudes: its two high bits
//! are bits 2t and 2t + 1 of a byte for four numbers. Scales are nibbles, one for each 16 columns.
//!     d · (0.5 + scale) / 4 · ±entry
const std = @import("std");
const grids = @import("iq_grids.zig").grids;
const ggml = @import("ggml.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 82;
    pub const scales_are_f16 = true;
    const signs_at = 34;
    const high_at = 66;
    const scales_at = 74;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 15.5 / 4.0 * 43.0, block);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const t = i / 8;
        const high = block[high_at + t / 4] >> @intCast(t % 4 * 2) & 3;
        const entry = &grids.iq2_s[block[2 + t] | @as(u16, high) << 8];
        const scale: f32 = @floatFromInt(ggml.nibble(block + scales_at, i / 16));
        const db = ggml.product(ggml.half(block), (0.5 + scale) * 0.25);
        const signs = block[signs_at + t];
        return ggml.signed(ggml.product(db, @floatFromInt(entry[i % 8])), signs >> @intCast(i % 8));
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const scales = ggml.nibbleScales(block + scales_at, ggml.scaleOf(block) * 0.25);
        for (0..8) |g| {
            const high: u16 = block[high_at + g];
            inline for (0..2) |part| {
                const low = block + 2 + 4 * g + 2 * part;
                const a = low[0] | (high << (8 - 4 * part) & 0x300);
                const b = low[1] | (high << (6 - 4 * part) & 0x300);
                const signs_of = block + signs_at + 4 * g + 2 * part;
                const signs = std.mem.readInt(u16, signs_of[0..2], .little);
                const entries = ggml.joined(u8, &grids.iq2_s[a], &grids.iq2_s[b]);
                const group = 2 * g + part;
                out.put(16 * group, ggml.turned(ggml.scaled(entries, scales[group]), signs));
            }
        }
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
