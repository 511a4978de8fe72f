//! `zig build bench-decode [-- --codec NAME --level NAME --time-ms N]`: speed of every codec ×
//! target × level on one core, beside what this machine's memory does in the same run.
//!
//! Each cell is G values/s and, in brackets, GB/s of codes read plus elements written. `hot`:
//! source and target stay in cache. `streamed`: the source comes from memory, the target is a
//! scratch that stays in L2, as a conversion works. `memory`: the target goes to memory too.
//! Transposed cells decode strips of a tile into L1 and transpose from there.
const std = @import("std");
const dispatch = @import("dispatch");
const abi = dispatch.abi;
const codecs = dispatch.codecs;
const Tile = dispatch.table.Tile;
const Table = dispatch.table.Table;

/// Elements of a row in the tiles: near the 2880 of gpt-oss, and whole blocks of every format.
const columns: usize = 2816;
const scratch_bytes = 512 << 10;
const memory_bytes = 192 << 20;
/// A transposed tile is this many columns wide, and decoded so many rows at a time. The stride of a
/// strip is not a power of two, which would put all its rows into few sets of the cache.
const tile_columns: usize = 256;
const strip_rows = 32;
const strip_stride = tile_columns + 32;

fn lineBytes(source: codecs.SampleSource) usize {
    if (source.unit_columns == 0)
        return source.bytes + source.bytes_per_column * columns;
    return (columns + source.unit_columns - 1) / source.unit_columns * source.unit_bytes;
}

/// Lines that serve rows 0 … row - 1; a source that belongs to every row has one.
fn lineCount(source: codecs.SampleSource, rows: usize) usize {
    if (source.rows_per_line == 0) return 1;
    return (rows + source.rows_per_line - 1) / source.rows_per_line;
}

const Options = struct { codec: []const u8 = "", level: []const u8 = "", time_ms: u32 = 40 };

const Buffers = struct { source: []u8, target: []u8, scratch: []u8, strip: []u8 };

const Case = struct {
    table: *const Table,
    codec: usize,
    target: codecs.Target,
    sample: codecs.Sample,
    buffers: Buffers,

    fn elementBytes(case: Case) usize {
        return if (case.target == .f32) 4 else 2;
    }

    /// Rounded up; a source that belongs to every row counts as a line.
    fn sourceBytesPerRow(case: Case) usize {
        var bytes: usize = 0;
        for (case.sample.sources) |source| {
            const per = @max(1, source.rows_per_line);
            bytes += (lineBytes(source) + per - 1) / per;
        }
        return bytes;
    }

    /// Rows whose sources fit the buffer, with room for the last line of each.
    fn sourceRows(case: Case) usize {
        var rest = case.buffers.source.len;
        for (case.sample.sources) |source| rest -= lineBytes(source);
        return rest / case.sourceBytesPerRow();
    }

    /// Decodes rows row … row + count - 1 to `target`; sources lie one after the other in the
    /// source buffer.
    fn tile(case: Case, row: usize, row_count: usize, row_capacity: usize, target: []u8) Tile {
        var result: Tile = std.mem.zeroInit(Tile, .{
            .parameters = case.sample.parameters,
            .sources = @as([abi.source_count_max][*]const u8, @splat(case.buffers.source.ptr)),
            .row_begin = row,
            .row_count = row_count,
            .column_count = columns,
            .columns = columns,
            .target = target.ptr,
            .target_stride = columns,
        });
        var base: usize = 0;
        for (case.sample.sources, 0..) |source, i| {
            const line_bytes = lineBytes(source);
            const line = if (source.rows_per_line == 0) 0 else row / source.rows_per_line;
            const offset = base + line * line_bytes;
            result.rows_per_line[i] = source.rows_per_line;
            result.strides[i] = line_bytes;
            result.sources[i] = case.buffers.source.ptr + offset;
            base += line_bytes * lineCount(source, row_capacity);
        }
        return result;
    }

    fn decode(case: Case, t: *const Tile) void {
        std.mem.doNotOptimizeAway(case.table.decode[case.codec][@intFromEnum(case.target)](t));
    }

    /// One row-major tile, as large as the scratch.
    fn decodeTile(case: Case, row: usize, row_capacity: usize, target: []u8) void {
        case.decode(&case.tile(row, case.tileRows(.rows), row_capacity, target));
    }

    /// One transposed tile: strips of it are decoded into an L1-sized scratch and transposed from
    /// there.
    fn transposeTile(case: Case, row: usize, column: usize, row_capacity: usize) void {
        const row_count = case.tileRows(.transposed);
        const table = case.table;
        const transpose = if (case.target == .f32) table.transpose32 else table.transpose16;
        var strip: usize = 0;
        while (strip < row_count) : (strip += strip_rows) {
            var t = case.tile(row + strip, strip_rows, row_capacity, case.buffers.strip);
            t.column_begin = column;
            t.column_count = tile_columns;
            t.target_stride = strip_stride;
            case.decode(&t);
            const target = case.buffers.scratch.ptr + strip * case.elementBytes();
            transpose(t.target, strip_stride, target, row_count, strip_rows, tile_columns);
        }
    }

    fn tileRows(case: Case, order: Order) usize {
        return switch (order) {
            .rows => scratch_bytes / (columns * case.elementBytes()),
            .transposed => scratch_bytes / (2 * tile_columns * case.elementBytes()) - strip_rows,
        };
    }
};

