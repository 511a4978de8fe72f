//! Small floats that are multiplied by a scale: FP8 in all its dialects, MXFP8 and MXFP6. The
//! codecs of this family are a few lines each.
//!
//!     source 0, codes:   a byte for each column, or four codes of six bits in three bytes, the
//!                        first in the lowest bits (little-endian)
//!     source 1, scales:  one for each parameters[1] columns of a line; 0: one for all columns.
//!                        Which rows share a line, the source says: so blocks of 1 × 32 and of
//!                        128 × 128, rows, and whole matrices are the same to this codec. There is
//!                        no source 1 where every scale is 1.
//!
//!     parameters[0]      dtype of the scales (scale.zig); 0: no source 1
//!     parameters[1]      columns that share a scale
//!     parameters[2]      dtype that the product is rounded to before it becomes the target's
//!                        (`Rounding`): compressed-tensors multiplies in the dtype of the scale
//!
//! The product is one f32 multiplication, rounded to nearest, as deepseek-ai/DeepSeek-V3
//! inference/kernel.py, transformers integrations/finegrained_fp8.py and vLLM have it; then the
//! target's rounding. A NaN is the quiet one of core/float.zig.
const std = @import("std");
const float = @import("../core/float.zig");
const minifloat = @import("../core/minifloat.zig");
const scale_file = @import("scale.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");
const row_file = @import("scaled_row.zig");
const samples_file = @import("scaled_samples.zig");
const dots = @import("../matvec/dot.zig");
const Blocks = row_file.Blocks;
const Dtype = scale_file.Dtype;
const Format = minifloat.Format;
const Geometry = @import("geometry.zig").Geometry;
const Rounding = row_file.Rounding;
const Row = row_file.Row;
const Target = float.Target;
const Tile = table.Tile;
const chunk_columns = row_file.chunk_columns;
const step = row_file.step;

