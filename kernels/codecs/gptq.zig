//! GPTQ: codes of 2 to 8 bits, packed along the rows of a matrix that is stored [in, out].
//!
//!     source 0, codes:   2, 4, 8 bits: a word of each column for 32 / bits rows, the first in the
//!                        lowest bits. Other widths: a line of 32 rows has `bits` times a word of
//!                        each column, one below the other (packed_int.zig)
//!     source 2, zeros:   packed in the same way, along the columns
//!
//! affine.zig has the other sources, the parameters and the arithmetic. In the first format zeros
//! are stored less one. Adding it to a whole word lets an overflow go on into the next field, which
//! is what took a borrow when GPTQModel subtracted it so (utils/model.py,
//! convert_gptq_v1_to_v2_format_module); of other widths each field wraps around.
const std = @import("std");
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
const Form = packed_int.Form;
const Sample = geometry_file.Sample;
const SampleSource = geometry_file.SampleSource;
const Tile = table.Tile;
const step = affine.step;

fn Coding(comptime form: Form) type {
    return struct {
        pub const line_rows = form.fields();
        /// Rows that are decoded together: whole lines of them.
        pub const block_rows = @max(8, line_rows);
        /// Of a column in a word of a line.
        pub const column_bits = 32;
        pub const zero_unit_columns = form.fields();
        pub const zero_unit_bytes = 4 * form.words();
        pub const middle = 1 << (form.bits - 1);

        pub fn checkCodes(codes_source: abi.Source, columns: u64) bool {
            if (codes_source.rows_per_line != line_rows) return false;
            if (form.isWhole()) {
                return codes_source.unit_columns == 1 and codes_source.unit_bytes == 4;
            }
            if (codes_source.unit_columns != 0) return false;
            return codes_source.line_bytes >= columns * 4 * form.words();
        }

        pub inline fn code(line: [*]const u8, columns: u64, row: u32, column: u64) u32 {
            const words: Column(u32) = .{ .bytes = line + column * 4, .stride = columns * 4 };
            return packed_int.field(form, words, row);
        }

        pub inline fn codes(line: [*]const u8, columns: u64, row: u32, column: u64) Codes {
            const words: Column(Codes) = .{ .bytes = line + column * 4, .stride = columns * 4 };
            return packed_int.field(form, words, row);
        }

        pub inline fn zero(line: [*]const u8, column: u64, less_one: bool) u32 {
            const group = column / zero_unit_columns;
            const index: u32 = @intCast(column % zero_unit_columns);
            const words: packed_int.Line = .{ .bytes = line + group * zero_unit_bytes };
            if (comptime form.isWhole()) {
                const word = words.at(0) +% if (less_one) @as(u32, form.ones()) else 0;
                return packed_int.field(form, Word{ .word = word }, index);
            }
            const stored = packed_int.field(form, words, index);
            return if (less_one) stored + 1 & form.mask() else stored;
        }

        /// `column` is a multiple of `step`.
        pub inline fn zeros(line: [*]const u8, column: u64, less_one: bool) Codes {
            @setRuntimeSafety(false);
            if (comptime !form.isWhole()) {
                var list: [step]u32 = undefined;
                for (&list, column..) |*stored, i| stored.* = zero(line, i, less_one);
                return list;
            }
            const count = step / form.fields();
            const from = line + column / form.fields() * 4;
            const words = vector.load(@Vector(count, u32), from) +%
                @as(@Vector(count, u32), @splat(if (less_one) form.ones() else 0));
            const spread = @shuffle(u32, words, undefined, orderOf(form.fields()));
            return spread >> (comptime shiftsOf(form)) & @as(Codes, @splat(form.mask()));
        }
    };
}

/// A word alone.
const Word = struct {
    word: u32,

    pub inline fn at(word: Word, index: u64) u32 {
        std.debug.assert(index == 0);
        return word.word;
    }
};

/// The words of a column, or of neighbouring ones, one below the other.
fn Column(comptime T: type) type {
    return struct {
        bytes: [*]const u8,
        stride: u64,

        pub inline fn at(column: @This(), word: u64) T {
            return vector.load(T, column.bytes + word * column.stride);
        }
    };
}

