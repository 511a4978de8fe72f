//! Tests that are compiled once, for the baseline, and linked with the objects of every level. One line for each file.
comptime {
    _ = @import("core/float.zig");
    _ = @import("dispatch.zig");
    _ = @import("testing/levels.zig");
    _ = @import("testing/vector_test.zig");
}
