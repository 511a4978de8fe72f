//! HQQ: codes of 8, 4, 2 or 1 bits, scales and zeros that are floats.
//!
//! A byte holds a code of each matrix of the batch: the first has the highest bits. So HQQ packs
//! the rows of a group's view of the weight, the first half above the second (hqq/core/bitpack.py).
//!
//!     source 2, zeros:   as the scales: their dtype, their places
//!
//!     parameters[2]      bits of a code
//!
//! (code - zero) · scale, each rounded to the dtype of the scales, in which the library computes
//! (hqq/core/quantize.py, Quantizer.dequantize). affine_rows.zig has the rest.
const std = @import("std");
const affine_rows = @import("affine_rows.zig");
const geometry_file = @import("geometry.zig");
const scale_file = @import("scale.zig");
const table = @import("../table.zig");
const Dtype = scale_file.Dtype;
const Geometry = geometry_file.Geometry;
const Sample = geometry_file.Sample;
const Tile = table.Tile;
const codec = affine_rows.Codec(Kind);

pub const check = codec.check;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;

const Kind = struct {
    pub const byte_columns = 1;
    pub const has_zeros = true;

    pub fn checkParameters(geometry: Geometry) bool {
        if (!geometry.parametersEnd(3)) return false;
        const dtype = Dtype.of(geometry.parameters[0]) orelse return false;
        return switch (geometry.parameters[2]) {
            1, 2, 4, 8 => dtype == .f32 or dtype == .f16 or dtype == .bf16,
            else => false,
        };
    }

    pub fn checkZeros(geometry: Geometry) bool {
        const scales = geometry.sources[1];
        const zeros = geometry.sources[2];
        return zeros.rows_per_line == scales.rows_per_line and
            zeros.unit_columns == scales.unit_columns and
            zeros.unit_bytes == scales.unit_bytes and
            zeros.line_bytes >= Dtype.of(geometry.parameters[0]).?.bytes();
    }

    pub inline fn code(tile: *const Tile, line: [*]const u8, column: u64) u32 {
        const bits = tile.parameters[2];
        return line[column] >> affine_rows.shiftOf(tile, bits, true) & maskOf(bits);
    }

    pub inline fn codes(tile: *const Tile, loaded: affine_rows.Bytes) affine_rows.Bytes {
        const bits = tile.parameters[2];
        const shift = affine_rows.shiftOf(tile, bits, true);
        return loaded >> @splat(shift) & @as(affine_rows.Bytes, @splat(maskOf(bits)));
    }

    pub inline fn zero(tile: *const Tile, row: u64, group: u64) f32 {
        return Dtype.of(tile.parameters[0]).?.read(tile.line(2, row), group);
    }

    pub inline fn product(
        tile: *const Tile,
        number: anytype,
        offset: @TypeOf(number),
        scale: @TypeOf(number),
    ) @TypeOf(number) {
        const dtype = Dtype.of(tile.parameters[0]).?;
        const difference = affine_rows.roundTo(dtype, number - offset);
        return affine_rows.roundTo(dtype, difference * scale);
    }

    pub fn scaleFault(tile: *const Tile) ?u32 {
        const dtype = Dtype.of(tile.parameters[0]).?;
        return if (scale_file.anyNotFinite(tile, 2, dtype, tile.parameters[1])) 2 else null;
    }
};

inline fn maskOf(bits: u32) u8 {
    return @truncate((@as(u32, 1) << @intCast(bits)) - 1);
}

/// Bytes of F16 near one.
const near: []const u8 = &.{ 0x3c, 0x3d, 0x38 };

pub const samples = [_]Sample{
    sample("4 bits", .f16, 64, 1, 4, near),
    sample("any 4 bits", .bf16, 20, 1, 4, &.{}),
    sample("8 bits", .f16, 0, 1, 8, near),
    sample("2 bits, columns", .f16, 1, 0, 2, near),
    sample("any 1 bit", .f32, 8, 1, 1, &.{}),
};

fn sample(
    name: []const u8,
    dtype: Dtype,
    width: u32,
    rows_per_line: u32,
    bits: u32,
    alphabet: []const u8,
) Sample {
    const scales: geometry_file.SampleSource = .{
        .rows_per_line = rows_per_line,
        .unit_columns = width,
        .unit_bytes = if (width == 0) 0 else dtype.bytes(),
        .bytes = dtype.bytes(),
        .alphabet = alphabet,
    };
    const all = [_]geometry_file.SampleSource{
        .{ .unit_columns = 1, .unit_bytes = 1 },
        scales,
        scales,
    };
    const list = all;
    return .{
        .name = name,
        .parameters = .{ @intFromEnum(dtype), width, bits, 0, 0, 0, 0, 0 },
        .sources = &list,
    };
}
