//! MXFP4 of OCP Microscaling v1.0 as gpt-oss stores it (openai/gpt-oss, gpt_oss/torch/weights.py).
//!
//!     source 0, codes:  16 bytes for 32 columns   [c1 c0] [c3 c2] … [c31 c30]   low nibble = even column
//!     source 1, scales:  1 byte for 32 columns    e, meaning 2^(e - 127)
const float = @import("../core/float.zig");
const table = @import("../table.zig");
const Geometry = @import("geometry.zig").Geometry;
const Tile = table.Tile;

/// Columns that share a scale.
const block_columns = 32;

pub fn check(geometry: Geometry) bool {
    if (geometry.sources.len != 2) return false;
    const codes = geometry.sources[0];
    const scales = geometry.sources[1];
    if (codes.rows_per_line != 1 or scales.rows_per_line != 1) return false;
    if (codes.unit_columns == 0 or codes.unit_columns != 2 * codes.unit_bytes) return false;
    if (block_columns % codes.unit_columns != 0) return false;
    if (scales.unit_columns != block_columns or scales.unit_bytes != 1) return false;
    return geometry.column_align % block_columns == 0 and geometry.parametersEnd(0);
}

/// E2M1 times E8M0: exact in f32 but for overflow, and never below 2^-128. With e = 255 zero gives NaN.
pub fn value(tile: *const Tile, row: u64, column: u64) f32 {
    const byte = tile.line(0, row)[column / 2];
    const code = if (column % 2 == 0) byte & 15 else byte >> 4;
    const scale = tile.line(1, row)[column / block_columns];
    return float.product(float.e2m1[code], float.f32FromE8m0(scale));
}