/// The codec of codes of `format`.
pub fn Codec(comptime format: Format) type {
    const bits: comptime_int = Format.bits(format);
    // Codes and bytes of the smallest group that begins and ends at a byte.
    const group_columns = if (bits == 8) 1 else 4;
    const group_bytes = if (bits == 8) 1 else 3;

    return struct {
        pub fn check(geometry: Geometry) bool {
            if (geometry.sources.len == 0 or !geometry.parametersEnd(3)) return false;
            const codes = geometry.sources[0];
            if (codes.rows_per_line != 1 or codes.unit_columns == 0) return false;
            if (codes.unit_columns % group_columns != 0) return false;
            const groups = codes.unit_columns / group_columns;
            if (codes.unit_bytes != @as(u64, groups) * group_bytes) return false;
            if (geometry.column_align % group_columns != 0) return false;
            const width = geometry.parameters[1];
            _ = std.meta.intToEnum(Rounding, geometry.parameters[2]) catch return false;
            const dtype = Dtype.of(geometry.parameters[0]) orelse
                return geometry.sources.len == 1 and geometry.parametersEnd(0);
            if (geometry.sources.len != 2) return false;
            const scales = geometry.sources[1];
            if (scales.unit_columns != width or width % group_columns != 0) return false;
            return if (width == 0)
                scales.line_bytes >= dtype.bytes()
            else
                scales.unit_bytes == dtype.bytes();
        }

        pub const samples = samples_file.of(format);

        pub fn value(tile: *const Tile, row: u64, column: u64) f32 {
            const codes = tile.line(0, row);
            const code = if (bits == 8) codes[column] else sixBits(codes, column);
            const element = minifloat.values(format)[code];
            const dtype = Dtype.of(tile.parameters[0]) orelse return element;
            const width = tile.parameters[1];
            const block = if (width == 0) 0 else column / width;
            const product = element * dtype.read(tile.line(1, row), block);
            if (product != product) return float.nan;
            return switch (Rounding.of(tile)) {
                .none => product,
                .f16 => float.f32FromF16(float.f16FromF32(product)),
                .bf16 => float.f32FromBf16(float.bf16FromF32(product)),
            };
        }

        pub fn decode(comptime target: Target, tile: *const Tile) u64 {
            const elements: [*]target.Bits() = @ptrCast(@alignCast(tile.target));
            const row_bytes = tile.column_count / group_columns * group_bytes;
            const begin = tile.column_begin / group_columns * group_bytes;
            const width = tile.parameters[1];
            // A step has one scale where blocks are whole steps and the tile begins with one.
            const is_even = width % step == 0 and (width == 0 or tile.column_begin % step == 0);
            var non_finite_count: u64 = 0;
            for (0..tile.row_count) |row| {
                const line: Row = .{
                    .codes = tile.line(0, row) + begin,
                    .ahead = vector.prefetchDistance(row_bytes, tile.strides[0]),
                    .dtype = Dtype.of(tile.parameters[0]),
                    .scales = if (tile.parameters[0] == 0) undefined else tile.line(1, row),
                    .width = width,
                    .rounding = Rounding.of(tile),
                    .begin = tile.column_begin,
                    .count = tile.column_count,
                };
                const to = elements + row * tile.target_stride;
                non_finite_count += if (is_even)
                    decodeSteps(target, &line, to)
                else
                    decodeColumns(target, &line, to);
            }
            return non_finite_count;
        }

        pub fn scaleFault(tile: *const Tile) ?u32 {
            const dtype = Dtype.of(tile.parameters[0]) orelse return null;
            return if (scale_file.anyNotFinite(tile, 1, dtype, tile.parameters[1])) 1 else null;
        }

        /// For products, of codes of eight bits: scales as f32, each as often as its width asks.
        pub const dot_forms = [_]dots.Form{ dotOf(128), dotOf(32) };

        fn dotOf(block_columns: u16) dots.Form {
            return .{ .coded = .{
                .codes = .{ .eight_floats = format },
                .block_columns = block_columns,
                .scale = .f32,
                .has_row_factor = true,
                .order = dots.column_order,
            } };
        }

        pub fn dotForm(geometry: Geometry) ?u8 {
            const width = geometry.parameters[1];
            if (geometry.parameters[0] == 0 or width == 0 or width >= geometry.columns) return 0;
            if (width % 128 == 0) return 0;
            return if (width % 32 == 0) 1 else null;
        }

        /// Codes that are no numbers become 0; the factor of their row says so.
        pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: *[32]u8) void {
            codes.* = @splat(0);
            const count = @min(codes.len, tile.columns - column);
            for (codes[0..count], tile.line(0, row)[column..]) |*code, stored|
                code.* = numbers[stored];
        }

        pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32 {
            const dtype = Dtype.of(tile.parameters[0]) orelse return @bitCast(@as(f32, 1));
            const width = tile.parameters[1];
            const index = if (width == 0) 0 else column / width;
            return @bitCast(dtype.read(tile.line(1, row), index));
        }

        pub fn rowFactor(tile: *const Tile, row: u64) f32 {
            var changed: u8 = 0;
            for (tile.line(0, row)[0..tile.columns]) |code| changed |= code ^ numbers[code];
            return if (changed == 0) 1 else float.nan;
        }

        /// Each code that is a number; 0, which is one, for the others. Bytes, not truth values: of
        /// those LLVM makes mask registers, one bit after the other, on AVX-512.
        const numbers: [256]u8 = blk: {
            @setEvalBranchQuota(100_000);
            var codes: [256]u8 = @splat(0);
            for (minifloat.values(format), 0..) |number, code| {
                if (std.math.isFinite(number)) codes[code] = code;
            }
            break :blk codes;
        };

        pub fn weightBits(geometry: Geometry) u32 {
            return @as(Rounding, @enumFromInt(geometry.parameters[2])).significantBits();
        }

        /// A row in which all columns of a step have the same scale.
        fn decodeSteps(comptime target: Target, row: *const Row, to: [*]target.Bits()) u64 {
            var blocks: Blocks = undefined;
            var non_finite_count: u64 = 0;
            var begin: u64 = 0;
            while (begin < row.count) : (begin += chunk_columns) {
                const count = @min(row.count - begin, chunk_columns);
                row.readBlocks(&blocks, begin, count);
                const codes = codesAt(row.codes, begin);
                const elements = to + begin;
                var done: u64 = 0;
                if (isPlain(target, row, &blocks, codes, count)) {
                    done = count - count % step;
                    decodePlain(target, codes, row.ahead, &blocks, elements, done / step);
                }
                while (done < count) : (done += step) {
                    const from = codesAt(codes, done);
                    vector.prefetch(from + row.ahead);
                    const same: [step]f32 = @splat(blocks.scaleOf(done / step));
                    const n = @min(step, count - done);
                    const place = elements + done;
                    non_finite_count += decodeAny(target, row.rounding, from, &same, place, n);
                }
            }
            return non_finite_count;
        }

        /// Whether all products are numbers, and the target's rounding is the only one.
        inline fn isPlain(
            comptime target: Target,
            row: *const Row,
            blocks: *const Blocks,
            codes: [*]const u8,
            count: u64,
        ) bool {
            // A power of two, so that it is no rounding of the limit that decides.
            const limit: f32 = comptime if (target == .f16)
                std.math.pow(f32, 2, @floor(@log2(65504 / Format.max(format))))
            else
                0x1p100;
            if (blocks.highest > @as(u32, @bitCast(limit))) return false;
            const is_idle = switch (row.rounding) {
                .none => true,
                .f16 => target == .f16,
                .bf16 => target == .bf16 or blocks.keepsBits(row.dtype),
            };
            return is_idle and (bits != 8 or !minifloat.anySpecial(format, codes[0..count]));
        }

        /// Steps whose products are numbers.
        noinline fn decodePlain(
            comptime target: Target,
            codes: [*]const u8,
            ahead: usize,
            blocks: *const Blocks,
            to: [*]target.Bits(),
            count: u64,
        ) void {
            @setRuntimeSafety(false);
            var i: u64 = 0;
            var block_end = blocks.first_steps;
            for (blocks.scales) |scale| {
                const factor: @Vector(step, f32) = @splat(scale * Format.gain(format));
                const end = @min(count, block_end);
                while (i < end) : (i += 1) {
                    const from = codes + i * (step * bits / 8);
                    vector.prefetch(from + ahead);
                    const products = minifloat.widenScaled(format, loadCodes(from)) * factor;
                    vector.store(to + i * step, vector.roundFinite(target, products));
                }
                if (i == count) return;
                block_end += blocks.steps;
            }
        }

        /// A row in which each column may have its own scale.
        fn decodeColumns(comptime target: Target, row: *const Row, to: [*]target.Bits()) u64 {
            var non_finite_count: u64 = 0;
            var column: u64 = 0;
            while (column < row.count) : (column += step) {
                const from = codesAt(row.codes, column);
                vector.prefetch(from + row.ahead);
                const count = @min(step, row.count - column);
                var scales: [step]f32 = undefined;
                row.readColumns(&scales, column, count);
                const place = to + column;
                non_finite_count += decodeAny(target, row.rounding, from, &scales, place, count);
            }
            return non_finite_count;
        }

        inline fn codesAt(codes: [*]const u8, column: u64) [*]const u8 {
            return codes + column / group_columns * group_bytes;
        }

        /// Up to `step` columns of any codes and scales. Apart from the loop of plain ones, which
        /// has its registers for itself.
        noinline fn decodeAny(
            comptime target: Target,
            rounding: Rounding,
            codes: [*]const u8,
            scales: *const [step]f32,
            to: [*]target.Bits(),
            count: u64,
        ) u64 {
            @setRuntimeSafety(false);
            const loaded = if (count == step) loadCodes(codes) else loadRest(codes, count);
            const factors: @Vector(step, f32) = scales.*;
            const product = minifloat.widen(format, loaded) * factors;
            const nan: @Vector(step, f32) = @splat(float.nan);
            const number = @select(f32, product != product, nan, product);
            const rounded = switch (rounding) {
                .none => number,
                .f16 => vector.widen(.f16, vector.round(.f16, number)),
                .bf16 => vector.widen(.bf16, vector.round(.bf16, number)),
            };
            const elements = vector.round(target, rounded);
            if (count == step) {
                var counter: vector.NonFiniteCounter(target, step) = .{};
                counter.add(elements);
                vector.store(to, elements);
                return counter.total();
            }
            var non_finite_count: u64 = 0;
            const list: [step]target.Bits() = elements;
            for (to[0..count], list[0..count]) |*element, b| {
                element.* = b;
                non_finite_count += @intFromBool(!float.isFinite(target, b));
            }
            return non_finite_count;
        }

        inline fn loadCodes(codes: [*]const u8) @Vector(step, u8) {
            return if (bits == 8) vector.load(@Vector(step, u8), codes) else loadSixBits(codes);
        }

        /// Only the bytes that hold the codes are read; zeros follow.
        fn loadRest(codes: [*]const u8, count: u64) @Vector(step, u8) {
            var rest: [step * bits / 8]u8 = @splat(0);
            const size = (count * bits + 7) / 8;
            for (rest[0..size], codes) |*byte, stored| byte.* = stored;
            return loadCodes(&rest);
        }
    };
}

