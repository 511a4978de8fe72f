//! Products of one level's table, and of made-up kinds of weights, against scalar code and f64:
//! random shapes that are multiples of nothing, all batches, both pairings. Failures print the
//! seed.
const std = @import("std");
const assert = std.debug.assert;
const testing = std.testing;
const abi = @import("../abi.zig");
const codecs = @import("../codecs.zig");
const activation = @import("../matvec/activation.zig");
const dots = @import("../matvec/dot.zig");
const geometry_file = @import("../codecs/geometry.zig");
const Guarded = @import("guarded.zig").Guarded;
const testing_matrix = @import("matrix.zig");
const Matrix = testing_matrix.Matrix;
const Sample = geometry_file.Sample;
const Target = @import("../core/float.zig").Target;
const pack = @import("../matvec/pack.zig");
const product_file = @import("../matvec/product.zig");
const scalar = @import("../matvec/scalar.zig");
const table = @import("../table.zig");

const gpa = testing.allocator;

/// A product of random rows, with all that it points at.
const Case = struct {
    random: std.Random,
    rows: u64,
    columns: u64,
    batch: u64,
    pairing: abi.Pairing,
    tile_bytes: u64,
    tiles: []align(64) u8,
    x: []f32,
    bias: []f32,
    activations: table.Activations,
    memory: std.heap.ArenaAllocator,

    fn init(random: std.Random, comptime form: dots.Form, sample: Sample) !Case {
        var memory: std.heap.ArenaAllocator = .init(gpa);
        errdefer memory.deinit();
        const arena = memory.allocator();
        const units = @max(1, 700 / sample.column_unit);
        const columns = random.intRangeAtMost(u64, 1, units) * sample.column_unit;
        const spans = std.math.divCeil(u64, columns, dots.span_columns) catch unreachable;
        const batch = random.intRangeAtMost(u64, 1, abi.batch_max);
        const pairing = random.enumValue(abi.Pairing);
        const rows = random.intRangeAtMost(u64, 1, 50) * @as(u64, if (pairing == .halves) 2 else 1);
        const tile_bytes = dots.tileBytes(form, spans);
        const span_blocks = dots.spanBlocks(form);
        const case: Case = .{
            .random = random,
            .rows = rows,
            .columns = columns,
            .batch = batch,
            .pairing = pairing,
            .tile_bytes = tile_bytes,
            .tiles = try arena.alignedAlloc(
                u8,
                .@"64",
                tile_bytes * table.tileCount(rows, pairing),
            ),
            .x = try arena.alloc(f32, columns * batch),
            .bias = try arena.alloc(f32, rows),
            .activations = .{
                .span_count = spans,
                .span_blocks = span_blocks,
                .values = (try arena.alignedAlloc(f32, .@"64", spans * 32 * batch)).ptr,
                .codes = (try arena.alignedAlloc(i8, .@"64", spans * 32 * batch)).ptr,
                .scales = (try arena.alloc(f32, spans * batch)).ptr,
                .corrections = (try arena.alloc(u32, spans * batch * span_blocks)).ptr,
                .sums = (try arena.alloc(f32, spans * batch * span_blocks)).ptr,
            },
            .memory = memory,
        };
        @memset(case.tiles, 0);
        const size = std.math.exp2(random.float(f32) * 20 - 10);
        for (case.x) |*value| {
            const is_zero = random.uintLessThan(u32, 20) == 0;
            value.* = if (is_zero) 0 else random.floatNorm(f32) * size;
        }
        for (case.bias) |*value| value.* = random.floatNorm(f32);
        return case;
    }

    fn deinit(case: *Case) void {
        case.memory.deinit();
    }

    fn prepare(case: *Case, function: table.PrepareFn) !void {
        for (0..case.batch) |column| {
            const x = case.x[column * case.columns ..][0..case.columns];
            try testing.expect(function(&case.activations, column, x.ptr, case.columns));
        }
    }

    /// y of `function`, or of its tiles in two runs, with a canary behind each column.
    fn multiply(case: *Case, function: table.ProductFn, kind: abi.Activation, biased: bool) ![]f32 {
        const results = if (table.isOfPairs(kind)) case.rows / 2 else case.rows;
        const y = try case.memory.allocator().alloc(f32, (results + 1) * case.batch);
        @memset(y, 12345);
        var product: table.Product = .{
            .tiles = case.tiles.ptr,
            .tile_bytes = case.tile_bytes,
            .tile_first = 0,
            .tile_count = case.random.uintAtMost(u64, table.tileCount(case.rows, case.pairing)),
            .rows = case.rows,
            .x = &case.activations,
            .batch = case.batch,
            .bias = if (biased) case.bias.ptr else null,
            .y = y.ptr,
            .y_stride = results + 1,
            .activation = kind,
            .pairing = case.pairing,
            .is_streaming = case.random.boolean(),
        };
        function(&product);
        product.tile_first = product.tile_count;
        product.tiles = @alignCast(product.tiles + product.tile_first * case.tile_bytes);
        product.tile_count = table.tileCount(case.rows, case.pairing) - product.tile_first;
        function(&product);
        for (0..case.batch) |column|
            try testing.expectEqual(12345, y[(results + 1) * column + results]);
        return y;
    }
};

