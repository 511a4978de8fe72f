//! `zig build bench-matvec [-- ROWS [COLUMNS]]`: what each technique of the products is worth on
//! this machine. Every way to multiply one MXFP4 matrix by one vector is timed on one core, all in
//! turns, and medians are compared with and without each technique; then what the workers of a
//! product cost and gain. Without ROWS: a matrix far larger than caches, and one that fits them.
const std = @import("std");
const data_file = @import("testing/matvec_data.zig");
const dots = @import("matvec/dot.zig");
const rounds_file = @import("testing/matvec_rounds.zig");
const ways_file = @import("testing/matvec_ways.zig");
const Data = ways_file.Data;

const rounds = 9;

const Way = enum {
    expand_by_element,
    expand_fast,
    dense,
    dense_by_row,
    branches,
    scalar,
    scalar_optimized,
    scalar_checked,
    runtime_places,
    comptime_mask,
    vector,
    float_strict,
    float,
    int8,
    prefetch_1k,
    prefetch,
    prefetch_4k,
    streams,
    streams_small_pages,
    batch,
    read,
    read_interleaved,
};

const About = struct { name: []const u8, run: ways_file.Run, products: u64 = 1 };

const tiled = ways_file.tiled;
const abouts: std.EnumArray(Way, About) = .init(.{
    .expand_by_element = .{
        .name = "to f32 in memory element by element, then multiplied",
        .run = &ways_file.expandByElement,
    },
    .expand_fast = .{
        .name = "to f32 in memory with vectors, then multiplied",
        .run = &ways_file.expandFast,
    },
    .dense = .{
        .name = "f32 weight that is there already, 4 rows at once",
        .run = ways_file.dense(4),
    },
    .dense_by_row = .{
        .name = "f32 weight that is there already, row by row",
        .run = ways_file.dense(1),
    },
    .branches = .{
        .name = "fused, a branch for each nibble",
        .run = &ways_file.fusedWithBranches,
    },
    .scalar = .{
        .name = "fused, scalar code, table in memory",
        .run = ways_file.fusedScalar(.strict, false),
    },
    .scalar_optimized = .{
        .name = "the same, float mode optimized",
        .run = ways_file.fusedScalar(.optimized, false),
    },
    .scalar_checked = .{
        .name = "the same, with safety checks",
        .run = ways_file.fusedScalar(.strict, true),
    },
    .runtime_places = .{
        .name = "vectors, weights to places named in memory",
        .run = ways_file.fusedVector(.runtime_places),
    },
    .comptime_mask = .{
        .name = "vectors, weights interleaved by a mask",
        .run = ways_file.fusedVector(.comptime_mask),
    },
    .vector = .{
        .name = "vectors, activations permuted once",
        .run = ways_file.fusedVector(.permuted_once),
    },
    .float_strict = .{
        .name = "tiles, float, strict",
        .run = tiled(.float, .{ .options = .{ .prefetch = 0, .float_mode = .strict } }),
    },
    .float = .{
        .name = "tiles, float",
        .run = tiled(.float, .{ .options = .{ .prefetch = 0 } }),
    },
    .int8 = .{
        .name = "tiles, int8",
        .run = tiled(.int8, .{ .options = .{ .prefetch = 0 } }),
    },
    .prefetch_1k = .{
        .name = "tiles, int8, prefetch 1 KiB",
        .run = tiled(.int8, .{ .options = .{ .prefetch = 1024 } }),
    },
    .prefetch = .{ .name = "tiles, int8, prefetch 2 KiB", .run = tiled(.int8, .{}) },
    .prefetch_4k = .{
        .name = "tiles, int8, prefetch 4 KiB",
        .run = tiled(.int8, .{ .options = .{ .prefetch = 4096 } }),
    },
    .streams = .{
        .name = "the same with 2 KiB, two runs of tiles",
        .run = tiled(.int8, .{ .is_streaming = true }),
    },
    .streams_small_pages = .{
        .name = "the same in pages of 4 KiB",
        .run = tiled(.int8, .{ .is_streaming = true, .in_small_pages = true }),
    },
    .batch = .{
        .name = "four columns in one pass",
        .run = tiled(.int8, .{ .batch = 4 }),
        .products = 4,
    },
    .read = .{ .name = "reading the tiles alone", .run = &ways_file.readTiles },
    .read_interleaved = .{
        .name = "reading the tiles alone in four runs",
        .run = &ways_file.readTilesInterleaved,
    },
});

