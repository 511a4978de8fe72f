//! NVFP4: E2M1 codes under a scale for each 16 columns, and one for the whole matrix.
//!
//!     source 0, codes:   8 bytes for 16 columns   [c1 c0] [c3 c2] … [c15 c14]   low nibble first
//!     source 1, scales:  1 byte for 16 columns    E4M3
//!     then, as the parameters say, one F32 for the whole matrix, and a scale for each column
//!
//!     parameters[0]      0: no scale of the whole; 1: it multiplies (nvidia-modelopt,
//!                        quantization/qtensor/nvfp4_tensor.py); 2: it divides (compressed-tensors,
//!                        compressors/nvfp4). The bits differ from a product with the reciprocal.
//!                        3: the 2688th part of it multiplies (mlx, `global_scale`: the largest
//!                        magnitude, for 448 times the largest code)
//!     parameters[1]      1: code 8 is +0, as in modelopt's table; 0: it is -0
//!     parameters[2]      dtype of the scales of columns (scale.zig); 0: there are none. They are
//!                        modelopt's `pre_quant_scale`, which multiplies what enters the layer.
//!
//! A group's factor is its scale times (or divided by) that of the whole, rounded to f32; then
//! comes the product with the element, and last that with the column's scale, each rounded to f32.
const std = @import("std");
const float = @import("../core/float.zig");
const minifloat = @import("../core/minifloat.zig");
const scale_file = @import("scale.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");
const geometry_file = @import("geometry.zig");
const dots = @import("../matvec/dot.zig");
const Dtype = scale_file.Dtype;
const Geometry = geometry_file.Geometry;
const Sample = geometry_file.Sample;
const SampleSource = geometry_file.SampleSource;
const Target = float.Target;
const Tile = table.Tile;

/// Columns that share a scale, and the bytes of their codes.
const group_columns = 16;
const group_bytes = 8;
/// Groups whose factors are made together.
const chunk_groups = 64;

const Whole = enum(u32) { none = 0, multiply = 1, divide = 2, magnitude = 3 };

/// The largest scale times the largest code.
const largest_product = 448 * 6;

pub fn check(geometry: Geometry) bool {
    if (!geometry.parametersEnd(3) or geometry.parameters[1] > 1) return false;
    const whole = std.meta.intToEnum(Whole, geometry.parameters[0]) catch return false;
    const column_dtype = geometry.parameters[2];
    const count = @as(usize, 2) + @intFromBool(whole != .none) + @intFromBool(column_dtype != 0);
    if (geometry.sources.len != count) return false;
    const codes = geometry.sources[0];
    const scales = geometry.sources[1];
    if (codes.rows_per_line != 1 or scales.rows_per_line != 1) return false;
    if (codes.unit_columns == 0 or group_columns % codes.unit_columns != 0) return false;
    if (codes.unit_columns != @as(u64, 2) * codes.unit_bytes) return false;
    if (scales.unit_columns != group_columns or scales.unit_bytes != 1) return false;
    if (whole != .none) {
        const source = geometry.sources[2];
        if (source.rows_per_line != 0 or source.line_bytes < @sizeOf(f32)) return false;
    }
    if (column_dtype != 0) {
        const dtype = Dtype.of(column_dtype) orelse return false;
        const source = geometry.sources[count - 1];
        if (source.rows_per_line != 0 or source.unit_columns != 1) return false;
        if (source.unit_bytes != dtype.bytes()) return false;
    }
    return geometry.column_align % group_columns == 0;
}

const group_codes: SampleSource = .{ .unit_columns = group_columns, .unit_bytes = group_bytes };
const pair_codes: SampleSource = .{ .unit_columns = 2, .unit_bytes = 1 };
const any_scales: SampleSource = .{ .unit_columns = group_columns, .unit_bytes = 1 };
const number_scales: SampleSource = .{
    .unit_columns = group_columns,
    .unit_bytes = 1,
    .alphabet = &.{ 0x00, 0x01, 0x38, 0x57, 0x6c, 0x7e, 0xb3 },
};
const any_whole: SampleSource = .{ .rows_per_line = 0, .bytes = 4 };
/// Bytes of F32 near 0.01, or of BF16.
const small: []const u8 = &.{ 0x3c, 0x3d, 0x3b };
const small_whole: SampleSource = .{ .rows_per_line = 0, .bytes = 4, .alphabet = small };

