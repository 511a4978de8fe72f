//! AWQ in the layout of its GEMV kernel: codes of 4 bits of a matrix that is stored [out, in].
//!
//!     source 0, codes:   two columns to a byte, the low nibble first
//!     source 2, zeros:   a nibble for each group of columns of a line, the low one first
//!
//! (code - zero) · scale; AutoAWQ, modules/linear/gemv.py. affine_rows.zig has the rest.
const std = @import("std");
const affine_rows = @import("affine_rows.zig");
const geometry_file = @import("geometry.zig");
const integer_forms = @import("integer_forms.zig");
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

/// For products: the bytes of the codes are a tile's as they are.
pub const dot_forms = integer_forms.dot_forms[0..2].*;

pub fn dotForm(geometry: Geometry) ?u8 {
    return integer_forms.select(true, geometry.parameters[1], geometry.columns);
}

pub fn spanCodes(tile: *const Tile, row: u64, column: u64, span: *[16]u8) void {
    span.* = @splat(0);
    const size = @min(span.len, (tile.columns - column + 1) / 2);
    @memcpy(span[0..size], tile.line(0, row)[column / 2 ..][0..size]);
}

pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32 {
    return @bitCast(scaleAt(tile, row, column));
}

pub fn blockMinimum(tile: *const Tile, row: u64, column: u64) u32 {
    const zero = Kind.zero(tile, row, column / tile.parameters[1]);
    return @bitCast((zero - 8) * scaleAt(tile, row, column));
}

fn scaleAt(tile: *const Tile, row: u64, column: u64) f32 {
    const dtype = Dtype.of(tile.parameters[0]).?;
    return dtype.read(tile.line(1, row), column / tile.parameters[1]);
}

inline fn nibble(bytes: [*]const u8, index: u64) u32 {
    return bytes[index / 2] >> @intCast(index % 2 * 4) & 15;
}

pub const samples = [_]Sample{
    sample("groups of 128", .f16, 128, &.{ 0x20, 0x21, 0x1f, 0x28 }),
    sample("groups of 32", .f16, 32, &.{ 0x20, 0x21, 0x1f, 0x28 }),
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
