//! float arithmetic on coded weights: codes become f32 in the register and meet the activations as
//! they are. The reference that int8 arithmetic is measured against, and as fast where memory is
//! the limit.
const std = @import("std");
const integer = @import("../core/integer.zig");
const math = @import("../core/math.zig");
const table = @import("../table.zig");
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
    var at = tile;
    var span: usize = 0;
    while (span < x.span_count) {
        const count: usize = @min(layout.segment_spans, x.span_count - span);
        int8.prefetch(options, at, layout.head_bytes);
        const scales = scales_file.loadAll(dot, lane_count, at);
        at = @alignCast(at + layout.head_bytes);
        for (0..count) |i| {
            int8.prefetch(options, at, layout.span_bytes);
            addSpan(dot, n, &scales, i, at, x, first, span + i, &sums);
            at = @alignCast(at + layout.span_bytes);
        }
        span += count;
    }
    return sums;
}

inline fn addSpan(
    comptime dot: Dot,
    comptime n: comptime_int,
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
        const totals = blockSums(dot, n, groups, @alignCast(begin), x, first, span, block);
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

/// Σ integer · activation of a block. Integers are taken with their offset, for unsigned bytes
/// widen with fewer shifts; its share, offset · Σ activation, goes off at the end. Integers and
/// activations are finite, which is all that the optimized float mode takes for granted; scales,
/// which may not be, stay outside.
inline fn blockSums(
    comptime dot: Dot,
    comptime n: comptime_int,
    comptime groups: comptime_int,
    codes: [*]align(64) const u8,
    x: *const table.Activations,
    first: usize,
    span: usize,
    comptime block: comptime_int,
) [n]int8.Sums {
    @setFloatMode(.optimized);
    const layout = dots.Layout(dot);
    // An FMA waits four cycles for the one before it: at least four sums take turns.
    const chains = @max(1, 4 / (parts * n));
    var sums: [n][parts][chains]Floats = @splat(@splat(@splat(@splat(0))));
    inline for (0..groups) |group| {
        const weights = int8.loadGroup(dot, .offset, @alignCast(codes + group * dots.word_bytes));
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
    inline for (&totals, &sums, 0..) |*total, *sum, c| {
        const index = ((first + c) * x.span_count + span) * layout.span_blocks + block;
        const share: Floats = @splat(-@as(f32, layout.range.offset()) * x.sums[index]);
        inline for (total, sum) |*one, *all| {
            one.* = all[0];
            inline for (1..chains) |chain| one.* += all[chain];
            one.* += share;
        }
    }
    return totals;
}

/// Byte `index` of each lane as a float.
inline fn widenByte(bytes: Bytes, comptime index: comptime_int) Floats {
    const lanes: Words = @bitCast(bytes);
    const low = if (index == 0) lanes else lanes >> @splat(8 * index);
    const byte = if (index == 3) low else low & @as(Words, @splat(0xff));
    return @floatFromInt(@as(Ints, @bitCast(byte)));
}
