//! Dense f32.
//!
//!     source 0: 4 bytes for each column, little-endian
const std = @import("std");
const float = @import("../core/float.zig");
const table = @import("../table.zig");
const Geometry = @import("geometry.zig").Geometry;
const Tile = table.Tile;

pub fn check(geometry: Geometry) bool {
    return geometry.isDense(4);
}

pub fn value(tile: *const Tile, row: u64, column: u64) f32 {
    const bytes = tile.line(0, row)[column * 4 ..][0..4];
    return @bitCast(std.mem.readInt(u32, bytes, .little));
}
