//! Integer dot products of bytes, the inner step of int8 arithmetic: in each 32-bit lane four
//! weights meet four activations. Every level forms the same exact integers. Instructions that
//! plain vector code does not reach are named here; where a CPU has none of them the same functions
//! are plain vector code.
const std = @import("std");
const builtin = @import("builtin");
const assert = std.debug.assert;
const vector = @import("vector.zig");
const hasX86 = vector.hasX86;

pub const Isa = enum { avx512_vnni, avx2_vnni, avx2, ssse3, neon_dotprod, neon, portable };

pub const isa: Isa = switch (builtin.cpu.arch) {
    .x86_64 => if (hasX86(.avx512vnni))
        .avx512_vnni
    else if (hasX86(.avxvnni))
        .avx2_vnni
    else if (hasX86(.avx2))
        .avx2
    else if (hasX86(.ssse3))
        .ssse3
    else
        .portable,
    .aarch64 => if (std.Target.aarch64.featureSetHas(builtin.cpu.features, .dotprod))
        .neon_dotprod
    else
        .neon,
    else => .portable,
};

/// 32-bit lanes of the registers used here.
pub const lane_count = switch (isa) {
    .avx512_vnni => 16,
    .avx2_vnni, .avx2 => 8,
    .ssse3, .neon_dotprod, .neon, .portable => 4,
};

pub const Bytes = @Vector(4 * lane_count, u8);
pub const SignedBytes = @Vector(4 * lane_count, i8);
pub const Ints = @Vector(lane_count, i32);
const Words = @Vector(lane_count, u32);
const Shorts = @Vector(2 * lane_count, i16);

extern fn @"llvm.x86.ssse3.pmadd.ub.sw.128"(@Vector(16, u8), @Vector(16, i8)) @Vector(8, i16);
extern fn @"llvm.x86.avx2.pmadd.ub.sw"(@Vector(32, u8), @Vector(32, i8)) @Vector(16, i16);
extern fn @"llvm.x86.sse2.pmadd.wd"(@Vector(8, i16), @Vector(8, i16)) @Vector(4, i32);
extern fn @"llvm.x86.avx2.pmadd.wd"(@Vector(16, i16), @Vector(16, i16)) @Vector(8, i32);
extern fn @"llvm.x86.ssse3.psign.b.128"(@Vector(16, i8), @Vector(16, i8)) @Vector(16, i8);
extern fn @"llvm.x86.avx2.psign.b"(@Vector(32, i8), @Vector(32, i8)) @Vector(32, i8);
extern fn @"llvm.x86.avx512.vpdpbusd.256"(
    @Vector(8, i32),
    @Vector(8, i32),
    @Vector(8, i32),
) @Vector(8, i32);
extern fn @"llvm.x86.avx512.vpdpbusd.512"(
    @Vector(16, i32),
    @Vector(16, i32),
    @Vector(16, i32),
) @Vector(16, i32);
extern fn @"llvm.aarch64.neon.sdot.v4i32.v16i8"(
    @Vector(4, i32),
    @Vector(16, i8),
    @Vector(16, i8),
) @Vector(4, i32);

/// The integers that weights can be, both ends included.
pub const Range = struct {
    lowest: comptime_int,
    highest: comptime_int,

    /// Added to weights to make them unsigned.
    pub fn offset(comptime range: Range) comptime_int {
        return @max(0, -range.lowest);
    }
};

/// What a level wants a weight byte to be: the signed value, or the value plus `Range.offset` as an
/// unsigned byte.
pub const Form = enum { signed, offset };

/// Weights that meet one block of activations: 4 for each register.
const weight_count_max = 32;

