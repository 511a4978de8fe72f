//! int8 arithmetic: for each span the exact integer sum of weights and activations, times both
//! scales, added up in f32 in the order of the columns. Nothing depends on the level, so that all
//! levels give the same bits.
//!
//! What makes it fast, each with its row in `zig build bench-matvec`:
//! - weights stay 4-bit up to the register: a byte shuffle looks up 32 or 64 of them at once;
//! - nibbles are parted by a mask and a shift, without a branch;
//! - 16 rows stand side by side (dot.zig), so that no sum crosses lanes, and both register halves
//!   and all columns of a batch use what was loaded once;
//! - memory is asked for `prefetch_distance` ahead, across the page borders that stop the hardware;
//! - one core reads two runs of tiles at once, for one stream does not keep its memory busy.
const std = @import("std");
const integer = @import("../core/integer.zig");
const dots = @import("dot.zig");
const scales_file = @import("scale.zig");
const table = @import("../table.zig");
const Dot = dots.Dot;

const lane_count = integer.lane_count;
/// Registers that hold the rows of a tile.
pub const parts = dots.tile_rows / lane_count;
const Bytes = integer.Bytes;
const Floats = @Vector(lane_count, f32);
const Words = @Vector(lane_count, u32);

/// One number for each row of a tile.
pub const Sums = [parts]Floats;

/// Bytes between what is multiplied and what is asked for. Measured on Zen 3, one core, out of
/// cache: none 15, 1 KiB 17, 2 KiB 20, 4 KiB 20 GB/s.
pub const prefetch_distance = 2048;

/// Techniques that can be left out, for the benchmark that tells what each is worth.
pub const Options = struct {
    prefetch: usize = prefetch_distance,
    /// Runs of tiles that are read at once.
    streams: comptime_int = 2,
    /// Of the sums within a block in float arithmetic.
    float_mode: std.builtin.FloatMode = .optimized,
};

/// Σ integer · activation · scales for the rows of each of `t` tiles and columns `first` … `first`
/// + n - 1 of the batch, minima taken off. The caller multiplies by `dot.unit`.
pub inline fn multiply(
    comptime dot: Dot,
    comptime n: comptime_int,
    comptime t: comptime_int,
    comptime options: Options,
    tiles: *const [t][*]align(64) const u8,
    x: *const table.Activations,
    first: usize,
) [t][n]Sums {
    @setRuntimeSafety(false);
    @setEvalBranchQuota(100_000); // of the inline functions too
    const layout = dots.Layout(dot);
    const views = viewsOf(layout, n, x, first);
    var sums: [t][n]Sums = @splat(@splat(@splat(@splat(0))));
    var offset: usize = layout.tile_head_bytes;
    var span: usize = 0;
    while (span < x.span_count) {
        const count: usize = @min(layout.segment_spans, x.span_count - span);
        inline for (tiles, &sums) |tile, *sum|
            addSegment(dot, n, options, @alignCast(tile + offset), &views, span, count, sum);
        offset += layout.head_bytes + count * layout.span_bytes;
        span += count;
    }
    return sums;
}

inline fn addSegment(
    comptime dot: Dot,
    comptime n: comptime_int,
    comptime options: Options,
    segment: [*]align(64) const u8,
    views: *const [n]View,
    span: usize,
    count: usize,
    sums: *[n]Sums,
) void {
    const layout = dots.Layout(dot);
    prefetch(options, segment, layout.head_bytes);
    const codes: [*]align(64) const u8 = @alignCast(segment + layout.head_bytes);
    if (n == 1 and count == layout.segment_spans) {
        // One span ahead: the last steps of a span, each of which waits for the one before it,
        // stand behind the first steps of the next one, so that the CPU's window holds enough that
        // can go on.
        var exact = exactSums(dot, n, options, codes, views, span);
        inline for (1..layout.segment_spans) |i| {
            const begin: [*]align(64) const u8 = @alignCast(codes + i * layout.span_bytes);
            const next = exactSums(dot, n, options, begin, views, span + i);
            scaleSums(dot, n, segment, i - 1, views, span + i - 1, &exact, sums);
            exact = next;
        }
        const last = layout.segment_spans - 1;
        scaleSums(dot, n, segment, last, views, span + last, &exact, sums);
    } else for (0..count) |i| {
        const begin: [*]align(64) const u8 = @alignCast(codes + i * layout.span_bytes);
        const exact = exactSums(dot, n, options, begin, views, span + i);
        switch (i) {
            inline 0...layout.segment_spans - 1 => |number| //
            scaleSums(dot, n, segment, number, views, span + i, &exact, sums),
            else => unreachable,
        }
    }
}

/// The quantized activations of one column of the batch.
const View = struct {
    /// A span is 32 bytes: 8 words that meet 8 registers of weights.
    codes: [*]align(32) const [8]u32,
    scales: [*]const f32,
    sums: [*]const f32,
    corrections: [*]const u32,
};

