//! MXFP4 of OCP Microscaling v1.0 as gpt-oss stores it (openai/gpt-oss, gpt_oss/torch/weights.py).
//!
//!     source 0, codes:  16 bytes for 32 columns   [c1 c0] [c3 c2] … [c31 c30]   low nibble first
//!     source 1, scales:  1 byte for 32 columns    e, meaning 2^(e - 127)
//!     parameter 0:       what e = 255 does, which OCP keeps for NaN: see `LastScale`
//!
//! A value depends on one code and one scale only. So there is a table of the 16 results for each
//! of the 256 scales, rounded when this file is compiled: the exponents at which bf16 or f16 lose
//! bits, overflow or are NaN cost nothing, and a block is one load of its table and a lookup of 32
//! nibbles. A model uses a dozen of the tables' 256 rows.
const std = @import("std");
const abi = @import("../abi.zig");
const float = @import("../core/float.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");
const dots = @import("../matvec/dot.zig");
const geometry_file = @import("geometry.zig");
const Geometry = geometry_file.Geometry;
const Sample = geometry_file.Sample;
const Target = float.Target;
const Tile = table.Tile;

/// Columns that share a scale.
const block_columns = 32;
/// Bytes of the codes of a block.
const block_bytes = 16;

/// The scale 255, by the library that defines the dialect.
const LastScale = enum(u32) {
    /// 2^128, applied to the exponent of the code: `torch.ldexp`, the recipe of gpt-oss and
    /// transformers. Codes 0, 1, 8 and 9 stay finite.
    power = 0,
    /// ∞, a factor: compressed-tensors. Codes 0 and 8 give NaN.
    infinite = 1,
    /// NaN, as OCP has it, and the dtype F8_E8M0.
    nan = 2,
};

pub fn check(geometry: Geometry) bool {
    if (geometry.sources.len != 2 or !geometry.parametersEnd(1)) return false;
    if (geometry.parameters[0] > @intFromEnum(LastScale.nan)) return false;
    const codes = geometry.sources[0];
    const scales = geometry.sources[1];
    if (codes.rows_per_line != 1 or scales.rows_per_line != 1) return false;
    if (codes.unit_columns == 0 or block_columns % codes.unit_columns != 0) return false;
    if (codes.unit_columns != @as(u64, 2) * codes.unit_bytes) return false;
    if (scales.unit_columns != block_columns or scales.unit_bytes != 1) return false;
    return geometry.column_align % block_columns == 0;
}

pub const samples = [_]Sample{
    .{ .name = "ordinary scales", .column_align = block_columns, .sources = &.{
        .{ .unit_columns = block_columns, .unit_bytes = block_bytes },
        .{ .unit_columns = block_columns, .unit_bytes = 1, .alphabet = &.{ 110, 117, 120, 127 } },
    } },
    .{ .name = "blocks", .column_align = block_columns, .sources = &.{
        .{ .unit_columns = block_columns, .unit_bytes = block_bytes },
        .{ .unit_columns = block_columns, .unit_bytes = 1 },
    } },
    // A last block that is not whole, and so not there as a whole.
    .{ .name = "pairs", .column_align = block_columns, .sources = &.{
        .{ .unit_columns = 2, .unit_bytes = 1 },
        .{ .unit_columns = block_columns, .unit_bytes = 1 },
    } },
    lastScaleSample("infinite scales", .infinite),
    lastScaleSample("scales that are no numbers", .nan),
};

fn lastScaleSample(name: []const u8, last_scale: LastScale) Sample {
    var parameters: [abi.parameter_count_max]u32 = @splat(0);
    parameters[0] = @intFromEnum(last_scale);
    return .{ .name = name, .column_align = block_columns, .parameters = parameters, .sources = &.{
        .{ .unit_columns = block_columns, .unit_bytes = block_bytes },
        .{ .unit_columns = block_columns, .unit_bytes = 1, .alphabet = &.{ 120, 254, 255 } },
    } };
}

pub fn value(tile: *const Tile, row: u64, column: u64) f32 {
    const byte = tile.line(0, row)[column / 2];
    const code = if (column % 2 == 0) byte & 15 else byte >> 4;
    return valueOf(code, tile.line(1, row)[column / block_columns], lastScale(tile));
}

