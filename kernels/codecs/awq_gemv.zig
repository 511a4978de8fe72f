//! AWQ in the layout of its GEMV kernel: codes of 4 bits of a matrix that is stored [out, in].
//!
//!     source 0, codes:   two columns to a byte, the low nibble first
//!     source 2, zeros:   a nibble for each group of columns of a line, the low one first
//!
//! (code - zero) · scale; AutoAWQ, modules/linear/gemv.py. affine_rows.zig has the rest.
const std = @import("std");
const affine_rows = @import("affine_rows.zig");
const geometry_file = @import("geometry.zig");
const scale_file = @import("scale.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");
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
    pub const byte_columns = 2;
    pub const has_zeros = true;

    pub fn checkParameters(geometry: Geometry) bool {
        return geometry.parametersEnd(2) and geometry.parameters[1] > 0;
    }

    pub fn checkZeros(geometry: Geometry) bool {
        const zeros = geometry.sources[2];
        if (zeros.rows_per_line != 1 or zeros.unit_bytes != 1) return false;
        return zeros.unit_columns == @as(u64, 2) * geometry.parameters[1];
    }

    pub inline fn code(tile: *const Tile, line: [*]const u8, column: u64) u32 {
        _ = tile;
        return nibble(line, column);
    }

    pub inline fn codes(tile: *const Tile, loaded: @Vector(16, u8)) affine_rows.Bytes {
        _ = tile;
        const low = loaded & @as(@Vector(16, u8), @splat(15));
        const high = loaded >> @splat(4);
        const first = vector.unpack(.low, low, high);
        return std.simd.join(first, vector.unpack(.high, low, high));
    }

    pub inline fn zero(tile: *const Tile, row: u64, group: u64) f32 {
        return @floatFromInt(nibble(tile.line(2, row), group));
    }

    pub inline fn product(
        tile: *const Tile,
        number: anytype,
        offset: @TypeOf(number),
        scale: @TypeOf(number),
    ) @TypeOf(number) {
        _ = tile;
        return (number - offset) * scale;
    }

    pub fn scaleFault(tile: *const Tile) ?u32 {
        _ = tile; // zeros are whole numbers
        return null;
    }
};

inline fn nibble(bytes: [*]const u8, index: u64) u32 {
    return bytes[index / 2] >> @intCast(index % 2 * 4) & 15;
}

pub const samples = [_]Sample{
    sample("groups of 128", .f16, 128, &.{ 0x20, 0x21, 0x1f, 0x28 }),
    sample("any", .f16, 24, &.{}),
};

fn sample(name: []const u8, dtype: Dtype, width: u32, alphabet: []const u8) Sample {
    const all = [_]geometry_file.SampleSource{
        .{ .unit_columns = 2, .unit_bytes = 1 },
        .{ .unit_columns = width, .unit_bytes = dtype.bytes(), .alphabet = alphabet },
        .{ .unit_columns = 2 * width, .unit_bytes = 1 },
    };
    const list = all;
    return .{
        .name = name,
        .column_align = 2,
        .parameters = .{ @intFromEnum(dtype), width, 0, 0, 0, 0, 0, 0 },
        .sources = &list,
    };
}
