//! Activations for the kernels: padded, permuted once to the positions of the tiles, and for int8
//! arithmetic rounded to 127 steps of each span's largest magnitude, ties to even.
const std = @import("std");
const integer = @import("../core/integer.zig");
const table = @import("../table.zig");
const dots = @import("dot.zig");
const Dot = dots.Dot;

const span_columns = dots.span_columns;
const Floats = @Vector(span_columns, f32);
const Bytes = @Vector(span_columns, i8);
const Magnitudes = @Vector(span_columns, u32);

/// Largest magnitude of an activation: 32 of them times 2^7 times 2^24, as float.zig adds them up,
/// stay finite.
pub const magnitude_max: f32 = 0x1p88;

/// Values for float arithmetic.
pub fn prepareFloat(
    comptime order: [span_columns]u8,
    activations: *const table.Activations,
    column: u64,
    x: [*]const f32,
    columns: u64,
) bool {
    var highest: Magnitudes = @splat(0);
    for (0..activations.span_count) |span| {
        const values = loadSpan(x, columns, span);
        highest = raise(highest, values);
        const index = column * activations.span_count + span;
        const place = activations.values[index * span_columns ..][0..span_columns];
        place.* = permute(f32, order, values);
        storeSums(activations, index, values);
    }
    return inRange(highest);
}

/// Codes, scales and corrections for int8 arithmetic.
pub fn prepareInt8(
    comptime dot: Dot,
    activations: *const table.Activations,
    column: u64,
    x: [*]const f32,
    columns: u64,
) bool {
    const layout = dots.Layout(dot);
    var highest: Magnitudes = @splat(0);
    for (0..activations.span_count) |span| {
        const values = loadSpan(x, columns, span);
        highest = raise(highest, values);
        const scale = scaleOf(@reduce(.Max, @abs(values)));
        const codes = round(values, scale);
        const index = column * activations.span_count + span;
        const permuted: [span_columns]i8 = permute(i8, dot.order, codes);
        activations.codes[index * span_columns ..][0..span_columns].* = permuted;
        activations.scales[index] = scale;
        const each = span_columns / layout.span_blocks;
        inline for (0..layout.span_blocks) |block| {
            const part = permuted[block * each ..][0..each];
            const at = index * layout.span_blocks + block;
            activations.corrections[at] = integer.correction(layout.range, part);
            if (!dot.has_minimum) continue;
            activations.sums[at] = scale * @as(f32, @floatFromInt(sumOf(part)));
        }
    }
    return inRange(highest);
}

/// 32 columns; those behind the last one are 0.
inline fn loadSpan(x: [*]const f32, columns: u64, span: u64) Floats {
    const begin = span * span_columns;
    if (begin + span_columns <= columns) return x[begin..][0..span_columns].*;
    var values: [span_columns]f32 = @splat(0);
    for (values[0 .. columns - begin], x[begin..columns]) |*value, stored| value.* = stored;
    return values;
}

/// The larger magnitudes, as bits: these are in the order of the numbers, and NaN is above all.
inline fn raise(highest: Magnitudes, values: Floats) Magnitudes {
    return @max(highest, @as(Magnitudes, @bitCast(@abs(values))));
}

inline fn inRange(highest: Magnitudes) bool {
    return @reduce(.Max, highest) <= @as(u32, @bitCast(magnitude_max));
}

inline fn permute(
    comptime T: type,
    comptime order: [span_columns]u8,
    values: @Vector(span_columns, T),
) @Vector(span_columns, T) {
    return @shuffle(T, values, undefined, @as(@Vector(span_columns, i32), order));
}

/// A span whose scale would not be a normal number counts as zero: it is below 2^-119.
inline fn scaleOf(magnitude: f32) f32 {
    const scale = magnitude / 127;
    return if (scale >= std.math.floatMin(f32)) scale else 0;
}

inline fn round(values: Floats, scale: f32) Bytes {
    const inverse: f32 = if (scale > 0) 1 / scale else 0;
    // Adding 1.5 · 2^23 rounds to an integer, ties to even; its low byte is the integer's.
    const magic: Floats = @splat(0x1.8p23);
    const shifted: Magnitudes = @bitCast(values * @as(Floats, @splat(inverse)) + magic);
    return @bitCast(@as(@Vector(span_columns, u8), @truncate(shifted)));
}

inline fn sumOf(codes: []const i8) i32 {
    var sum: i32 = 0;
    for (codes) |code| sum += code;
    return sum;
}

inline fn storeSums(activations: *const table.Activations, index: u64, values: Floats) void {
    const all: [span_columns]f32 = values;
    switch (activations.span_blocks) {
        1 => activations.sums[index] = @reduce(.Add, values),
        else => inline for (0..2) |block| {
            const each = span_columns / 2;
            const part: @Vector(each, f32) = all[block * each ..][0..each].*;
            activations.sums[index * 2 + block] = @reduce(.Add, part);
        },
    }
}

const testing = std.testing;

const Room = struct {
    values: [96]f32 align(64) = undefined,
    codes: [96]i8 align(64) = undefined,
    scales: [3]f32 = undefined,
    corrections: [3]u32 = undefined,
    sums: [3]f32 = undefined,

    fn activations(room: *Room) table.Activations {
        return .{
            .span_count = 3,
            .span_blocks = 1,
            .values = &room.values,
            .codes = &room.codes,
            .scales = &room.scales,
            .corrections = &room.corrections,
            .sums = &room.sums,
        };
    }
};

const plain: Dot = .{
    .codes = .eight,
    .block_columns = 32,
    .scale = .f32,
    .order = dots.column_order,
};

test "codes are x / scale, ties to even; the last span is padded; a tiny or empty span is zero" {
    var x: [70]f32 = @splat(0);
    // scale 2: 127 steps of 2.
    x[0..6].* = .{ 254, 1, 3, -5, -254, 4.99 };
    for (x[32..64]) |*value| value.* = 1e-40;
    x[69] = -3;
    var room: Room = .{};
    const activations = room.activations();
    try testing.expect(prepareInt8(plain, &activations, 0, &x, x.len));
    try testing.expectEqual([3]f32{ 2, 0, @as(f32, 3) / 127 }, room.scales);
    try testing.expectEqual([7]i8{ 127, 0, 2, -2, -127, 2, 0 }, room.codes[0..7].*);
    for (room.codes[32..64]) |code| try testing.expectEqual(0, code);
    try testing.expectEqual(-127, room.codes[69]);
    for (room.codes[70..96]) |code| try testing.expectEqual(0, code);
}

test "an activation that is NaN, infinite or too large is told, wherever it stands" {
    for ([_]f32{ std.math.nan(f32), std.math.inf(f32), -std.math.inf(f32), 0x1.1p88 }) |bad| {
        for (0..70) |at| {
            var x: [70]f32 = @splat(1);
            x[at] = bad;
            var room: Room = .{};
            const activations = room.activations();
            try testing.expect(!prepareInt8(plain, &activations, 0, &x, x.len));
            try testing.expect(!prepareFloat(dots.column_order, &activations, 0, &x, x.len));
        }
    }
    var x: [70]f32 = @splat(-magnitude_max);
    var room: Room = .{};
    const activations = room.activations();
    try testing.expect(prepareInt8(plain, &activations, 0, &x, x.len));
    try testing.expect(prepareFloat(dots.column_order, &activations, 0, &x, x.len));
}
