//! Whole numbers that are multiplied by the scale of their group of columns: the integers of
//! compressed-tensors, int8 of bitsandbytes, and MLX's affine weights. The codecs of this family
//! are a few lines each, and say what `Kind` they are.
//!
//!     source 0, codes:   parameters[0] bits each, one behind the other (bit_stream.zig), or a
//!                        signed byte each (`Kind.signed`)
//!     source 1, scales:  one for each parameters[2] columns of a line; 0: one for all columns.
//!                        Which rows share a line, the source says
//!     source 2:          what is subtracted first (`Zeros`), or MLX's bias; placed as the scales,
//!                        where `Zeros` does not say otherwise
//!     last source:       the group of each column, I32, where parameters[6] is not 0
//!
//!     parameters[0]      bits of a code
//!     parameters[1]      dtype of the scales and biases (scale.zig)
//!     parameters[2]      columns that share a scale
//!     parameters[3]      `Zeros`
//!     parameters[4]      dtype of the arithmetic (scaled_row.zig: Rounding)
//!     parameters[5]      packed: 1 where words hold floor(32 / bits) codes each and none crosses
//!                        them. signed: bits of an F32 that multiplies the product; 0: none
//!     parameters[6]      groups, where each column says which is its own; 0: one follows another
//!
//! packed and signed: (code - zero) * scale; affine: code * scale + bias. The difference is exact;
//! the product, and the sum, are rounded to f32 and to the dtype of the arithmetic.
const std = @import("std");
const abi = @import("../abi.zig");
const bit_stream = @import("bit_stream.zig");
const float = @import("../core/float.zig");
const scale_file = @import("scale.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");
const geometry_file = @import("geometry.zig");
const Dtype = scale_file.Dtype;
const Geometry = geometry_file.Geometry;
const Rounding = @import("scaled_row.zig").Rounding;
const Sample = geometry_file.Sample;
const Target = float.Target;
const Tile = table.Tile;
const checkWords = @import("integer_groups.zig").checkWords;
const isPlaced = @import("integer_groups.zig").isPlaced;
const packedZero = @import("integer_groups.zig").packedZero;
const step = bit_stream.step;

pub const Kind = enum { @"packed", signed, affine };

/// What is subtracted from a code.
pub const Zeros = enum(u32) {
    /// The middle of the range of packed codes; nothing from signed ones.
    none = 0,
    /// Codes of as many bits, packed along the rows in I32 words: code r of a group at bit
    /// r * bits of the group's column of words. A line is a row of words; where a code may cross
    /// words, the source is whole.
    words = 1,
    /// Signed bytes, placed as the scales. Packed codes get the middle of their range back.
    bytes = 2,
};

/// Columns that are unpacked into the first-level cache at once.
const chunk_columns = 1024;

const F = @Vector(step, f32);

