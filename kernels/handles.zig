//! Handles: u32 = generation << 8 | slot. A slot that is given out again has another generation, so
//! that a handle kept too long is found out instead of reaching another object. Not for use by
//! several threads at once: library.zig locks.
const std = @import("std");
const assert = std.debug.assert;

const slot_bits = 8;
const generation_bits = 32 - slot_bits;

/// A table of at most `capacity` objects.
pub fn Handles(comptime T: type, comptime capacity: u32) type {
    comptime assert(capacity > 0 and capacity <= 1 << slot_bits);
    return struct {
        const Self = @This();

        const Slot = struct {
            /// Never 0, so that no handle is 0.
            generation: std.meta.Int(.unsigned, generation_bits) = 1,
            item: ?*T = null,
        };

        slots: [capacity]Slot = @splat(.{}),

        pub fn add(handles: *Self, item: *T) error{TooMany}!u32 {
            for (&handles.slots, 0..) |*slot, i| {
                if (slot.item != null) continue;
                slot.item = item;
                return @as(u32, slot.generation) << slot_bits | @as(u32, @intCast(i));
            }
            return error.TooMany;
        }

        pub fn get(handles: *Self, handle: u32) error{BadHandle}!*T {
            return (try handles.find(handle)).item.?;
        }

        /// Takes the object out; the handle and its copies are stale from now on.
        pub fn remove(handles: *Self, handle: u32) error{BadHandle}!*T {
            const slot = try handles.find(handle);
            defer {
                slot.item = null;
                slot.generation +%= 1;
                if (slot.generation == 0) slot.generation = 1;
            }
            return slot.item.?;
        }

        fn find(handles: *Self, handle: u32) error{BadHandle}!*Slot {
            const index = handle & ((1 << slot_bits) - 1);
            if (index >= capacity) return error.BadHandle;
            const slot = &handles.slots[index];
            if (slot.item == null or slot.generation != handle >> slot_bits) return error.BadHandle;
            return slot;
        }
    };
}

const testing = std.testing;

test "stale, foreign and null handles are refused" {
    var handles: Handles(u64, 3) = .{};
    var items = [_]u64{ 10, 11, 12, 13 };
    const first = try handles.add(&items[0]);
    const second = try handles.add(&items[1]);
    const third = try handles.add(&items[2]);
    try testing.expectError(error.TooMany, handles.add(&items[3]));
    try testing.expectEqual(11, (try handles.get(second)).*);
    try testing.expectEqual(11, (try handles.remove(second)).*);
    try testing.expectError(error.BadHandle, handles.get(second));
    try testing.expectError(error.BadHandle, handles.remove(second));
    const fourth = try handles.add(&items[3]);
    try testing.expect(fourth != second);
    try testing.expectError(error.BadHandle, handles.get(second));
    try testing.expectEqual(13, (try handles.get(fourth)).*);
    for ([_]u32{ 0, 3, 255, first + (1 << 8), std.math.maxInt(u32) }) |bad|
        try testing.expectError(error.BadHandle, handles.get(bad));
    try testing.expectEqual(12, (try handles.get(third)).*);
}

test "a generation that wraps skips 0" {
    var handles: Handles(u64, 1) = .{};
    var item: u64 = 7;
    handles.slots[0].generation = std.math.maxInt(u24);
    const last = try handles.add(&item);
    _ = try handles.remove(last);
    const first = try handles.add(&item);
    try testing.expectEqual(1 << 8, first);
}
