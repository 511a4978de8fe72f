//! The order of stored rows in tiles where rows name their groups (g_idx of GPTQ): those of a group
//! side by side, groups by their numbers, so that a block of a tile has one scale. Activations are
//! put in this order once a product.
const std = @import("std");
const table = @import("../table.zig");

/// Where each row stands; null where that is its own number. Groups that do not begin at a block have
/// no such order.
pub fn positionsOf(
    gpa: std.mem.Allocator,
    groups: []const u32,
    block_columns: u64,
) error{ OutOfMemory, NoProducts }!?[]u32 {
    var group_count: u64 = 0;
    for (groups) |group| {
        if (group != table.no_group) group_count = @max(group_count, @as(u64, group) + 1);
    }
    // Rows without a group come last.
    const next = try gpa.alloc(u64, group_count + 2);
    defer gpa.free(next);
    @memset(next, 0);
    for (groups) |group| next[@intCast(@min(group, group_count) + 1)] += 1;
    for (next[1..], next[0 .. next.len - 1]) |*begin, before| {
        if (begin.* > 0 and before % block_columns != 0) return error.NoProducts;
        begin.* += before;
    }
    const positions = try gpa.alloc(u32, groups.len);
    errdefer gpa.free(positions);
    var is_stored_order = true;
    for (positions, groups, 0..) |*position, group, row| {
        const place = &next[@intCast(@min(group, group_count))];
        position.* = @intCast(place.*);
        place.* += 1;
        is_stored_order = is_stored_order and position.* == row;
    }
    if (!is_stored_order) return positions;
    gpa.free(positions);
    return null;
}

const testing = std.testing;

test "rows of a group stand side by side, in their own order" {
    const positions = (try positionsOf(testing.allocator, &.{ 1, 0, 1, 2, 0, 2 }, 2)).?;
    defer testing.allocator.free(positions);
    try testing.expectEqualSlices(u32, &.{ 2, 0, 3, 4, 1, 5 }, positions);
}

test "groups that follow each other stay as they are; the last may be short" {
    try testing.expectEqual(null, try positionsOf(testing.allocator, &.{ 0, 0, 1, 1, 2 }, 2));
}

test "rows without a group come last, and groups begin at blocks" {
    const none = table.no_group;
    const positions = (try positionsOf(testing.allocator, &.{ none, 0, 0 }, 2)).?;
    defer testing.allocator.free(positions);
    try testing.expectEqualSlices(u32, &.{ 2, 0, 1 }, positions);
    try testing.expectError(error.NoProducts, positionsOf(testing.allocator, &.{ 0, 1, 1 }, 2));
}
