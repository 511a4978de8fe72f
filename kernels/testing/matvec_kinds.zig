//! Products of made-up weights, of every kind that a Dot can say and no codec has yet, at the level
//! that this is compiled for: against scalar code, bit for bit in int8 arithmetic. Failures print
//! the seed.
const std = @import("std");
const dots = @import("../matvec/dot.zig");
const pack = @import("../matvec/pack.zig");
const product_case = @import("product_case.zig");
const Case = product_case.Case;
const product_file = @import("../matvec/product.zig");
const scalar = @import("../matvec/scalar.zig");
const table = @import("../table.zig");

/// Made-up weights of every kind that a Dot can say and no codec has yet.
const kinds = [_]dots.Dot{
    .{
        .codes = .{ .four = dots.doubled_e2m1 },
        .unit = 0.5,
        .block_columns = 16,
        .scale = .e4m3,
        .order = dots.neighbour_order,
    },
    .{
        .codes = .{ .four = dots.centered_nibbles },
        .block_columns = 128,
        .scale = .f16,
        .has_row_factor = true,
        .order = dots.neighbour_order,
    },
    .{
        .codes = .{ .four = std.simd.iota(i8, 16) },
        .block_columns = 32,
        .scale = .f32,
        .has_minimum = true,
        .order = dots.neighbour_order,
    },
    .{
        .codes = .{ .four = made_up_integers },
        .block_columns = 64,
        .scale = .bf16,
        .order = dots.column_order,
    },
    .{
        .codes = .{ .four_floats = made_up_floats },
        .block_columns = 64,
        .scale = .f32,
        .order = dots.halves_order,
    },
    .{
        .codes = .eight,
        .block_columns = 16,
        .scale = .bf16,
        .has_minimum = true,
        .order = dots.column_order,
    },
    .{
        .codes = .eight,
        .block_columns = 16,
        .scale = .int8,
        .has_minimum = true,
        .has_row_factor = true,
        .order = dots.column_order,
    },
};

const made_up_integers = [16]i8{
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
};
/// Near integers, and as large as they may be.
const made_up_floats = blk: {
    var floats: [16]f32 = undefined;
    for (&floats, 0..) |*number, i|
        number.* = dots.fine_max * (@as(f32, @floatFromInt(i)) / 7.5 - 1);
    break :blk floats;
};

/// Random codes, and scales between 2^-6 and 2^6.
fn fillTiles(comptime dot: dots.Dot, case: *Case) void {
    const block_count = std.math.divCeil(u64, case.columns, dot.block_columns) catch unreachable;
    for (0..table.tileCount(case.rows, case.pairing)) |number| for (0..dots.tile_rows) |lane| {
        const tile: [*]align(64) u8 = @alignCast(case.tiles.ptr + number * case.tile_bytes);
        const writer: pack.Writer(dot) = .{ .tile = tile, .lane = lane };
        for (0..case.activations.span_count) |span| {
            var codes: pack.Writer(dot).Codes = undefined;
            case.random.bytes(&codes);
            writer.setCodes(span, &codes);
        }
        for (0..block_count) |block| {
            writer.setScale(block, randomScale(dot.scale, case.random));
            if (dot.has_minimum) writer.setMinimum(block, randomScale(dot.scale, case.random));
        }
        if (dot.has_row_factor) writer.setRowFactor(@bitCast(randomScale(.f32, case.random)));
        if (comptime dot.scale.hasFactor()) {
            const columns = dots.Layout(dot).segment_columns;
            const count = std.math.divCeil(u64, case.columns, columns) catch unreachable;
            for (0..count) |segment| writer.setFactors(
                segment,
                randomScale(.f16, case.random) | randomScale(.f16, case.random) << 16,
            );
        }
    };
}

fn randomScale(comptime scale: dots.Scale, random: std.Random) u32 {
    const exponent = random.intRangeAtMost(u32, 0, 12);
    const fraction = random.int(u32);
    return switch (scale) {
        .e8m0 => exponent + 121,
        .uint8, .int8 => fraction & 0xff,
        .e4m3 => (exponent + 1) << 3 | (fraction & 0x87),
        .f16 => (exponent + 9) << 10 | (fraction & 0x83ff),
        .bf16 => (exponent + 121) << 7 | (fraction & 0x807f),
        .f32 => (exponent + 121) << 23 | (fraction & 0x807f_ffff),
    };
}

fn testKind(comptime dot: dots.Dot, random: std.Random) !void {
    var case: Case = try .init(random, .{ .coded = dot }, .{ .name = "", .sources = &.{} });
    defer case.deinit();
    fillTiles(dot, &case);
    try case.prepare(product_file.prepareInt8(dot));
    const expected = try case.multiply(scalar.multiplier(dot, .int8), .none, true);
    const integers = try case.multiply(product_file.multiplier(dot, .int8), .none, true);
    try product_case.expectBits(expected, integers);
    try case.prepare(product_file.prepareFloat(dot.order));
    const exact = try case.multiply(scalar.multiplier(dot, .float), .none, true);
    const found = try case.multiply(product_file.multiplier(dot, .float), .none, true);
    try product_case.expectClose(&case, exact, found, 2e-5);
    // The two arithmetics tell of the same weights.
    try product_case.expectClose(&case, exact, expected, 0.1);
}

/// Every kind of weights at the level that this is compiled for.
pub fn testKinds() !void {
    for (0..40) |seed| {
        errdefer std.debug.print("seed {d}\n", .{seed});
        var prng: std.Random.DefaultPrng = .init(seed);
        inline for (kinds, 0..) |dot, i| {
            errdefer std.debug.print("kind {d}\n", .{i});
            try testKind(dot, prng.random());
        }
    }
}
