//! Grids of ggml's IQ types (ggml-org/ggml, src/ggml-common.h): a code is the number of an entry of
//! eight or four values. Also the table of signs: seven bits, and an eighth that makes their number
//! even.
//!
//! The library holds one copy: the kernels of the levels name it, and what else is linked exports
//! it.
const std = @import("std");
const assert = std.debug.assert;
const packed_grids = @import("iq_grids_data.zig");

pub const Grids = extern struct {
    iq2_xxs: [256][8]u8,
    iq2_xs: [512][8]u8,
    iq2_s: [1024][8]u8,
    iq3_xxs: [256][4]u8,
    iq3_s: [512][4]u8,
    /// Of IQ1_S and IQ1_M.
    iq1: [2048][8]i8,
    signs: [128]u8,
};

const symbol = "dq_iq_grids";
const root = @import("root");
const is_elsewhere = @hasDecl(root, "links_shared_data");

pub const grids: *const Grids = if (is_elsewhere)
    @extern(*const Grids, .{ .name = symbol, .visibility = .hidden })
else
    &data;

const data: Grids align(64) = .{
    .iq2_xxs = unpackGrid(u8, 8, packed_grids.iq2_xxs, packed_grids.iq2_xxs_map),
    .iq2_xs = unpackGrid(u8, 8, packed_grids.iq2_xs, packed_grids.iq2_xs_map),
    .iq2_s = unpackGrid(u8, 8, packed_grids.iq2_s, packed_grids.iq2_s_map),
    .iq3_xxs = unpackGrid(u8, 4, packed_grids.iq3_xxs, packed_grids.iq3_xxs_map),
    .iq3_s = unpackGrid(u8, 4, packed_grids.iq3_s, packed_grids.iq3_s_map),
    .iq1 = unpackGrid(i8, 8, packed_grids.iq1, packed_grids.iq1_map),
    .signs = signs: {
        var signs: [128]u8 = undefined;
        for (&signs, 0..) |*byte, i| byte.* = i | @as(u8, @popCount(@as(u8, i)) % 2) << 7;
        break :signs signs;
    },
};

comptime {
    if (!is_elsewhere) @export(&data, .{ .name = symbol, .visibility = .hidden });
}

fn unpackGrid(
    comptime Value: type,
    comptime length: usize,
    comptime digits: []const u8,
    comptime map: anytype,
) [entryCount(digits)][length]Value {
    @setEvalBranchQuota(1_000_000);
    const bits = if (length == 8) 2 else 3;
    var grid: [entryCount(digits)][length]Value = undefined;
    var at = 0;
    for (&grid) |*entry| {
        if (digits[at] == '\n') at += 1;
        var number: u16 = 0;
        for (digits[at..][0..4]) |digit| {
            number = number << 4 | if (digit >= 'a') digit - 'a' + 10 else digit - '0';
        }
        for (entry, 0..) |*value, k| value.* = map[number >> (bits * k) & ((1 << bits) - 1)];
        at += 4;
    }
    return grid;
}

fn entryCount(comptime digits: []const u8) usize {
    @setEvalBranchQuota(100_000);
    return (digits.len - std.mem.count(u8, digits, "\n")) / 4;
}
