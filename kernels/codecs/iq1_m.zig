//! ggml IQ1_M: 256 columns in 56 bytes.
//!
//!     low bits of numbers 32 bytes | high bits 16 bytes | scales 8 bytes
//!
//! For each 8 columns a number of eleven bits names an entry of eight values -1, 0, 1 (the grid of
//! IQ1_S). A nibble of the high bits has three of them, and the sign of the shift. The scales are
//! four u16: their high nibbles, the lowest first, are d as f16, and each has four scales of three
//! bits, one for 16 columns. d · (2 · scale + 1) · (entry ± 1/8)
const std = @import("std");
const grids = @import("iq_grids.zig").grids;
const ggml = @import("ggml.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 56;
    pub const scales_are_f16 = true;
    const high_at = 32;
    const scales_at = 48;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        const d: [2]u8 = @bitCast(scaleBits(block));
        return ggml.isModerate(target, 15 * 1.125, &d);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const t = i / 8;
        const high = block[high_at + t / 2] >> @intCast(t % 2 * 4) & 15;
        const word = std.mem.readInt(u16, block[scales_at + i / 64 * 2 ..][0..2], .little);
        const scale: f32 = @floatFromInt(word >> @intCast(i % 64 / 16 * 3) & 7);
        const shift: f32 = if (high & 8 == 0) 0.125 else -0.125;
        const entry: f32 = @floatFromInt(grids.iq1[block[t] | @as(u16, high & 7) << 8][i % 8]);
        const d: [2]u8 = @bitCast(scaleBits(block));
        return ggml.product(ggml.product(ggml.half(&d), 2 * scale + 1), entry + shift);
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.scaleFromBits(scaleBits(block));
        for (0..16) |group| {
            const word = std.mem.readInt(u16, block[scales_at + group / 4 * 2 ..][0..2], .little);
            const bits = word >> @intCast(group % 4 * 3) & 7;
            const scale = d * @as(f32, @floatFromInt(2 * bits + 1));
            const high: u16 = block[high_at + group];
            const a = block[2 * group] | (high << 8 & 0x700);
            const b = block[2 * group + 1] | (high << 4 & 0x700);
            const shifts = std.simd.join(shiftOf(high & 0x08), shiftOf(high & 0x80));
            const entries = ggml.joined(i8, &grids.iq1[a], &grids.iq1[b]);
            out.put(16 * group, (ggml.floats(entries) + shifts) * ggml.splat(16, scale));
        }
    }

    inline fn shiftOf(sign: u16) @Vector(8, f32) {
        return @splat(if (sign == 0) 0.125 else -0.125);
    }

    /// The bits of d.
    inline fn scaleBits(block: [*]const u8) u16 {
        const words = std.mem.readInt(u64, block[scales_at..][0..8], .little);
        const low = (words >> 12 & 0x000f) | (words >> 24 & 0x00f0);
        const high = (words >> 36 & 0x0f00) | (words >> 48 & 0xf000);
        return @truncate(low | high);
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
