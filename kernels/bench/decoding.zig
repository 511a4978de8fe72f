//! Matrices of made-up values of one codec, decoded from memory to memory tile by tile as
//! conversions decode files: into a scratch that stays in the caches, and from there to the target
//! with stores that go around them. What benchmarks of decoding time.
const std = @import("std");
const abi = @import("../abi.zig");
const codecs = @import("../codecs.zig");
const memory = @import("../machine/memory.zig");
const table = @import("../table.zig");
const decode_file = @import("../convert/decode.zig");
const plan_file = @import("../convert/plan.zig");
const setup = @import("../convert/setup.zig");
const tiles = @import("../convert/tiles.zig");

/// A weight of gpt-oss, as far as the codec's blocks and the memory allow.
const rows_wanted = 5760;
const columns_wanted = 2880;

/// Bytes that are made up of a source; they are repeated. Whole words.
const pattern_bytes = 1 << 20;

/// Those of conversions.
const limits: tiles.Limits = .{ .output_bytes = setup.output_bytes_wanted, .input_bytes = 0 };

/// Memory of one worker: stored bytes, dense ones, and a tile.
pub const Place = struct {
    source: []const u8,
    target: []u8,
    scratch: []u8,
};

pub const Decoding = struct {
    gpa: std.mem.Allocator,
    request: abi.StreamDecode,
    /// One matrix; its sources count from the start of its stored bytes.
    step: abi.Step,
    cut: tiles.Cut,
    /// Stored bytes of a matrix, with what aligns them.
    stored_bytes: u64,
    /// Matrices of each worker.
    matrix_count: u64,
    patterns: [abi.source_count_max][]const u8,

    /// For workers that have `size` bytes each of stored and of dense memory. `BadArgument`: not
    /// one row fits, or there is no such matrix.
    pub fn init(
        gpa: std.mem.Allocator,
        request: *const abi.StreamDecode,
        size: u64,
    ) error{ BadArgument, OutOfMemory }!Decoding {
        const sample = sampleOf(request.codec) orelse return error.BadArgument;
        if (request.dtype == .bytes or request.transposed > 1) return error.BadArgument;
        const whole_units = columns_wanted - columns_wanted % sample.column_unit;
        const columns = @max(sample.column_unit, whole_units);
        var rows: u64 = rows_wanted - rows_wanted % sample.row_unit;
        var step = stepOf(sample, request, rows, columns);
        while (storedBytes(&step) > size or step.target_size > size) {
            rows = rows / 2 - rows / 2 % sample.row_unit;
            if (rows == 0) return error.BadArgument;
            step = stepOf(sample, request, rows, columns);
        }
        if (!codecs.check(step.codec, codecs.geometryOf(&step))) return error.BadArgument;
        const stored_bytes = storedBytes(&step);
        var decoding: Decoding = .{
            .gpa = gpa,
            .request = request.*,
            .step = step,
            .cut = tiles.cut(&step, .mmap, limits, 1),
            .stored_bytes = stored_bytes,
            .matrix_count = size / @max(stored_bytes, step.target_size),
            .patterns = @splat(&.{}),
        };
        errdefer decoding.deinit();
        try decoding.makePatterns(sample);
        return decoding;
    }

    pub fn deinit(decoding: *Decoding) void {
        for (decoding.patterns) |pattern| decoding.gpa.free(pattern);
        decoding.* = undefined;
    }

    /// What a worker needs for its tile.
    pub fn scratchBytes(decoding: *const Decoding) u64 {
        const cut = decoding.cut;
        return memory.charged(cut.output_bytes) + memory.charged(cut.scratch_bytes);
    }

    fn makePatterns(decoding: *Decoding, sample: codecs.Sample) error{OutOfMemory}!void {
        var prng: std.Random.DefaultPrng = .init(1);
        const patterns = decoding.patterns[0..sample.sources.len];
        for (sample.sources, decoding.sources(), patterns) |shape, source, *pattern| {
            const bytes = try decoding.gpa.alloc(u8, @intCast(@min(source.size, pattern_bytes)));
            shape.fill(bytes, prng.random());
            pattern.* = bytes;
        }
    }

    /// Makes up the stored bytes of one worker.
    pub fn fill(decoding: *const Decoding, stored: []u8) void {
        for (0..decoding.matrix_count) |number| {
            const matrix = stored[@intCast(number * decoding.stored_bytes)..];
            const patterns = decoding.patterns[0..decoding.step.source_count];
            for (decoding.sources(), patterns) |source, pattern| {
                var rest = matrix[@intCast(source.offset)..][0..@intCast(source.size)];
                while (rest.len > 0) {
                    const size = @min(rest.len, pattern.len);
                    @memcpy(rest[0..size], pattern[0..size]);
                    rest = rest[size..];
                }
            }
        }
    }

    /// Decodes the matrices of one worker, at the level of `functions`.
    pub fn run(decoding: *const Decoding, functions: *const table.Table, place: Place) void {
        const output = place.scratch[0..@intCast(decoding.cut.output_bytes)];
        const scratch = place.scratch[@intCast(memory.charged(output.len))..];
        const step = &decoding.step;
        for (0..decoding.matrix_count) |number| {
            const base = @intFromPtr(place.source.ptr) + number * decoding.stored_bytes;
            var views: decode_file.Views = undefined;
            for (decoding.sources(), views[0..step.source_count]) |source, *view| view.* = .{
                .base = base + source.offset,
                .stride = source.line_bytes,
                .first_line = 0,
            };
            const target = place.target[@intCast(number * step.target_size)..];
            for (0..decoding.cut.matrixTiles()) |index| {
                const tile = decoding.cut.tile(step, 0, index);
                _ = decode_file.decode(functions, step, &views, tile, .{
                    .output = output,
                    .scratch = scratch,
                    .scratch_rows = decoding.cut.scratch_rows,
                    .scratch_columns = decoding.cut.scratch_columns,
                });
                deliver(functions, step, tile, output, target);
            }
        }
    }

    fn sources(decoding: *const Decoding) []const abi.Source {
        return decoding.step.sources[0..decoding.step.source_count];
    }

    /// One pass of `worker_count` workers.
    pub fn passOf(decoding: *const Decoding, worker_count: u64, elapsed_ns: u64) abi.StreamPass {
        var read_bytes: u64 = 0;
        for (decoding.sources()) |source| read_bytes += source.size;
        const count = worker_count * decoding.matrix_count;
        return .{
            .elapsed_ns = elapsed_ns,
            .bytes_read = count * read_bytes,
            .bytes_written = count * decoding.step.target_size,
            .element_count = count * decoding.step.rows * decoding.step.columns,
        };
    }
};

