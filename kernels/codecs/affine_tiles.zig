//! How weights of GPTQ and AWQ (affine.zig) stand in tiles for products. They are stored [in, out],
//! so that a stored column is a row of the product, and a lane of a tile.
const std = @import("std");
const affine = @import("affine.zig");
const dots = @import("../matvec/dot.zig");
const integer_forms = @import("integer_forms.zig");
const lanes = @import("../matvec/lanes.zig");
const table = @import("../table.zig");
const Geometry = @import("geometry.zig").Geometry;
const Tile = table.Tile;

pub const dot_forms = integer_forms.dot_forms;

/// Rows whose groups are named stand in the order of these (matvec/order.zig).
pub fn dotForm(geometry: Geometry) ?u8 {
    return integer_forms.select(geometry.parameters[0] <= 4, geometry.parameters[4], geometry.rows);
}

/// The group of each stored row; false where they follow each other.
pub fn rowGroups(comptime Coding: type, tile: *const Tile, groups: []u32) bool {
    if (tile.parameters[5] == 0) return false;
    const all: affine.Groups = .init(Coding, tile);
    for (groups, 0..) |*group, row|
        group.* = if (all.number(row)) |number| @intCast(number) else table.no_group;
    return true;
}

/// table.PackColumnsFn of a codec of this family.
pub fn packColumns(
    comptime Coding: type,
    comptime dot: dots.Dot,
    source: *const Tile,
    columns: lanes.Columns,
    tile: [*]align(64) u8,
) u64 {
    const is_bytes = dot.codes == .eight;
    const spare = integer_forms.spareBits(source.parameters[0]);
    const unit = integer_forms.unit(spare);
    const flip: lanes.Words = @splat(if (is_bytes) 0x80 else 0);
    const groups: affine.Groups = .init(Coding, source);
    const writer: lanes.Writer(dot) = .{ .tile = tile, .lane = columns.lane };
    var non_finite_count: u64 = 0;
    for (0..source.row_count) |row| {
        const at = source.row_begin + row;
        const position = if (columns.positions) |positions| positions[at] else at;
        const line = source.line(0, row);
        const in_line: u32 = @intCast(at % Coding.line_rows);
        var codes: [lanes.count]u32 = @splat(0);
        for (codes[0..columns.count], columns.begin..) |*code, column|
            code.* = Coding.code(line, source.columns, in_line, column) << spare;
        writer.addCodes(position, @as(lanes.Words, codes) ^ flip);
        if (position % dot.block_columns != 0) continue;
        var scales: [lanes.count]f32 = @splat(0);
        var minima: [lanes.count]f32 = @splat(0);
        for (scales[0..columns.count], minima[0..columns.count], columns.begin..) |*scale, *minimum, column| {
            const number = groups.number(row) orelse {
                scale.* = std.math.nan(f32);
                non_finite_count += 1;
                continue;
            };
            const group = groups.lines(row, number);
            const stored = affine.scaleOf(source, group, column);
            non_finite_count += @intFromBool(!std.math.isFinite(stored));
            scale.* = stored / unit;
            minimum.* = -affine.difference(Coding, source, group, Coding.middle, column) * stored;
        }
        writer.setScales(position / dot.block_columns, scales);
        writer.setMinima(position / dot.block_columns, minima);
    }
    return non_finite_count;
}
