//! float arithmetic on coded weights: codes become f32 in the register and meet the activations as
//! they are. The reference that int8 arithmetic is measured against, and as fast where memory is
//! the limit.
const std = @import("std");
const integer = @import("../core/integer.zig");
const math = @import("../core/math.zig");
const minifloat = @import("../core/minifloat.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");
const dots = @import("dot.zig");
const int8 = @import("int8.zig");
const scales_file = @import("scale.zig");
const Dot = dots.Dot;

const lane_count = integer.lane_count;
const parts = int8.parts;
const Bytes = integer.Bytes;
const Floats = @Vector(lane_count, f32);
const Ints = integer.Ints;
const Words = @Vector(lane_count, u32);

/// As int8.multiply, with the activations as f32.
pub inline fn multiply(
    comptime dot: Dot,
    comptime n: comptime_int,
    comptime options: int8.Options,
    tile: [*]align(64) const u8,
    x: *const table.Activations,
    first: usize,
) [n]int8.Sums {
    @setRuntimeSafety(false);
    @setEvalBranchQuota(100_000); // of the inline functions too
    const layout = dots.Layout(dot);
    var sums: [n]int8.Sums = @splat(@splat(@splat(0)));
    var at: [*]align(64) const u8 = @alignCast(tile + layout.tile_head_bytes);
    var span: usize = 0;
    while (span < x.span_count) {
        const count: usize = @min(layout.segment_spans, x.span_count - span);
        int8.prefetch(options, at, layout.head_bytes);
        const scales = scales_file.loadAll(dot, lane_count, at);
        at = @alignCast(at + layout.head_bytes);
        for (0..count) |i| {
            int8.prefetch(options, at, layout.span_bytes);
            addSpan(dot, n, options, &scales, i, at, x, first, span + i, &sums);
            at = @alignCast(at + layout.span_bytes);
        }
        span += count;
    }
    return sums;
}

inline fn addSpan(
    comptime dot: Dot,
    comptime n: comptime_int,
    comptime options: int8.Options,
    scales: *const scales_file.All(dot, lane_count),
    i: usize,
    codes: [*]align(64) const u8,
    x: *const table.Activations,
    first: usize,
    span: usize,
    sums: *[n]int8.Sums,
) void {
    const layout = dots.Layout(dot);
    const groups = layout.span_groups / layout.span_blocks;
    inline for (0..layout.span_blocks) |block| {
        const begin = codes + block * groups * dots.word_bytes;
        const sumsOf = if (comptime hasFloats(dot)) blockSumsOfFloats else blockSums;
        const totals = sumsOf(dot, n, options, groups, @alignCast(begin), x, first, span, block);
        const place = scales_file.place(dot, i, block);
        inline for (sums, &totals, 0..) |*sum, *total, c| inline for (0..parts) |part| {
            sum[part] = math.mulAdd(total[part], scales.scales[place][part], sum[part]);
            if (!dot.has_minimum) continue;
            const index = ((first + c) * x.span_count + span) * layout.span_blocks + block;
            const value: Floats = @splat(-x.sums[index]);
            sum[part] = math.mulAdd(scales.minima[place][part], value, sum[part]);
        };
    }
}

/// Σ integer · activation of a block, which bytes that widen to 2^24 times what they are need a last
/// factor for. Integers and activations are finite, which is all that the optimized float mode takes
/// for granted; scales, which may not be, stay outside.
inline fn blockSums(
    comptime dot: Dot,
    comptime n: comptime_int,
    comptime options: int8.Options,
    comptime groups: comptime_int,
    codes: [*]align(64) const u8,
    x: *const table.Activations,
    first: usize,
    span: usize,
    comptime block: comptime_int,
) [n]int8.Sums {
    @setFloatMode(options.float_mode);
    // An FMA waits four cycles for the one before it: at least four sums take turns.
    const chains = @max(1, 4 / (parts * n));
    var sums: [n][parts][chains]Floats = @splat(@splat(@splat(@splat(0))));
    inline for (0..groups) |group| {
        const weights = int8.loadGroup(dot, .signed, @alignCast(codes + group * dots.word_bytes));
        inline for (&weights, 0..) |*registers, w| inline for (0..4) |byte| {
            const position = ((block * groups + group) * weights.len + w) * 4 + byte;
            inline for (0..parts) |part| {
                const weight = widenByte(registers[part], byte);
                inline for (&sums, 0..) |*sum, c| {
                    const value = x.values[((first + c) * x.span_count + span) * 32 + position];
                    const chain = &sum[part][byte % chains];
                    chain.* = math.mulAdd(weight, @as(Floats, @splat(value)), chain.*);
                }
            }
        };
    }
    var totals: [n]int8.Sums = undefined;
    inline for (&totals, &sums) |*total, *sum| inline for (total, sum) |*one, *all| {
        one.* = all[0];
        inline for (1..chains) |chain| one.* += all[chain];
        one.* *= @splat(0x1p-24);
    };
    return totals;
}