fn deliver(
    functions: *const table.Table,
    step: *const abi.Step,
    tile: tiles.Tile,
    output: []const u8,
    target: []u8,
) void {
    const copy = functions.stream[@intFromEnum(abi.Stream.copy_streaming)];
    const size = plan_file.elementSize(step.dtype);
    const runs = tile.runs(step);
    const run_bytes: usize = @intCast(runs.size * size);
    for (0..runs.count) |i| {
        const place: usize = @intCast((runs.begin + i * runs.stride) * size);
        copy(output[i * run_bytes ..].ptr, target[place..].ptr, run_bytes);
    }
}

/// The kind of matrix that models have.
fn sampleOf(codec: abi.Codec) ?codecs.Sample {
    return switch (codec) {
        .copy => null,
        inline else => |tag| @field(codecs.all, @tagName(tag)).samples[0],
    };
}

fn stepOf(
    sample: codecs.Sample,
    request: *const abi.StreamDecode,
    rows: u64,
    columns: u64,
) abi.Step {
    var step: abi.Step = .{
        .codec = request.codec,
        .dtype = request.dtype,
        .transposed = request.transposed,
        .source_count = @intCast(sample.sources.len),
        .batch_count = 1,
        .rows = rows,
        .columns = columns,
        .row_align = sample.row_align,
        .column_align = sample.column_align,
        .target_file = abi.none,
        .part_count = 1,
        .swap_middle = 1,
        .swap_inner = 1,
        .target_offset = 0,
        .target_size = rows * columns * plan_file.elementSize(request.dtype),
        .parameters = sample.parameters,
        .sources = undefined,
    };
    var offset: u64 = 0;
    for (sample.sources, step.sources[0..sample.sources.len]) |shape, *source| {
        source.* = shape.of(rows, columns);
        source.offset = offset;
        offset += std.mem.alignForward(u64, source.size, std.atomic.cache_line);
    }
    return step;
}

