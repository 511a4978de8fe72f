//! SIMD building blocks. Instructions that plain vector code does not reach are named here and, for
//! integer products, in core/integer.zig; all that is above works on `@Vector` and compiles for every
//! level. Without any of them (a baseline CPU) the same functions are plain loops, so that the tests
//! of this file hold everywhere.
const std = @import("std");
const builtin = @import("builtin");
const assert = std.debug.assert;
const float = @import("float.zig");
const Target = float.Target;

const Isa = enum { avx512_vbmi, avx512, avx2, ssse3, neon, portable };

const isa: Isa = switch (builtin.cpu.arch) {
    .x86_64 => if (hasX86(.avx512vbmi))
        .avx512_vbmi
    else if (hasX86(.avx512bw))
        .avx512
    else if (hasX86(.avx2))
        .avx2
    else if (hasX86(.ssse3))
        .ssse3
    else
        .portable,
    .aarch64 => .neon,
    else => .portable,
};

/// f32 ↔ f16 conversions are instructions (and round as core/float.zig does).
const has_f16_conversion = isa == .neon or hasX86(.f16c);

/// Whether this level has an instruction set of x86.
pub fn hasX86(comptime feature: std.Target.x86.Feature) bool {
    return builtin.cpu.arch == .x86_64 and
        std.Target.x86.featureSetHas(builtin.cpu.features, feature);
}

/// Bytes of the widest register of this level.
pub const register_bytes = switch (isa) {
    .avx512_vbmi, .avx512 => 64,
    .avx2 => 32,
    .ssse3, .neon, .portable => 16,
};

extern fn @"llvm.x86.ssse3.pshuf.b.128"(@Vector(16, u8), @Vector(16, u8)) @Vector(16, u8);
extern fn @"llvm.x86.avx2.pshuf.b"(@Vector(32, u8), @Vector(32, u8)) @Vector(32, u8);
extern fn @"llvm.x86.avx512.pshuf.b.512"(@Vector(64, u8), @Vector(64, u8)) @Vector(64, u8);
extern fn @"llvm.x86.avx2.permps"(@Vector(8, f32), @Vector(8, i32)) @Vector(8, f32);
extern fn @"llvm.x86.avx512.permvar.sf.512"(@Vector(16, f32), @Vector(16, i32)) @Vector(16, f32);
extern fn @"llvm.x86.avx512.permvar.hi.512"(@Vector(32, u16), @Vector(32, u16)) @Vector(32, u16);
extern fn @"llvm.x86.avx512.permvar.qi.512"(@Vector(64, u8), @Vector(64, u8)) @Vector(64, u8);
extern fn @"llvm.x86.avx512.pmultishift.qb.512"(@Vector(64, u8), @Vector(64, u8)) @Vector(64, u8);
extern fn @"llvm.aarch64.neon.tbl1.v16i8"(@Vector(16, u8), @Vector(16, u8)) @Vector(16, u8);

/// A vector from any address.
pub inline fn load(comptime Vector: type, source: [*]const u8) Vector {
    return @as(*align(1) const Vector, @ptrCast(source)).*;
}

/// A vector to an address with the alignment of one element.
pub inline fn store(target: anytype, value: anytype) void {
    const Element = @typeInfo(@TypeOf(target)).pointer.child;
    const length = @typeInfo(@TypeOf(value)).vector.len;
    target[0..length].* = @as([length]Element, value);
}

/// Asks for a cache line that a loop will read. The address may lie outside of any mapping.
pub inline fn prefetch(address: [*]const u8) void {
    @prefetch(address, .{ .rw = .read, .locality = 3, .cache = .data });
}

/// How far from a row lies the row that should be asked for while it is read: rows of `row_bytes`
/// bytes that are `row_stride` apart, and enough of them in flight to cover the latency of memory.
pub inline fn prefetchDistance(row_bytes: usize, row_stride: usize) usize {
    return @max(1, prefetch_bytes / @max(1, row_bytes)) * row_stride;
}

const prefetch_bytes = 2048;

/// Which nibble of a byte comes first: element 2j is the low, or the high, one of byte j.
pub const NibbleOrder = enum { low_first, high_first };

