//! ggml Q2_0: 64 columns in 18 bytes, values -1, 0, 1, 2.
//!
//!     d f16 | codes 16 bytes, four to a byte, the lowest bits first      (code - 1) · d
const std = @import("std");
const ggml = @import("ggml.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 64;
    pub const block_bytes = 18;
    pub const scales_are_f16 = true;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 2, block);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const code: f32 = @floatFromInt(block[2 + i / 4] >> @intCast(i % 4 * 2) & 3);
        return ggml.product(ggml.half(block), code - 1);
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.scaleOf(block);
        const shifts = comptime blk: {
            var shifts: [16]u5 = undefined;
            for (&shifts, 0..) |*shift, i| shift.* = 2 * i;
            break :blk shifts;
        };
        const Words = @Vector(16, u32);
        inline for (0..4) |part| {
            const word = std.mem.readInt(u32, block[2 + 4 * part ..][0..4], .little);
            const shifted = @as(Words, @splat(word)) >> @as(@Vector(16, u5), shifts);
            const codes = shifted & @as(Words, @splat(3));
            const integers: @Vector(16, i32) = @bitCast(codes);
            out.put(16 * part, ggml.scaled(integers - @as(@Vector(16, i32), @splat(1)), d));
        }
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
