//! Four bits to a value, and the largest magnitude of each block of values, as bitsandbytes stores
//! weights (bitsandbytes 0.50.2, functional.py: QuantState, backends/default/ops.py).
//!
//!     source 0, codes:   a byte for two columns    [c0 c1] [c2 c3] …    high nibble first
//!     source 1, absmax:  one for each block of parameters[0] columns: F32, or U8 where it is
//!                        quantized itself ("double quantization"). Then there are also
//!     source 2:          F32, one for each parameters[1] blocks in the order of the rows
//!     source 3:          F32 [256], what the codes of absmax mean
//!
//!     parameters[0]      columns of a block, a multiple of 32
//!     parameters[1]      blocks that share an F32 of source 2; 0: absmax is F32
//!     parameters[2]      bits of the F32 that is added to each absmax of U8
//!     parameters[3]      dtype that the product is rounded to before it becomes the target's
//!                        (scaled_row.zig: Rounding): that of the weight that was quantized
//!
//! bitsandbytes knows no rows: its blocks run over all values. Here a row is a run of whole blocks,
//! or all values are one row. An absmax of U8 is map[code] * source 2 + offset, and a value
//! element * absmax, each rounded to f32.
const std = @import("std");
const abi = @import("../abi.zig");
const float = @import("../core/float.zig");
const scale_file = @import("scale.zig");
const sixteen = @import("sixteen.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");
const geometry_file = @import("geometry.zig");
const dots = @import("../matvec/dot.zig");
const Geometry = geometry_file.Geometry;
const Rounding = @import("scaled_row.zig").Rounding;
const Sample = geometry_file.Sample;
const Target = float.Target;
const Tile = table.Tile;

/// Blocks whose absmax are made together.
const chunk_blocks = 64;

