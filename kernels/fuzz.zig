//! `zig build fuzz -- <name> [seed] [count]`: what tests try in a few sizes, at random and for as
//! long as asked. The seed is printed first; with it a run can be had again.
//!
//!     decode   random blocks of every codec through every level of this CPU, against the scalar
//!              code, bit for bit; count: blocks of 32 values
//!     plan     plans with random bytes changed; count: plans. What is accepted must cover its
//!              targets and stay within its files
//!     smoke    a little of each
const std = @import("std");
const abi = @import("abi.zig");
const codecs = @import("codecs.zig");
const dispatch = @import("dispatch.zig");
const plan_file = @import("convert/plan.zig");
const tiles = @import("convert/tiles.zig");
const matrix_file = @import("testing/matrix.zig");
const steps_file = @import("testing/steps.zig");
const Guarded = @import("testing/guarded.zig").Guarded;
const Table = @import("table.zig").Table;

const Fuzzer = struct {
    name: []const u8,
    run: *const fn (random: std.Random, count: u64) anyerror!void,
    /// Counts of `smoke`, which takes seconds, and of a run without a count.
    smoke_count: u64,
    count: u64,
};

const fuzzers = [_]Fuzzer{
    .{ .name = "decode", .run = fuzzDecode, .smoke_count = 1_000_000, .count = 100_000_000 },
    .{ .name = "plan", .run = fuzzPlan, .smoke_count = 200_000, .count = 10_000_000 },
};

pub fn main() !void {
    var arguments = std.process.args();
    _ = arguments.skip();
    const name = arguments.next() orelse "smoke";
    const seed = if (arguments.next()) |text|
        try std.fmt.parseInt(u64, text, 10)
    else
        std.crypto.random.int(u64);
    const count: ?u64 = if (arguments.next()) |text| try std.fmt.parseInt(u64, text, 10) else null;
    const is_smoke = std.mem.eql(u8, name, "smoke");
    var ran = false;
    for (fuzzers) |fuzzer| {
        if (!is_smoke and !std.mem.eql(u8, name, fuzzer.name)) continue;
        ran = true;
        std.debug.print("fuzz {s}: seed {d}\n", .{ fuzzer.name, seed });
        var prng: std.Random.DefaultPrng = .init(seed);
        try fuzzer.run(prng.random(), count orelse
            if (is_smoke) fuzzer.smoke_count else fuzzer.count);
    }
    if (!ran) {
        std.debug.print("usage: zig build fuzz -- <name> [seed] [count]; names: smoke", .{});
        for (fuzzers) |fuzzer| std.debug.print(", {s}", .{fuzzer.name});
        std.debug.print("\n", .{});
        std.process.exit(2);
    }
}

const row_count_max = 40;
const column_count_max = 1200;

const DecodeRun = struct {
    random: std.Random,
    memories: [abi.source_count_max]Guarded,
    expected: Guarded,
    found: Guarded,
    values: u64 = 0,
    comparisons: u64 = 0,

    /// One random tile of one random matrix, at every level.
    fn one(run: *DecodeRun, codec: abi.Codec, sample: codecs.Sample) !void {
        const random = run.random;
        const unit: u64 = sample.column_unit;
        const row_step = @max(sample.row_unit, sample.row_align);
        const rows = std.mem.alignForward(u64, 1 + random.uintLessThan(u64, 24), row_step);
        const columns = unit * (1 + random.uintLessThan(u64, column_count_max / unit));
        const placement: matrix_file.Placement = if (random.boolean()) .at_start else .at_end;
        const matrix: matrix_file.Matrix =
            .init(sample, rows, columns, &run.memories, placement, .random, random);
        const target = random.enumValue(codecs.Target);
        const size: usize = @intCast(rows * columns * @as(u64, if (target == .f32) 4 else 2));
        var tile = matrix.tile(0, rows, 0, columns);
        tile.target_stride = columns;
        const expected = run.expected.atEnd(size, 0);
        const count = decode(&codecs.scalar_table, codec, target, &tile, expected);
        for (0..dispatch.count) |level| {
            const index: u32 = @intCast(level);
            if (dispatch.mask() >> @intCast(level) & 1 == 0) continue;
            const table = dispatch.tableOf(index);
            if (table == dispatch.scalar) continue;
            const found = run.found.atEnd(size, 0);
            @memset(found, 0xa5);
            const found_count = decode(table, codec, target, &tile, found);
            run.comparisons += rows * columns;
            if (found_count == count and std.mem.eql(u8, found, expected)) continue;
            std.debug.print("{s} of {s} to {s} at level {s} differs: {d} x {d}\n", .{
                sample.name, @tagName(codec), @tagName(target), dispatch.nameOf(index), rows, columns,
            });
            return error.Differs;
        }
        run.values += rows * columns;
    }

    fn decode(
        table: *const Table,
        codec: abi.Codec,
        target: codecs.Target,
        tile: *@import("table.zig").Tile,
        bytes: []u8,
    ) u64 {
        tile.target = bytes.ptr;
        return table.decode[@intFromEnum(codec)][@intFromEnum(target)](tile);
    }
};

