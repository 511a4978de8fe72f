//! ggml IQ4_NL: 32 columns in 18 bytes; codes name 16 unevenly spaced values.
//!
//!     d f16 | codes 16 bytes: low nibbles are columns 0–15, high ones 16–31      value(code) · d
const vector = @import("../core/vector.zig");
const ggml = @import("ggml.zig");
const ggml_dots = @import("ggml_dots.zig");
const dots = @import("../matvec/dot.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 32;
    pub const block_bytes = 18;
    pub const scales_are_f16 = true;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 127, block);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const byte = block[2 + i % 16];
        const code = if (i < 16) byte & 15 else byte >> 4;
        return ggml.product(ggml.half(block), @floatFromInt(values[code]));
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.scaleOf(block);
        const codes = vector.load(@Vector(16, u8), block + 2);
        out.put(0, ggml.scaled(ggml.lookup(&values, ggml.lowNibbles(codes)), d));
        out.put(16, ggml.scaled(ggml.lookup(&values, ggml.highNibbles(codes)), d));
    }
});

const products = ggml_dots.Dots(codec);

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;

/// For products: the bytes of the codes are a tile's as they are.
pub const dot_forms = [_]dots.Form{.{ .coded = .{
    .codes = .{ .four = values },
    .block_columns = 32,
    .scale = .f16,
    .order = dots.halves_order,
} }};

pub const spanCodes = products.spanCodes;
pub const blockScale = products.blockScale;

/// Of IQ4_XS too.
pub const values = [16]i8{
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
};
