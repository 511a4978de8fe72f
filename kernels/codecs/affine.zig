//! What GPTQ and AWQ share: whole numbers, stored [in, out], that mean (code - zero) · scale. Each
//! column of a group of rows has a scale and a zero.
//!
//!     source 0, codes:   lines as the codec packs them, one for `Coding.line_rows` rows
//!     source 1, scales:  one for each column of a line
//!     source 2, zeros:   packed along the columns of a line; none where parameters[2] is 0
//!     last, g_idx:       I32, the group of each row; only where parameters[5] is 1
//!
//!     parameters[0], [1] bits of a code and whether they are planar (packed_int.zig)
//!     parameters[2]      zeros (`Zeros`)
//!     parameters[3]      dtype of the scales (scale.zig)
//!     parameters[4]      rows of a group
//!     parameters[5]      0: a line of scales, and of zeros, serves parameters[4] rows
//!                        n: sources 1 and 2 are n lines for the groups that g_idx names. Negative
//!                        numbers count from the last group; where all are 0, g_idx was never
//!                        filled in, and groups follow each other.
//!
//! The difference is exact, and so is its product with a scale of 16 bits, which the target rounds;
//! with an F32 scale the product is rounded to f32 first. So GPTQModel (utils/model_dequant.py) has
//! it for any dtype, and torch in F16. A row whose group does not exist is NaN, a fault of g_idx.
const std = @import("std");
const float = @import("../core/float.zig");
const scale_file = @import("scale.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");
const Dtype = scale_file.Dtype;
const Geometry = @import("geometry.zig").Geometry;
const Target = float.Target;
const Tile = table.Tile;

/// Columns that are decoded at once.
pub const step = 16;
/// Rows of a line whose shifts are written out.
const unroll_max = 8;
pub const Codes = @Vector(step, u32);
const F = @Vector(step, f32);

pub const Zeros = enum(u32) {
    /// None are stored: half of the codes are below zero.
    middle = 0,
    stored = 1,
    /// Each is stored less one (GPTQ's first format).
    less_one = 2,

    pub fn of(parameters: *const [8]u32) Zeros {
        return @enumFromInt(parameters[2]);
    }
};

/// The line of a group's scales and zeros.
pub const Group = struct { scales: [*]const u8, zeros: [*]const u8 };

/// Where the groups of a tile's rows are.
pub const Groups = struct {
    tile: *const Tile,
    /// Number of groups of g_idx; 0: lines follow the rows.
    count: u32,
    index: [*]const u8,
    /// Whether g_idx says nothing.
    is_blank: bool,
    strides: [2]u64,

    pub fn init(comptime Coding: type, tile: *const Tile) Groups {
        const count = tile.parameters[5];
        var groups: Groups = .{
            .tile = tile,
            .count = count,
            .index = undefined,
            .is_blank = false,
            .strides = undefined,
        };
        if (count == 0) return groups;
        const index = indexSource(tile);
        groups.index = tile.sources[index];
        groups.is_blank = count > 1 and isZero(groups.index[0..@intCast(tile.strides[index])]);
        groups.strides = stridesOf(Coding, tile.columns, Dtype.of(tile.parameters[3]).?);
        return groups;
    }

    /// A number that rows of one group have in common, and no others next to them; null where
    /// there is no such group.
    pub fn number(groups: *const Groups, row: u64) ?u64 {
        const at = groups.tile.row_begin + row;
        if (groups.count == 0) return at / groups.tile.parameters[4];
        if (groups.is_blank) {
            const group = at / groups.tile.parameters[4];
            return if (group < groups.count) group else null;
        }
        const stored = std.mem.readInt(i32, groups.index[at * 4 ..][0..4], .little);
        const group = if (stored < 0) @as(i64, stored) + groups.count else stored;
        return if (group >= 0 and group < groups.count) @intCast(group) else null;
    }

    /// The lines of a row whose group has this number.
    pub fn lines(groups: *const Groups, row: u64, index: u64) Group {
        const tile = groups.tile;
        const has_zeros = Zeros.of(&tile.parameters) != .middle;
        if (groups.count == 0) return .{
            .scales = tile.line(1, row),
            .zeros = if (has_zeros) tile.line(2, row) else undefined,
        };
        return .{
            .scales = tile.sources[1] + index * groups.strides[0],
            .zeros = if (has_zeros) tile.sources[2] + index * groups.strides[1] else undefined,
        };
    }
};