fn fuzzDecode(random: std.Random, count: u64) !void {
    var run: DecodeRun = .{
        .random = random,
        .memories = undefined,
        .expected = undefined,
        .found = undefined,
    };
    var source_bytes: usize = 0;
    inline for (@typeInfo(codecs.all).@"struct".decls) |codec| {
        for (@field(codecs.all, codec.name).samples) |sample| {
            const rows = std.mem.alignForward(u64, row_count_max, @max(sample.row_unit, sample.row_align));
            const columns = column_count_max + sample.column_unit;
            source_bytes = @max(source_bytes, matrix_file.sourceBytesMax(sample, rows, columns));
        }
    }
    for (&run.memories) |*memory| memory.* = try .init(source_bytes);
    run.expected = try .init(4 * 64 * (column_count_max + 256) * 4);
    run.found = try .init(4 * 64 * (column_count_max + 256) * 4);
    while (run.values < count * 32) {
        inline for (@typeInfo(codecs.all).@"struct".decls) |codec| {
            const samples = @field(codecs.all, codec.name).samples;
            const sample = samples[random.uintLessThan(usize, samples.len)];
            try run.one(@field(abi.Codec, codec.name), sample);
        }
    }
    std.debug.print("{d} blocks of {d} codecs decoded, {d} compared with the scalar code's, ", .{
        run.values / 32,
        @typeInfo(codecs.all).@"struct".decls.len,
        run.comparisons / 32,
    });
    std.debug.print("none differs\n", .{});
}

/// Values at which sums and products go wrong.
const extremes = [_]u64{
    0,                    1,                    2,       31,      32,      255,     1 << 16,
    std.math.maxInt(u32), std.math.maxInt(i32), 1 << 32, 1 << 47, 1 << 48, 1 << 53, 1 << 62,
    std.math.maxInt(i64), std.math.maxInt(u64),
};

fn fuzzPlan(random: std.Random, count: u64) !void {
    const gpa = std.heap.smp_allocator;
    var accepted: u64 = 0;
    var done: u64 = 0;
    while (done < count) {
        const steps = [_]abi.Step{
            steps_file.mxfp4(1 + random.uintLessThan(u64, 3), 5, 64, random.boolean()),
            steps_file.copy(1 + random.uintLessThan(u64, 100)),
        };
        const good = try steps_file.encode(gpa, &steps, "head");
        defer gpa.free(good);
        const bytes = try gpa.dupe(u8, good);
        defer gpa.free(bytes);
        for (0..200) |_| {
            @memcpy(bytes, good);
            for (0..1 + random.uintLessThan(usize, 3)) |_| change(random, bytes);
            const size = if (random.uintLessThan(u8, 20) == 0)
                random.uintAtMost(usize, bytes.len)
            else
                bytes.len;
            const kind = random.enumValue(abi.JobKind);
            done += 1;
            var plan = plan_file.Plan.parse(gpa, bytes[0..size], kind) catch |err| switch (err) {
                error.BadPlan => continue,
                error.OutOfMemory => return err,
            };
            defer plan.deinit(gpa);
            accepted += 1;
            try expectSound(plan, kind);
        }
    }
    std.debug.print("{d} plans, {d} of them accepted, none unsound\n", .{ done, accepted });
}

/// A byte, or a field of four or eight.
fn change(random: std.Random, bytes: []u8) void {
    const extreme = extremes[random.uintLessThan(usize, extremes.len)];
    switch (random.uintLessThan(u8, 3)) {
        0 => bytes[random.uintLessThan(usize, bytes.len)] ^= @as(u8, 1) << random.int(u3),
        1 => {
            const at = random.uintLessThan(usize, bytes.len / 4) * 4;
            std.mem.writeInt(u32, bytes[at..][0..4], @truncate(extreme), .little);
        },
        else => {
            const at = random.uintLessThan(usize, bytes.len / 8) * 8;
            std.mem.writeInt(u64, bytes[at..][0..8], extreme, .little);
        },
    }
}

/// Every tile of an accepted plan reads within its files, and writes within its target.
fn expectSound(plan: plan_file.Plan, kind: abi.JobKind) !void {
    for (plan.steps) |*step| {
        const cut = tiles.cut(step, .pread, .{ .output_bytes = 4096, .input_bytes = 1 << 16 }, 2);
        // A hostile step may have more tiles than there is time for: some of them are looked at.
        const tile_count = @min(cut.matrixTiles(), 20);
        for (0..tile_count) |i| {
            const index = if (i % 2 == 0) i else cut.matrixTiles() - 1 - i;
            const batch = if (i % 3 == 0) 0 else step.batch_count - 1;
            const tile = cut.tile(step, batch, index);
            for (step.sources[0..step.source_count]) |*source| {
                const lines = tiles.linesOf(step, source, tile);
                if (lines.begin + lines.extent() > plan.files[source.file].size) return error.Unsound;
            }
            if (kind == .load or kind == .digest) continue;
            const size = plan_file.elementSize(step.dtype);
            const runs = tile.runs(step);
            const last = runs.begin + (runs.count - 1) * runs.stride + runs.size;
            if (step.target_offset + last * size > plan.files[step.target_file].size)
                return error.Unsound;
        }
    }
}