pub const samples = [_]Sample{
    sample("multiply", .{ 1, 1, 0 }, &.{ group_codes, number_scales, small_whole }),
    sample("divide", .{ 2, 0, 0 }, &.{ pair_codes, number_scales, small_whole }),
    sample("any multiply", .{ 1, 0, 0 }, &.{ pair_codes, any_scales, any_whole }),
    sample("any divide", .{ 2, 0, 0 }, &.{ group_codes, any_scales, any_whole }),
    sample("magnitude", .{ 3, 0, 0 }, &.{ pair_codes, any_scales, any_whole }),
    sample("no whole", .{ 0, 0, 0 }, &.{ group_codes, any_scales }),
    sample("columns", .{ 1, 1, @intFromEnum(Dtype.bf16) }, &.{
        group_codes,
        any_scales,
        small_whole,
        .{ .rows_per_line = 0, .unit_columns = 1, .unit_bytes = 2, .alphabet = small },
    }),
    sample("any columns", .{ 0, 0, @intFromEnum(Dtype.f32) }, &.{
        group_codes,
        any_scales,
        .{ .rows_per_line = 0, .unit_columns = 1, .unit_bytes = 4 },
    }),
};

fn sample(name: []const u8, parameters: [3]u32, sources: []const SampleSource) Sample {
    return .{
        .name = name,
        .column_align = group_columns,
        .parameters = parameters ++ .{0} ** 5,
        .sources = sources,
    };
}

pub fn value(tile: *const Tile, row: u64, column: u64) f32 {
    const byte = tile.line(0, row)[column / 2];
    const code = if (column % 2 == 0) byte & 15 else byte >> 4;
    const scale = minifloat.values(.e4m3)[tile.line(1, row)[column / group_columns]];
    const factor = switch (wholeOf(tile)) {
        .none => scale,
        .multiply, .magnitude => quiet(scale * wholeScale(tile)),
        .divide => quiet(scale / wholeScale(tile)),
    };
    const element = if (code == 8 and tile.parameters[1] == 1) 0 else float.e2m1[code];
    const product = quiet(element * factor);
    const dtype = Dtype.of(tile.parameters[2]) orelse return product;
    return quiet(product * dtype.read(tile.sources[columnSource(tile)], column));
}

pub fn scaleFault(tile: *const Tile) ?u32 {
    if (scale_file.anyNotFinite(tile, 1, .e4m3, group_columns)) return 1;
    const whole = wholeOf(tile);
    if (whole != .none) {
        const scale = wholeScale(tile);
        if (!std.math.isFinite(scale) or (whole == .divide and scale == 0)) return 2;
    }
    const dtype = Dtype.of(tile.parameters[2]) orelse return null;
    const source = columnSource(tile);
    return if (scale_file.anyNotFinite(tile, source, dtype, 1)) source else null;
}

fn wholeOf(tile: *const Tile) Whole {
    return @enumFromInt(tile.parameters[0]);
}

fn wholeScale(tile: *const Tile) f32 {
    const stored = Dtype.f32.read(tile.sources[2], 0);
    return if (wholeOf(tile) == .magnitude) stored / largest_product else stored;
}

fn columnSource(tile: *const Tile) u32 {
    return if (wholeOf(tile) == .none) 2 else 3;
}

/// Every NaN is the one of core/float.zig.
fn quiet(number: f32) f32 {
    return if (number != number) float.nan else number;
}

pub fn decode(comptime target: Target, tile: *const Tile) u64 {
    const elements: [*]target.Bits() = @ptrCast(@alignCast(tile.target));
    const group_first = tile.column_begin / group_columns;
    const row_bytes = tile.column_count / 2;
    const column_dtype = Dtype.of(tile.parameters[2]);
    var row: Row = .{
        .codes = undefined,
        .ahead = vector.prefetchDistance(row_bytes, tile.strides[0]),
        // Where the code's sign bit goes when this is added: code 8 has one, or has none.
        .sign_bias = if (tile.parameters[1] == 1) 7 else 8,
        .column_dtype = column_dtype,
        .columns = if (column_dtype) |dtype|
            tile.sources[columnSource(tile)] + tile.column_begin * dtype.bytes()
        else
            undefined,
    };
    const scales_ahead = vector.prefetchDistance(row_bytes, tile.strides[1]);
    var non_finite_count: u64 = 0;
    for (0..tile.row_count) |r| {
        const scales = tile.line(1, r) + group_first;
        row.codes = tile.line(0, r) + group_first * group_bytes;
        var begin: u64 = 0;
        while (begin < tile.column_count) : (begin += chunk_groups * group_columns) {
            var factors: [chunk_groups]f32 = undefined;
            const count = @min(tile.column_count - begin, chunk_groups * group_columns);
            const groups = (count + group_columns - 1) / group_columns;
            const from = scales + begin / group_columns;
            vector.prefetch(from + scales_ahead);
            const highest = makeFactors(tile, &factors, from[0..groups]);
            const to = elements + r * tile.target_stride;
            non_finite_count += decodeChunk(target, &row, begin, count, &factors, highest, to);
        }
    }
    return non_finite_count;
}