const Place = enum { hot, streamed, memory };
const Order = enum { rows, transposed };

/// Seconds for one value, best of the passes that fit the time.
fn measure(case: Case, place: Place, order: Order, time_ms: u32) f64 {
    const tile_rows = case.tileRows(order);
    const row_capacity = switch (place) {
        .hot => tile_rows,
        .streamed => case.sourceRows(),
        .memory => @min(
            case.sourceRows(),
            case.buffers.target.len / (columns * case.elementBytes()),
        ),
    };
    const column_end: usize = if (order == .transposed and place == .hot) tile_columns else columns;
    var best: f64 = std.math.inf(f64);
    var timer = std.time.Timer.start() catch @panic("no clock");
    const limit_ns = @as(u64, time_ms) * std.time.ns_per_ms;
    while (timer.read() < limit_ns) {
        var row: usize = 0;
        const start = timer.read();
        while (row + tile_rows <= row_capacity) : (row += tile_rows) switch (order) {
            .rows => {
                const offset = row * columns * case.elementBytes();
                const memory = case.buffers.target[offset..];
                const target = if (place == .memory) memory else case.buffers.scratch;
                case.decodeTile(row, row_capacity, target);
            },
            .transposed => {
                var column: usize = 0;
                while (column + tile_columns <= column_end) : (column += tile_columns) {
                    case.transposeTile(row, column, row_capacity);
                }
            },
        };
        const seconds = @as(f64, @floatFromInt(timer.read() - start)) / std.time.ns_per_s;
        const whole_tiles = column_end / tile_columns * tile_columns;
        const value_count = row * (if (order == .rows) columns else whole_tiles);
        best = @min(best, seconds / @as(f64, @floatFromInt(value_count)));
    }
    return best;
}

fn printCase(out: *std.Io.Writer, case: Case, time_ms: u32) !void {
    const cells = [_]struct { Place, Order }{
        .{ .hot, .rows },       .{ .streamed, .rows },       .{ .memory, .rows },
        .{ .hot, .transposed }, .{ .streamed, .transposed },
    };
    const read_bytes = @as(f64, @floatFromInt(case.sourceBytesPerRow())) / columns;
    const bytes = read_bytes + @as(f64, @floatFromInt(case.elementBytes()));
    for (cells) |cell| {
        const seconds = measure(case, cell[0], cell[1], time_ms);
        try out.print(" {d:>8.2} ({d:>5.1})", .{ 1e-9 / seconds, 1e-9 * bytes / seconds });
    }
    try out.writeAll("\n");
    try out.flush();
}

/// The machine's own figures, with the C library's copy and a plain vector sum.
fn printLimits(out: *std.Io.Writer, buffers: Buffers) !void {
    const half = scratch_bytes / 2;
    for ([_]struct { []const u8, usize, usize }{
        .{ "memcpy in L2", half, 2000 },
        .{ "memcpy in memory", memory_bytes, 4 },
    }) |row| {
        const name, const size, const repeat_count = row;
        const seconds = try bestSeconds(repeat_count, copyOnce, .{
            buffers.target[0..size],
            buffers.source[0..size],
        });
        const speed = gigabytes(2 * size, seconds);
        try out.print("{s:<20} {d:>6.1} GB/s (read + write)\n", .{ name, speed });
    }
    const seconds = try bestSeconds(4, readOnce, .{buffers.source});
    const speed = gigabytes(buffers.source.len, seconds);
    try out.print("{s:<20} {d:>6.1} GB/s\n\n", .{ "read from memory", speed });
}