pub fn Codec(comptime kind: Kind, comptime sample_list: []const Sample) type {
    return struct {
        pub const samples = sample_list;

        pub fn check(geometry: Geometry) bool {
            const bits = geometry.parameters[0];
            const dtype = Dtype.of(geometry.parameters[1]) orelse return false;
            const width = geometry.parameters[2];
            const zeros = std.meta.intToEnum(Zeros, geometry.parameters[3]) catch return false;
            const groups = geometry.parameters[6];
            _ = std.meta.intToEnum(Rounding, geometry.parameters[4]) catch return false;
            if (!geometry.parametersEnd(7) or dtype.bytes() == 1) return false;
            if (bits == 0 or bits > 8 or (kind == .signed and bits != 8)) return false;
            if (kind != .@"packed" and (groups != 0 or zeros == .words)) return false;
            if (kind == .@"packed" and geometry.parameters[5] > 1) return false;
            if (kind == .affine and (geometry.parameters[5] != 0 or zeros != .none)) return false;
            if (groups != 0 and width != 0) return false;
            const has_second = kind == .affine or zeros != .none;
            const count = @as(usize, 2) + @intFromBool(has_second) + @intFromBool(groups != 0);
            if (geometry.sources.len != count) return false;
            if (!checkCodes(geometry, bits)) return false;
            if (!isPlaced(geometry.sources[1], width, groups, dtype.bytes())) return false;
            if (kind == .affine) {
                if (!isPlaced(geometry.sources[2], width, 0, dtype.bytes())) return false;
            } else if (zeros == .bytes) {
                if (!isPlaced(geometry.sources[2], width, groups, 1)) return false;
            } else if (zeros == .words) {
                if (!checkWords(geometry, bits, width, groups)) return false;
            }
            if (groups == 0) return true;
            const order = geometry.sources[count - 1];
            return order.rows_per_line == 0 and order.unit_columns == 1 and order.unit_bytes == 4;
        }

        fn checkCodes(geometry: Geometry, bits: u32) bool {
            const codes = geometry.sources[0];
            if (codes.rows_per_line != 1) return false;
            if (kind == .signed) return codes.unit_columns == 1 and codes.unit_bytes == 1;
            const fields: u32 = if (geometry.parameters[5] == 1) 32 / bits else step;
            const bytes = if (geometry.parameters[5] == 1) 4 else 4 * bits;
            // Columns of a unit, and of a part that begins and ends at a byte.
            const part: u32 = if (geometry.parameters[5] == 1) fields else 8;
            if (geometry.column_align % fields != 0) return false;
            if (codes.unit_columns == 0) {
                // A last group of eight that is not whole.
                if (geometry.parameters[5] == 1) return false;
                const line_bits = std.math.mul(u64, geometry.columns, bits) catch return false;
                return codes.line_bytes >= std.math.divCeil(u64, line_bits, 8) catch unreachable;
            }
            if (codes.unit_columns % part != 0) return false;
            return @as(u64, codes.unit_columns) * bytes == @as(u64, codes.unit_bytes) * fields;
        }

        pub fn value(tile: *const Tile, row: u64, column: u64) f32 {
            const group = groupOf(tile, column) orelse return float.nan;
            const pair = pairOf(tile, row, group);
            if (kind == .signed) {
                const code = signedByte(codeAt(tile, row, column));
                const product = rounded(tile, (code - pair.second) * pair.scale);
                const factor = factorOf(tile) orelse return product;
                return quiet(product * factor);
            }
            const code: f32 = @floatFromInt(codeAt(tile, row, column));
            if (kind == .@"packed") return rounded(tile, (code - pair.second) * pair.scale);
            return rounded(tile, rounded(tile, code * pair.scale) + pair.second);
        }

        /// The stored code; a signed one as its byte.
        pub fn codeAt(tile: *const Tile, row: u64, column: u64) u8 {
            const line = tile.line(0, row);
            if (kind == .signed) return line[column];
            const bits = tile.parameters[0];
            return @intCast(if (tile.parameters[5] == 1)
                bit_stream.atWords(bits, line, column)
            else
                bit_stream.at(bits, line, column));
        }

        /// What all columns of a group share: its scale, and its zero or bias.
        const Pair = struct { scale: f32, second: f32 };

        pub inline fn pairOf(tile: *const Tile, row: u64, group: u64) Pair {
            const dtype = Dtype.of(tile.parameters[1]).?;
            const scale = dtype.read(tile.line(1, row), group);
            if (kind == .affine) return .{
                .scale = scale,
                .second = dtype.read(tile.line(2, row), group),
            };
            const bits = tile.parameters[0];
            const middle: f32 = @floatFromInt(@as(u32, 1) << @intCast(bits - 1));
            const base: f32 = if (kind == .@"packed") middle else 0;
            const zeros: Zeros = @enumFromInt(tile.parameters[3]);
            return .{ .scale = scale, .second = switch (zeros) {
                .none => base,
                .bytes => base + signedByte(tile.line(2, row)[group]),
                .words => @floatFromInt(packedZero(tile, row, group)),
            } };
        }

        /// The group of a column; null where the source names one that there is not.
        pub inline fn groupOf(tile: *const Tile, column: u64) ?u64 {
            const groups = tile.parameters[6];
            const width = tile.parameters[2];
            if (groups == 0) return if (width == 0) 0 else column / width;
            const order = tile.sources[orderSource(tile)];
            const group = std.mem.readInt(u32, order[column * 4 ..][0..4], .little);
            return if (group < groups) group else null;
        }

        fn orderSource(tile: *const Tile) u32 {
            return if (tile.parameters[3] == @intFromEnum(Zeros.none)) 2 else 3;
        }

        pub fn scaleFault(tile: *const Tile) ?u32 {
            const dtype = Dtype.of(tile.parameters[1]).?;
            if (tile.parameters[6] == 0) {
                const width = tile.parameters[2];
                if (scale_file.anyNotFinite(tile, 1, dtype, width)) return 1;
                return if (kind == .affine and scale_file.anyNotFinite(tile, 2, dtype, width))
                    2
                else
                    null;
            }
            for (0..tile.row_count) |row| {
                for (0..tile.column_count) |i| {
                    const group = groupOf(tile, tile.column_begin + i) orelse
                        return orderSource(tile);
                    if (!std.math.isFinite(dtype.read(tile.line(1, row), group))) return 1;
                }
            }
            return null;
        }

        pub fn decode(comptime target: Target, tile: *const Tile) u64 {
            const out: [*]target.Bits() = @ptrCast(@alignCast(tile.target));
            const width: u64 = tile.parameters[2];
            // Groups of whole steps, of which the first begins with a step of the tile.
            const is_even = tile.parameters[6] == 0 and width % step == 0 and
                tile.column_begin % step == 0;
            const row_bytes = tile.column_count * tile.parameters[0] / 8;
            const ahead = vector.prefetchDistance(row_bytes, tile.strides[0]);
            var buffer: [chunk_columns]u8 = undefined;
            var non_finite_count: u64 = 0;
            for (0..tile.row_count) |row| {
                var begin: u64 = 0;
                while (begin < tile.column_count) : (begin += chunk_columns) {
                    const count = @min(tile.column_count - begin, chunk_columns);
                    const column = tile.column_begin + begin;
                    const codes = bytesOf(tile, row, column, count, ahead, &buffer);
                    const to = out + row * tile.target_stride + begin;
                    non_finite_count += if (is_even)
                        decodeEven(target, tile, row, column, codes, count, to)
                    else
                        decodeColumns(target, tile, row, column, codes, count, to);
                }
            }
            return non_finite_count;
        }

        /// A byte for each of the codes from `column` on.
        inline fn bytesOf(
            tile: *const Tile,
            row: u64,
            column: u64,
            count: u64,
            ahead: usize,
            buffer: *[chunk_columns]u8,
        ) [*]const u8 {
            const line = tile.line(0, row);
            if (kind == .signed) return line + column;
            const bits = tile.parameters[0];
            if (tile.parameters[5] == 1) {
                for (buffer[0..count], column..) |*byte, index|
                    byte.* = bit_stream.atWords(bits, line, index);
                return buffer;
            }
            const from = line + column * bits / 8;
            if (bits == 8) return from;
            switch (bits) {
                inline 1...7 => |b| unpackChunk(b, from, count, ahead, buffer),
                else => unreachable,
            }
            return buffer;
        }

        /// Groups of whole steps.
        fn decodeEven(
            comptime target: Target,
            tile: *const Tile,
            row: u64,
            column: u64,
            codes: [*]const u8,
            count: u64,
            to: [*]target.Bits(),
        ) u64 {
            @setRuntimeSafety(false);
            const width: u64 = tile.parameters[2];
            const rounding: Rounding = @enumFromInt(tile.parameters[4]);
            const is_idle = switch (rounding) {
                // Of affine weights, the product is rounded as the sum is.
                .none => kind != .affine or target == .f32,
                .f16 => target == .f16,
                .bf16 => target == .bf16,
            };
            var non_finite_count: u64 = 0;
            var done: u64 = 0;
            while (done < count) {
                const group = if (width == 0) 0 else (column + done) / width;
                const end = if (width == 0) count else @min(count, (group + 1) * width - column);
                const pair = pairOf(tile, row, group);
                if (is_idle and isSmall(target, pair)) {
                    const whole = (end - done) / step * step;
                    decodePlain(target, tile, pair, codes + done, to + done, whole);
                    done += whole;
                }
                while (done < end) {
                    const n = @min(step, end - done);
                    const scales: F = @splat(pair.scale);
                    const seconds: F = @splat(pair.second);
                    non_finite_count +=
                        decodeAny(target, tile, codes + done, &scales, &seconds, to + done, n);
                    done += n;
                }
            }
            return non_finite_count;
        }

        /// Whether no result can overflow: a difference of codes is at most 255.
        inline fn isSmall(comptime target: Target, pair: Pair) bool {
            const limit: f32 = if (target == .f16) 0x1p6 else 0x1p100;
            const second: f32 = if (target == .f16) 0x1p14 else 0x1p100;
            return @abs(pair.scale) <= limit and @abs(pair.second) <= second;
        }

        /// Whole steps of one group, whose results are finite and rounded by the target alone.
        noinline fn decodePlain(
            comptime target: Target,
            tile: *const Tile,
            pair: Pair,
            codes: [*]const u8,
            to: [*]target.Bits(),
            count: u64,
        ) void {
            @setRuntimeSafety(false);
            const ahead = if (kind == .signed or tile.parameters[0] == 8)
                vector.prefetchDistance(tile.column_count, tile.strides[0])
            else
                0;
            const scales: F = @splat(pair.scale);
            const seconds: F = @splat(pair.second);
            const factor = if (kind == .signed) factorOf(tile) else null;
            var i: u64 = 0;
            while (i < count) : (i += step) {
                vector.prefetch(codes + i + ahead);
                const code = floats(vector.load(@Vector(step, u8), codes + i));
                if (kind == .affine) {
                    const product: F = widened(target, vector.roundFinite(target, code * scales));
                    vector.store(to + i, vector.roundFinite(target, product + seconds));
                } else {
                    var product = (code - seconds) * scales;
                    if (factor) |f| product *= @as(F, @splat(f));
                    vector.store(to + i, vector.roundFinite(target, product));
                }
            }
        }

        inline fn widened(comptime target: Target, bits: @Vector(step, target.Bits())) F {
            return vector.widen(target, bits);
        }

        /// Steps in which each column may have its own group.
        fn decodeColumns(
            comptime target: Target,
            tile: *const Tile,
            row: u64,
            column: u64,
            codes: [*]const u8,
            count: u64,
            to: [*]target.Bits(),
        ) u64 {
            @setRuntimeSafety(false);
            var non_finite_count: u64 = 0;
            var done: u64 = 0;
            while (done < count) : (done += step) {
                const n = @min(step, count - done);
                var scales: [step]f32 = @splat(0);
                var seconds: [step]f32 = @splat(0);
                for (scales[0..n], seconds[0..n], column + done..) |*scale, *second, index| {
                    const group = groupOf(tile, index) orelse {
                        scale.* = float.nan;
                        continue;
                    };
                    const pair = pairOf(tile, row, group);
                    scale.* = pair.scale;
                    second.* = pair.second;
                }
                const place = to + done;
                const pairs: [2]F = .{ scales, seconds };
                const from = codes + done;
                non_finite_count += decodeAny(target, tile, from, &pairs[0], &pairs[1], place, n);
            }
            return non_finite_count;
        }

        /// Up to a step of any codes, scales and roundings.
        noinline fn decodeAny(
            comptime target: Target,
            tile: *const Tile,
            codes: [*]const u8,
            scales: *const F,
            seconds: *const F,
            to: [*]target.Bits(),
            count: u64,
        ) u64 {
            @setRuntimeSafety(false);
            const code = floats(if (count == step)
                vector.load(@Vector(step, u8), codes)
            else
                loadRest(codes, count));
            var product = if (kind == .affine)
                roundedVector(tile, roundedVector(tile, code * scales.*) + seconds.*)
            else
                roundedVector(tile, (code - seconds.*) * scales.*);
            if (kind == .signed) {
                if (factorOf(tile)) |f| product = quiet(product * @as(F, @splat(f)));
            }
            const rounded_products = vector.round(target, product);
            if (count == step) {
                var counter: vector.NonFiniteCounter(target, step) = .{};
                counter.add(rounded_products);
                vector.store(to, rounded_products);
                return counter.total();
            }
            const elements: [step]target.Bits() = rounded_products;
            var non_finite_count: u64 = 0;
            for (to[0..count], elements[0..count]) |*element, bits| {
                element.* = bits;
                non_finite_count += @intFromBool(!float.isFinite(target, bits));
            }
            return non_finite_count;
        }

        inline fn floats(codes: @Vector(step, u8)) F {
            if (kind == .signed) {
                const signed: @Vector(step, i8) = @bitCast(codes);
                return @floatFromInt(@as(@Vector(step, i32), signed));
            }
            return @floatFromInt(@as(@Vector(step, i32), codes));
        }
    };
}

