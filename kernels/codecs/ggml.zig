//! What the codecs of ggml's block types share (ggml-org/ggml, src/ggml-common.h and ggml-quants.c;
//! the same types are in GGUF files). A row is a run of blocks without gaps, each with its own
//! scales:
//!
//!     source 0, blocks:  `block_bytes` bytes for `block_columns` columns
//!
//! All products are exact in f32, and the types with a minimum round once, in their last addition:
//! any order of the operations gives the bits of ggml's `dequantize_row_*`.
//!
//! A format is a struct with these declarations:
//!
//!     block_columns, block_bytes, scales_are_f16
//!     /// Whether every result of the block is finite in `target`, by its scales alone.
//!     fn isOrdinary(comptime target: Target, block: [*]const u8) bool
//!     /// Element `i` of the block.
//!     fn value(block: [*]const u8, i: usize) f32
//!     /// All elements of an ordinary block, in vectors: `out.put(position, values)`.
//!     fn decodeBlock(block: [*]const u8, out: anytype) void
//!     /// The largest magnitude: parameter 0 may be 1, and source 1 one f32 that multiplies all.
//!     magnitude_max (optional)
//!
//! Blocks that are not ordinary (a scale that is NaN, infinite, or too large for f16) are decoded
//! by `value`: they are counted there, and the vector code needs no rules for NaN.
const std = @import("std");
const assert = std.debug.assert;
const float = @import("../core/float.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");
const geometry_file = @import("geometry.zig");
const Geometry = geometry_file.Geometry;
const Sample = geometry_file.Sample;
const SampleSource = geometry_file.SampleSource;
const Tile = table.Tile;

pub const Target = float.Target;

const line_bytes = 64;

pub fn Codec(comptime Format: type) type {
    const block_columns = Format.block_columns;
    const block_bytes = Format.block_bytes;
    const takes_scale = @hasDecl(Format, "magnitude_max");
    return struct {
        pub fn check(geometry: Geometry) bool {
            const has_scale = geometry.parameters[0];
            if (has_scale > @intFromBool(takes_scale) or !geometry.parametersEnd(1)) return false;
            if (geometry.sources.len != 1 + has_scale) return false;
            if (has_scale == 1) {
                const scale = geometry.sources[1];
                if (scale.rows_per_line != 0 or scale.line_bytes != @sizeOf(f32)) return false;
            }
            const blocks = geometry.sources[0];
            if (blocks.rows_per_line != 1) return false;
            if (blocks.unit_columns != block_columns) return false;
            if (blocks.unit_bytes != block_bytes) return false;
            return geometry.columns % block_columns == 0 and
                geometry.column_align % block_columns == 0;
        }

        pub const samples = [_]Sample{
            sample("moderate scales", &moderate_bytes),
            sample("any bytes", &.{}),
        } ++ if (takes_scale) [_]Sample{
            scaledSample("moderate tensor scales", &moderate_bytes),
            scaledSample("any tensor scales", &.{}),
        } else [_]Sample{};

        fn sample(name: []const u8, alphabet: []const u8) Sample {
            return .{
                .name = name,
                .column_unit = block_columns,
                .column_align = block_columns,
                .sources = &.{blocksWith(alphabet)},
            };
        }

        fn scaledSample(name: []const u8, alphabet: []const u8) Sample {
            return .{
                .name = name,
                .column_unit = block_columns,
                .column_align = block_columns,
                .parameters = .{ 1, 0, 0, 0, 0, 0, 0, 0 },
                .sources = &.{
                    blocksWith(alphabet),
                    .{ .rows_per_line = 0, .bytes = @sizeOf(f32), .alphabet = alphabet },
                },
            };
        }

        fn blocksWith(alphabet: []const u8) SampleSource {
            return .{
                .unit_columns = block_columns,
                .unit_bytes = block_bytes,
                .alphabet = alphabet,
            };
        }

        /// The block that has this column.
        pub inline fn blockAt(tile: *const Tile, row: u64, column: u64) *const [block_bytes]u8 {
            return tile.line(0, row)[column / block_columns * block_bytes ..][0..block_bytes];
        }

        /// The tensor's own scale: a factor of every row.
        pub fn rowFactor(tile: *const Tile, _: u64) f32 {
            return tensorScale(tile) orelse 1;
        }

        pub fn value(tile: *const Tile, row: u64, column: u64) f32 {
            const block = blockAt(tile, row, column);
            const plain = Format.value(block, column % block_columns);
            return if (tensorScale(tile)) |scale| float.product(plain, scale) else plain;
        }

        /// A block whose f16 scales are not all numbers, or such a scale of the tensor.
        pub fn scaleFault(tile: *const Tile) ?u32 {
            if (tensorScale(tile)) |scale| if (!std.math.isFinite(scale)) return 1;
            if (!Format.scales_are_f16) return null;
            for (0..tile.row_count) |row| {
                var column = tile.column_begin;
                while (column < tile.column_begin + tile.column_count) : (column += block_columns) {
                    const block = blockAt(tile, row, column);
                    // What a finite f16 gives is finite in f32.
                    if (!Format.isOrdinary(.f32, block)) return 0;
                }
            }
            return null;
        }

        inline fn tensorScale(tile: *const Tile) ?f32 {
            if (!takes_scale or tile.parameters[0] == 0) return null;
            return @bitCast(std.mem.readInt(u32, tile.sources[1][0..4], .little));
        }

        pub fn decode(comptime target: Target, tile: *const Tile) u64 {
            const scale = tensorScale(tile) orelse return decodeRows(target, false, tile, 1);
            return decodeRows(target, true, tile, scale);
        }

        fn decodeRows(
            comptime target: Target,
            comptime scales: bool,
            tile: *const Tile,
            scale: f32,
        ) u64 {
            @setRuntimeSafety(false);
            assert(tile.column_begin % block_columns == 0);
            assert(tile.column_count % block_columns == 0);
            const elements: [*]target.Bits() = @ptrCast(@alignCast(tile.target));
            const block_count = tile.column_count / block_columns;
            const ahead = vector.prefetchDistance(block_count * block_bytes, tile.strides[0]);
            const is_ordinary = !scales or
                @abs(scale) <= largest(target) / Format.magnitude_max;
            var non_finite_count: u64 = 0;
            for (0..tile.row_count) |row| {
                var block = tile.line(0, row) + tile.column_begin / block_columns * block_bytes;
                var to = elements + row * tile.target_stride;
                for (0..block_count) |_| {
                    inline for (0..(block_bytes + line_bytes - 1) / line_bytes) |i|
                        vector.prefetch(block + ahead + i * line_bytes);
                    if (is_ordinary and Format.isOrdinary(target, block)) {
                        Format.decodeBlock(block, Out(target, scales){ .to = to, .scale = scale });
                    } else {
                        non_finite_count += decodeScalar(target, scales, block, scale, to);
                    }
                    block += block_bytes;
                    to += block_columns;
                }
            }
            return non_finite_count;
        }

        noinline fn decodeScalar(
            comptime target: Target,
            comptime scales: bool,
            block: [*]const u8,
            scale: f32,
            to: [*]target.Bits(),
        ) u64 {
            var non_finite_count: u64 = 0;
            for (to[0..block_columns], 0..) |*element, i| {
                const plain = Format.value(block, i);
                element.* = float.round(target, if (scales) float.product(plain, scale) else plain);
                non_finite_count += @intFromBool(!float.isFinite(target, element.*));
            }
            return non_finite_count;
        }
    };
}

