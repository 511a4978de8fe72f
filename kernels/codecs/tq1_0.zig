//! ggml TQ1_0: 256 columns in 54 bytes, five values of -1, 0, 1 to a byte.
//!
//!     codes 48 bytes | codes 4 bytes, four values each | d f16
//!
//! A byte is a fraction in base 3: value n of byte b is the digit floor(3 · (b · 3^n mod 256) /
//! 256). Columns 32n + j have value n of byte j < 32; then columns 160 + 16n + j that of byte 32 +
//! j, and columns 240 + 4n + j that of byte 48 + j.      (digit - 1) · d
const std = @import("std");
const vector = @import("../core/vector.zig");
const ggml = @import("ggml.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 256;
    pub const block_bytes = 54;
    pub const scales_are_f16 = true;
    const d_at = 52;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 1, block + d_at);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const n, const at = if (i < 160)
            .{ i / 32, i % 32 }
        else if (i < 240)
            .{ (i - 160) / 16, 32 + (i - 160) % 16 }
        else
            .{ (i - 240) / 4, 48 + (i - 240) % 4 };
        const power = ([5]u8{ 1, 3, 9, 27, 81 })[n];
        const digit: f32 = @floatFromInt(@as(u16, block[at] *% power) * 3 >> 8);
        return ggml.product(ggml.half(block + d_at), digit - 1);
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.scaleOf(block + d_at);
        var long = vector.load(@Vector(32, u8), block);
        var short = vector.load(@Vector(16, u8), block + 32);
        for (0..5) |n| {
            out.put(32 * n, ggml.scaled(digits(long), d));
            out.put(160 + 16 * n, ggml.scaled(digits(short), d));
            long = long +% long +% long;
            short = short +% short +% short;
        }
        const last: @Vector(16, u16) = @as(@Vector(16, u8), @bitCast(@as(
            @Vector(4, u32),
            @splat(std.mem.readInt(u32, block[48..52], .little)),
        )));
        const powers: @Vector(16, u16) = .{ 1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27 };
        out.put(240, ggml.scaled(digits(@as(@Vector(16, u8), @truncate(last * powers))), d));
    }

    /// The first digit of each fraction, less one: the bytes below 86 are below 1/3, those below
    /// 171 below 2/3.
    inline fn digits(bytes: anytype) @Vector(@typeInfo(@TypeOf(bytes)).vector.len, i8) {
        const Bytes = @TypeOf(bytes);
        const one = @intFromBool(bytes >= @as(Bytes, @splat(86)));
        const two = @intFromBool(bytes >= @as(Bytes, @splat(171)));
        return ggml.centered(@as(Bytes, one) + @as(Bytes, two), 1);
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