/// A table of 16 two-byte entries that nibbles are looked up in, in the order this level wants the
/// bytes: entry after entry where registers of 16-bit lanes are permuted, else the low bytes of all
/// entries before the high bytes.
pub const NibbleTable = extern struct {
    bytes: [32]u8 align(32),

    const is_split = switch (isa) {
        .avx512_vbmi, .avx512 => false,
        .avx2, .ssse3, .neon, .portable => true,
    };

    pub fn init(entries: [16]u16) NibbleTable {
        var table: NibbleTable = undefined;
        for (entries, 0..) |entry, i| {
            table.bytes[if (is_split) i else 2 * i] = @truncate(entry);
            table.bytes[if (is_split) 16 + i else 2 * i + 1] = @intCast(entry >> 8);
        }
        return table;
    }

    /// As `init`, for entries that a loop has just made.
    pub inline fn of(entries: @Vector(16, u16)) NibbleTable {
        if (!is_split) return .{ .bytes = @bitCast(entries) };
        const low: @Vector(16, u8) = @truncate(entries);
        const high: @Vector(16, u8) = @truncate(entries >> @splat(8));
        return .{ .bytes = std.simd.join(low, high) };
    }

    /// The entries of 32 nibbles.
    pub inline fn lookup(
        table: *const NibbleTable,
        comptime order: NibbleOrder,
        nibbles: [*]const u8,
    ) @Vector(32, u16) {
        return switch (isa) {
            .avx512_vbmi => table.lookupBytes512(order, nibbles),
            .avx512 => table.lookupWords512(order, nibbles),
            .avx2 => table.lookup256(order, nibbles),
            .ssse3, .neon => table.lookup128(order, nibbles),
            .portable => table.lookupPortable(order, nibbles),
        };
    }

    /// Two bytes to each 64-bit lane; a multishift then puts twice the code into each of its eight
    /// result bytes.
    inline fn lookupBytes512(
        table: *const NibbleTable,
        comptime order: NibbleOrder,
        nibbles: [*]const u8,
    ) @Vector(32, u16) {
        const spread: @Vector(8, u64) = load(@Vector(8, u16), nibbles);
        const shifts: @Vector(64, u8) = comptime @bitCast(@as(@Vector(8, u64), @splat(
            @bitCast(switch (order) {
                .low_first => [8]u8{ 63, 63, 3, 3, 7, 7, 11, 11 },
                .high_first => [8]u8{ 3, 3, 63, 63, 11, 11, 7, 7 },
            }),
        )));
        const doubled = @"llvm.x86.avx512.pmultishift.qb.512"(shifts, @bitCast(spread));
        const even: @Vector(32, u16) = @splat(0x1e1e);
        const odd: @Vector(32, u16) = @splat(0x0100);
        const index = @as(@Vector(32, u16), @bitCast(doubled)) & even | odd;
        const half = load(@Vector(32, u8), &table.bytes);
        const entries: @Vector(64, u8) = std.simd.join(half, half);
        return @bitCast(@"llvm.x86.avx512.permvar.qi.512"(entries, @bitCast(index)));
    }

    /// A byte to each 32-bit lane, a nibble in each half.
    inline fn lookupWords512(
        table: *const NibbleTable,
        comptime order: NibbleOrder,
        nibbles: [*]const u8,
    ) @Vector(32, u16) {
        const spread: @Vector(16, u32) = load(@Vector(16, u8), nibbles);
        const pair = switch (order) {
            .low_first => spread | spread << @splat(12),
            .high_first => spread >> @splat(4) | spread << @splat(16),
        };
        const index = pair & @as(@Vector(16, u32), @splat(0x000f_000f));
        const half = load(@Vector(16, u16), &table.bytes);
        const entries: @Vector(32, u16) = std.simd.join(half, half);
        return @"llvm.x86.avx512.permvar.hi.512"(entries, @bitCast(index));
    }

    /// Unpacking works inside 128-bit lanes: bytes 0–3 and 8–11 go to the lower one, so that each
    /// unpacked register is 16 consecutive elements.
    inline fn lookup256(
        table: *const NibbleTable,
        comptime order: NibbleOrder,
        nibbles: [*]const u8,
    ) @Vector(32, u16) {
        const zero = 0x80; // pshufb writes 0 for it
        const places = comptime [32]u8{
            0, zero, 1, zero, 2, zero, 3, zero, 8,  zero, 9,  zero, 10, zero, 11, zero,
            4, zero, 5, zero, 6, zero, 7, zero, 12, zero, 13, zero, 14, zero, 15, zero,
        };
        const spread: @Vector(16, u16) = @bitCast(
            @"llvm.x86.avx2.pshuf.b"(twice(load(@Vector(16, u8), nibbles)), places),
        );
        const pairs = switch (order) {
            .low_first => spread | spread << @splat(4),
            .high_first => spread >> @splat(4) | spread << @splat(8),
        };
        const codes: @Vector(32, u8) = @bitCast(pairs & @as(@Vector(16, u16), @splat(0x0f0f)));
        const low_bytes = twice(load(@Vector(16, u8), table.bytes[0..]));
        const high_bytes = twice(load(@Vector(16, u8), table.bytes[16..]));
        const low = @"llvm.x86.avx2.pshuf.b"(low_bytes, codes);
        const high = @"llvm.x86.avx2.pshuf.b"(high_bytes, codes);
        const first: @Vector(16, u16) = @bitCast(unpack(.low, low, high));
        const second: @Vector(16, u16) = @bitCast(unpack(.high, low, high));
        return std.simd.join(first, second);
    }

    inline fn lookup128(
        table: *const NibbleTable,
        comptime order: NibbleOrder,
        nibbles: [*]const u8,
    ) @Vector(32, u16) {
        const packed_codes = load(@Vector(16, u8), nibbles);
        const low_nibbles = packed_codes & @as(@Vector(16, u8), @splat(15));
        const high_nibbles = packed_codes >> @splat(4);
        const even = if (order == .low_first) low_nibbles else high_nibbles;
        const odd = if (order == .low_first) high_nibbles else low_nibbles;
        const low_bytes = load(@Vector(16, u8), table.bytes[0..]);
        const high_bytes = load(@Vector(16, u8), table.bytes[16..]);
        var quarters: [4]@Vector(8, u16) = undefined;
        inline for (.{ .low, .high }, 0..) |half, i| {
            const codes = unpack(half, even, odd);
            const low = lookupBytes(low_bytes, codes);
            const high = lookupBytes(high_bytes, codes);
            quarters[2 * i] = @bitCast(unpack(.low, low, high));
            quarters[2 * i + 1] = @bitCast(unpack(.high, low, high));
        }
        return std.simd.join(
            std.simd.join(quarters[0], quarters[1]),
            std.simd.join(quarters[2], quarters[3]),
        );
    }

    inline fn lookupPortable(
        table: *const NibbleTable,
        comptime order: NibbleOrder,
        nibbles: [*]const u8,
    ) @Vector(32, u16) {
        var entries: [32]u16 = undefined;
        for (&entries, 0..) |*entry, i| {
            const byte = nibbles[i / 2];
            const is_low = (i % 2 == 0) == (order == .low_first);
            const code = if (is_low) byte & 15 else byte >> 4;
            entry.* = table.bytes[code] | @as(u16, table.bytes[16 + code]) << 8;
        }
        return entries;
    }
};

