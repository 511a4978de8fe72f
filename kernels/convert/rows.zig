//! Where the rows of a step are stored. Rows may take turns between several matrices (parts), and a
//! matrix may have its rows in another order (a swap of two factors of the row number). Both are
//! whole within the step's row alignment, so that a tile needs the same run of lines as if its rows
//! were in order, and is decoded in a few runs of rows.
const std = @import("std");
const abi = @import("../abi.zig");
const tiles = @import("tiles.zig");

/// Rows of one part.
pub fn perPart(step: *const abi.Step) u64 {
    return perPartOf(step, step.rows);
}

/// Rows of each part among the first `row_count` rows, which the row alignment divides.
pub fn perPartOf(step: *const abi.Step, row_count: u64) u64 {
    return row_count / step.part_count;
}

/// Rows that follow each other as one stored matrix has them.
pub fn areAsStored(step: *const abi.Step) bool {
    return step.part_count == 1 and step.swap_middle == 1 and step.swap_inner == 1;
}

/// Whether parts and swap fit the rows. The extents of the step have been checked.
pub fn areValid(step: *const abi.Step) bool {
    if (step.part_count == 0 or step.source_count % step.part_count != 0) return false;
    if (step.swap_middle == 0 or step.swap_inner == 0) return false;
    const period = @as(u64, step.swap_middle) * step.swap_inner;
    if (period > 1) {
        if (step.part_count > 1) return false;
        // Only where each row has a line of its own can lines be taken in another order. What
        // belongs to every row must then not depend on the number of the row.
        for (step.sources[0..step.source_count]) |source| {
            if (source.rows_per_line > 1) return false;
        }
    }
    const unit = period * step.part_count;
    return step.rows % unit == 0 and step.row_align % unit == 0;
}

/// Rows that are stored at equal distances and go to the target at equal distances.
pub const Run = struct {
    part: u64,
    /// The first one's row in its part, and from one to the next.
    stored_begin: u64,
    stored_step: u64,
    /// The first one's row in the tile, and from one to the next.
    tile_begin: u64,
    tile_step: u64,
    count: u64,
};

/// The runs of a tile, one by one.
pub const Runs = struct {
    step: *const abi.Step,
    row_begin: u64,
    row_count: u64,
    index: u64 = 0,

    pub fn init(step: *const abi.Step, tile: tiles.Tile) Runs {
        return .{ .step = step, .row_begin = tile.row_begin, .row_count = tile.row_count };
    }

    pub fn next(runs: *Runs) ?Run {
        const step = runs.step;
        const index = runs.index;
        const parts: u64 = step.part_count;
        const middle: u64 = step.swap_middle;
        const inner: u64 = step.swap_inner;
        if (middle == 1 or inner == 1) {
            if (index == parts) return null;
            runs.index += 1;
            return .{
                .part = index,
                .stored_begin = runs.row_begin / parts,
                .stored_step = 1,
                .tile_begin = index,
                .tile_step = parts,
                .count = runs.row_count / parts,
            };
        }
        const period = middle * inner;
        const outer = index / middle * period;
        if (outer >= runs.row_count) return null;
        runs.index += 1;
        return .{
            .part = 0,
            .stored_begin = runs.row_begin + outer + index % middle,
            .stored_step = middle,
            .tile_begin = outer + index % middle * inner,
            .tile_step = 1,
            .count = inner,
        };
    }
};

const testing = std.testing;

test "runs of a tile are the rows that the step says" {
    var prng = std.Random.DefaultPrng.init(3);
    for (0..500) |_| {
        var step = std.mem.zeroes(abi.Step);
        const swaps = prng.random().boolean();
        step.part_count = if (swaps) 1 else 1 + prng.random().uintLessThan(u32, 4);
        step.swap_middle = if (swaps) 1 + prng.random().uintLessThan(u32, 5) else 1;
        step.swap_inner = if (swaps) 1 + prng.random().uintLessThan(u32, 5) else 1;
        const unit = step.part_count * step.swap_middle * step.swap_inner;
        const tile: tiles.Tile = .{
            .batch = 0,
            .row_begin = unit * prng.random().uintLessThan(u64, 4),
            .row_count = unit * (1 + prng.random().uintLessThan(u64, 4)),
            .column_begin = 0,
            .column_count = 1,
        };
        var seen: [1024]bool = @splat(false);
        var runs: Runs = .init(&step, tile);
        while (runs.next()) |run| {
            for (0..run.count) |k| {
                const in_tile = run.tile_begin + k * run.tile_step;
                try testing.expect(!seen[in_tile]);
                seen[in_tile] = true;
                const row = tile.row_begin + in_tile;
                const stored = run.stored_begin + k * run.stored_step;
                // The words of abi.Step.
                const middle: u64 = step.swap_middle;
                const inner: u64 = step.swap_inner;
                const o = row / step.part_count / (middle * inner);
                const m = row / step.part_count / inner % middle;
                const i = row / step.part_count % inner;
                try testing.expectEqual(row % step.part_count, run.part);
                try testing.expectEqual((o * inner + i) * middle + m, stored);
            }
        }
        try testing.expect(std.mem.allEqual(bool, seen[0..tile.row_count], true));
        try testing.expect(std.mem.allEqual(bool, seen[tile.row_count..], false));
    }
}

test "parts and swaps that do not fit the rows" {
    const samples = @import("../testing/steps.zig");
    var step = samples.mxfp4(1, 12, 64, false);
    try testing.expect(areValid(&step) and areAsStored(&step));
    step.row_align = 6;
    step.swap_middle = 2;
    step.swap_inner = 3;
    try testing.expect(areValid(&step) and !areAsStored(&step));
    step.row_align = 4; // would cut a period
    try testing.expect(!areValid(&step));
    step.row_align = 6;
    step.rows = 9;
    try testing.expect(!areValid(&step));
    step.rows = 12;
    step.sources[1].rows_per_line = 2;
    try testing.expect(!areValid(&step));
    step = samples.mxfp4(1, 12, 64, false);
    step.row_align = 2;
    step.part_count = 2;
    try testing.expect(areValid(&step)); // codes and scales as two parts: the codec refuses them
    step.part_count = 3;
    try testing.expect(!areValid(&step));
    step.part_count = 0;
    try testing.expect(!areValid(&step));
}
