//! For products: what tiles take from ggml's blocks that begin with an f16 d. A codec's file names
//! which of it are its own, as matvec/pack.zig wants them.
const ggml = @import("ggml.zig");
const Tile = @import("../table.zig").Tile;

pub fn Dots(comptime codec: type) type {
    return struct {
        /// Where a block ends with its codes, and these are a tile's as they are.
        pub fn spanCodes(tile: *const Tile, row: u64, column: u64, codes: anytype) void {
            const block = codec.blockAt(tile, row, column);
            codes.* = block[block.len - codes.len ..].*;
        }

        pub fn blockScale(tile: *const Tile, row: u64, column: u64) u32 {
            return ggml.halfBits(codec.blockAt(tile, row, column));
        }

        /// Of m, which stands behind d and is added: what tiles take off is -m.
        pub fn blockMinimum(tile: *const Tile, row: u64, column: u64) u32 {
            return ggml.halfBits(codec.blockAt(tile, row, column)[2..]) ^ 0x8000;
        }
    };
}