/// The entry of each lane's index; indices are below 16.
pub inline fn lookupFloats(
    entries: *const [16]f32,
    indices: anytype,
) @Vector(@typeInfo(@TypeOf(indices)).vector.len, f32) {
    const n = @typeInfo(@TypeOf(indices)).vector.len;
    const Order = @Vector(n, i32);
    if (n == 16 and hasX86(.avx512f)) {
        return @"llvm.x86.avx512.permvar.sf.512"(entries.*, @as(Order, @bitCast(indices)));
    }
    if (n == 8 and hasX86(.avx2)) {
        // A permutation looks at three bits.
        const order: Order = @bitCast(indices);
        const low = @"llvm.x86.avx2.permps"(entries[0..8].*, order);
        const high = @"llvm.x86.avx2.permps"(entries[8..16].*, order);
        return @select(f32, indices < @as(@TypeOf(indices), @splat(8)), low, high);
    }
    const list: [n]u32 = indices;
    var found: [n]f32 = undefined;
    inline for (&found, list) |*one, index| one.* = entries[index];
    return found;
}

/// The entry of each of 16, 32 or, at the AVX-512 levels, 64 codes; codes are below 16.
pub inline fn lookupBytes(table: @Vector(16, u8), codes: anytype) @TypeOf(codes) {
    const count = @typeInfo(@TypeOf(codes)).vector.len;
    if (count == 16) return lookup16(table, codes);
    if (count == 64) {
        const entries: @Vector(64, u8) = std.simd.join(twice(table), twice(table));
        return @"llvm.x86.avx512.pshuf.b.512"(entries, codes);
    }
    return switch (isa) {
        .avx512_vbmi, .avx512, .avx2 => @"llvm.x86.avx2.pshuf.b"(twice(table), codes),
        .ssse3, .neon, .portable => std.simd.join(
            lookup16(table, std.simd.extract(codes, 0, 16)),
            lookup16(table, std.simd.extract(codes, 16, 16)),
        ),
    };
}

