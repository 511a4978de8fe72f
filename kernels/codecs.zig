//! What is derived for every codec of codecs/registry.zig alike: the scalar table, the geometry check,
//! and the table of a CPU level.
//!
//! A codec is a file with these declarations:
//!
//!     /// The value at stored row `tile.row_begin + row` and column `column` of the matrix:
//!     /// the formula of the format, written to be read. Rounded to f32 where the reference is.
//!     pub fn value(tile: *const Tile, row: u64, column: u64) f32
//!
//!     /// The whole tile, rounded from `value` to `target`, with vectors. Returns how many
//!     /// results are not finite.
//!     pub fn decode(comptime target: Target, tile: *const Tile) u64
//!
//!     /// Whether `decode` may be called on tiles of such a matrix.
//!     pub fn check(geometry: Geometry) bool
//!
//!     /// Optional: the source of the tile in which a scale is NaN or infinite, or a zero that
//!     /// divides. Asked where a result is not finite.
//!     pub fn scaleFault(tile: *const Tile) ?u32
//!
//!     /// Examples of such matrices, which testing/conformance.zig makes in every size. The first
//!     /// has numbers as models have them: benchmarks make it.
//!     pub const samples = [_]Sample{ … };
//!
//! and, where weights can be multiplied with as they are stored (matvec/dot.zig, matvec/pack.zig):
//!
//!     pub const dot_forms = [_]dots.Form{ … };
//!     pub fn spanCodes(…), blockScale(…), and what else a form needs
//!
//!     /// Optional: which of the forms a matrix takes, null if none. Else it is the first.
//!     pub fn dotForm(geometry: Geometry) ?u8
//!     (of weights that are stored [in, out], packColumns: matvec/lanes.zig)
//!
//!     /// Optional: significant bits that `value` rounds a product to, where tiles keep its factors.
//!     pub fn weightBits(geometry: Geometry) u32
//!
//! and, where dense weights can be rounded to it (table.PackValuesFn):
//!
//!     pub fn packValues(…)
const std = @import("std");
const assert = std.debug.assert;
const abi = @import("abi.zig");
const blake3 = @import("core/blake3.zig");
const checksum = @import("core/checksum.zig");
const float = @import("core/float.zig");
const table = @import("table.zig");
const geometry_file = @import("codecs/geometry.zig");
const dots = @import("matvec/dot.zig");
const scalar_product = @import("matvec/scalar.zig");
const stream = @import("core/stream.zig");

pub const Geometry = geometry_file.Geometry;
pub const Sample = geometry_file.Sample;
pub const SampleSource = geometry_file.SampleSource;
pub const Target = float.Target;

/// What abi.Codec has, but `copy`, which moves bytes and has no values.
pub const all = @import("codecs/registry.zig");

comptime {
    for (std.enums.values(Target)) |target| {
        assert(@intFromEnum(@field(abi.Dtype, @tagName(target))) == @intFromEnum(target));
    }
    assert(std.enums.values(Target).len == table.target_count);
}

/// The geometry of a step of one part.
pub fn geometryOf(step: *const abi.Step) Geometry {
    return .{
        .rows = step.rows,
        .columns = step.columns,
        .row_align = step.row_align,
        .column_align = step.column_align,
        .parameters = &step.parameters,
        .sources = step.sources[0..step.source_count],
    };
}

/// Whether the codec can decode a matrix of this geometry. Beyond the codec's own conditions, every
/// line of a source that can be cut by columns must hold all columns. Offsets and sizes are the
/// caller's to check.
pub fn check(codec: abi.Codec, geometry: Geometry) bool {
    for (geometry.sources) |source| {
        if (source.unit_columns == 0) continue;
        const units = std.math.divCeil(u64, geometry.columns, source.unit_columns) catch
            return false;
        const bytes = std.math.mul(u64, units, source.unit_bytes) catch return false;
        if (source.line_bytes < bytes) return false;
    }
    return switch (codec) {
        .copy => false,
        inline else => |tag| @field(all, @tagName(tag)).check(geometry),
    };
}

/// The source of the tile that holds a scale which is NaN or infinite, or a zero that divides. Its
/// results are not finite, so that a tile of finite ones need not be asked.
pub fn scaleFault(codec: abi.Codec, tile: *const table.Tile) ?u32 {
    if (tile.row_count == 0 or tile.column_count == 0) return null;
    switch (codec) {
        .copy => return null,
        inline else => |tag| {
            const file = @field(all, @tagName(tag));
            return if (@hasDecl(file, "scaleFault")) file.scaleFault(tile) else null;
        },
    }
}

/// Decodes value by value: slow, and the truth that every level must equal.
pub fn decodeScalar(comptime codec: type, comptime target: Target, tile: *const table.Tile) u64 {
    const elements: [*]target.Bits() = @ptrCast(@alignCast(tile.target));
    var non_finite_count: u64 = 0;
    for (0..tile.row_count) |row| {
        const line = elements[row * tile.target_stride ..][0..tile.column_count];
        for (line, tile.column_begin..) |*element, column| {
            const bits = float.round(target, codec.value(tile, row, column));
            element.* = bits;
            non_finite_count += @intFromBool(!float.isFinite(target, bits));
        }
    }
    return non_finite_count;
}

fn transposeScalar(comptime Element: type) table.TransposeFn {
    return &struct {
        fn transpose(
            source: [*]const u8,
            source_stride: u64,
            target: [*]u8,
            target_stride: u64,
            rows: u64,
            columns: u64,
        ) callconv(.c) void {
            const from: [*]const Element = @ptrCast(@alignCast(source));
            const to: [*]Element = @ptrCast(@alignCast(target));
            for (0..rows) |r| {
                for (0..columns) |c| to[c * target_stride + r] = from[r * source_stride + c];
            }
        }
    }.transpose;
}

