//! Examples of matrices of small floats under scales (scaled.zig).
const std = @import("std");
const minifloat = @import("../core/minifloat.zig");
const geometry_file = @import("geometry.zig");
const Dtype = @import("scale.zig").Dtype;
const Format = minifloat.Format;
const Rounding = @import("scaled_row.zig").Rounding;
const Sample = geometry_file.Sample;
const SampleSource = geometry_file.SampleSource;

/// The codes that are numbers.
fn numbers(comptime format: Format) []const u8 {
    return comptime blk: {
        @setEvalBranchQuota(10_000);
        var list: []const u8 = &.{};
        for (minifloat.values(format), 0..) |v, code| {
            if (std.math.isFinite(v)) list = list ++ [_]u8{code};
        }
        break :blk list;
    };
}

const byte_codes: SampleSource = .{ .unit_columns = 1, .unit_bytes = 1 };
/// Bytes of which F32 and BF16 scales near 0.01 are made.
const small: []const u8 = &.{ 0x3c, 0x3d, 0x3b };

/// Of each dtype of scales, each shape of blocks, and each rounding. The arithmetic of scales is
/// the same for all formats of codes, and varied with one of them.
pub fn of(comptime format: Format) []const Sample {
    if (format == .e2m3 or format == .e3m2) return six_bit_samples;
    const number_codes: SampleSource = .{
        .unit_columns = 1,
        .unit_bytes = 1,
        .alphabet = numbers(format),
    };
    const plain = [_]Sample{
        sample("blocks", number_codes, .f32, 128, .none, .{
            .rows_per_line = 128,
            .alphabet = small,
        }),
        sample("bf16 rows", byte_codes, .bf16, 0, .bf16, .{ .alphabet = small ++ [_]u8{0xbc} }),
        sample("any columns", byte_codes, .f32, 1, .none, .{ .rows_per_line = 0 }),
    };
    if (format != .e4m3) return &plain;
    return &(plain ++ [_]Sample{
        sample("ragged blocks", byte_codes, .f32, 40, .none, .{ .rows_per_line = 3 }),
        sample("mx", byte_codes, .e8m0, 32, .bf16, .{}),
        sample("e8m0 dtype", byte_codes, .e8m0fnu, 1, .none, .{ .rows_per_line = 2 }),
        sample("f16 groups", byte_codes, .f16, 64, .f16, .{}),
        sample("f16 columns", byte_codes, .f16, 1, .f16, .{ .rows_per_line = 0 }),
        sample("bf16 columns", byte_codes, .bf16, 1, .none, .{ .rows_per_line = 5 }),
        sample("e4m3 columns", byte_codes, .e4m3, 1, .none, .{ .rows_per_line = 0 }),
        .{ .name = "no scales", .sources = &.{byte_codes} },
    });
}

const six_bit_samples: []const Sample = &.{
    sample("mx", .{ .unit_columns = 4, .unit_bytes = 3 }, .e8m0, 32, .bf16, .{
        .alphabet = &.{ 110, 117, 120, 127 },
    }),
    sample("any scales", .{ .unit_columns = 32, .unit_bytes = 24 }, .e8m0, 32, .none, .{}),
};

/// `scales`: its lines and its alphabet; the rest follows from the dtype and the width.
fn sample(
    name: []const u8,
    codes: SampleSource,
    dtype: Dtype,
    width: u32,
    rounding: Rounding,
    scales: SampleSource,
) Sample {
    var source = scales;
    source.unit_columns = width;
    if (width == 0) source.bytes = dtype.bytes() else source.unit_bytes = dtype.bytes();
    const sources = [_]SampleSource{ codes, source };
    return .{
        .name = name,
        // Of six-bit codes a byte begins with each fourth.
        .column_align = codes.unit_columns,
        .parameters = .{ @intFromEnum(dtype), width, @intFromEnum(rounding) } ++ .{0} ** 5,
        .sources = &sources,
    };
}