fn lastScale(tile: *const Tile) LastScale {
    return @enumFromInt(tile.parameters[0]);
}

/// E2M1 times E8M0: exact in f32 but for overflow, and never below 2^-128 but for zero.
fn valueOf(code: u8, scale: u8, last_scale: LastScale) f32 {
    if (scale < 255) return float.e2m1[code] * float.f32FromE8m0(scale);
    return switch (last_scale) {
        // In two steps, since 2^128 itself is no f32.
        .power => 2 * float.e2m1[code] * 0x1p127,
        .infinite => float.product(float.e2m1[code], float.inf),
        .nan => float.nan,
    };
}

pub fn decode(comptime target: Target, tile: *const Tile) u64 {
    const elements: [*]target.Bits() = @ptrCast(@alignCast(tile.target));
    const block_first = tile.column_begin / block_columns;
    const block_count = std.math.divCeil(u64, tile.column_count, block_columns) catch unreachable;
    const codes_ahead = vector.prefetchDistance(block_count * block_bytes, tile.strides[0]);
    const scales_ahead = vector.prefetchDistance(block_count * block_bytes, tile.strides[1]);
    const last_scale = lastScale(tile);
    var non_finite_count: u64 = 0;
    for (0..tile.row_count) |row| {
        const codes = tile.line(0, row) + block_first * block_bytes;
        const scales = tile.line(1, row) + block_first;
        const to = elements + row * tile.target_stride;
        vector.prefetch(scales + scales_ahead);
        const may_overflow = vector.anyAtLeast(scales[0..block_count], firstNonFiniteScale(target));
        switch (may_overflow) {
            inline else => |counts| non_finite_count +=
                decodeRow(target, counts, last_scale, codes, codes_ahead, scales, to, tile.column_count),
        }
    }
    return non_finite_count;
}

/// The smallest scale with which a code gives a result that is not finite.
fn firstNonFiniteScale(comptime target: Target) u8 {
    @setEvalBranchQuota(100_000);
    return comptime for (0..256) |scale| {
        if (!float.isFinite(target, float.round(target, valueOf(7, scale, .power)))) break scale;
    } else unreachable;
}

/// `counts`: whether results that are not finite can occur, and are counted.
fn decodeRow(
    comptime target: Target,
    comptime counts: bool,
    last_scale: LastScale,
    codes: [*]const u8,
    codes_ahead: usize,
    scales: [*]const u8,
    to: [*]target.Bits(),
    column_count: usize,
) u64 {
    @setRuntimeSafety(false);
    const whole = column_count / block_columns;
    const rest = column_count % block_columns;
    const blocks_per_line = 64 / block_bytes;
    var non_finite_count: u64 = 0;
    var block: usize = 0;
    while (block + blocks_per_line <= whole) : (block += blocks_per_line) {
        vector.prefetch(codes + block * block_bytes + codes_ahead);
        inline for (0..blocks_per_line) |i| {
            const place = entry(counts, scales[block + i], last_scale);
            const bits = decodeBlock(target, codes + (block + i) * block_bytes, place);
            vector.store(to + (block + i) * block_columns, bits);
            if (counts) non_finite_count += countNonFinite(target, bits);
        }
    }
    while (block < whole) : (block += 1) {
        const place = entry(counts, scales[block], last_scale);
        const bits = decodeBlock(target, codes + block * block_bytes, place);
        vector.store(to + block * block_columns, bits);
        if (counts) non_finite_count += countNonFinite(target, bits);
    }
    if (rest == 0) return non_finite_count;
    // Only the bytes that hold the rest of the columns are read.
    var last: [block_bytes]u8 = @splat(0);
    for (last[0 .. (rest + 1) / 2], codes + block * block_bytes) |*byte, stored| byte.* = stored;
    const place = entry(counts, scales[block], last_scale);
    const bits: [block_columns]target.Bits() = decodeBlock(target, &last, place);
    for (to[block * block_columns ..][0..rest], bits[0..rest]) |*element, b| {
        element.* = b;
        if (counts) non_finite_count += @intFromBool(!float.isFinite(target, b));
    }
    return non_finite_count;
}