/// `how(codec, target, tile)` for every codec and target, as a table's rows.
pub fn decoders(
    comptime how: fn (comptime type, comptime Target, *const table.Tile) u64,
) [table.codec_count][table.target_count]table.DecodeFn {
    var rows: [table.codec_count][table.target_count]table.DecodeFn = undefined;
    for (@typeInfo(abi.Codec).@"enum".fields) |tag| {
        for (std.enums.values(Target)) |target| {
            rows[tag.value][@intFromEnum(target)] = &struct {
                fn decode(tile: *const table.Tile) callconv(.c) u64 {
                    // Bytes have no values: nothing calls this entry.
                    if (tag.value == @intFromEnum(abi.Codec.copy)) unreachable;
                    return how(@field(all, tag.name), target, tile);
                }
            }.decode;
        }
    }
    return rows;
}

/// `functionsOf(codec)` for every codec, as a table's rows.
pub fn matvecs(
    comptime functionsOf: fn (comptime type) [dots.form_count_max]table.Matvec,
) [table.codec_count][dots.form_count_max]table.Matvec {
    var rows: [table.codec_count][dots.form_count_max]table.Matvec = @splat(@splat(.{}));
    for (@typeInfo(all).@"struct".decls) |declaration| {
        const tag = @field(abi.Codec, declaration.name);
        rows[@intFromEnum(tag)] = functionsOf(@field(all, declaration.name));
    }
    return rows;
}

/// Which of a codec's forms a matrix of this geometry takes; null: it has no products.
pub fn dotForm(codec: abi.Codec, geometry: Geometry) ?u8 {
    switch (codec) {
        .copy => return null,
        inline else => |tag| {
            const file = @field(all, @tagName(tag));
            if (@hasDecl(file, "dotForm")) return file.dotForm(geometry);
            return if (dots.formsOf(file).len > 0) 0 else null;
        },
    }
}

/// Significant bits of the values that tiles stand for more exactly; 0: tiles hold the values.
pub fn weightBits(codec: abi.Codec, geometry: Geometry) u32 {
    switch (codec) {
        .copy => unreachable, // has no products
        inline else => |tag| {
            const file = @field(all, @tagName(tag));
            return if (@hasDecl(file, "weightBits")) file.weightBits(geometry) else 0;
        },
    }
}

/// The group of each stored row, `table.no_group` where there is none; false where groups follow each
/// other.
pub fn rowGroups(codec: abi.Codec, tile: *const table.Tile, groups: []u32) bool {
    switch (codec) {
        .copy => unreachable, // has no products
        inline else => |tag| {
            const file = @field(all, @tagName(tag));
            return if (@hasDecl(file, "rowGroups")) file.rowGroups(tile, groups) else false;
        },
    }
}

/// Columns of the blocks of a form; of dense weights a span.
pub fn blockColumns(codec: abi.Codec, form: u8) u64 {
    switch (codec) {
        .copy => unreachable, // has no products
        inline else => |tag| {
            inline for (comptime dots.formsOf(@field(all, @tagName(tag))), 0..) |one, i|
                if (form == i) return switch (one) {
                    .coded => |dot| dot.block_columns,
                    .dense => dots.span_columns,
                };
            unreachable;
        },
    }
}

/// Bytes of a tile of so many spans of 32 columns.
pub fn tileBytes(codec: abi.Codec, form: u8, span_count: u64) u64 {
    switch (codec) {
        .copy => unreachable, // has no products
        inline else => |tag| {
            inline for (comptime dots.formsOf(@field(all, @tagName(tag))), 0..) |one, i|
                if (form == i) return dots.tileBytes(one, span_count);
            unreachable;
        },
    }
}

/// Sums that a span of 32 columns has of its own.
pub fn spanBlocks(codec: abi.Codec, form: u8) u64 {
    switch (codec) {
        .copy => unreachable, // has no products
        inline else => |tag| {
            inline for (comptime dots.formsOf(@field(all, @tagName(tag))), 0..) |one, i|
                if (form == i) return dots.spanBlocks(one);
            unreachable;
        },
    }
}

/// Reading and copying, by abi.Stream.
pub const streams: [@typeInfo(abi.Stream).@"enum".fields.len]table.StreamFn = blk: {
    var functions: [@typeInfo(abi.Stream).@"enum".fields.len]table.StreamFn = undefined;
    for (std.enums.values(abi.Stream), &functions) |kind, *function| function.* = &struct {
        fn call(
            source: [*]const u8,
            target: [*]u8,
            size: u64,
        ) callconv(.c) void {
            switch (kind) {
                .read => stream.read(@alignCast(source), size),
                .read_interleaved => stream.readInterleaved(@alignCast(source), size),
                .copy => stream.copy(source, target, size),
                .copy_streaming => stream.copyStreaming(source, target, size),
                .write_streaming => stream.writeStreaming(@alignCast(target), size),
            }
        }
    }.call;
    break :blk functions;
};

/// The table without vectors: what verification decodes with, and what every level is compared
/// with.
pub const scalar_table: table.Table = .{
    .decode = decoders(decodeScalar),
    .transpose16 = transposeScalar(u16),
    .transpose32 = transposeScalar(u32),
    .matvec = matvecs(scalar_product.functionsOf),
    .stream = streams,
    .hashing = .{ .chunks = &blake3.chunks, .parents = &blake3.parents },
    .checksum = &checksum.blocks,
};
