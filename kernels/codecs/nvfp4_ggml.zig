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
const dots = @import("../matvec/dot.zig");
const Tile = @import("../table.zig").Tile;

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

/// For products: the bytes of the codes are a tile's as they are, the tensor's scale is each row's.
pub const dot_forms = [_]dots.Form{.{ .coded = .{
    .codes = .{ .four = doubled },
    .unit = 0.5,
    .block_columns = 16,
    .scale = .e4m3,
    .has_row_factor = true,
    .order = order,
} }};

/// Eight bytes after each other have the columns of a block, first the low nibbles.
const order = blk: {
    var columns: [dots.span_columns]u8 = undefined;
    for (0..4) |group| for (0..4) |byte| {
        const column = group / 2 * 16 + group % 2 * 4 + byte;
        columns[8 * group + byte] = column;
        columns[8 * group + 4 + byte] = column + 8;
    };
    break :blk columns;
};

pub const rowFactor = codec.rowFactor;

pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: *[16]u8) void {
    codes.* = codec.blockAt(tile, row, column)[4 + column % 64 / 2 ..][0..16].*;
}

/// The byte 0xff, which ggml takes for 480 and no writer makes, is NaN here.
pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32 {
    const byte = codec.blockAt(tile, row, column)[column % 64 / 16];
    return if (byte == 0x7f) 0 else byte & 0x7f;
}