/// All NaN are one.
fn expectBits(expected: []const f32, found: []const f32) !void {
    for (expected, found) |a, b| {
        if (a != a and b != b) continue;
        try testing.expectEqual(@as(u32, @bitCast(a)), @as(u32, @bitCast(b)));
    }
}

/// |difference| within `relative` of the largest magnitude of all.
fn expectClose(case: *const Case, expected: []const f32, found: []const f32, relative: f32) !void {
    const stride = expected.len / case.batch;
    var largest: f32 = 0;
    for (expected, 0..) |value, i| {
        if (i % stride < stride - 1) largest = @max(largest, @abs(value));
    }
    for (expected, found) |a, b| try testing.expect(@abs(a - b) <= relative * largest);
}

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
        .codes = .{ .four_floats = .{ .integers = made_up_integers, .floats = made_up_floats } },
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
/// Near the integers.
const made_up_floats = blk: {
    var floats: [16]f32 = undefined;
    for (&floats, made_up_integers, 0..) |*number, integer, i|
        number.* = @as(f32, @floatFromInt(integer)) + 0.03 * (@as(f32, @floatFromInt(i)) - 7.4);
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
        .e4m3 => (exponent + 1) << 3 | fraction & 0x87,
        .f16 => (exponent + 9) << 10 | fraction & 0x83ff,
        .bf16 => (exponent + 121) << 7 | fraction & 0x807f,
        .f32 => (exponent + 121) << 23 | fraction & 0x807f_ffff,
    };
}

