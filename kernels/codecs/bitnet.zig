//! BitNet b1.58: codes of 2 bits that mean -1, 0 and 1, and one scale for all.
//!
//! A byte holds a code of each of the four quarters of the rows, which are the batch: the first has
//! the lowest bits (transformers, integrations/bitnet.py, pack_weights).
//!
//!     parameters[2]      0: the scale divides (BitLinear); 1: it multiplies (AutoBitLinear)
//!
//! affine_rows.zig has the rest. transformers applies the scale to what leaves the layer; the
//! weight is the code less one, divided by the scale or times it, rounded to f32.
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
    pub const has_zeros = false;

    pub fn checkParameters(geometry: Geometry) bool {
        return geometry.parametersEnd(3) and geometry.parameters[2] <= 1;
    }

    pub inline fn code(tile: *const Tile, line: [*]const u8, column: u64) u32 {
        return line[column] >> affine_rows.shiftOf(tile, 2, false) & 3;
    }

    pub inline fn codes(tile: *const Tile, loaded: affine_rows.Bytes) affine_rows.Bytes {
        const shift = affine_rows.shiftOf(tile, 2, false);
        return loaded >> @splat(shift) & @as(affine_rows.Bytes, @splat(3));
    }

    pub inline fn product(
        tile: *const Tile,
        number: anytype,
        offset: @TypeOf(number),
        scale: @TypeOf(number),
    ) @TypeOf(number) {
        _ = offset; // every zero is 1
        const ternary = number - affine_rows.like(@TypeOf(number), 1);
        return if (tile.parameters[2] == 0) ternary / scale else ternary * scale;
    }

    pub fn scaleFault(tile: *const Tile) ?u32 {
        const scale = Dtype.of(tile.parameters[0]).?.read(tile.line(1, 0), 0);
        return if (tile.parameters[2] == 0 and scale == 0) 1 else null;
    }
};

pub const samples = [_]Sample{
    sample("divide", .bf16, 0, &.{ 0x3c, 0x3d, 0x3b }),
    sample("multiply", .bf16, 1, &.{ 0x3c, 0x3d, 0x3b }),
    sample("any divide", .f32, 0, &.{}),
};

fn sample(name: []const u8, dtype: Dtype, how: u32, alphabet: []const u8) Sample {
    const all = [_]geometry_file.SampleSource{
        .{ .unit_columns = 1, .unit_bytes = 1 },
        .{ .rows_per_line = 0, .bytes = dtype.bytes(), .alphabet = alphabet },
    };
    const list = all;
    return .{
        .name = name,
        .parameters = .{ @intFromEnum(dtype), 0, how, 0, 0, 0, 0, 0 },
        .sources = &list,
    };
}