inline fn viewsOf(
    comptime layout: type,
    comptime n: comptime_int,
    x: *const table.Activations,
    first: usize,
) [n]View {
    var views: [n]View = undefined;
    inline for (&views, 0..) |*view, c| {
        const begin = (first + c) * x.span_count;
        view.* = .{
            .codes = @ptrCast(@alignCast(x.codes + begin * dots.span_columns)),
            .scales = x.scales + begin,
            .sums = x.sums + begin * layout.span_blocks,
            .corrections = x.corrections + begin * layout.span_blocks,
        };
    }
    return views;
}

pub inline fn prefetch(
    comptime options: Options,
    at: [*]const u8,
    comptime size: comptime_int,
) void {
    if (options.prefetch == 0) return;
    // Weights are used once: they should leave the cache first.
    inline for (0..size / 64) |line|
        @prefetch(at + options.prefetch + line * 64, .{ .locality = 0 });
}

/// Exact sums of a span's blocks, of each column and part.
fn Exact(comptime dot: Dot, comptime n: comptime_int) type {
    return [dots.Layout(dot).span_blocks][n][parts]integer.Accumulator(dots.Layout(dot).range);
}

inline fn exactSums(
    comptime dot: Dot,
    comptime n: comptime_int,
    comptime options: Options,
    codes: [*]align(64) const u8,
    views: *const [n]View,
    span: usize,
) Exact(dot, n) {
    const layout = dots.Layout(dot);
    prefetch(options, codes, layout.span_bytes);
    const form = comptime integer.form(layout.range);
    const groups = layout.span_groups / layout.span_blocks;
    var exact: Exact(dot, n) = undefined;
    inline for (&exact, 0..) |*totals, block| {
        inline for (totals, views) |*total, *view|
            total.* = @splat(.init(view.corrections[span * layout.span_blocks + block]));
        inline for (block * groups..(block + 1) * groups) |group| {
            const weights = loadGroup(dot, form, @alignCast(codes + group * dots.word_bytes));
            inline for (0..weights.len) |w| inline for (totals, views) |*total, *view| {
                const word = view.codes[span][group * weights.len + w];
                inline for (0..parts) |part| total[part].add(weights[w][part], word);
            };
        }
    }
    return exact;
}

/// Adds the exact sums of span `i` of a segment, each times its scales.
inline fn scaleSums(
    comptime dot: Dot,
    comptime n: comptime_int,
    segment: [*]align(64) const u8,
    comptime i: comptime_int,
    views: *const [n]View,
    span: usize,
    exact: *const Exact(dot, n),
    sums: *[n]Sums,
) void {
    const layout = dots.Layout(dot);
    inline for (exact, 0..) |*totals, block| inline for (0..parts) |part| {
        const place = comptime scales_file.place(dot, i, block);
        const scale = scales_file.loadScale(dot, place, segment, part, lane_count);
        inline for (sums, totals, views) |*sum, *total, *view| {
            const integers: Floats = @floatFromInt(total[part].total());
            // The activations' scale first: then sums of large weights and small activations, and
            // the other way round, stay numbers.
            sum[part] += integers * @as(Floats, @splat(view.scales[span])) * scale;
            if (!dot.has_minimum) continue;
            const minimum = scales_file.loadMinimum(dot, place, segment, part, lane_count);
            const value: Floats = @splat(view.sums[span * layout.span_blocks + block]);
            sum[part] -= minimum * value;
        }
    };
}

/// The weights of one group in the wanted form: two registers for each part where codes are
/// nibbles, one where they are bytes.
pub inline fn loadGroup(
    comptime dot: Dot,
    comptime form: integer.Form,
    group: [*]align(64) const u8,
) [8 / dots.Layout(dot).span_groups][parts]Bytes {
    var weights: [8 / dots.Layout(dot).span_groups][parts]Bytes = undefined;
    inline for (0..parts) |part| {
        const stored: Bytes = @as(*const [parts]Bytes, @ptrCast(group))[part];
        if (dots.Layout(dot).has_nibbles) {
            const entries = comptime tableOf(dot, form);
            const nibbles = integer.split(stored);
            weights[0][part] = integer.lookup(&entries, nibbles.low);
            weights[1][part] = integer.lookup(&entries, nibbles.high);
        } else weights[0][part] = switch (form) {
            .signed => stored,
            .offset => stored ^ @as(Bytes, @splat(0x80)),
        };
    }
    return weights;
}

/// The integers of all codes in a form.
fn tableOf(comptime dot: Dot, comptime form: integer.Form) [16]u8 {
    var entries: [16]u8 = undefined;
    const layout = dots.Layout(dot);
    const add = if (form == .offset) layout.range.offset() else 0;
    for (&entries, layout.integers) |*entry, value|
        entry.* = @truncate(@as(u16, @bitCast(@as(i16, value) + add)));
    return entries;
}