/// The codec of codes that mean `elements`, which int8 arithmetic rounds to as many steps of 1, up to
/// dots.fine_max.
pub fn Codec(comptime elements: [16]f32, comptime steps: comptime_int) type {
    return struct {
        pub fn check(geometry: Geometry) bool {
            const block = geometry.parameters[0];
            const nested = geometry.parameters[1];
            if (!geometry.parametersEnd(4) or block == 0 or block % sixteen.step != 0) return false;
            _ = std.meta.intToEnum(Rounding, geometry.parameters[3]) catch return false;
            if (nested == 0 and geometry.parameters[2] != 0) return false;
            if (geometry.sources.len != @as(usize, if (nested == 0) 2 else 4)) return false;
            const codes = geometry.sources[0];
            const absmax = geometry.sources[1];
            if (codes.rows_per_line != 1 or absmax.rows_per_line != 1) return false;
            if (codes.unit_columns != 2 or codes.unit_bytes != 1) return false;
            if (absmax.unit_columns != block) return false;
            if (absmax.unit_bytes != @as(u32, if (nested == 0) 4 else 1)) return false;
            if (geometry.column_align % block != 0) return false;
            if (nested == 0) return true;
            const scales = geometry.sources[2];
            const map = geometry.sources[3];
            if (scales.rows_per_line != 0 or map.rows_per_line != 0) return false;
            if (scales.unit_columns != 0 or map.unit_columns != 0) return false;
            const line_blocks = std.math.divCeil(u64, geometry.columns, block) catch unreachable;
            const blocks = std.math.mul(u64, geometry.rows, line_blocks) catch return false;
            const count = std.math.divCeil(u64, blocks, nested) catch unreachable;
            return scales.line_bytes / 4 >= count and map.line_bytes >= 256 * 4;
        }

        pub const samples = samples_list;

        pub fn value(tile: *const Tile, row: u64, column: u64) f32 {
            const byte = tile.line(0, row)[column / 2];
            const code = if (column % 2 == 0) byte >> 4 else byte & 15;
            const absmax = absmaxOf(tile, row, column / tile.parameters[0]);
            const product = quiet(elements[code] * absmax);
            return switch (roundingOf(tile)) {
                .none => product,
                .f16 => float.f32FromF16(float.f16FromF32(product)),
                .bf16 => float.f32FromBf16(float.bf16FromF32(product)),
            };
        }

        /// For products: the bytes of the codes are a tile's as they are.
        pub const dot_forms = [_]dots.Form{ dotOf(64), dotOf(32) };

        fn dotOf(block_columns: u16) dots.Form {
            return .{ .coded = .{
                .codes = .{ .four_floats = scaled_elements },
                .unit = 1.0 / @as(comptime_float, steps),
                .block_columns = block_columns,
                .scale = .f32,
                .order = dots.high_first_order,
            } };
        }

        const scaled_elements: [16]f32 = @as(@Vector(16, f32), elements) *
            @as(@Vector(16, f32), @splat(steps));

        pub fn dotForm(geometry: Geometry) ?u8 {
            return if (geometry.parameters[0] % 64 == 0) 0 else 1;
        }

        pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: *[16]u8) void {
            const stored = tile.line(0, row) + column / 2;
            const size = @min(codes.len, (tile.columns - column + 1) / 2);
            @memcpy(codes[0..size], stored[0..size]);
            @memset(codes[size..], 0);
        }

        pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32 {
            return @bitCast(absmaxOf(tile, row, column / tile.parameters[0]));
        }

        pub fn weightBits(geometry: Geometry) u32 {
            return @as(Rounding, @enumFromInt(geometry.parameters[3])).significantBits();
        }

        pub fn scaleFault(tile: *const Tile) ?u32 {
            const block = tile.parameters[0];
            if (tile.parameters[1] == 0)
                return if (scale_file.anyNotFinite(tile, 1, .f32, block)) 1 else null;
            const first = tile.column_begin / block;
            const last = (tile.column_begin + tile.column_count - 1) / block;
            for (0..tile.row_count) |row| {
                for (first..last + 1) |index| {
                    const scale = readF32(tile.sources[2], nestedIndex(tile, row, index));
                    if (!std.math.isFinite(scale)) return 2;
                    const element = readF32(tile.sources[3], tile.line(1, row)[index]);
                    if (!std.math.isFinite(element)) return 3;
                    // Numbers whose product is none.
                    if (!std.math.isFinite(absmaxOf(tile, row, index))) return 2;
                }
            }
            return null;
        }

        pub fn decode(comptime target: Target, tile: *const Tile) u64 {
            const out: [*]target.Bits() = @ptrCast(@alignCast(tile.target));
            const block: u64 = tile.parameters[0];
            var run: Run = .{
                .codes = undefined,
                .ahead = vector.prefetchDistance(tile.column_count / 2, tile.strides[0]),
                .block = block,
                .rounding = roundingOf(tile),
                .factors = undefined,
                .count = undefined,
            };
            var non_finite_count: u64 = 0;
            for (0..tile.row_count) |row| {
                const codes = tile.line(0, row) + tile.column_begin / 2;
                var first = tile.column_begin / block;
                var begin: u64 = 0;
                while (begin < tile.column_count) : (first += chunk_blocks) {
                    run.codes = codes + begin / 2;
                    run.count = @min(tile.column_count - begin, chunk_blocks * block);
                    const count = (run.count + block - 1) / block;
                    const highest = readAbsmax(tile, row, first, run.factors[0..count]);
                    const to = out + row * tile.target_stride + begin;
                    non_finite_count += if (isPlain(target, run.rounding, highest))
                        decodeRun(target, true, &run, to)
                    else
                        decodeRun(target, false, &run, to);
                    begin += run.count;
                }
            }
            return non_finite_count;
        }

        /// Whether all results are finite and the target's rounding is the only one. No element
        /// is larger than 1.
        fn isPlain(comptime target: Target, rounding: Rounding, highest: f32) bool {
            const is_idle = switch (rounding) {
                .none => true,
                .f16 => target == .f16,
                .bf16 => target == .bf16,
            };
            const limit: f32 = if (target == .f16) 0x1p15 else 0x1p126;
            return is_idle and highest <= limit;
        }

        noinline fn decodeRun(
            comptime target: Target,
            comptime is_plain: bool,
            run: *const Run,
            to: [*]target.Bits(),
        ) u64 {
            @setRuntimeSafety(false);
            const Results = sixteen.Results(target, .high_first);
            var non_finite_count: u64 = 0;
            var begin: u64 = 0;
            for (run.factors[0 .. (run.count + run.block - 1) / run.block]) |factor| {
                const codes = run.codes + begin / 2;
                vector.prefetch(codes + run.ahead);
                const factors: sixteen.Values = @splat(factor);
                const products = @as(sixteen.Values, elements) * factors;
                const results: Results = if (is_plain)
                    .ofFinite(products)
                else
                    .of(sixteen.finish(products, run.rounding));
                const count = @min(run.block, run.count - begin);
                non_finite_count += results.write(codes, to + begin, count);
                begin += count;
            }
            return non_finite_count;
        }
    };
}

/// Some blocks of a row.
const Run = struct {
    codes: [*]const u8,
    /// Distance of the bytes to ask for.
    ahead: usize,
    block: u64,
    rounding: Rounding,
    factors: [chunk_blocks]f32,
    /// Columns.
    count: u64,
};

