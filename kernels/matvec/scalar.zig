//! Products without vectors, value by value: what every level's int8 sums must equal bit for bit,
//! and its float sums within rounding.
const std = @import("std");
const abi = @import("../abi.zig");
const table = @import("../table.zig");
const codec_float = @import("../core/float.zig");
const minifloat = @import("../core/minifloat.zig");
const activation = @import("activation.zig");
const dots = @import("dot.zig");
const product_file = @import("product.zig");
const quantize = @import("quantize.zig");
const scales = @import("scale.zig");
const Dot = dots.Dot;

/// table.Matvec of each form of a codec.
pub fn functionsOf(comptime codec: type) [dots.form_count_max]table.Matvec {
    @setEvalBranchQuota(10_000);
    var functions = product_file.functionsOf(codec);
    inline for (comptime dots.formsOf(codec), 0..) |form, i| switch (form) {
        .coded => |dot| {
            functions[i].multiply_float = multiplier(dot, .float);
            if (dots.Layout(dot).has_integers) functions[i].multiply_int8 = multiplier(dot, .int8);
        },
        .dense => |element| functions[i].multiply_float = multiplier(element, .float),
    };
    return functions;
}

pub fn multiplier(comptime what: anytype, comptime arithmetic: abi.Arithmetic) table.ProductFn {
    return &struct {
        fn call(product: *const table.Product) callconv(.c) void {
            for (0..product.tile_count) |i| {
                const tile: [*]const u8 = product.tiles + i * product.tile_bytes;
                for (0..product.batch) |column| {
                    var sums: [dots.tile_rows]f32 = undefined;
                    for (&sums, 0..) |*sum, lane| sum.* = if (@TypeOf(what) == Dot)
                        (if (arithmetic == .int8)
                            planesSum(what, tile, lane, product.x, column)
                        else
                            codedSum(what, arithmetic, tile, lane, product.x, column)) *
                            (what.unit * rowFactor(what, tile, lane))
                    else
                        denseSum(what, tile, lane, product.x, column);
                    activation.finish(product, product.tile_first + i, column, sums);
                }
            }
        }
    }.call;
}

fn planesSum(
    comptime dot: Dot,
    tile: [*]const u8,
    lane: usize,
    x: *const table.Activations,
    column: usize,
) f32 {
    const planes = comptime dots.planes(dot);
    const sum = codedSum(planes[0], .int8, tile, lane, x, column);
    if (planes.len == 1) return sum;
    return sum * dots.plane_gain + codedSum(planes[1], .int8, tile, lane, x, column);
}

fn codedSum(
    comptime dot: Dot,
    comptime arithmetic: abi.Arithmetic,
    tile: [*]const u8,
    lane: usize,
    x: *const table.Activations,
    column: usize,
) f32 {
    const layout = dots.Layout(dot);
    const each = dots.span_columns / layout.span_blocks;
    var sum: f32 = 0;
    for (0..x.span_count) |span| {
        const segment = tile + layout.tile_head_bytes +
            span / layout.segment_spans * layout.segment_bytes;
        const index = column * x.span_count + span;
        for (0..layout.span_blocks) |block| {
            var exact: i32 = 0;
            var rounded: f32 = 0;
            for (block * each..(block + 1) * each) |position| {
                const code = codeAt(dot, segment, lane, span % layout.segment_spans, position);
                const at = index * dots.span_columns + position;
                switch (arithmetic) {
                    .int8 => exact += @as(i32, integerOf(dot, code)) * x.codes[at],
                    .float => rounded += numberOf(dot, code) * x.values[at],
                    .auto => comptime unreachable,
                }
            }
            const place = if (layout.span_blocks == 2)
                span % layout.segment_spans * 2 + block
            else
                span % layout.segment_spans / layout.block_spans;
            const scale = scaleAt(dot, layout.scales_at, 0, segment, lane, place);
            sum += switch (arithmetic) {
                .int8 => @as(f32, @floatFromInt(exact)) * x.scales[index] * scale,
                .float => rounded * scale,
                .auto => comptime unreachable,
            };
            if (!dot.has_minimum) continue;
            const minimum = scaleAt(dot, layout.minima_at, 1, segment, lane, place);
            sum -= minimum * x.sums[index * layout.span_blocks + block];
        }
    }
    return sum;
}

fn codeAt(
    comptime dot: Dot,
    segment: [*]const u8,
    lane: usize,
    span: usize,
    position: usize,
) u8 {
    const layout = dots.Layout(dot);
    const codes = segment + layout.head_bytes + span * layout.span_bytes;
    const per_group = dots.span_columns / layout.span_groups;
    const byte = codes[position / per_group * dots.word_bytes + lane * 4 + position % 4];
    if (!layout.has_nibbles) return byte;
    return if (position % 8 < 4) byte & 15 else byte >> 4;
}

fn integerOf(comptime dot: Dot, code: u8) i8 {
    return if (dot.codes == .eight) @bitCast(code) else dots.Layout(dot).integers[code];
}

fn numberOf(comptime dot: Dot, code: u8) f32 {
    return switch (dot.codes) {
        .four, .eight => @floatFromInt(integerOf(dot, code)),
        .four_floats => |floats| floats[code],
        .eight_floats => |format| minifloat.values(format)[code],
    };
}

/// Scale `place` of the segment, or its minimum: `begin` is where these stand.
fn scaleAt(
    comptime dot: Dot,
    comptime begin: usize,
    comptime factor: usize,
    segment: [*]const u8,
    lane: usize,
    place: usize,
) f32 {
    const size = dot.scale.bytes();
    const word = segment + begin + place * size / 4 * dots.word_bytes + lane * 4;
    var bytes: [4]u8 = @splat(0);
    bytes[0..size].* = word[place * size % 4 ..][0..size].*;
    const scale = scales.valueOf(dot.scale, @bitCast(bytes));
    if (!dot.scale.hasFactor()) return scale;
    return scale * codec_float.f32FromF16(@bitCast(segment[lane * 4 + 2 * factor ..][0..2].*));
}

fn rowFactor(comptime dot: Dot, tile: [*]const u8, lane: usize) f32 {
    return if (dot.has_row_factor) @bitCast(tile[lane * 4 ..][0..4].*) else 1;
}

fn denseSum(
    comptime element: codec_float.Target,
    tile: [*]const u8,
    lane: usize,
    x: *const table.Activations,
    column: usize,
) f32 {
    const Bits = element.Bits();
    var sum: f32 = 0;
    for (0..x.span_count * dots.span_columns) |i| {
        const at = tile + (i * dots.tile_rows + lane) * @sizeOf(Bits);
        const bits = std.mem.readInt(Bits, at[0..@sizeOf(Bits)], .little);
        const weight: f32 = switch (element) {
            .f32 => @bitCast(bits),
            .f16 => codec_float.f32FromF16(bits),
            .bf16 => codec_float.f32FromBf16(bits),
        };
        sum += weight * x.values[column * x.span_count * dots.span_columns + i];
    }
    return sum;
}