fn sixBits(codes: [*]const u8, column: u64) u8 {
    const group = codes[column / 4 * 3 ..];
    return switch (@as(u2, @truncate(column))) {
        0 => group[0] & 63,
        1 => group[0] >> 6 | (group[1] & 15) << 2,
        2 => group[1] >> 4 | (group[2] & 3) << 4,
        3 => group[2] >> 2,
    };
}

/// 32 codes of 24 bytes: three bytes go to each 32-bit lane, and each code to a byte of its own.
inline fn loadSixBits(codes: [*]const u8) @Vector(step, u8) {
    const first = vector.load(@Vector(16, u8), codes);
    // Ends with the codes: nothing behind them is read.
    const second = vector.load(@Vector(16, u8), codes + 8);
    const zero: @Vector(16, u8) = @splat(0);
    const low = @shuffle(u8, first, zero, spread(0));
    const high = @shuffle(u8, second, zero, spread(4));
    const lanes: @Vector(8, u32) = @bitCast(std.simd.join(low, high));
    var result: @Vector(8, u32) = @splat(0);
    inline for (0..4) |k| {
        const mask: @Vector(8, u32) = @splat(@as(u32, 63) << 8 * k);
        result |= lanes << @splat(2 * k) & mask;
    }
    return @bitCast(result);
}

/// Bytes begin … begin + 11, three to each four; the fourth is 0.
fn spread(comptime begin: i32) [16]i32 {
    var order: [16]i32 = undefined;
    for (&order, 0..) |*from, i| {
        const index: i32 = @intCast(i);
        from.* = if (i % 4 == 3) -1 else begin + @divTrunc(index, 4) * 3 + @rem(index, 4);
    }
    return order;
}
