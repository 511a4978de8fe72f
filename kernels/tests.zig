//! Tests that are compiled once, for the baseline, and linked with the objects of every level. One
//! line for each file.
comptime {
    _ = @import("bench/decoding.zig");
    _ = @import("convert/compare.zig");
    _ = @import("convert/fault.zig");
    _ = @import("convert/fault_test.zig");
    _ = @import("convert/guard.zig");
    _ = @import("convert/job_test.zig");
    _ = @import("convert/plan.zig");
    _ = @import("convert/rows.zig");
    _ = @import("convert/seal.zig");
    _ = @import("convert/setup.zig");
    _ = @import("convert/tiles.zig");
    _ = @import("convert/tree.zig");
    _ = @import("core/float.zig");
    _ = @import("dispatch.zig");
    _ = @import("handles.zig");
    _ = @import("machine/cgroup.zig");
    _ = @import("machine/describe.zig");
    _ = @import("machine/memory.zig");
    _ = @import("machine/pool.zig");
    _ = @import("machine/system.zig");
    _ = @import("machine/topology.zig");
    _ = @import("testing/levels.zig");
    _ = @import("matvec/matrix.zig");
    _ = @import("matvec/team.zig");
    _ = @import("matvec/teams.zig");
    _ = @import("matvec/requantize.zig");
    _ = @import("testing/matrix.zig");
    _ = @import("testing/vector_test.zig");
}
