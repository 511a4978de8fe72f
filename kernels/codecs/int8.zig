//! Signed bytes under scales: int-quantized and naive-quantized of compressed-tensors, and LLM.int8
//! of bitsandbytes, whose absmax of a row is multiplied by 1/127 last: see integers.zig.
const geometry_file = @import("geometry.zig");
const integers = @import("integers.zig");
const Sample = geometry_file.Sample;
const SampleSource = geometry_file.SampleSource;
const codec = integers.Codec(.signed, &sample_list);

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;

const tiles = @import("integers_tiles.zig").Tiles(codec, .signed);
pub const dot_forms = tiles.dot_forms;
pub const dotForm = tiles.dotForm;
pub const spanCodes = tiles.spanCodes;
pub const blockScale = tiles.blockScale;
pub const blockMinimum = tiles.blockMinimum;
pub const weightBits = tiles.weightBits;

const parameters = integers.parameters;

/// Bytes of BF16 and F32 near 0.01.
const small: []const u8 = &.{ 0x3c, 0x3d, 0x3b };
const codes: SampleSource = .{ .unit_columns = 1, .unit_bytes = 1 };
/// 1/127 in F32.
const part_of_127 = 0x3c01_0204;

const sample_list = [_]Sample{
    .{
        .name = "channels",
        .parameters = parameters(8, .bf16, 0, .none, .bf16, .{ 0, 0 }),
        .sources = &.{ codes, .{ .bytes = 2, .alphabet = small } },
    },
    .{
        .name = "row absmax",
        .parameters = parameters(8, .f32, 0, .none, .none, .{ part_of_127, 0 }),
        .sources = &.{ codes, .{ .bytes = 4, .alphabet = small } },
    },
    .{
        .name = "any row absmax",
        .parameters = parameters(8, .f32, 0, .none, .none, .{ part_of_127, 0 }),
        .sources = &.{ codes, .{ .bytes = 4 } },
    },
    .{
        .name = "blocks and zero points",
        .parameters = parameters(8, .f16, 32, .bytes, .f16, .{ 0, 0 }),
        .sources = &.{
            codes,
            .{ .rows_per_line = 3, .unit_columns = 32, .unit_bytes = 2 },
            .{ .rows_per_line = 3, .unit_columns = 32, .unit_bytes = 1 },
        },
    },
    .{
        .name = "uneven groups",
        .parameters = parameters(8, .bf16, 20, .none, .bf16, .{ 0, 0 }),
        .sources = &.{ codes, .{ .unit_columns = 20, .unit_bytes = 2, .alphabet = small } },
    },
};