/// Bytes that are small f16 and E8M0 numbers, wherever a block has its scales.
const moderate_bytes = blk: {
    var bytes: [96]u8 = undefined;
    for (&bytes, 0..) |*byte, i| byte.* = i % 48 + (if (i < 48) 0 else 0x80);
    break :blk bytes;
};

/// Where the elements of a block go.
fn Out(comptime target: Target, comptime scales: bool) type {
    return struct {
        to: [*]target.Bits(),
        scale: f32,

        pub inline fn put(out: @This(), position: usize, values: anytype) void {
            @setRuntimeSafety(false);
            const n = lengthOf(@TypeOf(values));
            const results = if (scales) values * splat(n, out.scale) else values;
            vector.store(out.to + position, vector.roundFinite(target, results));
        }
    };
}

fn largest(comptime target: Target) f32 {
    return switch (target) {
        .f16 => 65504,
        .bf16, .f32 => 0x1.fep127,
    };
}

/// Whether an f16 scale, times `factor_max` at the most, is finite in `target`. Everything that a
/// finite scale gives is finite in f32 and bf16.
pub inline fn isModerate(
    comptime target: Target,
    comptime factor_max: comptime_float,
    scale: [*]const u8,
) bool {
    const limit: u16 = switch (target) {
        .f32, .bf16 => 0x7bff,
        .f16 => comptime limit: {
            @setEvalBranchQuota(2000);
            // The largest f16 below the quotient: dropped bits make it smaller.
            const quotient: f32 = 65504.0 / factor_max;
            const bits: u32 = @bitCast(quotient);
            break :limit if (factor_max <= 1) 0x7bff else @intCast((bits >> 13) - (112 << 10));
        },
    };
    return std.mem.readInt(u16, scale[0..2], .little) & 0x7fff <= limit;
}

/// The bits of the f16 at the beginning of a block, as products take scales.
pub inline fn halfBits(block: []const u8) u32 {
    return std.mem.readInt(u16, block[0..2], .little);
}

pub const product = float.product;

/// The f16 at these bytes.
pub inline fn half(bytes: [*]const u8) f32 {
    return float.f32FromF16(std.mem.readInt(u16, bytes[0..2], .little));
}

/// The finite f16 at these bytes, without a branch.
pub inline fn scaleOf(bytes: [*]const u8) f32 {
    return scaleFromBits(std.mem.readInt(u16, bytes[0..2], .little));
}

pub inline fn scaleFromBits(bits: u16) f32 {
    return vector.widen(.f16, @as(@Vector(4, u16), @splat(bits)))[0];
}

