//! Products of the weights of integers.zig; integer_forms.zig says how they stand in tiles.
const dots = @import("../matvec/dot.zig");
const integer_forms = @import("integer_forms.zig");
const integers = @import("integers.zig");
const table = @import("../table.zig");
const Geometry = @import("geometry.zig").Geometry;
const Rounding = @import("scaled_row.zig").Rounding;
const Tile = table.Tile;

/// The declarations for products of `codec`, which is integers.Codec(kind, …).
pub fn Tiles(comptime codec: type, comptime kind: integers.Kind) type {
    return struct {
        pub const dot_forms = integer_forms.dot_forms;

        /// Groups that columns name themselves have no order that tiles could keep.
        pub fn dotForm(geometry: Geometry) ?u8 {
            if (geometry.parameters[6] != 0) return null;
            const has_nibbles = kind != .signed and geometry.parameters[0] <= 4;
            return integer_forms.select(has_nibbles, geometry.parameters[2], geometry.columns);
        }

        /// Bits that a code is moved up by, to fill its nibble or byte.
        fn spareBits(tile: *const Tile) u3 {
            if (kind == .signed) return 0;
            return integer_forms.spareBits(tile.parameters[0]);
        }

        /// `codes`: 16 bytes of nibbles, which count from 8, or 32 signed bytes.
        pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: anytype) void {
            codes.* = @splat(0);
            const is_bytes = codes.len == dots.span_columns;
            const spare = spareBits(tile);
            const flip: u8 = if (is_bytes and kind != .signed) 0x80 else 0;
            for (0..@min(dots.span_columns, tile.columns - column)) |i| {
                const code = codec.codeAt(tile, row, column + i) << spare ^ flip;
                if (is_bytes) {
                    codes[i] = code;
                } else {
                    codes[i / 2] |= if (i % 2 == 0) code else code << 4;
                }
            }
        }

        fn factorOf(tile: *const Tile) f32 {
            if (kind != .signed) return 1;
            return integers.factorOf(tile) orelse 1;
        }

        pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32 {
            const pair = codec.pairOf(tile, row, codec.groupOf(tile, column).?);
            return @bitCast(pair.scale * factorOf(tile) / integer_forms.unit(spareBits(tile)));
        }

        pub fn blockMinimum(tile: *const Tile, row: u64, column: u64) u32 {
            const pair = codec.pairOf(tile, row, codec.groupOf(tile, column).?);
            const middle: f32 = if (kind == .signed)
                0
            else
                @floatFromInt(@as(u32, 1) << @intCast(tile.parameters[0] - 1));
            const minimum = if (kind == .affine)
                -(pair.second + middle * pair.scale)
            else
                (pair.second - middle) * pair.scale;
            return @bitCast(minimum * factorOf(tile));
        }

        /// Of affine weights the product is rounded, and the sum again.
        pub fn weightBits(geometry: Geometry) u32 {
            const bits = @as(Rounding, @enumFromInt(geometry.parameters[4])).significantBits();
            return if (kind == .affine and bits > 0) bits - 1 else bits;
        }
    };
}
