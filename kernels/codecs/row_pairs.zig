//! Codes of four bits of which two rows share a byte, as nvidia-modelopt packs INT4 AWQ
//! (export/quant_utils.py, pack_int4_in_uint8) and the NVFP4 experts that it stores transposed.
//!
//!     source 0, codes:   a byte for each column of two rows: the low nibble is the even row's
//!     source 1, scales:  one for each parameters[1] columns of a line (scaled.zig). Which rows
//!                        share a line, the source says: 16 of NVFP4, 1 of AWQ
//!     then, as the parameters say, one F32 for the whole matrix, and a scale for each column
//!
//!     parameters[0]      dtype of the scales (scale.zig)
//!     parameters[2]      1: the scales are multiplied with one of the whole
//!     parameters[3]      dtype of the scales of columns (`pre_quant_scale`); 0: there are none
//!
//! A factor is the scale times that of the whole, rounded to f32; then comes the product with the
//! element, and last that with the column's scale, each rounded to f32.
const std = @import("std");
const float = @import("../core/float.zig");
const scale_file = @import("scale.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");
const row_file = @import("scaled_row.zig");
const geometry_file = @import("geometry.zig");
const Dtype = scale_file.Dtype;
const Geometry = geometry_file.Geometry;
const Row = row_file.Row;
const Sample = geometry_file.Sample;
const Target = float.Target;
const Tile = table.Tile;
const step = row_file.step;

/// What a code means, in units.
pub const Element = struct { units: [16]i8, unit: f32 };

/// E2M1 in halves, without a negative zero, as modelopt's table has it.
pub const e2m1: Element = .{
    .units = .{ 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 },
    .unit = 0.5,
};
/// Two's complement.
pub const int4: Element = .{
    .units = .{ 0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1 },
    .unit = 1,
};