/// The word that each of `step` fields is in.
fn orderOf(comptime fields: comptime_int) [step]i32 {
    var order: [step]i32 = undefined;
    for (&order, 0..) |*word, i| word.* = i / fields;
    return order;
}

fn shiftsOf(comptime form: Form) @Vector(step, u5) {
    var shifts: [step]u5 = undefined;
    for (&shifts, 0..) |*shift, i| shift.* = i % form.fields() * form.bits;
    return shifts;
}

pub fn check(geometry: geometry_file.Geometry) bool {
    const bits, const planar = geometry.parameters[0..2].*;
    switch (bits) {
        inline 2...8 => |b| {
            if (comptime 32 % b != 0) {
                const form: Form = .{ .bits = b, .is_planar = true };
                if (planar == 1) return affine.check(Coding(form), geometry);
            }
            return planar == 0 and affine.check(Coding(.{ .bits = b }), geometry);
        },
        else => return false,
    }
}

pub fn value(tile: *const Tile, row: u64, column: u64) f32 {
    switch (tile.parameters[0]) {
        inline 2...8 => |b| {
            if (comptime 32 % b != 0) {
                const form: Form = .{ .bits = b, .is_planar = true };
                if (tile.parameters[1] == 1) return affine.value(Coding(form), tile, row, column);
            }
            return affine.value(Coding(.{ .bits = b }), tile, row, column);
        },
        else => unreachable,
    }
}

pub fn scaleFault(tile: *const Tile) ?u32 {
    switch (tile.parameters[0]) {
        inline 2...8 => |b| return affine.scaleFault(Coding(.{ .bits = b }), tile),
        else => unreachable,
    }
}

const tiles = @import("affine_tiles.zig");
pub const dot_forms = tiles.dot_forms;
pub const dotForm = tiles.dotForm;

pub fn rowGroups(tile: *const Tile, groups: []u32) bool {
    // The bits do not matter to g_idx.
    return tiles.rowGroups(Coding(.{ .bits = 4 }), tile, groups);
}

pub fn packColumns(
    comptime dot: Dot,
    source: *const Tile,
    columns: Columns,
    tile: [*]align(64) u8,
) u64 {
    switch (source.parameters[0]) {
        inline 2...8 => |b| {
            if (comptime (b <= 4) != (dot.codes == .four)) unreachable; // dotForm
            if (comptime 32 % b != 0) {
                const planes = Coding(.{ .bits = b, .is_planar = true });
                if (source.parameters[1] == 1)
                    return tiles.packColumns(planes, dot, source, columns, tile);
            }
            return tiles.packColumns(Coding(.{ .bits = b }), dot, source, columns, tile);
        },
        else => unreachable,
    }
}

pub fn decode(comptime target: float.Target, tile: *const Tile) u64 {
    switch (tile.parameters[0]) {
        inline 2...8 => |b| {
            if (comptime 32 % b != 0) {
                const form: Form = .{ .bits = b, .is_planar = true };
                if (tile.parameters[1] == 1) return affine.decode(Coding(form), target, tile);
            }
            return affine.decode(Coding(.{ .bits = b }), target, tile);
        },
        else => unreachable,
    }
}

pub const samples = blk: {
    var list: []const Sample = &.{
        lines(4, false, .less_one, f16_, 128, small_f16),
        lines(4, false, .stored, f16_, 8, &.{}),
        lines(8, false, .middle, bf16, 4, &.{}),
        lines(2, false, .less_one, f32_, 16, small_f32),
        lines(3, false, .less_one, f16_, 32, small_f16),
        lines(3, true, .stored, bf16, 32, &.{}),
        lines(5, false, .less_one, f16_, 32, small_f16),
        lines(8, false, .stored, f16_, 128, small_f16),
        lines(2, false, .stored, bf16, 128, &.{}),
        lines(7, true, .stored, f16_, 32, small_f16),
        indexed(4, false, .less_one, f16_, 32, 64, small_f16),
        indexed(8, false, .stored, f32_, 8, 3, &.{}),
        indexed(3, false, .stored, f16_, 128, 3, small_f16),
    };
    for ([_]u32{ 5, 6, 7 }) |bits| {
        list = list ++ .{indexed(bits, true, .stored, f16_, 32, 2, small_f16)};
    }
    for ([_]u32{ 6, 7 }) |bits| {
        list = list ++ .{lines(bits, false, .middle, f16_, 40, small_f16)};
    }
    break :blk list[0..list.len].*;
};