inline fn lookup16(table: @Vector(16, u8), codes: @Vector(16, u8)) @Vector(16, u8) {
    return switch (isa) {
        .neon => @"llvm.aarch64.neon.tbl1.v16i8"(table, codes),
        .portable => blk: {
            const entries: [16]u8 = table;
            var found: [16]u8 = undefined;
            for (&found, 0..) |*byte, i| byte.* = entries[codes[i]];
            break :blk found;
        },
        else => @"llvm.x86.ssse3.pshuf.b.128"(table, codes),
    };
}

/// The same 16 bytes in both halves: a broadcasting load.
inline fn twice(bytes: @Vector(16, u8)) @Vector(32, u8) {
    return std.simd.join(bytes, bytes);
}

const Half = enum { low, high };

/// Interleaves one half of each 128-bit lane of `a` with the same half of `b`.
pub inline fn unpack(comptime half: Half, a: anytype, b: @TypeOf(a)) @TypeOf(a) {
    const info = @typeInfo(@TypeOf(a)).vector;
    const order = comptime unpackOrder(info.len, 16 / @sizeOf(info.child), half);
    return @shuffle(info.child, a, b, order);
}

fn unpackOrder(comptime length: usize, comptime lane: usize, comptime half: Half) [length]i32 {
    @setEvalBranchQuota(10_000);
    var order: [length]i32 = undefined;
    for (&order, 0..) |*from, i| {
        const start = i / lane * lane + (if (half == .high) lane / 2 else 0);
        const index: i32 = start + i % lane / 2;
        from.* = if (i % 2 == 0) index else ~index;
    }
    return order;
}

/// Elements of `target` nearest to the values, with the NaN rules of core/float.zig.
pub inline fn round(
    comptime target: Target,
    values: anytype,
) @Vector(@typeInfo(@TypeOf(values)).vector.len, target.Bits()) {
    const n = @typeInfo(@TypeOf(values)).vector.len;
    return switch (target) {
        .f32 => @bitCast(values),
        .bf16 => roundBf16(n, values),
        .f16 => if (has_f16_conversion)
            @bitCast(@as(@Vector(n, f16), @floatCast(values)))
        else
            roundF16(n, values),
    };
}

/// As `round`, for values that are finite and stay so.
pub inline fn roundFinite(
    comptime target: Target,
    values: anytype,
) @Vector(@typeInfo(@TypeOf(values)).vector.len, target.Bits()) {
    if (target != .bf16) return round(target, values);
    const U = @Vector(@typeInfo(@TypeOf(values)).vector.len, u32);
    return @truncate(roundedBf16(@as(U, @bitCast(values))));
}

/// Bits of bf16 in the low halves.
inline fn roundedBf16(bits: anytype) @TypeOf(bits) {
    const U = @TypeOf(bits);
    const odd = bits >> @splat(16) & @as(U, @splat(1));
    return (bits +% @as(U, @splat(0x7fff)) +% odd) >> @splat(16);
}

inline fn roundBf16(comptime n: comptime_int, values: @Vector(n, f32)) @Vector(n, u16) {
    const U = @Vector(n, u32);
    const bits: U = @bitCast(values);
    const quiet = bits >> @splat(16) | @as(U, @splat(0x40));
    return @truncate(@select(u32, values != values, quiet, roundedBf16(bits)));
}

