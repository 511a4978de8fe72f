//! What a codec is told about a matrix before its tiles are decoded: the part of a Step or DecodeRequest that decides
//! whether the codec may touch the bytes.
const abi = @import("../abi.zig");

pub const Geometry = struct {
    rows: u64,
    columns: u64,
    /// Tiles begin at multiples of these; 0: the matrix is decoded as one tile.
    row_align: u32 = 0,
    column_align: u32 = 0,
    parameters: *const [abi.parameter_count_max]u32,
    sources: []const abi.Source,

    /// One source of little-endian elements, each stored row a line of its own.
    pub fn isDense(geometry: Geometry, element_bytes: u32) bool {
        if (geometry.sources.len != 1 or !geometry.parametersEnd(0)) return false;
        const source = geometry.sources[0];
        return source.rows_per_line == 1 and source.unit_columns != 0 and
            source.unit_bytes == @as(u64, source.unit_columns) * element_bytes;
    }

    /// Every parameter from `first` on is zero: a codec takes no number that it has no meaning for.
    pub fn parametersEnd(geometry: Geometry, first: usize) bool {
        for (geometry.parameters[first..]) |parameter| if (parameter != 0) return false;
        return true;
    }
};
