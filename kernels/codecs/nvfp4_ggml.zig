//! NVFP4 in ggml's order: 64 columns in 36 bytes, a scale for each 16 columns.
//!
//!     scales 4 bytes, E4M3 without sign | codes 32 bytes
//!
//! Columns 16s … 16s + 15 have bytes 8s … 8s + 7 of the codes: first the low nibbles, then the high
//! ones. E2M1(code) · scale, where the scale bytes 0 and 0x7f are 0 and the sign bit of others is
//! not looked at.
//!
//!     parameter 0: 1 where there is source 1, the tensor's own scale: one f32, multiplied last
const std = @import("std");
const vector = @import("../core/vector.zig");
const doubled = @import("mxfp4_ggml.zig").doubled;
const ggml = @import("ggml.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 64;
    pub const block_bytes = 36;
    pub const scales_are_f16 = false;
    /// The largest value: 6 · 480.
    pub const magnitude_max = 2880;
    const codes_at = 4;

    pub inline fn isOrdinary(comptime _: ggml.Target, _: [*]const u8) bool {
        return true;
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const s = i / 16;
        const byte = block[codes_at + 8 * s + i % 8];
        const code = if (i % 16 < 8) byte & 15 else byte >> 4;
        return half_scales[block[s]] * @as(f32, @floatFromInt(doubled[code]));
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        inline for (0..4) |s| {
            const bytes = vector.load(@Vector(8, u8), block + codes_at + 8 * s);
            const codes = std.simd.join(ggml.lowNibbles(bytes), ggml.highNibbles(bytes));
            out.put(16 * s, ggml.scaled(ggml.lookup(&doubled, codes), half_scales[block[s]]));
        }
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;

/// Half of each scale: the table of codes has twice the values.
const half_scales = blk: {
    @setEvalBranchQuota(2000);
    var table: [256]f32 = undefined;
    for (&table, 0..) |*scale, byte| {
        const exponent = byte >> 3 & 15;
        const fraction: f32 = @floatFromInt(byte & 7);
        scale.* = if (byte == 0 or byte == 0x7f)
            0
        else if (exponent == 0)
            fraction * 0x1p-10
        else
            (8 + fraction) * 0x1p-11 * @as(f32, @floatFromInt(1 << exponent));
    }
    break :blk table;
};
