//! ggml Q5_0: 32 columns in 22 bytes, a scale and codes around 16.
//!
//!     d f16 | fifth bits 4 bytes: bit i is of column i | low bits 16 bytes as in Q4_0
//!
//! (code - 16) · d
const ggml = @import("ggml.zig");
const ggml_dots = @import("ggml_dots.zig");

fn codeAt(block: [*]const u8, i: usize) u8 {
    const byte = block[6 + i % 16];
    const low = if (i < 16) byte & 15 else byte >> 4;
    return low | (block[2 + i / 8] >> @intCast(i % 8) & 1) << 4;
}
const dots = @import("../matvec/dot.zig");
const Tile = @import("../table.zig").Tile;

const codec = ggml.Codec(struct {
    pub const block_columns = 32;
    pub const block_bytes = 22;
    pub const scales_are_f16 = true;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 16, block);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const code: f32 = @floatFromInt(codeAt(block, i));
        return ggml.product(ggml.half(block), code - 16);
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.scaleOf(block);
        const codes = ggml.splitNibbles(block + 6) | ggml.spreadBits(block + 2, 16);
        out.put(0, ggml.scaled(ggml.centered(codes, 16), d));
    }
});

const products = ggml_dots.Dots(codec);

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;

/// For products: codes become bytes.
pub const dot_forms = [_]dots.Form{.{ .coded = .{
    .codes = .eight,
    .block_columns = 32,
    .scale = .f16,
    .order = dots.column_order,
} }};

pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: *[32]u8) void {
    const block = codec.blockAt(tile, row, column);
    for (codes, 0..) |*code, i| code.* = codeAt(block, i) -% 16;
}

pub const blockScale = products.blockScale;
