//! ggml Q4_1: 32 columns in 20 bytes, a scale and a minimum.
//!
//!     d f16 | m f16 | codes 16 bytes: low nibbles are columns 0–15, high ones 16–31
//!
//! code · d + m
const ggml = @import("ggml.zig");
const ggml_dots = @import("ggml_dots.zig");
const vector = @import("../core/vector.zig");
const std = @import("std");
const dots = @import("../matvec/dot.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 32;
    pub const block_bytes = 20;
    pub const scales_are_f16 = true;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        // Half of the range for each of the two.
        return ggml.isModerate(target, 30, block) and ggml.isModerate(target, 2, block + 2);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const byte = block[4 + i % 16];
        const code: f32 = @floatFromInt(if (i < 16) byte & 15 else byte >> 4);
        return ggml.multiplyAdd(ggml.half(block), code, ggml.half(block + 2));
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        const d = ggml.scaleOf(block);
        const m = ggml.splat(16, ggml.scaleOf(block + 2));
        const codes = vector.load(@Vector(16, u8), block + 4);
        out.put(0, ggml.scaled(ggml.lowNibbles(codes), d) + m);
        out.put(16, ggml.scaled(ggml.highNibbles(codes), d) + m);
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
    .codes = .{ .four = std.simd.iota(i8, 16) },
    .block_columns = 32,
    .scale = .f16,
    .has_minimum = true,
    .order = dots.halves_order,
} }};

pub const spanCodes = products.spanCodes;
pub const blockScale = products.blockScale;
pub const blockMinimum = products.blockMinimum;
