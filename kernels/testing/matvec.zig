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

    fn init(random: std.Random, span_blocks: u64, tileBytes: *const fn (u64) u64) !Case {
        var memory: std.heap.ArenaAllocator = .init(gpa);
        errdefer memory.deinit();
        const arena = memory.allocator();
        const columns = random.intRangeAtMost(u64, 1, 700);
        const spans = std.math.divCeil(u64, columns, dots.span_columns) catch unreachable;
        const batch = random.intRangeAtMost(u64, 1, abi.batch_max);
        const pairing = random.enumValue(abi.Pairing);
        const rows = random.intRangeAtMost(u64, 1, 50) * @as(u64, if (pairing == .halves) 2 else 1);
        const tile_bytes = tileBytes(spans);
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

fn expectBits(expected: []const f32, found: []const f32) !void {
    try testing.expectEqualSlices(u32, @ptrCast(expected), @ptrCast(found));
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

/// Made-up weights of every kind that a Dot can say.
const kinds = [_]dots.Dot{
    .{
        .bits = .four,
        .values = .{ 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 },
        .unit = 0.5,
        .block_columns = 16,
        .scale = .e4m3,
        .order = dots.neighbour_order,
    },
    .{
        .bits = .four,
        .values = .{ -8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7 },
        .block_columns = 128,
        .scale = .f16,
        .order = dots.neighbour_order,
    },
    .{
        .bits = .four,
        .values = .{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
        .block_columns = 32,
        .scale = .f32,
        .has_minimum = true,
        .order = dots.neighbour_order,
    },
    .{
        .bits = .four,
        .values = .{ -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 },
        .block_columns = 64,
        .scale = .bf16,
        .order = dots.column_order,
    },
    .{
        .bits = .eight,
        .block_columns = 16,
        .scale = .bf16,
        .has_minimum = true,
        .order = dots.column_order,
    },
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
    };
}

fn randomScale(comptime scale: dots.Scale, random: std.Random) u32 {
    const exponent = random.intRangeAtMost(u32, 0, 12);
    const fraction = random.int(u32);
    return switch (scale) {
        .e8m0 => exponent + 121,
        .e4m3 => (exponent + 1) << 3 | fraction & 0x87,
        .f16 => (exponent + 9) << 10 | fraction & 0x83ff,
        .bf16 => (exponent + 121) << 7 | fraction & 0x807f,
        .f32 => (exponent + 121) << 23 | fraction & 0x807f_ffff,
    };
}

fn testKind(comptime dot: dots.Dot, random: std.Random) !void {
    const layout = dots.Layout(dot);
    var case: Case = try .init(random, layout.span_blocks, layout.tileBytes);
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

/// Random stored bytes of a codec's first sample, as a table.Tile.
fn sourceOf(comptime codec: type, case: *Case) !table.Tile {
    const sources = codec.samples[0].sources;
    var source: table.Tile = std.mem.zeroes(table.Tile);
    source.row_count = case.rows;
    source.column_count = case.columns;
    source.columns = case.columns;
    inline for (sources, 0..) |from, i| {
        const units = std.math.divCeil(u64, case.columns, from.unit_columns) catch unreachable;
        const stride = units * from.unit_bytes;
        const bytes = try case.memory.allocator().alloc(u8, stride * case.rows);
        for (bytes) |*byte| byte.* = case.random.int(u8);
        source.sources[i] = bytes.ptr;
        source.strides[i] = stride;
        source.rows_per_line[i] = 1;
    }
    return source;
}

/// Values of a size that sums can bear: scales near 1, dense numbers of any pattern of bits but for
/// their exponent.
fn tame(comptime codec: type, case: *const Case, source: *const table.Tile) void {
    switch (codec.dot) {
        .coded => for (0..case.rows) |row| {
            const line = @constCast(source.line(1, row));
            for (line[0..source.strides[1]]) |*scale| scale.* = 118 + scale.* % 12;
        },
        .dense => |element| for (0..case.rows) |row| {
            const line = @constCast(source.line(0, row));
            const size = @sizeOf(element.Bits());
            for (0..case.columns) |column| {
                const high = &line[column * size + size - 1];
                high.* = high.* & 0x83 | 0x38;
            }
        },
    }
}

fn testCodec(comptime codec: type, functions: *const table.Matvec, random: std.Random) !void {
    const form = codec.dot;
    const tileBytes = codecs.tileBytesOf(codec);
    var case: Case = try .init(random, 1, tileBytes);
    defer case.deinit();
    const source = try sourceOf(codec, &case);
    tame(codec, &case, &source);
    for (0..table.tileCount(case.rows, case.pairing)) |number| {
        for (table.runsOf(case.rows, case.pairing, number), 0..) |run, half| {
            const tile: [*]align(64) u8 = @alignCast(case.tiles.ptr + number * case.tile_bytes);
            const lane = half * dots.tile_rows / 2;
            const non_finite = functions.pack.?(&source, run.begin, run.count, lane, tile);
            try testing.expectEqual(0, non_finite);
        }
    }
    const reference = scalar.functionsOf(codec);
    try case.prepare(functions.prepare_float.?);
    const plain = try case.multiply(functions.multiply_float.?, .none, false);
    try expectProduct(codec, &case, &source, plain);
    try expectActivations(&case, functions.multiply_float.?);
    if (form == .dense) return;
    try case.prepare(reference.prepare_int8.?);
    const expected = try case.multiply(reference.multiply_int8.?, .none, true);
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
                    try testing.expectEqual(@as(u32, @bitCast(expected)), @as(u32, @bitCast(y)));
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
fn expectProduct(
    comptime codec: type,
    case: *const Case,
    source: *const table.Tile,
    y: []const f32,
) !void {
    const bound = 1e-6 * @sqrt(@as(f64, @floatFromInt(case.columns)));
    for (0..case.batch) |column| {
        for (0..case.rows) |row| {
            var sum: f64 = 0;
            var size: f64 = 0;
            for (0..case.columns) |c| {
                const weight: f64 = codec.value(source, row, c);
                const term = weight * case.x[column * case.columns + c];
                sum += term;
                size += term * term;
            }
            // What random signs leave of the terms is about the root of the sum of their squares.
            const difference = @abs(sum - y[column * (case.rows + 1) + row]);
            try testing.expect(difference <= bound * @sqrt(size) + 1e-30);
        }
    }
}

/// Every codec that has products, with the functions of a table.
pub fn testTable(name: []const u8, level: *const table.Table) !void {
    errdefer std.debug.print("level {s}\n", .{name});
    for (0..25) |seed| {
        errdefer std.debug.print("seed {d}\n", .{seed});
        var prng: std.Random.DefaultPrng = .init(seed);
        inline for (@typeInfo(codecs.all).@"struct".decls) |declaration| {
            const codec = @field(codecs.all, declaration.name);
            if (!@hasDecl(codec, "dot")) continue;
            errdefer std.debug.print("codec {s}\n", .{declaration.name});
            const functions = &level.matvec[@intFromEnum(@field(abi.Codec, declaration.name))];
            try testCodec(codec, functions, prng.random());
        }
    }
}

/// MXFP4 with extreme scales, times small activations: a row is finite unless a scale of 255 makes its
/// weights infinite, and close to the f64 sum. (Weights that are too large for f32 alone do no harm.)
pub fn testExtremeScales(level: *const table.Table) !void {
    const codec = codecs.all.mxfp4;
    const functions = &level.matvec[@intFromEnum(abi.Codec.mxfp4)];
    const scales = [_]u8{ 0, 1, 2, 127, 252, 253, 254, 255 };
    for (0..60) |seed| {
        errdefer std.debug.print("seed {d}\n", .{seed});
        var prng: std.Random.DefaultPrng = .init(seed);
        var case: Case = try .init(prng.random(), 1, codecs.tileBytesOf(codec));
        defer case.deinit();
        var source = try sourceOf(codec, &case);
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
            if (scale < 253 and is_float) try expectProduct(codec, &case, &source, y);
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