/// Whether codes stand for numbers that are no integers.
fn hasFloats(comptime dot: Dot) bool {
    return dot.codes == .eight_floats or dot.codes == .four_floats;
}

/// Σ number · activation of a block, for codes that are no integers. All are finite (`blockSums`).
inline fn blockSumsOfFloats(
    comptime dot: Dot,
    comptime n: comptime_int,
    comptime options: int8.Options,
    comptime groups: comptime_int,
    codes: [*]align(64) const u8,
    x: *const table.Activations,
    first: usize,
    span: usize,
    comptime block: comptime_int,
) [n]int8.Sums {
    @setFloatMode(options.float_mode);
    const chains = @max(1, 4 / (parts * n));
    const halves = if (dot.codes == .four_floats) 2 else 1;
    var sums: [n][parts][chains]Floats = @splat(@splat(@splat(@splat(0))));
    inline for (0..groups) |group| inline for (0..parts) |part| {
        const stored: *const [parts]Words = @ptrCast(@alignCast(codes + group * dots.word_bytes));
        inline for (0..halves) |half| inline for (0..4) |byte| {
            const weight = switch (dot.codes) {
                .eight_floats => |format| widenSmall(format, stored[part], byte),
                .four_floats => |*floats| blk: {
                    const moved = stored[part] >> @splat(8 * byte + 4 * half);
                    break :blk vector.lookupFloats(floats, moved & @as(Words, @splat(15)));
                },
                .four, .eight => comptime unreachable,
            };
            const position = ((block * groups + group) * halves + half) * 4 + byte;
            inline for (&sums, 0..) |*sum, c| {
                const value = x.values[((first + c) * x.span_count + span) * 32 + position];
                const chain = &sum[part][byte % chains];
                chain.* = math.mulAdd(weight, @as(Floats, @splat(value)), chain.*);
            }
        };
    };
    var totals: [n]int8.Sums = undefined;
    inline for (&totals, &sums) |*total, *sum| inline for (total, sum) |*one, *all| {
        one.* = all[0];
        inline for (1..chains) |chain| one.* += all[chain];
    };
    return totals;
}

/// Byte `index` of each lane as a float of this format. Extending its sign and masking moves all
/// bits to their places; the exponent, which then is of another bias, is mended by a product.
inline fn widenSmall(
    comptime format: minifloat.Format,
    lanes: Words,
    comptime index: comptime_int,
) Floats {
    const down = 8 - comptime format.exponentBits();
    const top: Ints = @bitCast(lanes << @splat(24 - 8 * index));
    const keep: u32 = comptime 0x8000_0000 | @as(u32, 0x7f) << 24 - down;
    const bits = @as(Words, @bitCast(top >> @splat(down))) & @as(Words, @splat(keep));
    const gain: Floats = @splat(comptime format.gain() * 0x1p112);
    return @as(Floats, @bitCast(bits)) * gain;
}

/// 2^24 times byte `index` of each lane: at the top of a lane it has its sign, which would take two
/// shifts to extend.
inline fn widenByte(bytes: Bytes, comptime index: comptime_int) Floats {
    const lanes: Words = @bitCast(bytes);
    const top = (lanes << @splat(24 - 8 * index)) & @as(Words, @splat(0xff00_0000));
    return @floatFromInt(@as(Ints, @bitCast(top)));
}
