//! AWQ in the layout of its GEMM kernel: codes of 4 bits, packed along the columns of a matrix that
//! is stored [in, out].
//!
//!     source 0, codes:   a word for 8 columns of a row; the fields, lowest first, are those of
//!                        columns 0 2 4 6 1 3 5 7
//!     source 2, zeros:   packed in the same way
//!
//! affine.zig has the other sources, the parameters and the arithmetic. The order is AutoAWQ's
//! (utils/packing_utils.py, AWQ_ORDER).
const abi = @import("../abi.zig");
const affine = @import("affine.zig");
const float = @import("../core/float.zig");
const geometry_file = @import("geometry.zig");
const packed_int = @import("packed_int.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");
const Codes = affine.Codes;
const Columns = @import("../matvec/lanes.zig").Columns;
const Dot = @import("../matvec/dot.zig").Dot;
const Sample = geometry_file.Sample;
const SampleSource = geometry_file.SampleSource;
const Tile = table.Tile;
const step = affine.step;

/// Columns of a word.
const word_columns = 8;
/// The field of each column of a word.
const field_of = [word_columns]u5{ 0, 4, 1, 5, 2, 6, 3, 7 };

const Coding = struct {
    pub const line_rows = 1;
    pub const block_rows = 8;
    pub const column_bits = 4;
    pub const zero_unit_columns = word_columns;
    pub const zero_unit_bytes = 4;
    pub const middle = 8;

    pub fn checkCodes(codes_source: abi.Source, columns: u64) bool {
        _ = columns; // the unit says how many a line must hold
        if (codes_source.rows_per_line != 1) return false;
        return codes_source.unit_columns == word_columns and codes_source.unit_bytes == 4;
    }

    pub inline fn code(line: [*]const u8, columns: u64, row: u32, column: u64) u32 {
        _ = .{ columns, row };
        return zero(line, column, false);
    }

    pub inline fn codes(line: [*]const u8, columns: u64, row: u32, column: u64) Codes {
        _ = .{ columns, row };
        return zeros(line, column, false);
    }

    pub inline fn zero(line: [*]const u8, column: u64, less_one: bool) u32 {
        _ = less_one; // there are none
        const words: packed_int.Line = .{ .bytes = line };
        const field = field_of[@intCast(column % word_columns)];
        return words.at(column / word_columns) >> 4 * field & 15;
    }

    /// `column` is a multiple of `step`.
    pub inline fn zeros(line: [*]const u8, column: u64, less_one: bool) Codes {
        _ = less_one;
        const words = vector.load(@Vector(2, u32), line + column / 2);
        const spread = @shuffle(u32, words, undefined, order());
        return spread >> (comptime shifts()) & @as(Codes, @splat(15));
    }

    fn order() [step]i32 {
        var words: [step]i32 = undefined;
        for (&words, 0..) |*word, i| word.* = i / word_columns;
        return words;
    }

    fn shifts() @Vector(step, u5) {
        var counts: [step]u5 = undefined;
        for (&counts, 0..) |*count, i| count.* = 4 * field_of[i % word_columns];
        return counts;
    }
};

pub fn check(geometry: geometry_file.Geometry) bool {
    const bits, const planes, const zeros, _, _, const groups = geometry.parameters[0..6].*;
    if (bits != 4 or planes != 0 or groups != 0) return false;
    if (zeros == @intFromEnum(affine.Zeros.less_one)) return false;
    return affine.check(Coding, geometry);
}

pub fn value(tile: *const Tile, row: u64, column: u64) f32 {
    return affine.value(Coding, tile, row, column);
}

pub fn scaleFault(tile: *const Tile) ?u32 {
    return affine.scaleFault(Coding, tile);
}

const tiles = @import("affine_tiles.zig");
pub const dot_forms = tiles.dot_forms;
pub const dotForm = tiles.dotForm;

pub fn packColumns(
    comptime dot: Dot,
    source: *const Tile,
    columns: Columns,
    tile: [*]align(64) u8,
) u64 {
    return tiles.packColumns(Coding, dot, source, columns, tile);
}

pub fn decode(comptime target: float.Target, tile: *const Tile) u64 {
    return affine.decode(Coding, target, tile);
}

const Dtype = @import("scale.zig").Dtype;
/// Bytes of F16 below one.
const small: []const u8 = &.{ 0x20, 0x21, 0x1f, 0x28 };

pub const samples = [_]Sample{
    sample("groups of 128", true, .f16, 128, small),
    sample("groups of 32", true, .bf16, 32, &.{}),
    sample("any", true, .f16, 4, &.{}),
    sample("without zeros", false, .bf16, 3, &.{}),
};

fn sample(
    name: []const u8,
    comptime has_zeros: bool,
    dtype: Dtype,
    group_rows: u32,
    alphabet: []const u8,
) Sample {
    const packed_codes: SampleSource = .{ .unit_columns = word_columns, .unit_bytes = 4 };
    const scales: SampleSource = .{
        .rows_per_line = group_rows,
        .unit_columns = 1,
        .unit_bytes = dtype.bytes(),
        .alphabet = alphabet,
    };
    const packed_zeros: SampleSource = .{
        .rows_per_line = group_rows,
        .unit_columns = word_columns,
        .unit_bytes = 4,
    };
    const all = [_]SampleSource{ packed_codes, scales, packed_zeros };
    const list = all;
    const dtype_number = @intFromEnum(dtype);
    return .{
        .name = name,
        .column_align = 32,
        .parameters = .{ 4, 0, @intFromBool(has_zeros), dtype_number, group_rows, 0, 0, 0 },
        .sources = list[0..if (has_zeros) 3 else 2],
    };
}