fn roundingOf(tile: *const Tile) Rounding {
    return @enumFromInt(tile.parameters[3]);
}

fn readF32(from: [*]const u8, index: u64) f32 {
    return scale_file.Dtype.f32.read(from, index);
}

/// Which F32 of source 2 block `index` of a row has.
fn nestedIndex(tile: *const Tile, row: u64, index: u64) u64 {
    const line_blocks = (tile.columns + tile.parameters[0] - 1) / tile.parameters[0];
    return ((tile.row_begin + row) * line_blocks + index) / tile.parameters[1];
}

fn absmaxOf(tile: *const Tile, row: u64, index: u64) f32 {
    const line = tile.line(1, row);
    if (tile.parameters[1] == 0) return readF32(line, index);
    return nestedAbsmax(tile, line[index], readF32(tile.sources[2], nestedIndex(tile, row, index)));
}

inline fn nestedAbsmax(tile: *const Tile, code: u8, scale: f32) f32 {
    const offset: f32 = @bitCast(tile.parameters[2]);
    return quiet(quiet(readF32(tile.sources[3], code) * scale) + offset);
}

/// The absmax of the blocks from `first` on. Returns the largest magnitude, infinity for NaN.
fn readAbsmax(tile: *const Tile, row: u64, first: u64, factors: []f32) f32 {
    @setRuntimeSafety(false);
    const line = tile.line(1, row);
    if (tile.parameters[1] == 0) {
        for (factors, first..) |*factor, index| factor.* = readF32(line, index);
        return highestOf(factors);
    }
    const nested: u64 = tile.parameters[1];
    const line_blocks = (tile.columns + tile.parameters[0] - 1) / tile.parameters[0];
    const flat = (tile.row_begin + row) * line_blocks + first;
    var place = flat / nested;
    var done: u64 = 0;
    var end = @min(factors.len, (place + 1) * nested - flat);
    while (done < factors.len) {
        const scale = readF32(tile.sources[2], place);
        for (factors[done..end], first + done..) |*factor, index|
            factor.* = nestedAbsmax(tile, line[index], scale);
        done = end;
        end = @min(factors.len, end + nested);
        place += 1;
    }
    return highestOf(factors);
}

fn highestOf(factors: []const f32) f32 {
    @setRuntimeSafety(false);
    // As integers, magnitudes are in order, and NaN is above infinity.
    var highest: u32 = 0;
    for (factors) |factor| highest = @max(highest, @as(u32, @bitCast(@abs(factor))));
    const infinity: u32 = @bitCast(float.inf);
    return @bitCast(@as(u32, @min(highest, infinity)));
}

/// Every NaN is the one of core/float.zig.
inline fn quiet(number: f32) f32 {
    return if (number != number) float.nan else number;
}

/// Bytes of F32 near 0.01.
const small: []const u8 = &.{ 0x3c, 0x3d, 0x3b };
const codes_source: geometry_file.SampleSource = .{ .unit_columns = 2, .unit_bytes = 1 };

const samples_list = [_]Sample{
    plain("f32 absmax", 64, .bf16, small),
    plain("any absmax", 64, .none, &.{}),
    plain("any absmax in f16", 32, .f16, &.{}),
    nestedSample("nested", 64, 256, small),
    nestedSample("nested, ragged", 96, 5, small),
    nestedSample("any nested", 128, 3, &.{}),
};

fn plain(
    name: []const u8,
    block: u32,
    rounding: Rounding,
    alphabet: []const u8,
) Sample {
    return .{
        .name = name,
        .column_align = block,
        .parameters = .{ block, 0, 0, @intFromEnum(rounding), 0, 0, 0, 0 },
        .sources = &.{ codes_source, .{
            .unit_columns = block,
            .unit_bytes = 4,
            .alphabet = alphabet,
        } },
    };
}

fn nestedSample(name: []const u8, block: u32, nested: u32, alphabet: []const u8) Sample {
    const offset: u32 = @bitCast(@as(f32, 0.0625));
    return .{
        .name = name,
        .column_align = block,
        .parameters = .{ block, nested, offset, @intFromEnum(Rounding.bf16), 0, 0, 0, 0 },
        .sources = &.{
            codes_source,
            .{ .unit_columns = block, .unit_bytes = 1 },
            .{ .rows_per_line = 0, .bytes = 64, .bytes_per_column = 1, .alphabet = alphabet },
            .{ .rows_per_line = 0, .bytes = 256 * 4, .alphabet = alphabet },
        },
    };
}
