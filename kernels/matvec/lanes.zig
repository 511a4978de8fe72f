//! Tiles (dot.zig) of weights that are stored [in, out]: a stored column is a lane, so that a stored
//! row gives one code to each lane. A codec with a Dot packs some columns of stored rows at a time:
//!
//!     /// Adds the stored rows of `source` to a tile that was zero at first. Returns how many scales
//!     /// are not finite.
//!     pub fn packColumns(comptime dot: Dot, source: *const Tile, columns: Columns, tile: [*]align(64) u8) u64
//!
//!     /// Optional: the group of each stored row; false where these follow each other.
//!     pub fn rowGroups(source: *const Tile, groups: []u32) bool
const assert = @import("std").debug.assert;
const dots = @import("dot.zig");
const Dot = dots.Dot;

/// Lanes that are filled together: half of a tile.
pub const count = dots.tile_rows / 2;
pub const Words = @Vector(count, u32);

/// Stored columns that become lanes.
pub const Columns = extern struct {
    begin: u64,
    /// At most `count`; the lanes that are left stay zero.
    count: u64,
    /// Lane of the first one: 0, or half of a tile's.
    lane: u64,
    /// Where each stored row stands in the order of the tiles; null: where it is stored.
    positions: ?[*]const u32,
};

/// Writes into half of the lanes.
pub fn Writer(comptime dot: Dot) type {
    const layout = dots.Layout(dot);
    comptime assert(dot.scale == .f32 and dot.has_minimum and !dot.has_row_factor);
    return struct {
        tile: [*]align(64) u8,
        lane: u64,

        const Self = @This();
        /// Positions whose codes share a word of a lane, and bits of a code in it.
        const word_positions = 32 / code_bits;
        const code_bits = if (layout.has_nibbles) 4 else 8;

        comptime {
            // So the codes of a word stand in the order of the columns.
            const order = if (layout.has_nibbles) dots.neighbour_order else dots.column_order;
            assert(@import("std").mem.eql(u8, &order, &dot.order));
        }

        /// The codes of a position, which were zero.
        pub inline fn addCodes(writer: Self, position: u64, codes: Words) void {
            const span = position / dots.span_columns;
            const in_span = position % dots.span_columns;
            const place = writer.segment(span / layout.segment_spans) + layout.head_bytes +
                span % layout.segment_spans * layout.span_bytes +
                in_span / word_positions * dots.word_bytes;
            const words: *Words = @ptrCast(@alignCast(place + writer.lane * 4));
            const bits: u5 = @intCast(in_span % word_positions * code_bits);
            words.* |= codes << @as(@Vector(count, u5), @splat(bits));
        }

        pub inline fn setScales(writer: Self, block: u64, scales: [count]f32) void {
            writer.setWords(layout.scales_at, block, scales);
        }

        pub inline fn setMinima(writer: Self, block: u64, minima: [count]f32) void {
            writer.setWords(layout.minima_at, block, minima);
        }

        inline fn setWords(writer: Self, offset: u64, block: u64, values: [count]f32) void {
            const blocks_per_segment = layout.segment_columns / dot.block_columns;
            const place = writer.segment(block / blocks_per_segment) + offset +
                block % blocks_per_segment * dots.word_bytes + writer.lane * 4;
            place[0 .. count * 4].* = @bitCast(values);
        }

        inline fn segment(writer: Self, index: u64) [*]u8 {
            return writer.tile + index * layout.segment_bytes;
        }
    };
}
