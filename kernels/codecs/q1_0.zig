//! ggml Q1_0: 128 columns in 18 bytes, one sign each.
//!
//!     d f16 | signs 16 bytes, the lowest bit first      d where the bit is set, else -d
const std = @import("std");
const ggml = @import("ggml.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 128;
    pub const block_bytes = 18;
    pub const scales_are_f16 = true;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 1, block);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const d = ggml.half(block);
        if (d != d) return d;
        return if (block[2 + i / 8] >> @intCast(i % 8) & 1 == 1) d else -d;
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.splat(16, ggml.scaleOf(block));
        inline for (0..8) |part| {
            const bits = std.mem.readInt(u16, block[2 + 2 * part ..][0..2], .little);
            out.put(16 * part, ggml.turned(d, ~bits));
        }
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
