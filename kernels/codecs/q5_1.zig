//! ggml Q5_1: 32 columns in 24 bytes, a scale and a minimum.
//!
//!     d f16 | m f16 | fifth bits 4 bytes: bit i is of column i | low bits 16 bytes as in Q4_1
//!
//! code · d + m
const ggml = @import("ggml.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 32;
    pub const block_bytes = 24;
    pub const scales_are_f16 = true;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 62, block) and ggml.isModerate(target, 2, block + 2);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const byte = block[8 + i % 16];
        const low = if (i < 16) byte & 15 else byte >> 4;
        const fifth = block[4 + i / 8] >> @intCast(i % 8) & 1;
        const code: f32 = @floatFromInt(low | fifth << 4);
        return ggml.multiplyAdd(ggml.half(block), code, ggml.half(block + 2));
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.scaleOf(block);
        const m = ggml.splat(32, ggml.scaleOf(block + 2));
        const codes = ggml.splitNibbles(block + 8) | ggml.spreadBits(block + 4, 16);
        out.put(0, ggml.scaled(codes, d) + m);
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
