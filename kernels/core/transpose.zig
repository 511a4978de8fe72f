//! Transposition of 16- and 32-bit elements in registers.
//!
//! The unit is a panel of `lanes · parts` source rows by `lanes` columns, where `lanes` elements
//! fill 128 bits and a register has `parts` such lanes. Lane p of register r holds row p · lanes +
//! r; unpacking steps inside the lanes then leave in register c the consecutive rows of column c.
//! Panels are walked in tiles of one cache line both ways, so that every line of the source is used
//! whole, and every line of the target is written whole, while it is in L1.
const std = @import("std");
const assert = std.debug.assert;
const vector = @import("vector.zig");

const line_bytes = 64;

/// target[c * target_stride + r] = source[r * source_stride + c]; strides in elements. Source and
/// target are disjoint.
pub fn transpose(
    comptime Element: type,
    source: [*]const Element,
    source_stride: usize,
    target: [*]Element,
    target_stride: usize,
    rows: usize,
    columns: usize,
) void {
    @setRuntimeSafety(false);
    const edge = line_bytes / @sizeOf(Element);
    if (rows < edge or columns < edge) {
        for (0..columns) |c| {
            for (0..rows) |r| target[c * target_stride + r] = source[r * source_stride + c];
        }
        return;
    }
    // The last tile of a row or column of tiles ends at the edge of the matrix: it does again what
    // its neighbour did of it, instead of being a smaller one.
    var column: usize = 0;
    while (column < columns) : (column += edge) {
        const c = @min(column, columns - edge);
        var row: usize = 0;
        while (row < rows) : (row += edge) {
            const r = @min(row, rows - edge);
            transposeTile(
                Element,
                source + r * source_stride + c,
                source_stride,
                target + c * target_stride + r,
                target_stride,
            );
        }
    }
}

/// A tile of one cache line by one cache line.
inline fn transposeTile(
    comptime Element: type,
    source: [*]const Element,
    source_stride: usize,
    target: [*]Element,
    target_stride: usize,
) void {
    @setRuntimeSafety(false);
    const edge = line_bytes / @sizeOf(Element);
    const lanes = 16 / @sizeOf(Element);
    const parts = vector.register_bytes / 16;
    comptime assert(edge % (lanes * parts) == 0);
    inline for (0..edge / lanes) |column_panel| {
        inline for (0..edge / (lanes * parts)) |row_panel| {
            const column = column_panel * lanes;
            const row = row_panel * lanes * parts;
            transposePanel(
                Element,
                source + row * source_stride + column,
                source_stride,
                target + column * target_stride + row,
                target_stride,
            );
        }
    }
}

inline fn transposePanel(
    comptime Element: type,
    source: [*]const Element,
    source_stride: usize,
    target: [*]Element,
    target_stride: usize,
) void {
    @setRuntimeSafety(false);
    const lanes = 16 / @sizeOf(Element);
    const parts = vector.register_bytes / 16;
    const Lane = @Vector(lanes, Element);
    var registers: [lanes]@Vector(lanes * parts, Element) = undefined;
    inline for (&registers, 0..) |*register, r| {
        var joined: [parts]Lane = undefined;
        inline for (&joined, 0..) |*lane, part| {
            lane.* = vector.load(Lane, @ptrCast(source + (part * lanes + r) * source_stride));
        }
        register.* = joinAll(Lane, joined);
    }
    // Each step interleaves register i with register i + lanes / 2; log2(lanes) of them transpose
    // every lane.
    inline for (0..comptime std.math.log2_int(usize, lanes)) |_| {
        var next: @TypeOf(registers) = undefined;
        inline for (0..lanes / 2) |i| {
            next[2 * i] = vector.unpack(.low, registers[i], registers[i + lanes / 2]);
            next[2 * i + 1] = vector.unpack(.high, registers[i], registers[i + lanes / 2]);
        }
        registers = next;
    }
    inline for (registers, 0..) |register, c| vector.store(target + c * target_stride, register);
}

inline fn joinAll(comptime Lane: type, lanes: anytype) Joined(Lane, lanes.len) {
    if (lanes.len == 1) return lanes[0];
    const half = lanes.len / 2;
    return std.simd.join(joinAll(Lane, lanes[0..half].*), joinAll(Lane, lanes[half..].*));
}

fn Joined(comptime Lane: type, comptime count: usize) type {
    const info = @typeInfo(Lane).vector;
    return @Vector(info.len * count, info.child);
}
