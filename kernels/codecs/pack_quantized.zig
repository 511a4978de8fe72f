//! Integers of one to eight bits that compressed-tensors packs into words (compressors/
//! pack_quantized; up to 0.9 no code crosses a word): see integers.zig for the layout.
const geometry_file = @import("geometry.zig");
const integers = @import("integers.zig");
const Sample = geometry_file.Sample;
const SampleSource = geometry_file.SampleSource;
const codec = integers.Codec(.@"packed", &sample_list);

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;

const tiles = @import("integers_tiles.zig").Tiles(codec, .@"packed");
pub const dot_forms = tiles.dot_forms;
pub const dotForm = tiles.dotForm;
pub const spanCodes = tiles.spanCodes;
pub const blockScale = tiles.blockScale;
pub const blockMinimum = tiles.blockMinimum;
pub const weightBits = tiles.weightBits;

const parameters = integers.parameters;

/// Bytes of BF16 and F32 near 0.01.
const small: []const u8 = &.{ 0x3c, 0x3d, 0x3b };

fn codesOf(comptime bits: u32) SampleSource {
    return .{ .unit_columns = 8, .unit_bytes = bits };
}

fn scalesOf(comptime width: u32, comptime bytes: u32, alphabet: []const u8) SampleSource {
    return .{ .unit_columns = width, .unit_bytes = bytes, .alphabet = alphabet };
}

const sample_list = [_]Sample{
    .{
        .name = "4 bits",
        .column_align = 32,
        .parameters = parameters(4, .bf16, 128, .none, .bf16, .{ 0, 0 }),
        .sources = &.{ codesOf(4), scalesOf(128, 2, small) },
    },
    .{
        .name = "8 bits, any scales",
        .column_align = 32,
        .parameters = parameters(8, .f32, 32, .none, .none, .{ 0, 0 }),
        .sources = &.{ codesOf(8), scalesOf(32, 4, &.{}) },
    },
    .{
        .name = "4 bits, zero points in words",
        .column_align = 64,
        .parameters = parameters(4, .f16, 64, .words, .f16, .{ 0, 0 }),
        .sources = &.{
            codesOf(4),                                                   scalesOf(64, 2, &.{}),
            .{ .rows_per_line = 8, .unit_columns = 64, .unit_bytes = 4 },
        },
    },
    .{
        .name = "3 bits, zero points across words",
        .column_align = 32,
        .parameters = parameters(3, .bf16, 0, .words, .bf16, .{ 0, 0 }),
        .sources = &.{
            codesOf(3),
            .{ .bytes = 2, .alphabet = small },
            .{ .rows_per_line = 0, .bytes_per_row = 4, .bytes = 4 },
        },
    },
    .{
        .name = "6 bits, signed zero points, uneven groups",
        .column_align = 96,
        .parameters = parameters(6, .bf16, 24, .bytes, .bf16, .{ 0, 0 }),
        .sources = &.{
            codesOf(6), scalesOf(24, 2, small), .{ .unit_columns = 24, .unit_bytes = 1 },
        },
    },
    .{
        .name = "7 bits, one scale",
        .column_align = 32,
        .parameters = parameters(7, .f32, 0, .none, .none, .{ 0, 0 }),
        .sources = &.{ codesOf(7), .{ .rows_per_line = 0, .bytes = 4, .alphabet = small } },
    },
    .{
        .name = "1 bit, lines that are not cut",
        .column_align = 32,
        .parameters = parameters(1, .bf16, 64, .none, .bf16, .{ 0, 0 }),
        .sources = &.{ .{ .bytes_per_column = 1 }, scalesOf(64, 2, small) },
    },
    .{
        .name = "3 bits, ten to a word",
        .column_align = 160,
        .parameters = parameters(3, .f16, 32, .none, .f16, .{ 1, 0 }),
        .sources = &.{ .{ .unit_columns = 10, .unit_bytes = 4 }, scalesOf(32, 2, small) },
    },
    .{
        .name = "4 bits in the order of activations",
        .column_align = 32,
        .parameters = parameters(4, .bf16, 0, .words, .bf16, .{ 0, 3 }),
        .sources = &.{
            codesOf(4),
            .{ .bytes = 6, .alphabet = small },
            .{ .rows_per_line = 8, .bytes = 12 },
            .{
                .rows_per_line = 0,
                .unit_columns = 1,
                .unit_bytes = 4,
                .alphabet = &.{ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2 },
            },
        },
    },
    .{
        .name = "5 bits, signed zero points",
        .column_align = 32,
        .parameters = parameters(5, .bf16, 32, .bytes, .bf16, .{ 0, 0 }),
        .sources = &.{ codesOf(5), scalesOf(32, 2, &.{}), .{ .unit_columns = 32, .unit_bytes = 1 } },
    },
    .{
        .name = "2 bits",
        .column_align = 32,
        .parameters = parameters(2, .bf16, 32, .none, .none, .{ 0, 0 }),
        .sources = &.{ codesOf(2), scalesOf(32, 2, small) },
    },
};