/// The form in which weights of this range are multiplied fastest.
pub fn form(comptime range: Range) Form {
    const magnitude = @max(range.highest, -range.lowest);
    const unsigned = range.highest + range.offset();
    return switch (isa) {
        .avx512_vnni, .avx2_vnni => .offset,
        // Two products must not saturate 16 bits, and the sum without the offset, of half of a
        // block's products in each 16-bit lane, must fit them; what wraps on the way comes back.
        .avx2, .ssse3 => if (2 * 127 * unsigned <= std.math.maxInt(i16) and
            weight_count_max / 2 * 127 * magnitude <= std.math.maxInt(i16))
            .offset
        else
            .signed,
        .neon_dotprod, .neon, .portable => .signed,
    };
}

/// What `dot` starts from so that weights in the form of this level give Σ weight · activation: the
/// offset's share, -offset · Σ activation, as one number for a lane, or as two of 16 bits where
/// these are summed apart.
pub fn correction(comptime range: Range, activations: []const i8) u32 {
    if (comptime form(range) == .signed) return 0;
    var sums: [2]i32 = @splat(0);
    for (activations, 0..) |x, i| sums[i / 2 % 2] += x;
    for (&sums) |*sum| sum.* *= -range.offset();
    return switch (isa) {
        .avx2, .ssse3 => @bitCast([2]i16{ @truncate(sums[0]), @truncate(sums[1]) }),
        else => @bitCast(sums[0] + sums[1]),
    };
}

/// The nibbles of each byte, as indices: a mask and a shift, whatever they are.
pub inline fn split(nibbles: Bytes) struct { low: Bytes, high: Bytes } {
    const mask: Bytes = @splat(15);
    // Bytes have no shift of their own; what comes in from the neighbour is masked.
    const shifted = @as(@Vector(2 * lane_count, u16), @bitCast(nibbles)) >> @splat(4);
    return .{ .low = nibbles & mask, .high = @as(Bytes, @bitCast(shifted)) & mask };
}

/// The entry of each index. Indices are below 16.
pub inline fn lookup(entries: *const [16]u8, indices: Bytes) Bytes {
    return vector.lookupBytes(entries.*, indices);
}

/// Adds up weights · activations: in each lane four weights meet the four activations that all
/// lanes share, which costs a broadcasting load and no shuffle. Takes up to 32 weights a lane, in
/// the form of their range.
pub fn Accumulator(comptime range: Range) type {
    return struct {
        sum: if (in_shorts) Shorts else Ints,

        const Self = @This();
        const how = form(range);
        const in_shorts = how == .offset and (isa == .avx2 or isa == .ssse3);

        /// `start` is what `correction` gave for the activations.
        pub inline fn init(start: u32) Self {
            return .{ .sum = @bitCast(@as(Words, @splat(start))) };
        }

        pub inline fn add(self: *Self, weights: Bytes, activations: u32) void {
            const x: SignedBytes = @bitCast(@as(Words, @splat(activations)));
            self.sum = switch (isa) {
                .avx512_vnni, .avx2_vnni => multiplyAdd(self.sum, weights, x),
                .avx2, .ssse3 => switch (how) {
                    // In 16 bits, where the correction undoes whatever wrapped.
                    .offset => self.sum +% multiplyPairs(weights, x),
                    .signed => self.sum +% addPairs(multiplySigned(weights, x)),
                },
                .neon_dotprod => @"llvm.aarch64.neon.sdot.v4i32.v16i8"(
                    self.sum,
                    @bitCast(weights),
                    x,
                ),
                .neon, .portable => self.sum +% multiplyWide(weights, x),
            };
        }

        pub inline fn total(self: Self) Ints {
            return if (in_shorts) addPairs(self.sum) else self.sum;
        }
    };
}

inline fn multiplyAdd(sum: Ints, weights: Bytes, activations: SignedBytes) Ints {
    const w: Ints = @bitCast(weights);
    const x: Ints = @bitCast(activations);
    return switch (lane_count) {
        16 => @"llvm.x86.avx512.vpdpbusd.512"(sum, w, x),
        8 => @"llvm.x86.avx512.vpdpbusd.256"(sum, w, x),
        else => unreachable,
    };
}

