//! Whole numbers under scales and zeros of a matrix that is stored [out, in]: HQQ, BitNet, and AWQ
//! in the layout of its GEMV kernel. The codecs of this family are a file each.
//!
//!     source 0, codes:   bytes of a row; a byte holds 2 neighbouring columns (AWQ), or one column
//!                        of several matrices of the batch, which share their bytes (HQQ, BitNet)
//!     source 1, scales:  one for each parameters[1] columns of a line; 0: one for all
//!     source 2, zeros:   as the codec says; BitNet has none
//!
//!     parameters[0]      dtype of the scales (scale.zig)
//!     parameters[1]      columns that share a scale and a zero
//!     parameters[2], …   the codec's own
const std = @import("std");
const float = @import("../core/float.zig");
const scale_file = @import("scale.zig");
const row_file = @import("scaled_row.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");
const Dtype = scale_file.Dtype;
const Geometry = @import("geometry.zig").Geometry;
const Row = row_file.Row;
const Target = float.Target;
const Tile = table.Tile;
const step = row_file.step;
pub const F = @Vector(step, f32);
pub const Bytes = @Vector(step, u8);

/// `Kind` has: `byte_columns`, columns whose codes share a byte; `has_zeros`; `checkParameters` and
/// `checkZeros`; `code` and `codes`; `zero` of a column; `product` of numbers or of vectors.
pub fn Codec(comptime Kind: type) type {
    return struct {
        pub fn check(geometry: Geometry) bool {
            if (!Kind.checkParameters(geometry)) return false;
            if (geometry.sources.len != @as(usize, if (Kind.has_zeros) 3 else 2)) return false;
            const codes = geometry.sources[0];
            if (codes.rows_per_line != 1) return false;
            if (codes.unit_columns == 0 or codes.unit_columns % Kind.byte_columns != 0) return false;
            if (codes.unit_columns != @as(u64, codes.unit_bytes) * Kind.byte_columns) return false;
            if (geometry.column_align % Kind.byte_columns != 0) return false;
            const dtype = Dtype.of(geometry.parameters[0]) orelse return false;
            const width = geometry.parameters[1];
            const scales = geometry.sources[1];
            if (scales.unit_columns != width) return false;
            const fits = if (width == 0)
                scales.line_bytes >= dtype.bytes()
            else
                scales.unit_bytes == dtype.bytes();
            return fits and (!Kind.has_zeros or Kind.checkZeros(geometry));
        }

        pub fn value(tile: *const Tile, row: u64, column: u64) f32 {
            const width = tile.parameters[1];
            const group = if (width == 0) 0 else column / width;
            const scale = Dtype.of(tile.parameters[0]).?.read(tile.line(1, row), group);
            const code: f32 = @floatFromInt(Kind.code(tile, tile.line(0, row), column));
            const zero: f32 = if (Kind.has_zeros) Kind.zero(tile, row, group) else 0;
            return quiet(Kind.product(tile, code, zero, scale));
        }

        pub fn scaleFault(tile: *const Tile) ?u32 {
            const width = tile.parameters[1];
            const dtype = Dtype.of(tile.parameters[0]).?;
            if (scale_file.anyNotFinite(tile, 1, dtype, width)) return 1;
            return Kind.scaleFault(tile);
        }

        pub fn decode(comptime target: Target, tile: *const Tile) u64 {
            const elements: [*]target.Bits() = @ptrCast(@alignCast(tile.target));
            const begin = tile.column_begin / Kind.byte_columns;
            const row_bytes = tile.column_count / Kind.byte_columns;
            var non_finite_count: u64 = 0;
            for (0..tile.row_count) |r| {
                const row: Row = .{
                    .codes = tile.line(0, r) + begin,
                    .ahead = vector.prefetchDistance(row_bytes, tile.strides[0]),
                    .dtype = Dtype.of(tile.parameters[0]),
                    .scales = tile.line(1, r),
                    .width = tile.parameters[1],
                    .rounding = .none,
                    .begin = tile.column_begin,
                    .count = tile.column_count,
                };
                const to = elements + r * tile.target_stride;
                non_finite_count += decodeRow(target, tile, &row, r, to);
            }
            return non_finite_count;
        }

        fn decodeRow(
            comptime target: Target,
            tile: *const Tile,
            row: *const Row,
            r: u64,
            to: [*]target.Bits(),
        ) u64 {
            @setRuntimeSafety(false);
            var non_finite_count: u64 = 0;
            var group: Groups = .{};
            var column: u64 = 0;
            while (column < row.count) : (column += step) {
                const from = row.codes + column / Kind.byte_columns;
                vector.prefetch(from + row.ahead);
                const count = @min(step, row.count - column);
                group.read(tile, row, r, column, count);
                if (count == step) {
                    const loaded = vector.load(@Vector(step / Kind.byte_columns, u8), from);
                    const bits = products(target, tile, loaded, &group);
                    var counter: vector.NonFiniteCounter(target, step) = .{};
                    counter.add(bits);
                    vector.store(to + column, bits);
                    non_finite_count += counter.total();
                    continue;
                }
                // Only the bytes that hold the rest of the columns are read.
                var rest: [step / Kind.byte_columns]u8 = @splat(0);
                const size = (count + Kind.byte_columns - 1) / Kind.byte_columns;
                for (rest[0..size], from) |*byte, stored| byte.* = stored;
                const bits: [step]target.Bits() = products(target, tile, rest, &group);
                for (to[column..][0..count], bits[0..count]) |*place, b| {
                    place.* = b;
                    non_finite_count += @intFromBool(!float.isFinite(target, b));
                }
            }
            return non_finite_count;
        }

        /// Scales and zeros of the columns of a step. While they stay in one group these stay too.
        const Groups = struct {
            scales: F = undefined,
            zeros: F = undefined,
            /// Column at which the group ends that all of them are in.
            end: u64 = 0,

            inline fn read(
                groups: *Groups,
                tile: *const Tile,
                row: *const Row,
                r: u64,
                column: u64,
                count: u64,
            ) void {
                @setRuntimeSafety(false);
                if (column + count <= groups.end) return;
                const at = row.begin + column;
                const width = row.width;
                const group = if (width == 0) 0 else at / width;
                const group_end = if (width == 0) row.count else (group + 1) * width - row.begin;
                if (column + count <= group_end) {
                    groups.end = group_end;
                    groups.scales = @splat(row.dtype.?.read(row.scales, group));
                    if (Kind.has_zeros) groups.zeros = @splat(Kind.zero(tile, r, group));
                    return;
                }
                var scales: [step]f32 = undefined;
                row.readColumns(&scales, column, count);
                groups.scales = scales;
                if (!Kind.has_zeros) return;
                var zeros: [step]f32 = @splat(0);
                for (zeros[0..count], at..) |*zero, i| zero.* = Kind.zero(tile, r, i / width);
                groups.zeros = zeros;
            }
        };

        inline fn products(
            comptime target: Target,
            tile: *const Tile,
            loaded: @Vector(step / Kind.byte_columns, u8),
            groups: *const Groups,
        ) @Vector(step, target.Bits()) {
            const codes: F = @floatFromInt(@as(@Vector(step, i32), Kind.codes(tile, loaded)));
            const zeros: F = if (Kind.has_zeros) groups.zeros else undefined;
            return vector.round(target, quiet(Kind.product(tile, codes, zeros, groups.scales)));
        }
    };
}