/// Looks at the end first, which is not zero where groups follow each other.
fn isZero(bytes: []const u8) bool {
    const word = @sizeOf(u64);
    var end = bytes.len;
    while (end >= word) : (end -= word) {
        if (std.mem.readInt(u64, bytes[end - word ..][0..word], .little) != 0) return false;
    }
    return std.mem.allEqual(u8, bytes[0..end], 0);
}

fn indexSource(tile: *const Tile) u32 {
    return if (Zeros.of(&tile.parameters) == .middle) 2 else 3;
}

/// Bytes of a line of scales, and of zeros.
fn stridesOf(comptime Coding: type, columns: u64, dtype: Dtype) [2]u64 {
    const units = (columns + Coding.zero_unit_columns - 1) / Coding.zero_unit_columns;
    return .{ columns * dtype.bytes(), units * Coding.zero_unit_bytes };
}

pub fn check(comptime Coding: type, geometry: Geometry) bool {
    if (!geometry.parametersEnd(6)) return false;
    const zeros = std.meta.intToEnum(Zeros, geometry.parameters[2]) catch return false;
    const dtype = Dtype.of(geometry.parameters[3]) orelse return false;
    const group_rows = geometry.parameters[4];
    const group_count = geometry.parameters[5];
    if (group_rows == 0) return false;
    const has_zeros = zeros != .middle;
    const count = @as(usize, 2) + @intFromBool(has_zeros) + @intFromBool(group_count > 0);
    if (geometry.sources.len != count) return false;
    if (geometry.row_align % Coding.line_rows != 0 or geometry.column_align % 32 != 0) return false;
    if (!Coding.checkCodes(geometry.sources[0], geometry.columns)) return false;
    const scales = geometry.sources[1];
    if (group_count == 0) {
        if (scales.rows_per_line != group_rows) return false;
        if (scales.unit_columns != 1 or scales.unit_bytes != dtype.bytes()) return false;
        if (!has_zeros) return true;
        const packed_zeros = geometry.sources[2];
        if (packed_zeros.rows_per_line != group_rows) return false;
        return packed_zeros.unit_columns == Coding.zero_unit_columns and
            packed_zeros.unit_bytes == Coding.zero_unit_bytes;
    }
    const strides = stridesOf(Coding, geometry.columns, dtype);
    const wholes = [_]u64{ strides[0] * group_count, strides[1] * group_count, geometry.rows * 4 };
    for (geometry.sources[1..], 0..) |source, i| {
        if (source.rows_per_line != 0 or source.unit_columns != 0) return false;
        const what: usize = if (i + 2 == count) 2 else i;
        if (source.line_bytes < wholes[what]) return false;
    }
    return true;
}

pub fn value(comptime Coding: type, tile: *const Tile, row: u64, column: u64) f32 {
    const groups: Groups = .init(Coding, tile);
    const number = groups.number(row) orelse return float.nan;
    const group = groups.lines(row, number);
    const at = tile.row_begin + row;
    const line = tile.line(0, row);
    const code = Coding.code(line, tile.columns, @intCast(at % Coding.line_rows), column);
    const product = difference(Coding, tile, group, code, column) * scaleOf(tile, group, column);
    return if (product != product) float.nan else product;
}

pub fn scaleOf(tile: *const Tile, group: Group, column: u64) f32 {
    return Dtype.of(tile.parameters[3]).?.read(group.scales, column);
}

/// The code less its zero.
pub fn difference(
    comptime Coding: type,
    tile: *const Tile,
    group: Group,
    code: u32,
    column: u64,
) f32 {
    const zero = switch (Zeros.of(&tile.parameters)) {
        .middle => Coding.middle,
        .stored => Coding.zero(group.zeros, column, false),
        .less_one => Coding.zero(group.zeros, column, true),
    };
    return @floatFromInt(@as(i32, @intCast(code)) - @as(i32, @intCast(zero)));
}

