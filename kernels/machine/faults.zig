//! System calls that fail when a test says so. Only test builds have any of it: elsewhere `effect`
//! is null at compile time.
const std = @import("std");
const builtin = @import("builtin");
const E = std.os.linux.E;

/// Those from `open_direct` on are done another way where they fail as if there were no such thing.
pub const Call = enum {
    open,
    stat,
    read,
    write,
    allocate,
    sync,
    map,
    open_direct,
    read_direct,
    write_direct,
    map_target,
    populate_target,
};

pub const Effect = union(enum) {
    /// The call fails.
    errno: E,
    /// At most so many bytes are moved.
    short: usize,
};

pub const Fault = struct {
    call: Call,
    /// Which of these calls, from 0 on; null: each of them.
    number: ?u64,
    effect: Effect,
};

var fault: ?Fault = null;
var counts: std.EnumArray(Call, std.atomic.Value(u64)) = .initFill(.init(0));

/// What happens instead of the call that is about to be made.
pub inline fn effect(call: Call) ?Effect {
    if (!builtin.is_test) return null;
    return testEffect(call);
}

fn testEffect(call: Call) ?Effect {
    const wanted = fault orelse return null;
    const number = counts.getPtr(call).fetchAdd(1, .monotonic);
    if (call != wanted.call or (wanted.number orelse number) != number) return null;
    return wanted.effect;
}

/// From now on, until `clear`.
pub fn inject(wanted: Fault) void {
    for (&counts.values) |*count| count.store(0, .monotonic);
    fault = wanted;
}

/// Takes the fault away and says whether it happened.
pub fn clear() bool {
    const wanted = fault.?;
    fault = null;
    return counts.get(wanted.call).load(.monotonic) > wanted.number orelse 0;
}
