//! Groups of columns of integers.zig, and zeros that are packed along the rows: code r of a group
//! is at bit r * bits of the group's column of 32-bit words.
const std = @import("std");
const abi = @import("../abi.zig");
const Geometry = @import("geometry.zig").Geometry;
const Tile = @import("../table.zig").Tile;

/// Whether scales, or what is placed like them, have this form.
pub fn isPlaced(source: abi.Source, width: u32, groups: u32, bytes: u32) bool {
    if (groups != 0) return source.unit_columns == 0 and source.line_bytes / bytes >= groups;
    if (source.unit_columns != width) return false;
    return if (width == 0) source.line_bytes >= bytes else source.unit_bytes == bytes;
}

/// Whether source 2 holds a zero for each group of each row.
pub fn checkWords(geometry: Geometry, bits: u32, width: u32, groups: u32) bool {
    const source = geometry.sources[2];
    if (32 % bits == 0) {
        return source.rows_per_line == 32 / bits and isPlaced(source, width, groups, 4);
    }
    if (source.rows_per_line != 0 or source.unit_columns != 0) return false;
    const group_count = groupCount(geometry.columns, width, groups);
    const word_bits = std.math.mul(u64, geometry.rows, bits) catch return false;
    const word_rows = std.math.divCeil(u64, word_bits, 32) catch unreachable;
    const words = std.math.mul(u64, word_rows, group_count) catch return false;
    return source.line_bytes / 4 >= words;
}

fn groupCount(columns: u64, width: u64, groups: u64) u64 {
    if (groups != 0) return groups;
    return if (width == 0) 1 else (columns + width - 1) / width;
}

/// The zero of a row's group, packed along the rows.
pub fn packedZero(tile: *const Tile, row: u64, group: u64) u32 {
    const bits = tile.parameters[0];
    const begin = (tile.row_begin + row) * bits;
    const mask = (@as(u64, 1) << @intCast(bits)) - 1;
    if (32 % bits == 0) {
        const word = std.mem.readInt(u32, tile.line(2, row)[group * 4 ..][0..4], .little);
        return @intCast(word >> @intCast(begin % 32) & mask);
    }
    const count = groupCount(tile.columns, tile.parameters[2], tile.parameters[6]);
    const words = tile.sources[2];
    const place = (begin / 32 * count + group) * 4;
    var window: u64 = std.mem.readInt(u32, words[place..][0..4], .little);
    if (begin % 32 + bits > 32) {
        const next = std.mem.readInt(u32, words[place + count * 4 ..][0..4], .little);
        window |= @as(u64, next) << 32;
    }
    return @intCast(window >> @intCast(begin % 32) & mask);
}