/// What all groups of a row share.
const Row = struct {
    codes: [*]const u8,
    ahead: usize,
    sign_bias: u16,
    column_dtype: ?Dtype,
    /// Scales of the tile's columns.
    columns: [*]const u8,
};

/// Lanes of factors.
const lanes = 16;

/// The factor of each group. Returns the bits of the largest magnitude; NaN is above infinity.
inline fn makeFactors(tile: *const Tile, factors: *[chunk_groups]f32, scales: []const u8) u32 {
    @setRuntimeSafety(false);
    const F = @Vector(lanes, f32);
    const whole: F = if (wholeOf(tile) == .none) @splat(1) else @splat(wholeScale(tile));
    var highest: @Vector(lanes, u32) = @splat(0);
    var i: usize = 0;
    while (i < scales.len) : (i += lanes) {
        // Zeros follow the last scales; what they give is not looked at.
        var rest: [lanes]u8 = @splat(0);
        const left = scales.len - i;
        if (left < lanes) for (rest[0..left], scales[i..]) |*byte, stored| {
            byte.* = stored;
        };
        const codes = vector.load(@Vector(lanes, u8), if (left < lanes) &rest else scales.ptr + i);
        const wide = minifloat.widen(.e4m3, codes);
        const made = if (wholeOf(tile) == .divide) wide / whole else wide * whole;
        const nan: F = @splat(float.nan);
        const numbers = @select(f32, made != made, nan, made);
        factors[i..][0..lanes].* = numbers;
        const bits: @Vector(lanes, u32) = @bitCast(@abs(numbers));
        const order = std.simd.iota(u32, lanes);
        const is_there = order < @as(@Vector(lanes, u32), @splat(@intCast(@min(left, lanes))));
        const zero: @Vector(lanes, u32) = @splat(0);
        highest = @max(highest, @select(u32, is_there, bits, zero));
    }
    return @reduce(.Max, highest);
}

fn decodeChunk(
    comptime target: Target,
    row: *const Row,
    begin: u64,
    count: u64,
    factors: *const [chunk_groups]f32,
    highest: u32,
    to: [*]target.Bits(),
) u64 {
    // With a larger factor the largest element may overflow.
    const limit: f32 = if (target == .f16) 0x1p13 else 0x1p100;
    const codes = row.codes + begin / 2;
    const elements = to + begin;
    var group: u64 = 0;
    if (highest <= @as(u32, @bitCast(limit)) and row.column_dtype == null) {
        group = count / group_columns;
        decodePlain(target, row, codes, factors, elements, group);
    }
    var non_finite_count: u64 = 0;
    while (group * group_columns < count) : (group += 1) {
        const done = group * group_columns;
        const n = @min(group_columns, count - done);
        const from = codes + group * group_bytes;
        vector.prefetch(from + row.ahead);
        const place = elements + done;
        non_finite_count += decodeAny(target, row, from, factors[group], begin + done, place, n);
    }
    return non_finite_count;
}

/// Whole groups whose products are numbers.
noinline fn decodePlain(
    comptime target: Target,
    row: *const Row,
    codes: [*]const u8,
    factors: *const [chunk_groups]f32,
    to: [*]target.Bits(),
    count: u64,
) void {
    @setRuntimeSafety(false);
    const ahead = row.ahead;
    const bias: @Vector(group_columns, u16) = @splat(row.sign_bias);
    for (0..count) |group| {
        const from = codes + group * group_bytes;
        if (group % 8 == 0) vector.prefetch(from + ahead);
        const unpacked = unpackCodes(from);
        const signs = signsOf(unpacked, bias);
        const elements = switch (target) {
            .f32 => blk: {
                const bits = lookup(magnitudes_bf16, unpacked) ^ signs;
                const factor: @Vector(group_columns, f32) = @splat(factors[group]);
                break :blk @as(@Vector(group_columns, u32), @bitCast(
                    vector.widen(.bf16, bits) * factor,
                ));
            },
            // Eight products and their roundings serve all sixteen columns.
            .f16, .bf16 => blk: {
                const factor: @Vector(8, f32) = @splat(factors[group]);
                const rounded = vector.roundFinite(target, magnitudes * factor);
                break :blk lookup(rounded, unpacked) ^ signs;
            },
        };
        vector.store(to + group * group_columns, elements);
    }
}

