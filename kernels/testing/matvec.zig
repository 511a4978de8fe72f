//! Products of every codec's samples with the functions of one table, against scalar code and f64
//! sums: random shapes that are multiples of nothing, all batches, both pairings. Failures print
//! the seed.
const std = @import("std");
const testing = std.testing;
const abi = @import("../abi.zig");
const codecs = @import("../codecs.zig");
const conformance = @import("conformance.zig");
const activation = @import("../matvec/activation.zig");
const dots = @import("../matvec/dot.zig");
const Guarded = @import("guarded.zig").Guarded;
const testing_matrix = @import("matrix.zig");
const Matrix = testing_matrix.Matrix;
const product_case = @import("product_case.zig");
const Case = product_case.Case;
const Sample = @import("../codecs/geometry.zig").Sample;
const Target = @import("../core/float.zig").Target;
const scalar = @import("../matvec/scalar.zig");
const table = @import("../table.zig");

/// Rows and columns as they are stored.
fn storedExtents(comptime codec: type, case: *const Case) struct { rows: u64, columns: u64 } {
    if (@hasDecl(codec, "packColumns")) return .{ .rows = case.columns, .columns = case.rows };
    return .{ .rows = case.rows, .columns = case.columns };
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
    const stored = storedExtents(codec, &case);
    const most = testing_matrix.sourceBytesMax(sample, stored.rows, stored.columns);
    for (memories) |*memory| memory.* = try .init(most);
    defer for (memories) |memory| memory.deinit();
    const matrix: Matrix =
        .init(sample, stored.rows, stored.columns, memories, .at_end, .random, random);
    // Sources of a given size serve matrices up to some size.
    if (!codec.check(matrix.geometry())) return;
    if (form == .dense) tame(form.dense, &matrix);
    const source = matrix.tile(0, stored.rows, 0, stored.columns);
    try case.findPositions(codec, form, &matrix, &source);
    const non_finite = case.pack(functions, &source);
    try case.prepare(functions.prepare_float.?);
    const plain = try case.multiply(functions.multiply_float.?, .none, false);
    const bits = if (@hasDecl(codec, "weightBits")) codec.weightBits(matrix.geometry()) else 0;
    const has_nan = try expectProduct(codec, form, &case, &source, plain, bits, non_finite);
    if (has_nan and hasNanCodes(codec)) try testing.expect(non_finite > 0);
    try expectActivations(&case, functions.multiply_float.?);
    const multiplyReference = reference.multiply_int8 orelse return;
    try case.prepare(reference.prepare_int8.?);
    const expected = try case.multiply(multiplyReference, .none, true);
    try case.prepare(functions.prepare_int8.?);
    const found = try case.multiply(functions.multiply_int8.?, .none, true);
    try product_case.expectBits(expected, found);
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
                    try product_case.expectBits(&.{expected}, &.{y});
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

/// The sums against f64 sums of the codec's own values: nothing of tiles or kernels takes part in
/// them, and in the bound of their difference minima alone (Case.squaredMinimum).
/// Values have `bits` significant bits where tiles have more; `counted` scales were not finite.
/// Returns whether any value is NaN.
pub fn expectProduct(
    comptime codec: type,
    comptime form: dots.Form,
    case: *const Case,
    source: *const table.Tile,
    y: []const f32,
    bits: u32,
    counted: u64,
) !bool {
    const rounding = if (bits == 0) 0 else std.math.ldexp(@as(f64, 1), -@as(i32, @intCast(bits)));
    // Where all values are rounded by that much, four times is a rare sum.
    const bound = 1e-6 * @sqrt(@as(f64, @floatFromInt(case.columns))) + 4 * rounding;
    var has_nan = false;
    for (0..case.batch) |column| {
        for (0..case.rows) |row| {
            var sum: f64 = 0;
            var size: f64 = 0;
            var activations: f64 = 0;
            var is_finite = true;
            var is_nan = false;
            for (0..case.columns) |c| {
                const weight: f64 = if (@hasDecl(codec, "packColumns"))
                    codec.value(source, c, row)
                else
                    codec.value(source, row, c);
                is_finite = is_finite and std.math.isFinite(weight);
                is_nan = is_nan or weight != weight;
                const x: f64 = case.x[column * case.columns + c];
                sum += weight * x;
                size += (weight * weight + case.squaredMinimum(form, row, c)) * (x * x);
                activations += @abs(x);
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
    // Of an emulated CPU one seed takes seconds.
    const seed_count: usize = if (try conformance.every() == 1) 25 else 3;
    for (0..seed_count) |seed| {
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
        .rows = std.math.maxInt(u32),
        .columns = std.math.maxInt(u32),
        .parameters = &sample.parameters,
        .sources = &.{},
    }) == form;
}
