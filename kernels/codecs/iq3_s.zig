//! ggml IQ3_S: 256 columns in 110 bytes.
//!
//!     d f16 | low bits of numbers 64 bytes | high bits 8 bytes | signs 32 bytes | scales 4 bytes
//!
//! For each 4 columns a number of nine bits names an entry of four magnitudes. Scales are nibbles,
//! one for each 32 columns.      d · (1 + 2 · scale) · ±entry
const std = @import("std");
const grids = @import("iq_grids.zig").grids;
const ggml = @import("ggml.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 110;
    pub const scales_are_f16 = true;
    const high_at = 66;
    const signs_at = 74;
    const scales_at = 106;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 31 * 15, block);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const t = i / 4;
        const high: u16 = block[high_at + t / 8] >> @intCast(t % 8) & 1;
        const scale: f32 = @floatFromInt(ggml.nibble(block + scales_at, i / 32));
        const magnitude: f32 = @floatFromInt(grids.iq3_s[block[2 + t] | high << 8][i % 4]);
        const db = ggml.product(ggml.half(block), 1 + 2 * scale);
        return ggml.signed(ggml.product(db, magnitude), block[signs_at + i / 8] >> @intCast(i % 8));
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.scaleOf(block);
        for (0..8) |g| {
            const nibble: f32 = @floatFromInt(ggml.nibble(block + scales_at, g));
            const db = d * (1 + 2 * nibble);
            const high: u16 = block[high_at + g];
            inline for (0..2) |part| {
                const low = block + 2 + 8 * g + 4 * part;
                const signs_of = block + signs_at + 4 * g + 2 * part;
                const signs = std.mem.readInt(u16, signs_of[0..2], .little);
                const entries = ggml.gathered(&grids.iq3_s, [4]u16{
                    low[0] | (high << (8 - 4 * part) & 0x100),
                    low[1] | (high << (7 - 4 * part) & 0x100),
                    low[2] | (high << (6 - 4 * part) & 0x100),
                    low[3] | (high << (5 - 4 * part) & 0x100),
                });
                out.put(32 * g + 16 * part, ggml.turned(ggml.scaled(entries, db), signs));
            }
        }
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
