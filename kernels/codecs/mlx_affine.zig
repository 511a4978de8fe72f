//! MLX's affine weights of 2, 3, 4, 5, 6 and 8 bits: code * scale + bias, each rounded to the dtype
//! of the scales, as mlx/ops.cpp (affine_dequantize) computes on CPUs. The fused kernels of GPUs may
//! round once. See integers.zig for the layout.
const geometry_file = @import("geometry.zig");
const integers = @import("integers.zig");
const Dtype = @import("scale.zig").Dtype;
const Rounding = @import("scaled_row.zig").Rounding;
const Sample = geometry_file.Sample;
const codec = integers.Codec(.affine, &sample_list);

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;

const tiles = @import("integers_tiles.zig").Tiles(codec, .affine);
pub const dot_forms = tiles.dot_forms;
pub const dotForm = tiles.dotForm;
pub const spanCodes = tiles.spanCodes;
pub const blockScale = tiles.blockScale;
pub const blockMinimum = tiles.blockMinimum;
pub const weightBits = tiles.weightBits;

/// Bytes of BF16 and F32 near 0.01.
const small: []const u8 = &.{ 0x3c, 0x3d, 0x3b };

const sample_list = [_]Sample{
    sample("4 bits", 4, 64, .bf16, .bf16, small),
    sample("8 bits", 8, 32, .bf16, .bf16, small),
    sample("3 bits, any scales", 3, 128, .f16, .f16, &.{}),
    sample("6 bits in F32", 6, 32, .f32, .none, small),
    sample("5 bits, any scales", 5, 32, .bf16, .bf16, &.{}),
    sample("2 bits", 2, 64, .f16, .f16, small),
};

fn sample(
    name: []const u8,
    bits: u32,
    width: u32,
    dtype: Dtype,
    rounding: Rounding,
    alphabet: []const u8,
) Sample {
    const placed: geometry_file.SampleSource = .{
        .unit_columns = width,
        .unit_bytes = dtype.bytes(),
        .alphabet = alphabet,
    };
    return .{
        .name = name,
        .column_align = 32,
        .parameters = integers.parameters(bits, dtype, width, .none, rounding, .{ 0, 0 }),
        .sources = &.{ .{ .unit_columns = 8, .unit_bytes = bits }, placed, placed },
    };
}
