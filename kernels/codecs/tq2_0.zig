//! ggml TQ2_0: 256 columns in 66 bytes, values -1, 0, 1 (and 2) in two bits.
//!
//!     codes 64 bytes | d f16
//!
//! Bits 2s and 2s + 1 of byte 32h + j are of column 128h + 32s + j.      (code - 1) · d
const vector = @import("../core/vector.zig");
const ggml = @import("ggml.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 66;
    pub const scales_are_f16 = true;
    const d_at = 64;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 2, block + d_at);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const byte = block[i / 128 * 32 + i % 32];
        const code: f32 = @floatFromInt(byte >> @intCast(i % 128 / 32 * 2) & 3);
        return ggml.product(ggml.half(block + d_at), code - 1);
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.scaleOf(block + d_at);
        for (0..2) |half| {
            const bytes = vector.load(@Vector(32, u8), block + 32 * half);
            inline for (0..4) |s| {
                const codes = ggml.centered(ggml.pairs(bytes, 2 * s), 1);
                out.put(128 * half + 32 * s, ggml.scaled(codes, d));
            }
        }
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
