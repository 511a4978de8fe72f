//! What a codec is told about a matrix before its tiles are decoded, and the examples by which it
//! describes the matrices that it takes.
const std = @import("std");
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

    /// The source of a matrix of this size, at offset 0 of file 0.
    pub fn of(shape: SampleSource, rows: u64, columns: u64) abi.Source {
        const line_bytes = if (shape.unit_columns == 0)
            shape.bytes + shape.bytes_per_row * rows + shape.bytes_per_column * columns
        else
            shape.unit_bytes * (std.math.divCeil(u64, columns, shape.unit_columns) catch
                unreachable);
        const line_count = if (shape.rows_per_line == 0)
            1
        else
            std.math.divCeil(u64, rows, shape.rows_per_line) catch unreachable;
        return .{
            .file = 0,
            .rows_per_line = shape.rows_per_line,
            .offset = 0,
            .size = line_count * line_bytes,
            .line_bytes = line_bytes,
            .batch_bytes = 0,
            .unit_columns = shape.unit_columns,
            .unit_bytes = shape.unit_bytes,
        };
    }

    /// Fills bytes of such a source with what may occur.
    pub fn fill(shape: SampleSource, bytes: []u8, random: std.Random) void {
        random.bytes(bytes);
        const alphabet = shape.alphabet;
        if (alphabet.len > 0) for (bytes) |*byte| {
            byte.* = alphabet[byte.* % alphabet.len];
        };
        if (shape.words.len == 0) return;
        var rest = bytes;
        while (rest.len >= 4) : (rest = rest[4..]) {
            const word = shape.words[random.uintLessThan(usize, shape.words.len)];
            std.mem.writeInt(u32, rest[0..4], word, .little);
        }
    }
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
