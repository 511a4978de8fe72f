//! ggml Q4_0: 32 columns in 18 bytes, a scale and codes around 8.
//!
//!     d f16 | codes 16 bytes: low nibbles are columns 0–15, high ones 16–31      (code - 8) · d
const ggml = @import("ggml.zig");
const ggml_dots = @import("ggml_dots.zig");
const vector = @import("../core/vector.zig");
const dots = @import("../matvec/dot.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 32;
    pub const block_bytes = 18;
    pub const scales_are_f16 = true;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 8, block);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const byte = block[2 + i % 16];
        const code: f32 = @floatFromInt(if (i < 16) byte & 15 else byte >> 4);
        return ggml.product(ggml.half(block), code - 8);
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.scaleOf(block);
        const codes = vector.load(@Vector(16, u8), block + 2);
        out.put(0, ggml.scaled(ggml.centered(ggml.lowNibbles(codes), 8), d));
        out.put(16, ggml.scaled(ggml.centered(ggml.highNibbles(codes), 8), d));
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
    .codes = .{ .four = dots.centered_nibbles },
    .block_columns = 32,
    .scale = .f16,
    .order = dots.halves_order,
} }};

pub const spanCodes = products.spanCodes;
pub const blockScale = products.blockScale;
