//! ggml Q8_0: 32 columns in 34 bytes.
//!
//!     d f16 | codes 32 signed bytes      code · d
const ggml = @import("ggml.zig");
const ggml_dots = @import("ggml_dots.zig");
const vector = @import("../core/vector.zig");
const dots = @import("../matvec/dot.zig");

const codec = ggml.Codec(struct {
    pub const block_columns = 32;
    pub const block_bytes = 34;
    pub const scales_are_f16 = true;

    pub inline fn isOrdinary(comptime target: ggml.Target, block: [*]const u8) bool {
        return ggml.isModerate(target, 128, block);
    }

    pub fn value(block: [*]const u8, i: usize) f32 {
        const code: i8 = @bitCast(block[2 + i]);
        return ggml.product(ggml.half(block), @floatFromInt(code));
    }

    pub inline fn decodeBlock(block: [*]const u8, out: anytype) void {
        out.put(0, ggml.scaled(vector.load(@Vector(32, i8), block + 2), ggml.scaleOf(block)));
    }
});

const products = ggml_dots.Dots(codec);

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;

/// For products.
pub const dot_forms = [_]dots.Form{.{ .coded = .{
    .codes = .eight,
    .block_columns = 32,
    .scale = .f16,
    .order = dots.column_order,
} }};

pub const spanCodes = products.spanCodes;
pub const blockScale = products.blockScale;