fn testKind(comptime dot: dots.Dot, random: std.Random) !void {
    var case: Case = try .init(random, .{ .coded = dot }, .{ .name = "", .sources = &.{} });
    defer case.deinit();
    fillTiles(dot, &case);
    try case.prepare(product_file.prepareInt8(dot));
    const expected = try case.multiply(scalar.multiplier(dot, .int8), .none, true);
    try expectBits(expected, try case.multiply(product_file.multiplier(dot, .int8), .none, true));
    try case.prepare(product_file.prepareFloat(dot.order));
    const exact = try case.multiply(scalar.multiplier(dot, .float), .none, true);
    const found = try case.multiply(product_file.multiplier(dot, .float), .none, true);
    try expectClose(&case, exact, found, 2e-5);
    // The two arithmetics tell of the same weights.
    try expectClose(&case, exact, expected, 0.1);
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

/// Dense numbers of any pattern of bits but for their exponent.
fn tame(comptime element: Target, matrix: *const Matrix) void {
    const size = @sizeOf(element.Bits());
    var high: usize = size - 1;
    while (high < matrix.bytes[0].len) : (high += size)
        matrix.bytes[0][high] = matrix.bytes[0][high] & 0x83 | 0x38;
}

/// Products with a matrix of a sample, whose bytes end where memory does.
fn testSample(
    comptime codec: type,
    comptime form: dots.Form,
    sample: Sample,
    functions: *const table.Matvec,
    reference: *const table.Matvec,
    random: std.Random,
) !void {
    var case: Case = try .init(random, form, sample);
    defer case.deinit();
    var room: [abi.source_count_max]Guarded = undefined;
    const memories = room[0..sample.sources.len];
    const most = testing_matrix.sourceBytesMax(sample, case.rows, case.columns);
    for (memories) |*memory| memory.* = try .init(most);
    defer for (memories) |memory| memory.deinit();
    const matrix: Matrix = .init(sample, case.rows, case.columns, memories, .at_end, .random, random);
    // Sources of a given size serve matrices up to some size.
    if (!codec.check(matrix.geometry())) return;
    if (form == .dense) tame(form.dense, &matrix);
    const source = matrix.tile(0, case.rows, 0, case.columns);
    var non_finite: u64 = 0;
    for (0..table.tileCount(case.rows, case.pairing)) |number| {
        for (table.runsOf(case.rows, case.pairing, number), 0..) |run, half| {
            const tile: [*]align(64) u8 = @alignCast(case.tiles.ptr + number * case.tile_bytes);
            const lane = half * dots.tile_rows / 2;
            non_finite += functions.pack.?(&source, run.begin, run.count, lane, tile);
        }
    }
    try case.prepare(functions.prepare_float.?);
    const plain = try case.multiply(functions.multiply_float.?, .none, false);
    const bits = if (@hasDecl(codec, "weightBits")) codec.weightBits(matrix.geometry()) else 0;
    const has_nan = try expectProduct(codec, &case, &source, plain, bits, non_finite);
    if (has_nan and hasNanCodes(codec)) try testing.expect(non_finite > 0);
    try expectActivations(&case, functions.multiply_float.?);
    const multiplyReference = reference.multiply_int8 orelse return;
    try case.prepare(reference.prepare_int8.?);
    const expected = try case.multiply(multiplyReference, .none, true);
    try case.prepare(functions.prepare_int8.?);
    try expectBits(expected, try case.multiply(functions.multiply_int8.?, .none, true));
    try expectActivations(&case, functions.multiply_int8.?);
}

/// Each activation's results are those of its function on the results without one.
fn expectActivations(case: *Case, function: table.ProductFn) !void {
    const plain = try case.multiply(function, .none, true);
    inline for (comptime std.enums.values(abi.Activation)) |kind| {
        if (table.fits(kind, case.rows, case.pairing)) {
            const found = try case.multiply(function, kind, true);
            const results = found.len / case.batch - 1;
            for (0..case.batch) |column| {
                const sums = plain[column * (case.rows + 1) ..][0..case.rows];
                for (found[column * (results + 1) ..][0..results], 0..) |y, i| {
                    const expected = one(switch (kind) {
                        .swiglu => pair(kind, sums[i], sums[i + results]),
                        .swiglu_oss => pair(kind, sums[2 * i], sums[2 * i + 1]),
                        else => activation.apply(kind, splat(sums[i])),
                    });
                    try expectBits(&.{expected}, &.{y});
                }
            }
        }
    }
}

fn pair(comptime kind: abi.Activation, gate: f32, up: f32) @Vector(4, f32) {
    return activation.applyPair(kind, splat(gate), splat(up));
}

fn splat(value: f32) @Vector(4, f32) {
    return @splat(value);
}

fn one(values: @Vector(4, f32)) f32 {
    return values[0];
}

/// The sums against f64 sums of the codec's own values: nothing of tiles or kernels takes part.
/// Values have `bits` significant bits where tiles have more; `counted` scales were not finite. Returns whether any value is NaN.
fn expectProduct(
    comptime codec: type,
    case: *const Case,
    source: *const table.Tile,
    y: []const f32,
    bits: u32,
    counted: u64,
) !bool {
    const rounding = if (bits == 0) 0 else std.math.ldexp(@as(f64, 1), -@as(i32, @intCast(bits)));
    // Where all values are rounded by that much, four times is a rare sum.
    // Codes are summed with an offset, whose share is taken off at the end: of a few columns that is
    // more than their sum.
    const columns: f64 = @floatFromInt(@max(case.columns, 16));
    const bound = 1e-6 * @sqrt(columns) + 4 * rounding;
    var has_nan = false;
    for (0..case.batch) |column| {
        for (0..case.rows) |row| {
            var sum: f64 = 0;
            var size: f64 = 0;
            var activations: f64 = 0;
            var is_finite = true;
            var is_nan = false;
            for (0..case.columns) |c| {
                const weight: f64 = codec.value(source, row, c);
                is_finite = is_finite and std.math.isFinite(weight);
                is_nan = is_nan or weight != weight;
                const term = weight * case.x[column * case.columns + c];
                sum += term;
                size += term * term;
                activations += @abs(case.x[column * case.columns + c]);
            }
            const found = y[column * (case.rows + 1) + row];
            has_nan = has_nan or is_nan;
            // Of other codecs a weight, or a scale, that is too large for f32 alone may do no harm.
            if (is_nan and hasNanCodes(codec)) try testing.expect(!std.math.isFinite(found));
            // Sums of f32 may overflow, and their small terms vanish.
            if (!is_finite or size > 1e60) continue;
            // A scale that tiles have no number for was counted when it was packed.
            if (counted > 0 and !std.math.isFinite(found)) continue;
            // What random signs leave of the terms is about the root of the sum of their squares.
            // Below the normal numbers of f16 it is not a share that is lost.
            const lost = if (bits == 11) activations * 0x1p-25 else 1e-30;
            try testing.expect(@abs(sum - found) <= bound * @sqrt(size) + lost);
        }
    }
    return has_nan;
}

/// Whether codes themselves can be NaN.
fn hasNanCodes(comptime codec: type) bool {
    return switch (codec.dot_forms[0]) {
        .coded => |dot| dot.codes == .eight_floats,
        .dense => false,
    };
}

/// Every codec that has products, with the functions of a table.
pub fn testTable(name: []const u8, level: *const table.Table) !void {
    errdefer std.debug.print("level {s}\n", .{name});
    for (0..25) |seed| {
        errdefer std.debug.print("seed {d}\n", .{seed});
        var prng: std.Random.DefaultPrng = .init(seed);
        inline for (@typeInfo(codecs.all).@"struct".decls) |declaration| {
            const codec = @field(codecs.all, declaration.name);
            const tag = @field(abi.Codec, declaration.name);
            errdefer std.debug.print("codec {s}\n", .{declaration.name});
            inline for (comptime dots.formsOf(codec), 0..) |form, i| for (codec.samples) |sample| {
                errdefer std.debug.print("form {d}, sample {s}\n", .{ i, sample.name });
                const functions = &level.matvec[@intFromEnum(tag)][i];
                const reference = &comptime scalar.functionsOf(codec)[i];
                if (takesForm(codec, sample, i))
                    try testSample(codec, form, sample, functions, reference, prng.random());
            };
        }
    }
}

/// Whether matrices of a sample stand in this form. Those of all sizes do, or none.
fn takesForm(comptime codec: type, sample: Sample, form: u8) bool {
    if (!@hasDecl(codec, "dotForm")) return form == 0;
    return codec.dotForm(.{
        .rows = 1,
        .columns = std.math.maxInt(u32),
        .parameters = &sample.parameters,
        .sources = &.{},
    }) == form;
}

/// MXFP4 with extreme scales, times small activations: a row is finite unless a scale of 255 makes its
/// weights infinite, and close to the f64 sum. (Weights that are too large for f32 alone do no harm.)
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
        var counted: u64 = 0;
        for (0..table.tileCount(case.rows, case.pairing)) |number| {
            for (table.runsOf(case.rows, case.pairing, number), 0..) |run, half| {
                const tile: [*]align(64) u8 = @alignCast(case.tiles.ptr + number * case.tile_bytes);
                const lane = half * dots.tile_rows / 2;
                counted += functions.pack.?(&source, run.begin, run.count, lane, tile);
            }
        }
        var expected: u64 = 0;
        for ([_]abi.Arithmetic{ .float, .int8 }) |arithmetic| {
            const is_float = arithmetic == .float;
            try case.prepare(if (is_float) functions.prepare_float.? else functions.prepare_int8.?);
            const function = if (is_float) functions.multiply_float.? else functions.multiply_int8.?;
            const y = try case.multiply(function, .none, false);
            expected = 0;
            for (0..case.rows) |row| {
                const finite = rowIsFinite(&source, row);
                expected += @intFromBool(!finite);
                for (0..case.batch) |column| {
                    const found = std.math.isFinite(y[column * (case.rows + 1) + row]);
                    try testing.expectEqual(finite, found);
                }
            }
            if (scale < 253 and is_float) _ = try expectProduct(codec, &case, &source, y, 0, counted);
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
