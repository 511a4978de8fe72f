//! Runs of columns whose values depend on a code of four bits and on what the run shares, so that
//! there are sixteen results: they are made once for a run and then looked up.
const std = @import("std");
const float = @import("../core/float.zig");
const vector = @import("../core/vector.zig");
const Rounding = @import("scaled_row.zig").Rounding;
const Target = float.Target;

/// Columns that are looked up at once, and the bytes of their codes.
pub const step = 32;
const step_bytes = step / 2;

pub const Values = @Vector(16, f32);

/// The numbers of all codes after the format's own arithmetic: NaN as core/float.zig has it, and
/// rounded as the format does before the target's rounding.
pub inline fn finish(values: Values, rounding: Rounding) Values {
    const nan: Values = @splat(float.nan);
    const numbers = @select(f32, values != values, nan, values);
    return switch (rounding) {
        .none => numbers,
        .f16 => vector.widen(.f16, vector.round(.f16, numbers)),
        .bf16 => vector.widen(.bf16, vector.round(.bf16, numbers)),
    };
}

/// The elements of a run.
pub fn Results(comptime target: Target, comptime order: vector.NibbleOrder) type {
    return struct {
        /// f32: the upper halves of the results.
        table: vector.NibbleTable,
        low_halves: vector.NibbleTable,
        is_finite: bool,

        const Self = @This();
        const Bits = target.Bits();

        /// Of any values.
        pub inline fn of(values: Values) Self {
            const bits = vector.round(target, values);
            const mask: @Vector(16, Bits) = @splat(target.exponentMask());
            return ofBits(bits, !@reduce(.Or, bits & mask == mask));
        }

        /// Of values that are finite, and stay so when they are rounded.
        pub inline fn ofFinite(values: Values) Self {
            return ofBits(vector.roundFinite(target, values), true);
        }

        inline fn ofBits(bits: @Vector(16, Bits), is_finite: bool) Self {
            return .{
                .table = .of(if (target == .f32) @truncate(bits >> @splat(16)) else bits),
                .low_halves = if (target == .f32) .of(@truncate(bits)) else undefined,
                .is_finite = is_finite,
            };
        }

        /// Writes `count` columns; returns how many are NaN or infinite. Only the bytes that hold
        /// their codes are read.
        pub inline fn write(self: *const Self, codes: [*]const u8, to: [*]Bits, count: u64) u64 {
            @setRuntimeSafety(false);
            if (!self.is_finite) return self.writeAny(codes, to, count);
            var column: u64 = 0;
            while (column + step <= count) : (column += step)
                vector.store(to + column, self.lookup(codes + column / 2));
            if (column == count) return 0;
            return self.writeAny(codes + column / 2, to + column, count - column);
        }

        noinline fn writeAny(self: *const Self, codes: [*]const u8, to: [*]Bits, count: u64) u64 {
            @setRuntimeSafety(false);
            var non_finite_count: u64 = 0;
            var column: u64 = 0;
            while (column < count) : (column += step) {
                const n = @min(step, count - column);
                var rest: [step_bytes]u8 = @splat(0);
                const size = (n + 1) / 2;
                for (rest[0..size], codes[column / 2 ..]) |*byte, stored| byte.* = stored;
                const found: [step]Bits = self.lookup(&rest);
                for (to[column..][0..n], found[0..n]) |*element, bits| {
                    element.* = bits;
                    non_finite_count += @intFromBool(!float.isFinite(target, bits));
                }
            }
            return non_finite_count;
        }

        inline fn lookup(self: *const Self, codes: [*]const u8) @Vector(step, Bits) {
            const found = self.table.lookup(order, codes);
            if (target != .f32) return found;
            const low: @Vector(step, u32) = self.low_halves.lookup(order, codes);
            return @as(@Vector(step, u32), found) << @splat(16) | low;
        }
    };
}