inline fn multiplyPairs(weights: Bytes, activations: SignedBytes) Shorts {
    return if (lane_count == 8)
        @"llvm.x86.avx2.pmadd.ub.sw"(weights, activations)
    else
        @"llvm.x86.ssse3.pmadd.ub.sw.128"(weights, activations);
}

/// |w| · (x with the sign of w). 2 · 127 · 128 fits 16 bits, so that a pair cannot saturate.
inline fn multiplySigned(weights: Bytes, activations: SignedBytes) Shorts {
    const w: SignedBytes = @bitCast(weights);
    const x = if (lane_count == 8)
        @"llvm.x86.avx2.psign.b"(activations, w)
    else
        @"llvm.x86.ssse3.psign.b.128"(activations, w);
    return multiplyPairs(@abs(w), x);
}

inline fn addPairs(shorts: Shorts) Ints {
    const ones: Shorts = @splat(1);
    return if (lane_count == 8)
        @"llvm.x86.avx2.pmadd.wd"(shorts, ones)
    else
        @"llvm.x86.sse2.pmadd.wd"(shorts, ones);
}

/// Plain vector code, of which LLVM makes widening multiplications and pairwise sums.
inline fn multiplyWide(weights: Bytes, activations: SignedBytes) Ints {
    const length = 4 * lane_count;
    const w: @Vector(length, i16) = @as(SignedBytes, @bitCast(weights));
    const x: @Vector(length, i16) = activations;
    const products: @Vector(length, i32) = w *% x;
    var sum: Ints = @splat(0);
    inline for (0..4) |j| sum +%= @shuffle(i32, products, undefined, everyFourth(j));
    return sum;
}

fn everyFourth(comptime first: comptime_int) [lane_count]i32 {
    var places: [lane_count]i32 = undefined;
    for (&places, 0..) |*place, lane| place.* = @intCast(4 * lane + first);
    return places;
}

test "weights in either form, at the ends of every range, give the sums of plain integers" {
    @setEvalBranchQuota(20_000);
    const ranges = .{
        Range{ .lowest = -12, .highest = 12 },   Range{ .lowest = -8, .highest = 7 },
        Range{ .lowest = 0, .highest = 15 },     Range{ .lowest = -127, .highest = 113 },
        Range{ .lowest = -128, .highest = 127 },
    };
    var prng: std.Random.DefaultPrng = .init(251);
    inline for (ranges) |range| inline for (.{ 4, 8 }) |n| {
        for (0..200) |round| try expectSums(range, n, round, prng.random());
    };
}

fn expectSums(
    comptime range: Range,
    comptime n: comptime_int,
    round: usize,
    random: std.Random,
) !void {
    const add: i16 = if (comptime form(range) == .offset) range.offset() else 0;
    var x: [n][4]i8 = undefined;
    for (&x) |*group| for (group) |*activation| {
        activation.* = switch (round) {
            0 => 127,
            1 => -127,
            else => random.intRangeAtMost(i8, -127, 127),
        };
    };
    var expected: [lane_count]i32 = @splat(0);
    var sums: Accumulator(range) = .init(correction(range, @as(*[4 * n]i8, @ptrCast(&x))));
    for (x) |group| {
        var weights: [4 * lane_count]u8 = undefined;
        for (&weights, 0..) |*weight, i| {
            const plain: i16 = switch (round % 4) {
                0 => range.lowest,
                1 => range.highest,
                else => random.intRangeAtMost(i16, range.lowest, range.highest),
            };
            expected[i / 4] += plain * @as(i32, group[i % 4]);
            weight.* = @truncate(@as(u16, @bitCast(plain + add)));
        }
        sums.add(weights, @bitCast(group));
    }
    try std.testing.expectEqual(expected, @as([lane_count]i32, sums.total()));
}
