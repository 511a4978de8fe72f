//! Products with MXFP4's smallest and largest scales: what is a number and what is not.
const std = @import("std");
const testing = std.testing;
const abi = @import("../abi.zig");
const codecs = @import("../codecs.zig");
const Guarded = @import("guarded.zig").Guarded;
const testing_matrix = @import("matrix.zig");
const Matrix = testing_matrix.Matrix;
const Case = @import("product_case.zig").Case;
const products = @import("matvec.zig");
const table = @import("../table.zig");

/// MXFP4 with extreme scales, times small activations: a row is finite unless a scale of 255 makes
/// its weights infinite, and close to the f64 sum. (Weights that are too large for f32 alone do no
/// harm.)
pub fn testExtremeScales(level: *const table.Table) !void {
    const codec = codecs.all.mxfp4;
    const functions = &level.matvec[@intFromEnum(abi.Codec.mxfp4)][0];
    const scales = [_]u8{ 0, 1, 2, 127, 252, 253, 254, 255 };
    for (0..60) |seed| {
        errdefer std.debug.print("seed {d}\n", .{seed});
        var prng: std.Random.DefaultPrng = .init(seed);
        const sample = codec.samples[0];
        var case: Case = try .init(prng.random(), codec.dot_forms[0], sample);
        defer case.deinit();
        var memories: [sample.sources.len]Guarded = undefined;
        for (&memories) |*memory|
            memory.* = try .init(testing_matrix.sourceBytesMax(sample, case.rows, case.columns));
        defer for (memories) |memory| memory.deinit();
        const matrix: Matrix =
            .init(sample, case.rows, case.columns, &memories, .at_end, .random, prng.random());
        var source = matrix.tile(0, case.rows, 0, case.columns);
        source.parameters[0] = @intCast(seed % 2);
        const scale = scales[prng.random().uintLessThan(usize, scales.len)];
        for (0..case.rows) |row| {
            // A row has one extreme scale, and most have none; every second case small codes alone.
            const line = @constCast(source.line(1, row));
            for (line[0..source.strides[1]]) |*other| other.* = if (scale < 127) scale else 127;
            if (row % 3 == 0) line[prng.random().uintLessThan(usize, source.strides[1])] = scale;
            const codes = @constCast(source.line(0, row));
            if (seed % 4 < 2) for (codes[0..source.strides[0]]) |*byte| {
                byte.* &= 0x99;
            };
        }
        for (case.x) |*value| value.* = std.math.copysign(@as(f32, 0x1p-20), value.*);
        const counted = case.pack(functions, &source);
        var expected: u64 = 0;
        for ([_]abi.Arithmetic{ .float, .int8 }) |arithmetic| {
            const is_float = arithmetic == .float;
            const prepare = if (is_float) functions.prepare_float else functions.prepare_int8;
            try case.prepare(prepare.?);
            const function = if (is_float) functions.multiply_float else functions.multiply_int8;
            const y = try case.multiply(function.?, .none, false);
            expected = 0;
            for (0..case.rows) |row| {
                const finite = rowIsFinite(&source, row);
                expected += @intFromBool(!finite);
                for (0..case.batch) |column| {
                    const found = std.math.isFinite(y[column * (case.rows + 1) + row]);
                    try testing.expectEqual(finite, found);
                }
            }
            if (scale < 253 and is_float) {
                const form = codec.dot_forms[0];
                _ = try products.expectProduct(codec, form, &case, &source, y, 0, counted);
            }
        }
        try testing.expectEqual(expected, counted);
    }
}

fn rowIsFinite(source: *const table.Tile, row: u64) bool {
    const power = source.parameters[0] == 0;
    for (0..source.columns) |column| {
        if (source.line(1, row)[column / 32] != 255) continue;
        const byte = source.line(0, row)[column / 2];
        const code = if (column % 2 == 0) byte & 15 else byte >> 4;
        // 0 and ±0.5 times 2^128 are numbers; a factor of ∞ makes none of anything.
        if (!power or code & 6 != 0) return false;
    }
    return true;
}