pub fn scaleFault(comptime Coding: type, tile: *const Tile) ?u32 {
    const groups: Groups = .init(Coding, tile);
    const dtype = Dtype.of(tile.parameters[3]).?;
    var before: ?u64 = null;
    for (0..tile.row_count) |row| {
        const number = groups.number(row) orelse return indexSource(tile);
        if (before == number) continue;
        before = number;
        const scales = groups.lines(row, number).scales;
        for (tile.column_begin..tile.column_begin + tile.column_count) |column| {
            if (!std.math.isFinite(dtype.read(scales, column))) return 1;
        }
    }
    return null;
}

pub fn decode(comptime Coding: type, comptime target: Target, tile: *const Tile) u64 {
    const groups: Groups = .init(Coding, tile);
    var non_finite_count: u64 = 0;
    var row: u64 = 0;
    while (row < tile.row_count) {
        const number = groups.number(row);
        // Few enough rows at a time that what they write stays in the first-level cache.
        const stop = @min(tile.row_count, row + Coding.block_rows -
            (tile.row_begin + row) % Coding.block_rows);
        var end = row + 1;
        while (end < stop and groups.number(end) == number) end += 1;
        if (number) |index| {
            const group = groups.lines(row, index);
            non_finite_count += decodeRun(Coding, target, tile, group, row, end);
        } else {
            non_finite_count += fillNan(target, tile, row, end);
        }
        row = end;
    }
    return non_finite_count;
}

fn fillNan(comptime target: Target, tile: *const Tile, begin: u64, end: u64) u64 {
    const elements: [*]target.Bits() = @ptrCast(@alignCast(tile.target));
    for (begin..end) |row| {
        const to = elements[row * tile.target_stride ..][0..tile.column_count];
        @memset(to, float.round(target, float.nan));
    }
    return (end - begin) * tile.column_count;
}

/// Rows of one group, of one block.
fn decodeRun(
    comptime Coding: type,
    comptime target: Target,
    tile: *const Tile,
    group: Group,
    begin: u64,
    end: u64,
) u64 {
    @setRuntimeSafety(false);
    // Of a larger scale the largest product may overflow.
    const limit: f32 = if (target == .f16) 0x1p7 else 0x1p100;
    const elements: [*]target.Bits() = @ptrCast(@alignCast(tile.target));
    const dtype = Dtype.of(tile.parameters[3]).?;
    const zeros = Zeros.of(&tile.parameters);
    const is_whole = Coding.line_rows <= unroll_max and end - begin == Coding.block_rows;
    var non_finite_count: u64 = 0;
    var column: u64 = 0;
    while (column + step <= tile.column_count) : (column += step) {
        const at = tile.column_begin + column;
        const block: Block = .{
            .scales = dtype.readVector(step, group.scales, at),
            .zeros = switch (zeros) {
                .middle => @splat(Coding.middle),
                .stored => Coding.zeros(group.zeros, at, false),
                .less_one => Coding.zeros(group.zeros, at, true),
            },
            .column = at,
        };
        const to = elements + column;
        const limits: Codes = @splat(@bitCast(limit));
        if (@reduce(.Or, magnitudes(block.scales) > limits)) {
            non_finite_count += decodeAny(Coding, target, tile, &block, begin, end, to);
        } else if (is_whole) {
            // Where lines are longer this is not compiled.
            if (comptime Coding.line_rows > unroll_max) unreachable;
            decodeBlock(Coding, target, tile, &block, begin, to);
        } else {
            decodePlain(Coding, target, tile, &block, begin, end, to);
        }
    }
    for (begin..end) |row| {
        for (column..tile.column_count) |rest| {
            const bits = float.round(target, value(Coding, tile, row, tile.column_begin + rest));
            elements[row * tile.target_stride + rest] = bits;
            non_finite_count += @intFromBool(!float.isFinite(target, bits));
        }
    }
    return non_finite_count;
}

