//! Scales as they are stored beside codes of any kind: their dtypes, one at a time and as vectors.
const std = @import("std");
const float = @import("../core/float.zig");
const minifloat = @import("../core/minifloat.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");

/// How a scale is stored. The numbers are those of a codec's parameter; 0 stays free for "none".
pub const Dtype = enum(u32) {
    f32 = 1,
    f16 = 2,
    bf16 = 3,
    /// A byte e that means 2^(e - 127); 255 is what `exp2` makes of it, infinity.
    e8m0 = 4,
    /// The same under its own dtype, F8_E8M0, where 255 is NaN (OCP MX 1.0, 5.4.1).
    e8m0fnu = 5,
    e4m3 = 6,

    pub fn of(parameter: u32) ?Dtype {
        return std.meta.intToEnum(Dtype, parameter) catch null;
    }

    pub fn bytes(dtype: Dtype) u32 {
        return switch (dtype) {
            .f32 => 4,
            .f16, .bf16 => 2,
            .e8m0, .e8m0fnu, .e4m3 => 1,
        };
    }

    /// Whether a stored scale that is no number is a fault of the file. E8M0 follows its reference.
    pub fn mustBeFinite(dtype: Dtype) bool {
        return switch (dtype) {
            .f32, .f16, .bf16, .e4m3 => true,
            .e8m0, .e8m0fnu => false,
        };
    }

    /// Scale `index` of those that stand one after the other at `scales`.
    pub inline fn read(dtype: Dtype, scales: [*]const u8, index: u64) f32 {
        return switch (dtype) {
            .f32 => @bitCast(std.mem.readInt(u32, scales[index * 4 ..][0..4], .little)),
            .f16 => float.f32FromF16(std.mem.readInt(u16, scales[index * 2 ..][0..2], .little)),
            .bf16 => float.f32FromBf16(std.mem.readInt(u16, scales[index * 2 ..][0..2], .little)),
            .e8m0 => float.f32FromE8m0(scales[index]),
            .e8m0fnu => if (scales[index] == 255) float.nan else float.f32FromE8m0(scales[index]),
            .e4m3 => minifloat.values(.e4m3)[scales[index]],
        };
    }

    /// Scales index … index + n - 1.
    pub inline fn readVector(
        dtype: Dtype,
        comptime n: comptime_int,
        scales: [*]const u8,
        index: u64,
    ) @Vector(n, f32) {
        const from = scales + index * dtype.bytes();
        switch (dtype) {
            .f32 => return vector.load(@Vector(n, f32), from),
            .f16 => return vector.widen(.f16, vector.load(@Vector(n, u16), from)),
            .bf16 => return vector.widen(.bf16, vector.load(@Vector(n, u16), from)),
            .e4m3 => return minifloat.widen(.e4m3, vector.load(@Vector(n, u8), from)),
            .e8m0, .e8m0fnu => {
                const U = @Vector(n, u32);
                const exponents: U = vector.load(@Vector(n, u8), from);
                const smallest: U = @splat(0x0040_0000);
                const last: U = @splat(if (dtype == .e8m0) 0x7f80_0000 else @bitCast(float.nan));
                var bits = exponents << @splat(23);
                bits = @select(u32, exponents == @as(U, @splat(0)), smallest, bits);
                return @bitCast(@select(u32, exponents == @as(U, @splat(255)), last, bits));
            },
        }
    }
};

/// Whether a scale of the tile is NaN or infinite. Source `source` has a scale for each `width`
/// columns of a line; 0: one for all of them.
pub fn anyNotFinite(tile: *const table.Tile, source: usize, dtype: Dtype, width: u32) bool {
    if (!dtype.mustBeFinite()) return false;
    const first = if (width == 0) 0 else tile.column_begin / width;
    const last = if (width == 0) 0 else (tile.column_begin + tile.column_count - 1) / width;
    for (0..tile.row_count) |row| {
        const line = tile.line(source, row);
        for (first..last + 1) |index| {
            if (!std.math.isFinite(dtype.read(line, index))) return true;
        }
    }
    return false;
}
