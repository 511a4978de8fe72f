//! Dense f16.
//!
//!     source 0: 2 bytes for each column, little-endian
const std = @import("std");
const float = @import("../core/float.zig");
const table = @import("../table.zig");
const Geometry = @import("geometry.zig").Geometry;
const Tile = table.Tile;

pub fn check(geometry: Geometry) bool {
    return geometry.isDense(2);
}

pub fn value(tile: *const Tile, row: u64, column: u64) f32 {
    const bytes = tile.line(0, row)[column * 2 ..][0..2];
    return float.f32FromF16(std.mem.readInt(u16, bytes, .little));
}
