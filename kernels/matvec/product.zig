//! The functions of one CPU level that multiply tiles, made from what a codec says of its weights.
const std = @import("std");
const abi = @import("../abi.zig");
const table = @import("../table.zig");
const activation = @import("activation.zig");
const dense = @import("dense.zig");
const dots = @import("dot.zig");
const float = @import("float.zig");
const int8 = @import("int8.zig");
const lanes = @import("lanes.zig");
const pack = @import("pack.zig");
const quantize = @import("quantize.zig");

/// Columns of a batch that meet a register of weights at once, the most first. Eight need more sums
/// than there are registers: on Zen 3 they are no faster than twice four.
const column_steps = [_]comptime_int{ 4, 1 };

/// table.Matvec of each form of a codec.
pub fn functionsOf(comptime codec: type) [dots.form_count_max]table.Matvec {
    @setEvalBranchQuota(10_000);
    var functions: [dots.form_count_max]table.Matvec = @splat(.{});
    inline for (comptime dots.formsOf(codec), 0..) |form, i| functions[i] = switch (form) {
        .coded => |dot| .{
            .pack = if (@hasDecl(codec, "packColumns")) null else packer(codec, form),
            .pack_columns = if (@hasDecl(codec, "packColumns")) columnPacker(codec, dot) else null,
            .pack_values = if (@hasDecl(codec, "packValues")) &codec.packValues else null,
            .prepare_float = prepareFloat(dot.order),
            .prepare_int8 = if (dots.Layout(dot).has_integers) prepareInt8(dot) else null,
            .multiply_float = multiplier(dot, .float),
            .multiply_int8 = if (dots.Layout(dot).has_integers) multiplier(dot, .int8) else null,
        },
        .dense => |element| .{
            .pack = packer(codec, form),
            .prepare_float = prepareFloat(dots.column_order),
            .multiply_float = multiplier(element, .float),
        },
    };
    return functions;
}

fn packer(comptime codec: type, comptime form: dots.Form) table.PackFn {
    return &struct {
        fn call(
            source: *const table.Tile,
            row: u64,
            row_count: u64,
            lane: u64,
            tile: [*]align(64) u8,
        ) callconv(.c) u64 {
            return switch (form) {
                .coded => |dot| pack.packCoded(codec, dot, source, row, row_count, lane, tile),
                .dense => |element| pack.packDense(element, source, row, row_count, lane, tile),
            };
        }
    }.call;
}

fn columnPacker(comptime codec: type, comptime dot: dots.Dot) table.PackColumnsFn {
    return &struct {
        fn call(
            source: *const table.Tile,
            columns: *const lanes.Columns,
            tile: [*]align(64) u8,
        ) callconv(.c) u64 {
            return codec.packColumns(dot, source, columns.*, tile);
        }
    }.call;
}

pub fn prepareFloat(comptime order: [dots.span_columns]u8) table.PrepareFn {
    return &struct {
        fn call(
            activations: *const table.Activations,
            column: u64,
            x: [*]const f32,
            columns: u64,
        ) callconv(.c) bool {
            return quantize.prepareFloat(order, activations, column, x, columns);
        }
    }.call;
}

pub fn prepareInt8(comptime dot: dots.Dot) table.PrepareFn {
    return &struct {
        fn call(
            activations: *const table.Activations,
            column: u64,
            x: [*]const f32,
            columns: u64,
        ) callconv(.c) bool {
            return quantize.prepareInt8(dot, activations, column, x, columns);
        }
    }.call;
}

/// `what`: the Dot of coded weights or the element of dense ones.
pub fn multiplier(comptime what: anytype, comptime arithmetic: abi.Arithmetic) table.ProductFn {
    return &struct {
        fn call(product: *const table.Product) callconv(.c) void {
            multiplyTiles(what, arithmetic, .{}, product);
        }
    }.call;
}

/// One pass over the tiles: each meets all columns of the batch while it is in the cache.
pub fn multiplyTiles(
    comptime what: anytype,
    comptime arithmetic: abi.Arithmetic,
    comptime options: int8.Options,
    product: *const table.Product,
) void {
    @setRuntimeSafety(false);
    var done: u64 = 0;
    if (arithmetic == .int8 and product.batch == 1 and product.is_streaming) {
        // As many runs of neighbouring tiles, side by side.
        const run = product.tile_count / options.streams;
        for (0..run) |i| {
            var numbers: [options.streams]u64 = undefined;
            inline for (&numbers, 0..) |*number, stream| number.* = stream * run + i;
            multiplySome(what, arithmetic, 1, options, product, &numbers, 0);
        }
        done = run * options.streams;
    }
    for (done..product.tile_count) |i| {
        var column: usize = 0;
        inline for (column_steps) |n| {
            while (column + n <= product.batch) : (column += n)
                multiplySome(what, arithmetic, n, options, product, &[_]u64{i}, column);
        }
    }
}

/// Some tiles, by their numbers within the product, times `n` columns.
inline fn multiplySome(
    comptime what: anytype,
    comptime arithmetic: abi.Arithmetic,
    comptime n: comptime_int,
    comptime options: int8.Options,
    product: *const table.Product,
    numbers: anytype,
    column: u64,
) void {
    const is_dense = @TypeOf(what) != dots.Dot;
    var tiles: [numbers.len][*]align(64) const u8 = undefined;
    inline for (&tiles, numbers) |*tile, number|
        tile.* = @alignCast(product.tiles + number * product.tile_bytes);
    const all = if (is_dense)
        .{dense.multiply(what, n, options, tiles[0], product.x, column)}
    else switch (arithmetic) {
        .int8 => multiplyPlanes(what, n, options, &tiles, product.x, column),
        .float => .{float.multiply(what, n, options, tiles[0], product.x, column)},
        .auto => comptime unreachable,
    };
    inline for (numbers, 0..) |number, t| {
        var factors: activation.Rows = @splat(if (is_dense) 1 else what.unit);
        if (!is_dense and what.has_row_factor)
            factors *= @as(*align(64) const activation.Rows, @ptrCast(tiles[t])).*;
        inline for (all[t], 0..) |sum, c| {
            const rows: activation.Rows = @bitCast(sum);
            activation.finish(product, product.tile_first + number, column + c, rows * factors);
        }
    }
}

/// int8.multiply by all planes of a Dot.
inline fn multiplyPlanes(
    comptime dot: dots.Dot,
    comptime n: comptime_int,
    comptime options: int8.Options,
    tiles: anytype,
    x: *const table.Activations,
    column: u64,
) [tiles.len][n]int8.Sums {
    const planes = comptime dots.planes(dot);
    var sums = int8.multiply(planes[0], n, tiles.len, options, tiles, x, column);
    if (planes.len == 1) return sums;
    // The tiles are in the cache by now.
    comptime var near = options;
    near.prefetch = 0;
    const fine = int8.multiply(planes[1], n, tiles.len, near, tiles, x, column);
    const gain: @TypeOf(sums[0][0][0]) = @splat(dots.plane_gain);
    inline for (&sums, fine) |*tile, more| inline for (tile, more) |*sum, other| {
        inline for (sum, other) |*part, second| part.* = part.* * gain + second;
    };
    return sums;
}
