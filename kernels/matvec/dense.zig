//! float arithmetic on dense weights: the baseline that coded weights are compared with. A tile
//! holds column after column, each 16 rows of one element.
const std = @import("std");
const math = @import("../core/math.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");
const float = @import("../core/float.zig");
const dots = @import("dot.zig");
const int8 = @import("int8.zig");

const lane_count = @min(dots.tile_rows, vector.register_bytes / 4);
const parts = dots.tile_rows / lane_count;
const Floats = @Vector(lane_count, f32);

pub const Sums = [parts]Floats;

/// Bytes of a tile.
pub fn tileBytes(comptime element: float.Target, span_count: u64) u64 {
    return span_count * dots.span_columns * dots.tile_rows * @sizeOf(element.Bits());
}

/// Σ weight · activation for the rows of a tile and columns `first` … `first` + n - 1 of the batch.
pub inline fn multiply(
    comptime element: float.Target,
    comptime n: comptime_int,
    comptime options: int8.Options,
    tile: [*]align(64) const u8,
    x: *const table.Activations,
    first: usize,
) [n]Sums {
    @setRuntimeSafety(false);
    @setEvalBranchQuota(100_000);
    const span_bytes = comptime tileBytes(element, 1);
    var sums: [n]Sums = @splat(@splat(@splat(0)));
    for (0..x.span_count) |span| {
        const columns: [*]align(64) const u8 = @alignCast(tile + span * span_bytes);
        const totals = spanSums(element, n, options, columns, x, first, span);
        inline for (&sums, &totals) |*sum, *total| inline for (sum, total) |*one, more| {
            one.* += more;
        };
    }
    return sums;
}

/// Summed up by itself, so that rounding errors grow with the number of spans, not of columns.
inline fn spanSums(
    comptime element: float.Target,
    comptime n: comptime_int,
    comptime options: int8.Options,
    columns: [*]align(64) const u8,
    x: *const table.Activations,
    first: usize,
    span: usize,
) [n]Sums {
    const Bits = element.Bits();
    const column_bytes = dots.tile_rows * @sizeOf(Bits);
    // An FMA waits four cycles for the one before it: at least four sums take turns.
    const chains = @max(1, 4 / (parts * n));
    const step = @max(chains, 64 / column_bytes);
    var sums: [n][parts][chains]Floats = @splat(@splat(@splat(@splat(0))));
    var column: usize = 0;
    while (column < dots.span_columns) : (column += step) {
        int8.prefetch(options, columns + column * column_bytes, step * column_bytes);
        inline for (0..step) |i| inline for (0..parts) |part| {
            const at = columns + (column + i) * column_bytes + part * lane_count * @sizeOf(Bits);
            const weight = vector.widen(element, vector.load(@Vector(lane_count, Bits), at));
            inline for (&sums, 0..) |*sum, c| {
                const begin = ((first + c) * x.span_count + span) * dots.span_columns;
                const value = x.values[begin + column + i];
                const chain = &sum[part][i % chains];
                chain.* = math.mulAdd(weight, @as(Floats, @splat(value)), chain.*);
            }
        };
    }
    var totals: [n]Sums = undefined;
    inline for (&totals, &sums) |*total, *sum| inline for (total, sum) |*one, *all| {
        one.* = all[0];
        inline for (1..chains) |chain| one.* += all[chain];
    };
    return totals;
}
