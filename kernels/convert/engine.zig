//! What the workers of a job share, and the order of a job's work: look at the sources, create (or
//! look at) the targets, let the workers run, clean up.
const std = @import("std");
const abi = @import("../abi.zig");
const dispatch = @import("../dispatch.zig");
const memory = @import("../machine/memory.zig");
const pool = @import("../machine/pool.zig");
const topology = @import("../machine/topology.zig");
const table = @import("../table.zig");
const fault_file = @import("fault.zig");
const guard = @import("guard.zig");
const worker_file = @import("worker.zig");
const Fault = fault_file.Fault;
const Plan = @import("plan.zig").Plan;
const Seal = @import("seal.zig").Seal;
const Setup = @import("setup.zig").Setup;
const SourceFile = @import("source.zig").SourceFile;
const TargetFile = @import("target.zig").TargetFile;
const Tree = @import("tree.zig").Tree;

const FileState = union(abi.FileRole) { source: SourceFile, target: TargetFile };

pub const Engine = struct {
    gpa: std.mem.Allocator,
    plan: Plan,
    setup: Setup,
    kind: abi.JobKind,
    check_scales: bool,
    functions: *const table.Table,
    files: []FileState,
    /// Of each file.
    seals: []Seal,
    files_done: std.atomic.Value(u32) = .init(0),
    keep_done: bool,
    /// Of each file and each step; none where no hashes are wanted.
    file_trees: []Tree,
    step_trees: []Tree,
    watches: []guard.Watch,
    guarded: guard.Group,
    placements: []topology.Placement,
    cursor: pool.Cursor,
    budget: memory.Budget,
    stop: fault_file.Stop = .{},
    bytes_done: std.atomic.Value(u64) = .init(0),
    bytes_total: u64 = 0,
    step_current: std.atomic.Value(u32) = .init(abi.none),
    tally_mutex: std.Thread.Mutex = .{},
    tally: worker_file.Tally = .{},
    thread_count: u32 = 0,

    /// Takes over `plan` and `setup` when it succeeds. The engine must not be moved: files point
    /// into it.
    pub fn init(
        engine: *Engine,
        gpa: std.mem.Allocator,
        plan: Plan,
        setup: Setup,
        options: *const abi.JobOptions,
        machine: topology.Topology,
    ) error{OutOfMemory}!void {
        const placements = try machine.place(gpa, setup.thread_count);
        errdefer gpa.free(placements);
        var cursor: pool.Cursor = try .init(gpa, setup.itemCount(), placements);
        errdefer cursor.deinit(gpa);
        const watches = try gpa.alloc(guard.Watch, plan.files.len);
        errdefer gpa.free(watches);
        @memset(watches, .{});
        const seals = try gpa.alloc(Seal, plan.files.len);
        errdefer gpa.free(seals);
        @memset(seals, .{});
        const wants_hashes = options.hashes == 1;
        const file_trees = try gpa.alloc(Tree, if (wants_hashes) plan.files.len else 0);
        errdefer gpa.free(file_trees);
        const step_trees = try gpa.alloc(Tree, if (wants_hashes) plan.steps.len else 0);
        errdefer gpa.free(step_trees);
        for (file_trees, plan.files[0..file_trees.len]) |*tree, file| tree.* = .init(file.size);
        for (step_trees, plan.steps[0..step_trees.len]) |*tree, step|
            tree.* = .init(step.target_size);
        const files = try gpa.alloc(FileState, plan.files.len);
        engine.* = .{
            .gpa = gpa,
            .plan = plan,
            .setup = setup,
            .kind = options.kind,
            .check_scales = options.check_scales == 1,
            .functions = if (options.kind == .verify) dispatch.scalar else dispatch.active(),
            .files = files,
            .seals = seals,
            .keep_done = options.keep_done == 1,
            .file_trees = file_trees,
            .step_trees = step_trees,
            .watches = watches,
            .guarded = .{ .watches = watches },
            .placements = placements,
            .cursor = cursor,
            .budget = .init(options.memory_max),
        };
        for (files, plan.files, 0..) |*state, *file, i| {
            const index: u32 = @intCast(i);
            const path = plan.path(i);
            state.* = switch (file.role) {
                .source => .{ .source = .init(index, path, file, &watches[i], &engine.stop) },
                .target => .{ .target = .init(
                    index,
                    path,
                    file,
                    options,
                    &seals[i],
                    &watches[i],
                    &engine.stop,
                ) },
            };
        }
        if (options.drop_cache == 1) for (files) |*state| switch (state.*) {
            .source => |*file| file.drop_cache = true,
            .target => |*file| file.output.drop_cache = true,
        };
        for (plan.steps, 0..) |*step, i| engine.countStep(step, i);
    }

    pub fn deinit(engine: *Engine) void {
        const gpa = engine.gpa;
        engine.cursor.deinit(gpa);
        gpa.free(engine.placements);
        for (engine.file_trees) |*tree| tree.deinit(gpa);
        for (engine.step_trees) |*tree| tree.deinit(gpa);
        gpa.free(engine.file_trees);
        gpa.free(engine.step_trees);
        gpa.free(engine.files);
        gpa.free(engine.seals);
        gpa.free(engine.watches);
        engine.setup.deinit(gpa);
        engine.plan.deinit(gpa);
        engine.* = undefined;
    }

    pub fn source(engine: *Engine, file: u32) *SourceFile {
        return &engine.files[file].source;
    }

    pub fn target(engine: *Engine, file: u32) *TargetFile {
        return &engine.files[file].target;
    }

    /// How many items need each file, and how many bytes there are to do.
    fn countStep(engine: *Engine, step: *const abi.Step, index: usize) void {
        const items = engine.setup.itemsOf(index);
        if (engine.kind != .digest)
            _ = engine.target(step.target_file).items_left.fetchAdd(items, .monotonic);
        for (0..step.source_count) |i| {
            if (!worker_file.isFirstUse(step, i)) continue;
            _ = engine.source(step.sources[i].file).items_left.fetchAdd(items, .monotonic);
        }
        engine.bytes_total += engine.setup.stepBytes(engine.plan, index);
    }

    /// Does all the work. The fault, if there is one, is in `stop`.
    pub fn run(engine: *Engine) void {
        const mapped = engine.setup.io == .mmap or engine.setup.target_io == .mmap;
        if (mapped) guard.add(&engine.guarded);
        engine.work() catch {};
        for (engine.files, 0..) |*state, i| switch (state.*) {
            .source => |*file| file.deinit(),
            .target => |*file| file.deinit(engine.keeps(i)),
        };
        if (mapped) guard.remove(&engine.guarded);
    }

    /// Whether a target stays.
    fn keeps(engine: *Engine, file: usize) bool {
        if (engine.stop.first == null) return true;
        return engine.keep_done and engine.seals[file].is_done.load(.acquire);
    }

    pub fn fileReport(engine: *const Engine, file: u32) abi.FileReport {
        var report = engine.seals[file].report();
        if (engine.file_trees.len > 0 and report.is_done == 1)
            report.hash = engine.file_trees[file].hash;
        return report;
    }

    /// Adds bytes that were written, or read, to the hash of a file, where hashes are wanted.
    pub fn hashFile(
        engine: *Engine,
        file: u32,
        bytes: []const u8,
        offset: u64,
    ) fault_file.Error!void {
        if (engine.file_trees.len == 0) return;
        engine.file_trees[file].add(engine.gpa, &engine.functions.hashing, bytes, offset) catch
            return engine.stop.fail(.{ .status = .out_of_memory });
    }

    /// The same for the hash of a step; `offset` counts from the start of its tensor.
    pub fn hashStep(
        engine: *Engine,
        step: u32,
        bytes: []const u8,
        offset: u64,
    ) fault_file.Error!void {
        if (engine.step_trees.len == 0) return;
        engine.step_trees[step].add(engine.gpa, &engine.functions.hashing, bytes, offset) catch
            return engine.stop.fail(.{ .status = .out_of_memory });
    }

    /// Nothing is left to do for a file.
    pub fn finishFile(engine: *Engine, file: u32) void {
        engine.seals[file].is_done.store(true, .release);
        _ = engine.files_done.fetchAdd(1, .release);
    }

    /// A file that did not let itself be reached around the page cache.
    pub fn refusedFile(engine: *const Engine) u32 {
        for (engine.files, 0..) |*state, i| {
            const refuses = switch (state.*) {
                .source => |*file| file.refuses_direct.load(.monotonic),
                .target => |*file| file.output.refuses_direct.load(.monotonic),
            };
            if (refuses) return @intCast(i);
        }
        return abi.none;
    }

    fn work(engine: *Engine) fault_file.Error!void {
        for (engine.files) |*state| switch (state.*) {
            .source => |*file| try file.probe(),
            .target => {},
        };
        var promised: u64 = 0;
        for (engine.files, 0..) |*state, i| switch (state.*) {
            .source => {},
            .target => |*file| {
                if (engine.stop.isRequested()) return error.Fault;
                const head = engine.plan.head(i);
                if (engine.kind == .convert) {
                    try file.create(head, promised);
                    promised +|= file.size;
                    try engine.hashFile(@intCast(i), head, 0);
                    if (file.isDone()) engine.finishFile(@intCast(i));
                } else try file.checkHead(head);
            },
        };
        const ran = pool.run(engine.gpa, engine.placements, engine, runWorker);
        engine.thread_count = ran catch |err| switch (err) {
            error.OutOfMemory => return engine.stop.fail(.{ .status = .out_of_memory }),
            else => return engine.stop.fail(.{
                .status = .io,
                .operation = .thread,
                .errno = @intFromEnum(std.os.linux.E.AGAIN),
            }),
        };
        if (engine.stop.isRequested()) return error.Fault;
        std.debug.assert(engine.bytes_done.load(.monotonic) == engine.bytes_total);
    }

    fn runWorker(engine: *Engine, index: u32) void {
        var worker = worker_file.Worker.init(engine, engine.placements[index].node) catch |err| {
            const status: abi.Status = switch (err) {
                error.OutOfMemory => .out_of_memory,
                error.BudgetExceeded => .memory_limit,
            };
            return engine.stop.fail(.{ .status = status }) catch {};
        };
        defer worker.deinit();
        worker.run();
        engine.tally_mutex.lock();
        defer engine.tally_mutex.unlock();
        engine.tally.merge(worker.tally);
    }
};
