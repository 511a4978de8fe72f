//! Dense f32, f16 and bf16 and the nine casts between them. f32.zig, f16.zig and bf16.zig are its
//! three codecs.
//!
//!     source 0: 4 or 2 bytes for each column, little-endian
//!     parameter 0: bits of an f32 that is added to every value, in f32; 0: nothing is
const std = @import("std");
const float = @import("../core/float.zig");
const table = @import("../table.zig");
const vector = @import("../core/vector.zig");
const dots = @import("../matvec/dot.zig");
const geometry_file = @import("geometry.zig");
const Geometry = geometry_file.Geometry;
const Sample = geometry_file.Sample;
const SampleSource = geometry_file.SampleSource;
const Target = float.Target;
const Tile = table.Tile;

/// The codec of stored elements of `source`.
pub fn Codec(comptime source: Target) type {
    const Stored = source.Bits();
    return struct {
        pub fn check(geometry: Geometry) bool {
            if (geometry.sources.len != 1 or !geometry.parametersEnd(1)) return false;
            if (!float.isFinite(.f32, geometry.parameters[0])) return false;
            const elements = geometry.sources[0];
            return elements.rows_per_line == 1 and elements.unit_columns != 0 and
                elements.unit_bytes == @as(u64, elements.unit_columns) * @sizeOf(Stored);
        }

        const elements_source: SampleSource = .{ .unit_columns = 1, .unit_bytes = @sizeOf(Stored) };
        pub const samples = [_]Sample{
            .{ .name = "plain", .sources = &.{elements_source} },
            .{
                .name = "less one",
                .parameters = .{ @as(u32, @bitCast(@as(f32, -1))), 0, 0, 0, 0, 0, 0, 0 },
                .sources = &.{elements_source},
            },
        };

        /// For products.
        pub const dot_forms = [_]dots.Form{.{ .dense = source }};

        /// Tiles hold what is stored.
        pub fn dotForm(geometry: Geometry) ?u8 {
            return if (geometry.parametersEnd(0)) 0 else null;
        }

        pub fn value(tile: *const Tile, row: u64, column: u64) f32 {
            const bytes = tile.line(0, row)[column * @sizeOf(Stored) ..][0..@sizeOf(Stored)];
            const bits = std.mem.readInt(Stored, bytes, .little);
            const stored: f32 = switch (source) {
                .f32 => @bitCast(bits),
                .f16 => float.f32FromF16(bits),
                .bf16 => float.f32FromBf16(bits),
            };
            return if (addendOf(tile)) |addend| stored + addend else stored;
        }

        /// Null where nothing is added: adding zero would make -0 positive.
        inline fn addendOf(tile: *const Tile) ?f32 {
            return if (tile.parameters[0] == 0) null else @bitCast(tile.parameters[0]);
        }

        pub fn decode(comptime target: Target, tile: *const Tile) u64 {
            if (addendOf(tile) == null) return decodeRows(target, false, tile);
            return decodeRows(target, true, tile);
        }

        fn decodeRows(comptime target: Target, comptime adds: bool, tile: *const Tile) u64 {
            const elements: [*]target.Bits() = @ptrCast(@alignCast(tile.target));
            const row_bytes = tile.column_count * @sizeOf(Stored);
            const ahead = vector.prefetchDistance(row_bytes, tile.strides[0]);
            var non_finite_count: u64 = 0;
            for (0..tile.row_count) |row| {
                non_finite_count += castRow(
                    .{ .source = source, .target = target, .adds = adds },
                    @bitCast(tile.parameters[0]),
                    tile.line(0, row) + tile.column_begin * @sizeOf(Stored),
                    ahead,
                    elements + row * tile.target_stride,
                    tile.column_count,
                );
            }
            return non_finite_count;
        }
    };
}

/// Two registers of f32 at a time hide the latency of the conversions.
const lanes = 2 * vector.register_bytes / @sizeOf(f32);

const Cast = struct { source: Target, target: Target, adds: bool };

fn castRow(
    comptime how: Cast,
    addend: f32,
    from: [*]const u8,
    ahead: usize,
    to: [*]how.target.Bits(),
    count: usize,
) u64 {
    @setRuntimeSafety(false);
    const source = how.source;
    const target = how.target;
    const Stored = @Vector(lanes, source.Bits());
    const Counter = vector.NonFiniteCounter(target, lanes);
    const whole = count - count % lanes;
    var total: u64 = 0;
    var i: usize = 0;
    while (i < whole) {
        var counter: Counter = .{};
        const segment_end = @min(whole, i + lanes * @as(usize, Counter.add_count_max));
        while (i < segment_end) : (i += lanes) {
            const bytes = from + i * @sizeOf(source.Bits());
            vector.prefetch(bytes + ahead);
            const bits = cast(how, addend, vector.load(Stored, bytes));
            counter.add(bits);
            vector.store(to + i, bits);
        }
        total += counter.total();
    }
    if (i == count) return total;
    // The rest goes through a full vector: zeros follow it, which give finite results.
    var rest: [lanes]source.Bits() = @splat(0);
    const rest_bytes = std.mem.sliceAsBytes(rest[0 .. count - i]);
    for (rest_bytes, from + i * @sizeOf(source.Bits())) |*byte, stored| byte.* = stored;
    const bits: [lanes]target.Bits() = cast(how, addend, rest);
    var counter: Counter = .{};
    counter.add(bits);
    for (to[i..count], bits[0 .. count - i]) |*element, b| element.* = b;
    return total + counter.total();
}

/// Equal types meet too: there only NaN changes, to a quiet one.
inline fn cast(
    comptime how: Cast,
    addend: f32,
    bits: @Vector(lanes, how.source.Bits()),
) @Vector(lanes, how.target.Bits()) {
    const target = how.target;
    if (how.adds or how.source != target or target == .f32) {
        const values = vector.widen(how.source, bits);
        const addends: @Vector(lanes, f32) = @splat(addend);
        return vector.round(target, if (how.adds) values + addends else values);
    }
    const infinity: @Vector(lanes, u16) = @splat(target.exponentMask());
    const quiet_bit = infinity >> @splat(1) & ~infinity;
    const magnitude = bits & @as(@Vector(lanes, u16), @splat(0x7fff));
    return @select(u16, magnitude > infinity, bits | quiet_bit, bits);
}