const Dtype = @import("scale.zig").Dtype;
const f32_ = Dtype.f32;
const f16_ = Dtype.f16;
const bf16 = Dtype.bf16;
/// Bytes of F16 and F32 below one.
const small_f16: []const u8 = &.{ 0x20, 0x21, 0x1f, 0x28 };
const small_f32: []const u8 = &.{ 0x3c, 0x3d, 0x3b };

fn fieldsOf(bits: u32) u32 {
    return if (32 % bits == 0) 32 / bits else 32;
}

fn codesOf(bits: u32) SampleSource {
    const fields = fieldsOf(bits);
    return if (32 % bits == 0)
        .{ .rows_per_line = fields, .unit_columns = 1, .unit_bytes = 4 }
    else
        .{ .rows_per_line = fields, .bytes_per_column = 4 * bits };
}

fn parametersOf(
    bits: u32,
    planar: bool,
    zeros: affine.Zeros,
    dtype: Dtype,
    group_rows: u32,
    groups: u32,
) [abi.parameter_count_max]u32 {
    const planes = @intFromBool(planar);
    const scales = @intFromEnum(dtype);
    return .{ bits, planes, @intFromEnum(zeros), scales, group_rows, groups, 0, 0 };
}

fn named(comptime kind: []const u8, bits: u32, planar: bool) []const u8 {
    return std.fmt.comptimePrint("{d} bits, {s}{s}", .{
        bits, kind, if (planar) ", planes" else "",
    });
}

/// Groups in sequence.
fn lines(
    comptime bits: u32,
    planar: bool,
    zeros: affine.Zeros,
    dtype: Dtype,
    group_rows: u32,
    alphabet: []const u8,
) Sample {
    const fields = fieldsOf(bits);
    const scales: SampleSource = .{
        .rows_per_line = group_rows,
        .unit_columns = 1,
        .unit_bytes = dtype.bytes(),
        .alphabet = alphabet,
    };
    const packed_zeros: SampleSource = .{
        .rows_per_line = group_rows,
        .unit_columns = fields,
        .unit_bytes = fields * bits / 8,
    };
    const all = [_]SampleSource{ codesOf(bits), scales, packed_zeros };
    const list = all;
    return .{
        .name = named("lines", bits, planar),
        .row_align = fields,
        .column_align = 32,
        .parameters = parametersOf(bits, planar, zeros, dtype, group_rows, 0),
        .sources = list[0..if (zeros == .middle) 2 else 3],
    };
}

/// Groups in the order of g_idx, of which some do not exist.
fn indexed(
    comptime bits: u32,
    planar: bool,
    zeros: affine.Zeros,
    dtype: Dtype,
    group_rows: u32,
    groups: u32,
    alphabet: []const u8,
) Sample {
    const fields = fieldsOf(bits);
    const scales: SampleSource = .{
        .rows_per_line = 0,
        .bytes_per_column = groups * dtype.bytes(),
        .alphabet = alphabet,
    };
    const packed_zeros: SampleSource = .{
        .rows_per_line = 0,
        .bytes = groups * fields * bits / 8,
        .bytes_per_column = groups * bits,
    };
    const numbers: []const u32 = &.{ 0, 1, 2, 3, 0, 1, 0xffff_ffff, 0xffff_fffe };
    const g_idx: SampleSource = .{ .rows_per_line = 0, .bytes_per_row = 4, .words = numbers };
    const all = [_]SampleSource{ codesOf(bits), scales, packed_zeros, g_idx };
    const list = all;
    return .{
        .name = named("g_idx", bits, planar),
        .row_align = fields,
        .column_align = 32,
        .parameters = parametersOf(bits, planar, zeros, dtype, group_rows, groups),
        .sources = &list,
    };
}
