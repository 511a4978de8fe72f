//! What a codec is told about a matrix before its tiles are decoded, and the examples by which it
//! describes the matrices that it takes.
const abi = @import("../abi.zig");

/// The part of a Step or DecodeRequest that decides whether the codec may touch the bytes.
pub const Geometry = struct {
    rows: u64,
    columns: u64,
    /// Tiles begin at multiples of these; 0: the matrix is decoded as one tile.
    row_align: u32 = 0,
    column_align: u32 = 0,
    parameters: *const [abi.parameter_count_max]u32,
    sources: []const abi.Source,

    /// Every parameter from `first` on is zero: a codec takes no number that it has no meaning for.
    pub fn parametersEnd(geometry: Geometry, first: usize) bool {
        for (geometry.parameters[first..]) |parameter| if (parameter != 0) return false;
        return true;
    }
};

/// The shape of a source in a sample; the fields are those of abi.Source.
pub const SampleSource = struct {
    rows_per_line: u32 = 1,
    unit_columns: u32 = 0,
    unit_bytes: u32 = 0,
    /// Bytes of a line of a source without units: this many, and so many for each row and each
    /// column.
    bytes: u32 = 0,
    bytes_per_row: u32 = 0,
    bytes_per_column: u32 = 0,
    /// Bytes that may occur, cycled through at random; empty: all.
    alphabet: []const u8 = &.{},
    /// Little-endian words that may occur, cycled through at random, in place of bytes.
    words: []const u32 = &.{},
};

/// A kind of matrix that a codec takes. Tests make matrices of it at every size that the units
/// allow.
pub const Sample = struct {
    name: []const u8,
    /// Rows and columns of a matrix are multiples of these.
    row_unit: u32 = 1,
    column_unit: u32 = 1,
    /// Tiles begin at multiples of these.
    row_align: u32 = 1,
    column_align: u32 = 1,
    parameters: [abi.parameter_count_max]u32 = @splat(0),
    sources: []const SampleSource,
};