/// As float.f16FromF32, but subnormals are rounded by the adder: 0.5 has the unit 2^-24 in its last
/// place.
inline fn roundF16(comptime n: comptime_int, values: @Vector(n, f32)) @Vector(n, u16) {
    const U = @Vector(n, u32);
    const bits: U = @bitCast(values);
    const magnitude = bits & @as(U, @splat(0x7fff_ffff));
    const odd = magnitude >> @splat(13) & @as(U, @splat(1));
    const rebias: U = @splat(@as(u32, 0xfff) -% 0x3800_0000);
    const normal = (magnitude +% odd +% rebias) >> @splat(13);
    const half: @Vector(n, f32) = @splat(0.5);
    const sum: U = @bitCast(@as(@Vector(n, f32), @bitCast(magnitude)) + half);
    const subnormal = sum -% @as(U, @splat(0x3f00_0000));
    const payload = magnitude >> @splat(13) & @as(U, @splat(0x3ff)) | @as(U, @splat(0x7e00));
    var result = @select(u32, magnitude < @as(U, @splat(0x3880_0000)), subnormal, normal);
    result = @select(u32, magnitude >= @as(U, @splat(0x477f_f000)), @as(U, @splat(0x7c00)), result);
    result = @select(u32, values != values, payload, result);
    return @truncate(result | (bits >> @splat(16) & @as(U, @splat(0x8000))));
}

/// The values of elements of `source`.
pub inline fn widen(
    comptime source: Target,
    bits: anytype,
) @Vector(@typeInfo(@TypeOf(bits)).vector.len, f32) {
    const n = @typeInfo(@TypeOf(bits)).vector.len;
    return switch (source) {
        .f32 => @bitCast(bits),
        .bf16 => @bitCast(@as(@Vector(n, u32), bits) << @splat(16)),
        .f16 => if (has_f16_conversion)
            @floatCast(@as(@Vector(n, f16), @bitCast(bits)))
        else
            widenF16(n, bits),
    };
}

inline fn widenF16(comptime n: comptime_int, bits: @Vector(n, u16)) @Vector(n, f32) {
    const U = @Vector(n, u32);
    const wide: U = bits;
    const magnitude = wide & @as(U, @splat(0x7fff));
    const shifted = magnitude << @splat(13);
    const signed: @Vector(n, i32) = @bitCast(magnitude);
    const small: @Vector(n, f32) = @as(@Vector(n, f32), @floatFromInt(signed)) *
        @as(@Vector(n, f32), @splat(0x1p-24));
    var result = @select(
        u32,
        magnitude < @as(U, @splat(0x400)),
        @as(U, @bitCast(small)),
        shifted +% @as(U, @splat(0x3800_0000)),
    );
    const special = shifted | @as(U, @splat(0x7f80_0000));
    result = @select(u32, magnitude >= @as(U, @splat(0x7c00)), special, result);
    const quiet = special | @as(U, @splat(0x7fc0_0000));
    result = @select(u32, magnitude > @as(U, @splat(0x7c00)), quiet, result);
    return @bitCast(result | (wide & @as(U, @splat(0x8000))) << @splat(16));
}

/// Counts elements that are NaN or infinite, lane by lane.
pub fn NonFiniteCounter(comptime target: Target, comptime n: comptime_int) type {
    const Bits = target.Bits();
    return struct {
        lanes: @Vector(n, Bits) = @splat(0),

        const Counter = @This();
        /// Vectors that can be added before a lane overflows.
        pub const add_count_max = std.math.maxInt(Bits);

        pub inline fn add(counter: *Counter, bits: @Vector(n, Bits)) void {
            const mask: @Vector(n, Bits) = @splat(target.exponentMask());
            counter.lanes +%= @intFromBool(bits & mask == mask);
        }

        pub inline fn total(counter: Counter) u64 {
            return @reduce(.Add, @as(@Vector(n, u64), counter.lanes));
        }
    };
}

/// Whether any of `bytes` is at least `limit`.
pub inline fn anyAtLeast(bytes: []const u8, limit: u8) bool {
    const n = register_bytes;
    var highest: @Vector(n, u8) = @splat(0);
    var i: usize = 0;
    while (i + n <= bytes.len) : (i += n) {
        highest = @max(highest, load(@Vector(n, u8), bytes.ptr + i));
    }
    var rest: u8 = 0;
    for (bytes[i..]) |byte| rest = @max(rest, byte);
    return @max(rest, @reduce(.Max, highest)) >= limit;
}
