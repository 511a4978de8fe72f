//! Vectors of small floats against the scalar truth, at the level this file is compiled for.
const std = @import("std");
const minifloat = @import("../core/minifloat.zig");
const Format = minifloat.Format;

const lanes = 32;

test "widening every code of every format" {
    inline for (comptime std.enums.values(Format)) |format| {
        errdefer std.debug.print("format {s}\n", .{@tagName(format)});
        const count = comptime 1 << Format.bits(format);
        var code: usize = 0;
        while (code < count) : (code += lanes) {
            var codes: [lanes]u8 = undefined;
            for (&codes, 0..) |*c, lane| c.* = @intCast(code + lane);
            const vector: @Vector(lanes, u8) = codes;
            const found: [lanes]u32 = @bitCast(minifloat.widen(format, vector));
            for (codes, found) |c, bits| {
                errdefer std.debug.print("code {x}\n", .{c});
                try std.testing.expectEqual(@as(u32, @bitCast(minifloat.value(format, c))), bits);
                try expectScaled(format, c);
            }
        }
    }
}

test "a special code is found at every place of every length" {
    inline for (comptime std.enums.values(Format)) |format| {
        for ([_]u8{ 0x7b, 0x7c, 0x7e, 0x7f, 0x80, 0xfc, 0xff }) |code| {
            const one: [1]u8 = .{code};
            const is_special = minifloat.anySpecial(format, &one);
            var codes: [200]u8 = @splat(0x38);
            for (0..codes.len) |length| {
                try std.testing.expect(!minifloat.anySpecial(format, codes[0..length]));
                if (length == 0) continue;
                for ([_]usize{ 0, length / 2, length - 1 }) |place| {
                    codes[place] = code;
                    const found = minifloat.anySpecial(format, codes[0..length]);
                    try std.testing.expectEqual(is_special, found);
                    codes[place] = 0x38;
                }
            }
        }
    }
}

/// One code among zeros: it is special, or widened without its gain.
fn expectScaled(comptime format: Format, code: u8) !void {
    const expected = minifloat.value(format, code);
    for (0..lanes) |lane| {
        var codes: [lanes]u8 = @splat(0);
        codes[lane] = code;
        const vector: @Vector(lanes, u8) = codes;
        if (minifloat.anySpecial(format, &codes)) {
            const is_number = expected - expected == 0;
            try std.testing.expect(!is_number or (format == .e5m2fnuz and code & 0x7f >= 0x7c));
            continue;
        }
        const found: [lanes]f32 = minifloat.widenScaled(format, vector);
        const scaled: u32 = @bitCast(found[lane] * Format.gain(format));
        try std.testing.expectEqual(@as(u32, @bitCast(expected)), scaled);
    }
}