/// What the rows of a group have in common in some columns.
const Block = struct {
    scales: F,
    zeros: Codes,
    /// The first one, in the matrix.
    column: u64,

    inline fn products(block: *const Block, codes: Codes) F {
        const differences: @Vector(step, i32) = @bitCast(codes -% block.zeros);
        return @as(F, @floatFromInt(differences)) * block.scales;
    }
};

/// NaN is above infinity.
inline fn magnitudes(values: F) Codes {
    return @as(Codes, @bitCast(values)) & @as(Codes, @splat(0x7fff_ffff));
}

/// A whole block of products that are all numbers.
inline fn decodeBlock(
    comptime Coding: type,
    comptime target: Target,
    tile: *const Tile,
    block: *const Block,
    begin: u64,
    to: [*]target.Bits(),
) void {
    @setRuntimeSafety(false);
    const rows: Rows(Coding) = .init(tile, block.column);
    const line = rows.line(begin);
    inline for (0..Coding.block_rows / Coding.line_rows) |i| {
        const bytes = line + i * tile.strides[0];
        vector.prefetch(bytes + rows.offset() + rows.ahead);
        inline for (0..Coding.line_rows) |in_line| {
            const codes = Coding.codes(bytes, tile.columns, in_line, block.column);
            const row = begin + i * Coding.line_rows + in_line;
            const elements = vector.roundFinite(target, block.products(codes));
            vector.store(to + row * tile.target_stride, elements);
        }
    }
}

/// Some rows of a block of products that are all numbers.
inline fn decodePlain(
    comptime Coding: type,
    comptime target: Target,
    tile: *const Tile,
    block: *const Block,
    begin: u64,
    end: u64,
    to: [*]target.Bits(),
) void {
    @setRuntimeSafety(false);
    const rows: Rows(Coding) = .init(tile, block.column);
    for (begin..end) |row| {
        const products = block.products(rows.codes(row));
        vector.store(to + row * tile.target_stride, vector.roundFinite(target, products));
    }
}

noinline fn decodeAny(
    comptime Coding: type,
    comptime target: Target,
    tile: *const Tile,
    block: *const Block,
    begin: u64,
    end: u64,
    to: [*]target.Bits(),
) u64 {
    @setRuntimeSafety(false);
    const nan: F = @splat(float.nan);
    const rows: Rows(Coding) = .init(tile, block.column);
    var counter: vector.NonFiniteCounter(target, step) = .{};
    for (begin..end) |row| {
        const products = block.products(rows.codes(row));
        const numbers = @select(f32, products != products, nan, products);
        const bits = vector.round(target, numbers);
        counter.add(bits);
        vector.store(to + row * tile.target_stride, bits);
    }
    return counter.total();
}

/// The codes of a tile's rows in some columns.
fn Rows(comptime Coding: type) type {
    return struct {
        tile: *const Tile,
        column: u64,
        first_line: u64,
        ahead: u64,

        const Self = @This();

        inline fn init(tile: *const Tile, column: u64) Self {
            return .{
                .tile = tile,
                .column = column,
                .first_line = tile.row_begin / Coding.line_rows,
                .ahead = vector.prefetchDistance(
                    tile.column_count * Coding.column_bits / 8,
                    tile.strides[0],
                ),
            };
        }

        /// The line of a row.
        inline fn line(rows: Self, row: u64) [*]const u8 {
            const number = (rows.tile.row_begin + row) / Coding.line_rows - rows.first_line;
            return rows.tile.sources[0] + number * rows.tile.strides[0];
        }

        /// Where the columns are in a line.
        inline fn offset(rows: Self) u64 {
            return rows.column * Coding.column_bits / 8;
        }

        inline fn codes(rows: Self, row: u64) Codes {
            @setRuntimeSafety(false);
            const bytes = rows.line(row);
            const in_line = (rows.tile.row_begin + row) % Coding.line_rows;
            if (in_line == 0) vector.prefetch(bytes + rows.offset() + rows.ahead);
            return Coding.codes(bytes, rows.tile.columns, @intCast(in_line), rows.column);
        }
    };
}