/// What is worth what: a way that has the technique, and the same without it.
const Technique = struct { name: []const u8, where: []const u8, with: Way, without: Way };
const techniques = [_]Technique{
    .{
        .name = "kernel fusion",
        .where = "matvec/float.zig",
        .with = .float,
        .without = .expand_fast,
    },
    .{
        .name = "kernel fusion, all of it",
        .where = "matvec/int8.zig",
        .with = .streams,
        .without = .expand_fast,
    },
    .{
        .name = "branchless nibble unpack",
        .where = "core/integer.zig: split",
        .with = .scalar,
        .without = .branches,
    },
    .{
        .name = "float mode optimized, scalar",
        .where = "-",
        .with = .scalar_optimized,
        .without = .scalar,
    },
    .{
        .name = "float mode optimized",
        .where = "matvec/float.zig: blockSums",
        .with = .float,
        .without = .float_strict,
    },
    .{
        .name = "no safety checks",
        .where = "each hot function",
        .with = .scalar,
        .without = .scalar_checked,
    },
    .{
        .name = "lookup by shuffle",
        .where = "core/integer.zig: lookup",
        .with = .vector,
        .without = .scalar,
    },
    .{
        .name = "interleave mask at comptime",
        .where = "core/vector.zig: unpackOrder",
        .with = .comptime_mask,
        .without = .runtime_places,
    },
    .{
        .name = "activations permuted, not weights",
        .where = "matvec/quantize.zig: permute",
        .with = .vector,
        .without = .comptime_mask,
    },
    .{
        .name = "row blocking, 16 rows",
        .where = "matvec/dot.zig: tile_rows",
        .with = .float,
        .without = .vector,
    },
    .{
        .name = "row blocking, 4 dense rows",
        .where = "-",
        .with = .dense,
        .without = .dense_by_row,
    },
    .{ .name = "int8 activations", .where = "matvec/int8.zig", .with = .int8, .without = .float },
    .{
        .name = "prefetch 2 KiB",
        .where = "matvec/int8.zig: prefetch",
        .with = .prefetch,
        .without = .int8,
    },
    .{
        .name = "2 KiB rather than 1",
        .where = "prefetch_distance",
        .with = .prefetch,
        .without = .prefetch_1k,
    },
    .{
        .name = "2 KiB rather than 4",
        .where = "prefetch_distance",
        .with = .prefetch,
        .without = .prefetch_4k,
    },
    .{
        .name = "two streams",
        .where = "matvec/product.zig: multiplyTiles",
        .with = .streams,
        .without = .prefetch,
    },
    .{
        .name = "huge pages",
        .where = "machine/memory.zig: allocate",
        .with = .streams,
        .without = .streams_small_pages,
    },
    .{
        .name = "four columns in one pass",
        .where = "matvec/product.zig",
        .with = .batch,
        .without = .prefetch,
    },
    .{ .name = "products, beside reading alone", .where = "-", .with = .streams, .without = .read },
};

const Medians = std.EnumArray(Way, f64);

/// Nanoseconds of one product in each way.
fn timeWays(data: *const Data) !Medians {
    var times: std.EnumArray(Way, [rounds]u64) = .initUndefined();
    // Short runs are repeated, so that the clock's own cost is lost in them.
    const inner = @max(1, 2_000_000 / data.bytes());
    for (0..rounds) |round| for (std.enums.values(Way)) |way| {
        const run = abouts.get(way).run;
        var timer = try std.time.Timer.start();
        for (0..inner) |_| run(data);
        times.getPtr(way)[round] = timer.read() / inner;
        std.mem.doNotOptimizeAway(data.y.ptr);
    };
    var medians: Medians = .initUndefined();
    for (std.enums.values(Way)) |way| {
        const found = times.getPtr(way);
        std.mem.sort(u64, found, {}, std.sort.asc(u64));
        const products: f64 = @floatFromInt(abouts.get(way).products);
        medians.set(way, @as(f64, @floatFromInt(found[rounds / 2])) / products);
    }
    return medians;
}

fn measure(gpa: std.mem.Allocator, out: *std.Io.Writer, rows: usize, columns: usize) !void {
    const data = try data_file.make(gpa, rows, columns);
    const bytes: f64 = @floatFromInt(data.bytes());
    const medians = try timeWays(&data);
    try out.print("{d} x {d}, {d:.1} MB of codes and scales, one core\n", .{
        rows, columns, bytes / 1e6,
    });
    try out.print("{s:<54} {s:>10} {s:>8}\n", .{ "", "time", "GB/s" });
    for (std.enums.values(Way)) |way| try out.print("{s:<54} {d:>8.0}us {d:>8.2}\n", .{
        abouts.get(way).name, medians.get(way) / 1e3, bytes / medians.get(way),
    });
    try out.print("\n{s:<36} {s:>10} {s:>10} {s:>8}  {s}\n", .{
        "technique", "without", "with", "gain", "where",
    });
    for (techniques) |technique| {
        const with = medians.get(technique.with);
        const without = medians.get(technique.without);
        try out.print("{s:<36} {d:>8.0}us {d:>8.0}us {d:>7.2}x  {s}\n", .{
            technique.name, without / 1e3, with / 1e3, without / with, technique.where,
        });
    }
    try out.flush();
    try rounds_file.measure(gpa, out, &data);
    try out.print("\n", .{});
    try out.flush();
}

pub fn main() !void {
    var arena: std.heap.ArenaAllocator = .init(std.heap.page_allocator);
    defer arena.deinit();
    var buffer: [4096]u8 = undefined;
    var stdout = std.fs.File.stdout().writerStreaming(&buffer);
    const arguments = try std.process.argsAlloc(arena.allocator());
    if (arguments.len > 1) {
        const rows = try std.fmt.parseInt(usize, arguments[1], 10);
        const columns = if (arguments.len > 2)
            try std.fmt.parseInt(usize, arguments[2], 10)
        else
            2880;
        return measure(
            arena.allocator(),
            &stdout.interface,
            std.mem.alignForward(usize, rows, dots.tile_rows),
            std.mem.alignForward(usize, columns, ways_file.block_columns),
        );
    }
    for ([_]usize{ 65536, 3072 }) |rows| {
        try measure(arena.allocator(), &stdout.interface, rows, 2880);
        _ = arena.reset(.free_all);
    }
}