fn signedByte(byte: u8) f32 {
    return @floatFromInt(@as(i8, @bitCast(byte)));
}

/// Only the bytes that there are; zeros follow.
fn loadRest(codes: [*]const u8, count: u64) @Vector(step, u8) {
    @setRuntimeSafety(false);
    var rest: [step]u8 = @splat(0);
    for (rest[0..count], codes) |*byte, stored| byte.* = stored;
    return rest;
}

/// Parameters of a sample.
pub fn parameters(
    bits: u32,
    dtype: Dtype,
    width: u32,
    zeros: Zeros,
    rounding: Rounding,
    more: [2]u32,
) [abi.parameter_count_max]u32 {
    return .{
        bits,
        @intFromEnum(dtype),
        width,
        @intFromEnum(zeros),
        @intFromEnum(rounding),
        more[0],
        more[1],
        0,
    };
}

noinline fn unpackChunk(
    comptime bits: comptime_int,
    from: [*]const u8,
    count: u64,
    ahead: usize,
    buffer: *[chunk_columns]u8,
) void {
    @setRuntimeSafety(false);
    const step_bytes = step * bits / 8;
    var done: u64 = 0;
    while (done + step <= count) : (done += step) {
        const codes = from + done / step * step_bytes;
        vector.prefetch(codes + ahead);
        buffer[done..][0..step].* = bit_stream.unpack(bits, codes);
    }
    if (done == count) return;
    // Only the bytes that hold the rest of the codes are read.
    var rest: [step_bytes]u8 = @splat(0);
    const size = ((count - done) * bits + 7) / 8;
    for (rest[0..size], from + done / step * step_bytes) |*byte, stored| byte.* = stored;
    buffer[done..][0..step].* = bit_stream.unpack(bits, &rest);
}

