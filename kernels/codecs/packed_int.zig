//! Whole numbers of 2 to 8 bits in 32-bit words, lowest bits first.
//!
//!     2, 4 and 8 bits    32 / bits fields to each word
//!     stream             32 fields in `bits` words, one bit behind the other: of 3 bits, field 10
//!                        has two bits in the first word and one in the second
//!     planes             32 fields in `bits` words, but the words hold parts of 4, 2 or 1 bits of
//!                        all fields: first the lowest bits, then those above them, so that no
//!                        part crosses a word (GPTQModel, utils/planar_packing.py)
//!
//! Which words belong together the caller says: neighbours in a line, or one below the other.
const std = @import("std");
const assert = std.debug.assert;

pub const Form = struct {
    bits: comptime_int,
    is_planar: bool = false,

    /// Whether no field and no part crosses a word, so that a word is a group of its own.
    pub fn isWhole(comptime form: Form) bool {
        return 32 % form.bits == 0;
    }

    /// Fields and words of the smallest group that begins and ends at a word.
    pub fn fields(comptime form: Form) comptime_int {
        return if (form.isWhole()) 32 / form.bits else 32;
    }

    pub fn words(comptime form: Form) comptime_int {
        return if (form.isWhole()) 1 else form.bits;
    }

    pub fn mask(comptime form: Form) comptime_int {
        return (1 << form.bits) - 1;
    }

    /// A word with 1 in each field; only where a word is a group.
    pub fn ones(comptime form: Form) comptime_int {
        comptime assert(form.isWhole());
        return 0xffff_ffff / form.mask();
    }
};

const Plane = struct { width: comptime_int, offset: comptime_int };

fn planesOf(comptime bits: comptime_int) []const Plane {
    return switch (bits) {
        3 => &.{ .{ .width = 2, .offset = 0 }, .{ .width = 1, .offset = 2 } },
        5 => &.{ .{ .width = 4, .offset = 0 }, .{ .width = 1, .offset = 4 } },
        6 => &.{ .{ .width = 4, .offset = 0 }, .{ .width = 2, .offset = 4 } },
        7 => &.{
            .{ .width = 4, .offset = 0 },
            .{ .width = 2, .offset = 4 },
            .{ .width = 1, .offset = 6 },
        },
        else => @compileError("whole words have no planes"),
    };
}

/// Field `index` of a group. `words.at(t)` is word t: a u32, or a vector of words of as many groups.
pub inline fn field(comptime form: Form, words: anytype, index: u32) @TypeOf(words.at(0)) {
    if (comptime form.isWhole()) {
        return masked(shiftRight(words.at(0), index * form.bits), form.mask());
    }
    if (!form.is_planar) {
        const word = index * form.bits / 32;
        const shift = index * form.bits % 32;
        var value = shiftRight(words.at(word), shift);
        if (shift + form.bits > 32) value |= shiftLeft(words.at(word + 1), 32 - shift);
        return masked(value, form.mask());
    }
    var value = masked(words.at(0), 0);
    comptime var first: u32 = 0;
    inline for (comptime planesOf(form.bits)) |plane| {
        const position = index * plane.width;
        const part = shiftRight(words.at(first + position / 32), position % 32);
        value |= shiftLeft(masked(part, (1 << plane.width) - 1), plane.offset);
        first += plane.width;
    }
    return value;
}

/// Words that follow each other at any address.
pub const Line = struct {
    bytes: [*]const u8,

    pub inline fn at(line: Line, word: u64) u32 {
        return std.mem.readInt(u32, line.bytes[word * 4 ..][0..4], .little);
    }
};

inline fn masked(value: anytype, comptime mask: u32) @TypeOf(value) {
    return value & same(@TypeOf(value), mask);
}

inline fn shiftRight(value: anytype, count: u32) @TypeOf(value) {
    return value >> same(ShiftOf(@TypeOf(value)), @as(u5, @intCast(count)));
}

inline fn shiftLeft(value: anytype, count: u32) @TypeOf(value) {
    return value << same(ShiftOf(@TypeOf(value)), @as(u5, @intCast(count)));
}

fn ShiftOf(comptime Word: type) type {
    return switch (@typeInfo(Word)) {
        .vector => |info| @Vector(info.len, u5),
        else => u5,
    };
}

inline fn same(comptime T: type, value: anytype) T {
    return switch (@typeInfo(T)) {
        .vector => @splat(value),
        else => value,
    };
}

fn expectFields(comptime form: Form, words: []const u32, expected: []const u32) !void {
    const line: Line = .{ .bytes = std.mem.sliceAsBytes(words).ptr };
    for (expected, 0..) |value, i| {
        try std.testing.expectEqual(value, field(form, line, @intCast(i)));
    }
}

test "fields of whole words, of a stream and of planes" {
    var counting: [32]u32 = undefined;
    for (&counting, 0..) |*value, i| value.* = @intCast(i % 8);
    try expectFields(.{ .bits = 4 }, &.{0x7654_3210}, counting[0..8]);
    try expectFields(.{ .bits = 8 }, &.{0x0302_0100}, counting[0..4]);
    try expectFields(.{ .bits = 2 }, &.{0xe4e4_e4e4}, &.{ 0, 1, 2, 3, 0, 1, 2, 3 });
    const stream: []const u32 = &.{ 0x88fa_c688, 0xc688_fac6, 0xfac6_88fa };
    try expectFields(.{ .bits = 3 }, stream, &counting);
    const planes: []const u32 = &.{ 0xe4e4_e4e4, 0xe4e4_e4e4, 0xf0f0_f0f0 };
    try expectFields(.{ .bits = 3, .is_planar = true }, planes, &counting);
    for (&counting, 0..) |*value, i| value.* = @intCast(i);
    const five = [_]u32{ 0x7654_3210, 0xfedc_ba98, 0x7654_3210, 0xfedc_ba98, 0xffff_0000 };
    try expectFields(.{ .bits = 5, .is_planar = true }, &five, &counting);
}