/// Every NaN is the one of core/float.zig.
inline fn quiet(numbers: anytype) @TypeOf(numbers) {
    if (@TypeOf(numbers) == f32) return if (numbers != numbers) float.nan else numbers;
    return @select(f32, numbers != numbers, @as(F, @splat(float.nan)), numbers);
}

/// Numbers rounded to a dtype, as f32.
pub inline fn roundTo(dtype: Dtype, numbers: anytype) @TypeOf(numbers) {
    if (@TypeOf(numbers) == f32) return switch (dtype) {
        .f16 => float.f32FromF16(float.f16FromF32(numbers)),
        .bf16 => float.f32FromBf16(float.bf16FromF32(numbers)),
        else => numbers,
    };
    return switch (dtype) {
        .f16 => vector.widen(.f16, vector.round(.f16, numbers)),
        .bf16 => vector.widen(.bf16, vector.round(.bf16, numbers)),
        else => numbers,
    };
}

/// A number, or the same in each lane.
pub inline fn like(comptime T: type, number: f32) T {
    return if (T == f32) number else @splat(number);
}

/// The field of each byte that is matrix `batch`'s: of `bits` bits, from the lowest or the highest.
pub inline fn shiftOf(tile: *const Tile, bits: u32, highest_first: bool) u3 {
    const low: u32 = @intCast(tile.batch * bits % 8);
    return @intCast(if (highest_first) 8 - bits - low else low);
}