/// What multiplies the products of signed bytes once more.
pub fn factorOf(tile: *const Tile) ?f32 {
    return if (tile.parameters[5] == 0) null else @bitCast(tile.parameters[5]);
}

fn rounded(tile: *const Tile, number: f32) f32 {
    const rounding: Rounding = @enumFromInt(tile.parameters[4]);
    return switch (rounding) {
        .none => quiet(number),
        .f16 => float.f32FromF16(float.f16FromF32(quiet(number))),
        .bf16 => float.f32FromBf16(float.bf16FromF32(quiet(number))),
    };
}

inline fn roundedVector(tile: *const Tile, numbers: F) F {
    const rounding: Rounding = @enumFromInt(tile.parameters[4]);
    return switch (rounding) {
        .none => quiet(numbers),
        .f16 => vector.widen(.f16, vector.round(.f16, quiet(numbers))),
        .bf16 => vector.widen(.bf16, vector.round(.bf16, quiet(numbers))),
    };
}

/// Every NaN is the one of core/float.zig.
inline fn quiet(numbers: anytype) @TypeOf(numbers) {
    if (@TypeOf(numbers) == f32) return if (numbers != numbers) float.nan else numbers;
    return @select(f32, numbers != numbers, @as(F, @splat(float.nan)), numbers);
}