/// Up to a group of any factor, under scales of columns where there are some.
noinline fn decodeAny(
    comptime target: Target,
    row: *const Row,
    codes: [*]const u8,
    factor: f32,
    column: u64,
    to: [*]target.Bits(),
    count: u64,
) u64 {
    @setRuntimeSafety(false);
    const F = @Vector(group_columns, f32);
    // Only the bytes that hold the rest of the columns are read.
    var rest: [group_bytes]u8 = @splat(0);
    if (count < group_columns) {
        for (rest[0 .. (count + 1) / 2], codes) |*byte, stored| byte.* = stored;
    }
    const unpacked = unpackCodes(if (count < group_columns) &rest else codes);
    const signs = signsOf(unpacked, @splat(row.sign_bias));
    const values = vector.widen(.bf16, lookup(magnitudes_bf16, unpacked) ^ signs);
    const nan: F = @splat(float.nan);
    var product = values * @as(F, @splat(factor));
    product = @select(f32, product != product, nan, product);
    if (row.column_dtype) |dtype| {
        var scales: [group_columns]f32 = @splat(0);
        for (scales[0..count], column..) |*scale, i| scale.* = dtype.read(row.columns, i);
        product *= @as(F, scales);
        product = @select(f32, product != product, nan, product);
    }
    const elements: [group_columns]target.Bits() = vector.round(target, product);
    var non_finite_count: u64 = 0;
    for (to[0..count], elements[0..count]) |*element, bits| {
        element.* = bits;
        non_finite_count += @intFromBool(!float.isFinite(target, bits));
    }
    return non_finite_count;
}

const Codes = @Vector(group_columns, u16);

/// A code to each lane.
inline fn unpackCodes(bytes: [*]const u8) Codes {
    const wide: @Vector(8, u32) = vector.load(@Vector(8, u8), bytes);
    const both = wide | wide << @splat(12);
    return @bitCast(both & @as(@Vector(8, u32), @splat(0x000f_000f)));
}

/// The sign bits. `bias` is 8, so that codes from 8 on have one, or 7, so that code 8 has none.
inline fn signsOf(codes: Codes, bias: Codes) Codes {
    return (codes +% bias & @as(Codes, @splat(16))) << @splat(11);
}

const magnitudes: @Vector(8, f32) = float.e2m1[0..8].*;

const magnitudes_bf16: @Vector(8, u16) = blk: {
    var bits: [8]u16 = undefined;
    for (&bits, float.e2m1[0..8]) |*b, magnitude| b.* = float.bf16FromF32(magnitude);
    break :blk bits;
};

/// The entry of each code, its sign apart.
inline fn lookup(entries: @Vector(8, u16), codes: Codes) Codes {
    const bytes: @Vector(16, u8) = @bitCast(entries);
    // The low bytes of all entries, then the high ones.
    const split = @shuffle(u8, bytes, undefined, [16]i32{
        0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15,
    });
    const low = codes & @as(Codes, @splat(7));
    const places = low | low << @splat(8) | @as(Codes, @splat(0x0800));
    const bytes_of_places: @Vector(2 * group_columns, u8) = @bitCast(places);
    return @bitCast(vector.lookupBytes(split, bytes_of_places));
}

/// For products: the bytes are a tile's as they are; what is one for the whole matrix is each row's.
pub const dot_forms = [_]dots.Form{.{ .coded = .{
    .codes = .{ .four = dots.doubled_e2m1 },
    .unit = 0.5,
    .block_columns = group_columns,
    .scale = .e4m3,
    .has_row_factor = true,
    .order = dots.neighbour_order,
} }};

/// Scales of columns have no place in a tile.
pub fn dotForm(geometry: Geometry) ?u8 {
    return if (geometry.parameters[2] == 0) 0 else null;
}

pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: *[16]u8) void {
    const stored = tile.line(0, row) + column / 2;
    const size = @min(codes.len, (tile.columns - column + 1) / 2);
    @memcpy(codes[0..size], stored[0..size]);
    @memset(codes[size..], 0);
}

pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32 {
    return tile.line(1, row)[column / group_columns];
}

/// The inverse of a scale so large, or small, that it would lose bits counts as no number.
pub fn rowFactor(tile: *const Tile, _: u64) f32 {
    switch (wholeOf(tile)) {
        .none => return 1,
        .multiply, .magnitude => return wholeScale(tile),
        .divide => {
            const inverse = 1 / wholeScale(tile);
            return if (std.math.isNormal(inverse)) inverse else float.nan;
        },
    }
}