/// d · q + m, where a NaN comes from the first operand that is one: CPUs and compilers choose
/// differently.
pub inline fn multiplyAdd(d: f32, q: f32, m: f32) f32 {
    const dq = product(d, q);
    if (dq != dq) return dq;
    if (m != m) return m;
    const sum = dq + m;
    return if (sum != sum) float.nan else sum;
}

pub inline fn floats(integers: anytype) @Vector(lengthOf(@TypeOf(integers)), f32) {
    const wide: @Vector(lengthOf(@TypeOf(integers)), i32) = integers;
    return @floatFromInt(wide);
}

pub inline fn scaled(integers: anytype, scale: f32) @Vector(lengthOf(@TypeOf(integers)), f32) {
    return floats(integers) * splat(lengthOf(@TypeOf(integers)), scale);
}

pub inline fn splat(comptime n: comptime_int, number: f32) @Vector(n, f32) {
    return @splat(number);
}

/// Codes of one byte less `offset`.
pub inline fn centered(codes: anytype, comptime offset: u8) @Vector(lengthOf(@TypeOf(codes)), i8) {
    return @bitCast(codes -% @as(@TypeOf(codes), @splat(offset)));
}

pub inline fn lowNibbles(bytes: anytype) @TypeOf(bytes) {
    return bytes & @as(@TypeOf(bytes), @splat(15));
}

pub inline fn highNibbles(bytes: anytype) @TypeOf(bytes) {
    return bytes >> @splat(4);
}

/// The low nibbles of sixteen bytes, then the high ones.
pub inline fn splitNibbles(bytes: [*]const u8) @Vector(32, u8) {
    const both = vector.load(@Vector(16, u8), bytes);
    return std.simd.join(lowNibbles(both), highNibbles(both));
}

/// Two bits of each byte, from bit `shift` on.
pub inline fn pairs(bytes: anytype, shift: u3) @TypeOf(bytes) {
    return bytes >> @splat(shift) & @as(@TypeOf(bytes), @splat(3));
}

/// `byte` in each lane whose bit of `bits` is set, the lowest bit first; else 0.
pub inline fn spreadBits(bits: [*]const u8, comptime byte: u8) @Vector(32, u8) {
    const order = comptime blk: {
        var order: [32]i32 = undefined;
        for (&order, 0..) |*from, i| from.* = i / 8;
        break :blk order;
    };
    const masks = comptime blk: {
        var masks: [32]u8 = undefined;
        for (&masks, 0..) |*mask, i| mask.* = 1 << i % 8;
        break :blk masks;
    };
    const spread = @shuffle(u8, vector.load(@Vector(4, u8), bits), undefined, order);
    const zero: @Vector(32, u8) = @splat(0);
    return @select(u8, spread & masks != zero, @as(@Vector(32, u8), @splat(byte)), zero);
}

/// Values with the sign of each one turned whose bit is set, the lowest bit first.
pub inline fn turned(values: @Vector(16, f32), bits: u16) @Vector(16, f32) {
    const shifts = comptime blk: {
        var shifts: [16]u5 = undefined;
        for (&shifts, 0..) |*shift, i| shift.* = 31 - i;
        break :blk shifts;
    };
    const Words = @Vector(16, u32);
    const shifted = @as(Words, @splat(bits)) << @as(@Vector(16, u5), shifts);
    const signs = shifted & @as(Words, @splat(0x8000_0000));
    return @bitCast(@as(Words, @bitCast(values)) ^ signs);
}

/// The value with its sign turned where the lowest bit is set.
pub inline fn signed(magnitude: f32, bits: u8) f32 {
    return if (bits & 1 == 0) magnitude else -magnitude;
}

/// Nibble `i` of bytes, the low one of each byte first.
pub inline fn nibble(bytes: [*]const u8, i: usize) u8 {
    return bytes[i / 2] >> @intCast(i % 2 * 4) & 15;
}

/// d · (0.5 + nibble) for the sixteen nibbles of eight bytes, the low one of each byte first.
pub inline fn nibbleScales(bytes: [*]const u8, d: f32) [16]f32 {
    const packed_scales = vector.load(@Vector(8, u8), bytes);
    const nibbles = std.simd.interlace(.{ lowNibbles(packed_scales), highNibbles(packed_scales) });
    return (floats(nibbles) + splat(16, 0.5)) * splat(16, d);
}

/// Two grid entries of eight values.
pub inline fn joined(
    comptime Value: type,
    a: *const [8]Value,
    b: *const [8]Value,
) @Vector(16, Value) {
    return @bitCast([2][8]Value{ a.*, b.* });
}

/// Four grid entries of four values.
pub inline fn gathered(grid: []const [4]u8, numbers: anytype) @Vector(16, u8) {
    @setRuntimeSafety(false);
    var entries: [4]u32 = undefined;
    inline for (&entries, numbers) |*entry, number| entry.* = @bitCast(grid[number]);
    return @bitCast(entries);
}

/// The value of each code; codes are below 16.
pub inline fn lookup(values: *const [16]i8, codes: @Vector(16, u8)) @Vector(16, i8) {
    return @bitCast(vector.lookupBytes(@bitCast(values.*), codes));
}

fn lengthOf(comptime Vector: type) comptime_int {
    return @typeInfo(Vector).vector.len;
}