fn bestSeconds(count: usize, comptime function: anytype, arguments: anytype) !f64 {
    var least: u64 = std.math.maxInt(u64);
    for (0..count) |_| {
        var timer = try std.time.Timer.start();
        @call(.never_inline, function, arguments);
        least = @min(least, timer.read());
    }
    return @as(f64, @floatFromInt(least)) / std.time.ns_per_s;
}

fn copyOnce(target: []u8, source: []const u8) void {
    @memcpy(target, source);
    std.mem.doNotOptimizeAway(target.ptr);
}

fn readOnce(source: []const u8) void {
    var sums: [4]@Vector(8, u64) = @splat(@splat(0));
    var i: usize = 0;
    while (i + 256 <= source.len) : (i += 256) {
        inline for (&sums, 0..) |*sum, k| sum.* +%= @bitCast(source[i + k * 64 ..][0..64].*);
    }
    std.mem.doNotOptimizeAway(sums);
}

fn gigabytes(bytes: usize, seconds: f64) f64 {
    return @as(f64, @floatFromInt(bytes)) / seconds * 1e-9;
}

fn allocate(bytes: usize) ![]u8 {
    const memory = try std.posix.mmap(
        null,
        bytes,
        std.posix.PROT.READ | std.posix.PROT.WRITE,
        .{ .TYPE = .PRIVATE, .ANONYMOUS = true },
        -1,
        0,
    );
    try std.posix.madvise(memory.ptr, bytes, std.posix.MADV.HUGEPAGE);
    return memory;
}

fn parse() !Options {
    var options: Options = .{};
    var arguments = std.process.args();
    _ = arguments.skip();
    while (arguments.next()) |argument| {
        const text = arguments.next() orelse return error.ValueMissing;
        if (std.mem.eql(u8, argument, "--codec")) {
            options.codec = text;
        } else if (std.mem.eql(u8, argument, "--level")) {
            options.level = text;
        } else if (std.mem.eql(u8, argument, "--time-ms")) {
            options.time_ms = try std.fmt.parseInt(u32, text, 10);
        } else return error.UnknownOption;
    }
    return options;
}

pub fn main() !void {
    const options = try parse();
    const buffers: Buffers = .{
        .source = try allocate(memory_bytes),
        .target = try allocate(memory_bytes),
        .scratch = try allocate(scratch_bytes),
        .strip = try allocate(strip_rows * strip_stride * 4),
    };
    // Read as a small float or as the top byte of a larger one, the values are near one.
    var prng: std.Random.DefaultPrng = .init(1);
    prng.random().bytes(buffers.source);
    for (buffers.source) |*byte| byte.* = 0x30 | byte.* & 0x0f;
    @memset(buffers.target, 0);

    var buffer: [4096]u8 = undefined;
    var writer = std.fs.File.stdout().writer(&buffer);
    const out = &writer.interface;
    try printLimits(out, buffers);
    try out.print("{s:<32}{s:>17}{s:>17}{s:>17}{s:>17}{s:>17}\n", .{
        "G values/s (GB/s)", "hot", "streamed", "memory", "transposed hot", "and streamed",
    });
    inline for (@typeInfo(codecs.all).@"struct".decls) |codec| {
        for (std.enums.values(codecs.Target)) |target| {
            for (0..dispatch.count) |i| {
                const level: u32 = @intCast(i);
                const name = dispatch.nameOf(level);
                if (dispatch.mask() >> @intCast(level) & 1 == 0) continue;
                if (options.level.len > 0 and !std.mem.eql(u8, options.level, name)) continue;
                if (options.codec.len > 0 and !std.mem.eql(u8, options.codec, codec.name)) continue;
                try out.print("{s:<12} {s:<4} {s:<13} ", .{ codec.name, @tagName(target), name });
                try printCase(out, .{
                    .table = dispatch.tableOf(level),
                    .codec = @intFromEnum(@field(abi.Codec, codec.name)),
                    .target = target,
                    .sample = @field(codecs.all, codec.name).samples[0],
                    .buffers = buffers,
                }, options.time_ms);
            }
        }
    }
}