fn storedBytes(step: *const abi.Step) u64 {
    const last = step.sources[step.source_count - 1];
    return last.offset + std.mem.alignForward(u64, last.size, std.atomic.cache_line);
}

const testing = std.testing;

test "a pass of every codec decodes just what it says, as the scalar code does" {
    const scalar = @import("../dispatch.zig").scalar;
    const size = 256 << 10;
    const stored = try testing.allocator.alignedAlloc(u8, .@"64", size);
    defer testing.allocator.free(stored);
    const found = try testing.allocator.alignedAlloc(u8, .@"64", size);
    defer testing.allocator.free(found);
    for (std.enums.values(abi.Codec)) |codec| {
        if (codec == .copy) continue;
        for ([_]u32{ 0, 1 }) |transposed| {
            errdefer std.debug.print("{s}, transposed {d}\n", .{ @tagName(codec), transposed });
            var decoding: Decoding = try .init(testing.allocator, &.{
                .codec = codec,
                .dtype = .bf16,
                .transposed = transposed,
                .size = 0,
            }, size);
            defer decoding.deinit();
            const scratch_bytes: usize = @intCast(decoding.scratchBytes());
            const scratch = try testing.allocator.alignedAlloc(u8, .@"64", scratch_bytes);
            defer testing.allocator.free(scratch);
            decoding.fill(stored);
            const place: Place = .{ .source = stored, .target = found, .scratch = scratch };
            @memset(found, 0xa5);
            decoding.run(scalar, place);
            const pass = decoding.passOf(1, 1);
            try testing.expectEqual(pass.element_count * 2, pass.bytes_written);
            try testing.expect(pass.bytes_read > 0 and pass.bytes_read <= size);
            const tail = found[@intCast(pass.bytes_written)..];
            try testing.expect(std.mem.allEqual(u8, tail, 0xa5));
            // What was there before shows where nothing was written.
            const before = try testing.allocator.dupe(u8, found[0..@intCast(pass.bytes_written)]);
            defer testing.allocator.free(before);
            @memset(found, 0x5a);
            decoding.run(scalar, place);
            try testing.expectEqualSlices(u8, before, found[0..before.len]);
        }
    }
}

test "what cannot be decoded, and memory that has no room for a row" {
    const request: abi.StreamDecode = .{
        .codec = .mxfp4,
        .dtype = .bf16,
        .transposed = 0,
        .size = 0,
    };
    try testing.expectError(error.BadArgument, Decoding.init(testing.allocator, &request, 5000));
    for ([_]abi.StreamDecode{
        .{ .codec = .copy, .dtype = .bf16, .transposed = 0, .size = 0 },
        .{ .codec = .mxfp4, .dtype = .bytes, .transposed = 0, .size = 0 },
        .{ .codec = .mxfp4, .dtype = .bf16, .transposed = 2, .size = 0 },
    }) |wrong| {
        const refused = Decoding.init(testing.allocator, &wrong, 1 << 20);
        try testing.expectError(error.BadArgument, refused);
    }
}