pub fn Codec(comptime element: Element) type {
    return struct {
        pub fn check(geometry: Geometry) bool {
            if (!geometry.parametersEnd(4) or geometry.parameters[2] > 1) return false;
            const column_dtype = geometry.parameters[3];
            const count = 2 + geometry.parameters[2] + @intFromBool(column_dtype != 0);
            if (geometry.sources.len != count) return false;
            const codes = geometry.sources[0];
            if (codes.rows_per_line != 2) return false;
            if (codes.unit_columns == 0 or codes.unit_columns != codes.unit_bytes) return false;
            const dtype = Dtype.of(geometry.parameters[0]) orelse return false;
            const scales = geometry.sources[1];
            if (scales.unit_columns != geometry.parameters[1]) return false;
            if (scales.unit_columns == 0 or scales.unit_bytes != dtype.bytes()) return false;
            if (column_dtype != 0) {
                const columns = geometry.sources[count - 1];
                const bytes = (Dtype.of(column_dtype) orelse return false).bytes();
                if (columns.rows_per_line != 0 or columns.unit_columns != 1) return false;
                if (columns.unit_bytes != bytes) return false;
            }
            if (geometry.parameters[2] == 0) return true;
            const whole = geometry.sources[2];
            return whole.rows_per_line == 0 and whole.line_bytes >= @sizeOf(f32);
        }

        const codes_source: geometry_file.SampleSource = .{
            .rows_per_line = 2,
            .unit_columns = 1,
            .unit_bytes = 1,
        };

        pub const samples = [_]Sample{
            .{ .name = "nvfp4", .parameters = .{ e4m3, 1, 1, 0, 0, 0, 0, 0 }, .sources = &.{
                codes_source,
                .{ .rows_per_line = 16, .unit_columns = 1, .unit_bytes = 1 },
                .{ .rows_per_line = 0, .bytes = 4, .alphabet = small },
            } },
            .{ .name = "awq", .parameters = .{ bf16, 128, 0, bf16, 0, 0, 0, 0 }, .sources = &.{
                codes_source,
                .{ .unit_columns = 128, .unit_bytes = 2, .alphabet = small },
                .{ .rows_per_line = 0, .unit_columns = 1, .unit_bytes = 2, .alphabet = small },
            } },
            .{ .name = "any", .parameters = .{ f32_, 20, 1, f32_, 0, 0, 0, 0 }, .sources = &.{
                codes_source,
                .{ .unit_columns = 20, .unit_bytes = 4 },
                .{ .rows_per_line = 0, .bytes = 4 },
                .{ .rows_per_line = 0, .unit_columns = 1, .unit_bytes = 4 },
            } },
        };

        const e4m3 = @intFromEnum(Dtype.e4m3);
        const bf16 = @intFromEnum(Dtype.bf16);
        const f32_ = @intFromEnum(Dtype.f32);
        /// Bytes of F32 and BF16 near 0.01.
        const small: []const u8 = &.{ 0x3c, 0x3d, 0x3b };

        pub fn value(tile: *const Tile, row: u64, column: u64) f32 {
            const byte = tile.line(0, row)[column];
            const code = if ((tile.row_begin + row) % 2 == 0) byte & 15 else byte >> 4;
            const units: f32 = @floatFromInt(element.units[code]);
            const dtype = Dtype.of(tile.parameters[0]).?;
            const scale = dtype.read(tile.line(1, row), column / tile.parameters[1]);
            const factor = if (tile.parameters[2] == 1) quiet(scale * wholeScale(tile)) else scale;
            const product = quiet(units * element.unit * factor);
            const column_dtype = Dtype.of(tile.parameters[3]) orelse return product;
            return quiet(product * column_dtype.read(tile.sources[columnSource(tile)], column));
        }

        pub fn scaleFault(tile: *const Tile) ?u32 {
            const dtype = Dtype.of(tile.parameters[0]).?;
            if (scale_file.anyNotFinite(tile, 1, dtype, tile.parameters[1])) return 1;
            if (tile.parameters[2] == 1 and !std.math.isFinite(wholeScale(tile))) return 2;
            const column_dtype = Dtype.of(tile.parameters[3]) orelse return null;
            const source = columnSource(tile);
            return if (scale_file.anyNotFinite(tile, source, column_dtype, 1)) source else null;
        }

        pub fn decode(comptime target: Target, tile: *const Tile) u64 {
            const elements: [*]target.Bits() = @ptrCast(@alignCast(tile.target));
            const common: Common = .{
                .whole = if (tile.parameters[2] == 1) wholeScale(tile) else null,
                .column_dtype = Dtype.of(tile.parameters[3]),
                .columns = if (tile.parameters[3] == 0)
                    undefined
                else
                    tile.sources[columnSource(tile)],
            };
            var non_finite_count: u64 = 0;
            for (0..tile.row_count) |r| {
                const row: Row = .{
                    .codes = tile.line(0, r) + tile.column_begin,
                    .ahead = vector.prefetchDistance(tile.column_count, tile.strides[0]),
                    .dtype = Dtype.of(tile.parameters[0]),
                    .scales = tile.line(1, r),
                    .width = tile.parameters[1],
                    .rounding = .none,
                    .begin = tile.column_begin,
                    .count = tile.column_count,
                };
                const shift: u3 = if ((tile.row_begin + r) % 2 == 0) 0 else 4;
                const to = elements + r * tile.target_stride;
                non_finite_count += decodeRow(target, &row, shift, common, to);
            }
            return non_finite_count;
        }

        fn decodeRow(
            comptime target: Target,
            row: *const Row,
            shift: u3,
            common: Common,
            to: [*]target.Bits(),
        ) u64 {
            @setRuntimeSafety(false);
            const Counter = vector.NonFiniteCounter(target, step);
            var non_finite_count: u64 = 0;
            var column: u64 = 0;
            while (column < row.count) : (column += step) {
                vector.prefetch(row.codes + column + row.ahead);
                const count = @min(step, row.count - column);
                var scales: [step]f32 = undefined;
                row.readColumns(&scales, column, count);
                const factors: Factors = .{
                    .scales = scales,
                    .whole = common.whole,
                    .columns = common.read(row.begin + column, count),
                };
                const from = row.codes + column;
                if (count == step) {
                    const loaded = vector.load(@Vector(step, u8), from);
                    const bits = products(target, loaded, shift, factors);
                    var counter: Counter = .{};
                    counter.add(bits);
                    vector.store(to + column, bits);
                    non_finite_count += counter.total();
                    continue;
                }
                var rest: [step]u8 = @splat(0);
                for (rest[0..count], from) |*byte, stored| byte.* = stored;
                const bits: [step]target.Bits() = products(target, rest, shift, factors);
                for (to[column..][0..count], bits[0..count]) |*place, b| {
                    place.* = b;
                    non_finite_count += @intFromBool(!float.isFinite(target, b));
                }
            }
            return non_finite_count;
        }

        inline fn products(
            comptime target: Target,
            bytes: @Vector(step, u8),
            shift: u3,
            factors: Factors,
        ) @Vector(step, target.Bits()) {
            const codes = bytes >> @splat(shift) & @as(@Vector(step, u8), @splat(15));
            const found: @Vector(step, i8) = @bitCast(
                vector.lookupBytes(@bitCast(element.units), codes),
            );
            const units: F = @floatFromInt(@as(@Vector(step, i32), found));
            var factor = factors.scales;
            if (factors.whole) |whole| factor = quiet(factor * @as(F, @splat(whole)));
            var product = quiet(units * @as(F, @splat(element.unit)) * factor);
            if (factors.columns) |columns| product = quiet(product * columns);
            return vector.round(target, product);
        }
    };
}

const F = @Vector(step, f32);

/// What all rows share.
const Common = struct {
    whole: ?f32,
    column_dtype: ?Dtype,
    columns: [*]const u8,

    /// The scales of columns begin … begin + count - 1, then zeros.
    inline fn read(common: Common, begin: u64, count: u64) ?F {
        const dtype = common.column_dtype orelse return null;
        if (count == step) switch (dtype) {
            inline else => |d| return d.readVector(step, common.columns, begin),
        };
        var scales: [step]f32 = @splat(0);
        for (scales[0..count], begin..) |*scale, i| scale.* = dtype.read(common.columns, i);
        return scales;
    }
};

const Factors = struct { scales: F, whole: ?f32, columns: ?F };

fn wholeScale(tile: *const Tile) f32 {
    return Dtype.f32.read(tile.sources[2], 0);
}

fn columnSource(tile: *const Tile) u32 {
    return 2 + tile.parameters[2];
}

/// Every NaN is the one of core/float.zig.
inline fn quiet(numbers: anytype) @TypeOf(numbers) {
    if (@TypeOf(numbers) == f32) return if (numbers != numbers) float.nan else numbers;
    return @select(f32, numbers != numbers, @as(F, @splat(float.nan)), numbers);
}