/// The scale's place in the tables. A row whose results are not counted has no scale 255.
inline fn entry(comptime counts: bool, scale: u8, last_scale: LastScale) usize {
    if (!counts) return scale;
    return @as(usize, scale) + if (scale == 255) @intFromEnum(last_scale) else 0;
}

inline fn decodeBlock(
    comptime target: Target,
    codes: [*]const u8,
    place: usize,
) @Vector(block_columns, target.Bits()) {
    return switch (target) {
        .f16, .bf16 => results(target)[place].lookup(.low_first, codes),
        // Every value is a bf16 too: two significant bits, and nothing below 2^-128.
        .f32 => @bitCast(vector.widen(.bf16, results(.bf16)[place].lookup(.low_first, codes))),
    };
}

/// The results of all codes for each scale, and for 255 of each kind.
const tables_count = 255 + std.enums.values(LastScale).len;

fn results(comptime target: Target) *const [tables_count]vector.NibbleTable {
    const tables = comptime blk: {
        @setEvalBranchQuota(1_000_000);
        var tables: [tables_count]vector.NibbleTable = undefined;
        for (&tables, 0..) |*row, place| {
            const last_scale: LastScale = @enumFromInt(@max(place, 255) - 255);
            var bits: [16]u16 = undefined;
            for (&bits, 0..) |*b, code|
                b.* = float.round(target, valueOf(code, @min(place, 255), last_scale));
            row.* = .init(bits);
        }
        break :blk tables;
    };
    return &tables;
}

inline fn countNonFinite(
    comptime target: Target,
    bits: @Vector(block_columns, target.Bits()),
) u64 {
    var counter: vector.NonFiniteCounter(target, block_columns) = .{};
    counter.add(bits);
    return counter.total();
}

/// For products: twice the value of every code is an integer, and the bytes are a tile's as they are.
pub const dot: dots.Dot = .{
    .codes = .{ .four = dots.doubled_e2m1 },
    .unit = 0.5,
    .block_columns = block_columns,
    .scale = .e8m0,
    .order = dots.neighbour_order,
};
pub const dot_forms = [_]dots.Form{.{ .coded = dot }};

/// The stored bytes of a block; columns that are not there are zeros.
pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: *[block_bytes]u8) void {
    const block = column / block_columns;
    loadBlock(tile, row, block, codes);
    // The smallest codes become the next ones as their scale is halved.
    if (isLastAndFinite(tile, row, block, codes)) doubleSmall(codes);
}

pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32 {
    const block = column / block_columns;
    var codes: [block_bytes]u8 = undefined;
    const scale = tile.line(1, row)[block];
    if (scale != 255) return scale;
    loadBlock(tile, row, block, &codes);
    return if (isLastAndFinite(tile, row, block, &codes)) 254 else 255;
}

fn loadBlock(tile: *const Tile, row: u64, block: u64, codes: *[block_bytes]u8) void {
    const stored = tile.line(0, row) + block * block_bytes;
    const rest = tile.columns - block * block_columns;
    if (rest >= block_columns) {
        codes.* = stored[0..block_bytes].*;
    } else {
        const size = (rest + 1) / 2;
        @memcpy(codes[0..size], stored[0..size]);
        @memset(codes[size..], 0);
        if (rest % 2 == 1) codes[size - 1] &= 15;
    }
}

/// Whether the scale of a block is 2^128 and all its values are finite all the same. A product
/// knows 255 as infinite.
fn isLastAndFinite(tile: *const Tile, row: u64, block: u64, codes: *const [block_bytes]u8) bool {
    return tile.line(1, row)[block] == 255 and lastScale(tile) == .power and areSmall(codes);
}

/// Whether all codes are 0 or ±0.5.
pub fn areSmall(codes: *const [block_bytes]u8) bool {
    for (codes) |byte| if (byte & 0x66 != 0) return false;
    return true;
}

/// Makes ±1 of ±0.5.
pub fn doubleSmall(codes: *[block_bytes]u8) void {
    for (codes) |*byte| byte.* = ((byte.* & 0x11) << 1) | (byte.* & 0x88);
}

pub const packValues = @import("../matvec/requantize.zig").packValues;
