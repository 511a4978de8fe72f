//! MXFP4 in ggml's order: 32 columns in 17 bytes. The bytes of OCP's blocks, whose nibbles follow
//! each other, are in mxfp4.zig.
//!
//!     e 1 byte | codes 16 bytes: low nibbles are columns 0–15, high ones 16–31
//!
//! E2M1(code) · 2^(e - 127).
//!
//! ggml doubles the values and halves the scale, so that code 8 is +0 and e = 255 gives no NaN but
//! zero for codes 0 and 8, ±2^127 for 1 and 9, and infinity above.
const vector = @import("../core/vector.zig");
const ggml = @import("ggml.zig");
const dots = @import("../matvec/dot.zig");
const mxfp4 = @import("mxfp4.zig");
const Tile = @import("../table.zig").Tile;

const codec = ggml.Codec(struct {
    pub const block_columns = 32;
    pub const block_bytes = 17;
    pub const scales_are_f16 = false;

    /// The largest value is 12 · 2^(e - 128).
    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return block[0] <= if (target == .f16) 140 else 252;
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const byte = block[1 + i % 16];
        const code = if (i < 16) byte & 15 else byte >> 4;
        return ggml.product(halfScale(block[0]), @floatFromInt(doubled[code]));
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = halfScale(block[0]);
        const codes = vector.load(@Vector(16, u8), block + 1);
        out.put(0, ggml.scaled(ggml.lookup(&doubled, ggml.lowNibbles(codes)), d));
        out.put(16, ggml.scaled(ggml.lookup(&doubled, ggml.highNibbles(codes)), d));
    }

    /// 2^(e - 128): a subnormal for e < 2.
    inline fn halfScale(e: u8) f32 {
        const wide: u32 = e;
        const subnormal: u32 = 0x0020_0000;
        return @bitCast(if (e < 2) subnormal << @intCast(e) else (wide - 1) << 23);
    }
});

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;

/// Twice the values of E2M1, without a negative zero. Of NVFP4 too.
pub const doubled = [16]i8{ 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

/// For products: the bytes of the codes are a tile's as they are.
pub const dot_forms = [_]dots.Form{.{ .coded = .{
    .codes = .{ .four = doubled },
    .unit = 0.5,
    .block_columns = 32,
    .scale = .e8m0,
    .order = dots.halves_order,
} }};

pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: *[16]u8) void {
    const block = codec.blockAt(tile, row, column);
    codes.* = block[1..].*;
    if (isLastAndFinite(block)) mxfp4.doubleSmall(codes);
}

pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32 {
    const block = codec.blockAt(tile, row, column);
    return if (isLastAndFinite(block)) 254 else block[0];
}

/// Whether the scale is 2^128, which a product takes for infinite, and all values are finite.
fn isLastAndFinite(block: *const [17]u8) bool {
    return block[0] == 255 and mxfp4.areSmall(block[1..]);
}
