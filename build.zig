//! Builds libdequantizer.so: one object of kernels per CPU level (levels.zig), linked into a library whose own code needs
//! nothing above the architecture's baseline. Steps: install (default), test, abi.
const std = @import("std");
const builtin = @import("builtin");
const levels = @import("kernels/levels.zig");

comptime {
    const wanted = "0.15.2";
    if (!std.mem.eql(u8, builtin.zig_version_string, wanted))
        @compileError("this project is built with Zig " ++ wanted ++ ", found " ++ builtin.zig_version_string);
}

pub fn build(b: *std.Build) void {
    const Arch = enum { x86_64, aarch64 };
    const arch = b.option(Arch, "arch", "Architecture of the library (default: this machine's)") orelse
        std.meta.stringToEnum(Arch, @tagName(b.graph.host.result.cpu.arch)) orelse
        @panic("dequantizer is built for x86_64 and aarch64 Linux only");
    const filters = b.option([]const []const u8, "test-filter", "Run only the tests whose name contains this") orelse &.{};
    const chosen = b.option([]const []const u8, "levels", "Development: only these CPU levels (default: all)");
    const steps: Steps = .{
        .tests = b.step("test", "Zig tests, once per CPU level that this machine has"),
        .guest = b.step("guest-tests", "Install the tests of levels that this machine lacks, for test/emulation"),
        .guest_library = b.step("guest-library", "Of these only the tests of the whole library, for another architecture"),
    };
    switch (arch) {
        .x86_64 => buildArch(b, .x86_64, steps, filters, chosen),
        .aarch64 => buildArch(b, .aarch64, steps, filters, chosen),
    }
    abiStep(b);
}

const Steps = struct { tests: *std.Build.Step, guest: *std.Build.Step, guest_library: *std.Build.Step };

fn buildArch(
    b: *std.Build,
    comptime arch: std.Target.Cpu.Arch,
    steps: Steps,
    filters: []const []const u8,
    chosen: ?[]const []const u8,
) void {
    const family = switch (arch) {
        .x86_64 => std.Target.x86,
        .aarch64 => std.Target.aarch64,
        else => unreachable,
    };
    const baseline = b.resolveTargetQuery(.{ .cpu_arch = arch, .os_tag = .linux, .abi = .gnu, .cpu_model = .baseline, .glibc_version = .{ .major = 2, .minor = 28, .patch = 0 } });

    const library_module = b.createModule(.{
        .root_source_file = b.path("kernels/library.zig"),
        .target = baseline,
        .optimize = .ReleaseSafe,
        .link_libc = true,
        .strip = true,
        .pic = true,
    });
    // The same code with its tests. They run where this machine can run the architecture.
    const test_module = b.createModule(.{
        .root_source_file = b.path("kernels/tests.zig"),
        .target = baseline,
        .optimize = .ReleaseSafe,
        .link_libc = true,
    });

    // Once more without a system's libc, for an emulator of another architecture.
    const guest_module = b.createModule(.{
        .root_source_file = b.path("kernels/tests.zig"),
        .target = guestTarget(b, arch),
        .optimize = .ReleaseSafe,
        .link_libc = true,
    });

    const golden = goldenModule(b);
    test_module.addImport("golden_vectors", golden);
    guest_module.addImport("golden_vectors", golden);
    const dispatch_module = b.createModule(.{
        .root_source_file = b.path("kernels/dispatch.zig"),
        .target = baseline,
        .optimize = .ReleaseFast,
        .link_libc = true,
    });
    const included = includedLevels(b, levels.of(arch), chosen);
    const fuzz_module = b.createModule(.{
        .root_source_file = b.path("kernels/fuzz.zig"),
        .target = baseline,
        .optimize = .ReleaseSafe,
        .link_libc = true,
    });
    const modules = [_]*std.Build.Module{
        library_module,
        test_module,
        guest_module,
        dispatch_module,
        fuzz_module,
    };
    for (modules) |module| module.addOptions("build_options", included);
    benchStep(b, dispatch_module);
    fuzzStep(b, fuzz_module);
    var best_level: ?*std.Build.Module = null;

    inline for (comptime levels.of(arch)) |level| if (isChosen(chosen, level.name)) {
        const object = b.addObject(.{
            .name = "kernels_" ++ level.symbol,
            .root_module = levelModule(b, arch, family, level, .ReleaseFast),
        });
        library_module.addObject(object);
        test_module.addObject(object);
        guest_module.addObject(object);
        dispatch_module.addObject(object);
        fuzz_module.addObject(object);

        const host = b.graph.host.result;
        const native = runsHere(b, arch, family, level);
        if (best_level == null and native) best_level = levelModule(b, arch, family, level, .ReleaseFast);
        // On an emulated PC, a hundred times slower, the kernels run as they are shipped.
        const optimize: std.builtin.OptimizeMode =
            if (host.cpu.arch == arch and !native) .ReleaseFast else .ReleaseSafe;
        const level_test_module = levelModule(b, arch, family, level, optimize);
        level_test_module.addImport("golden_vectors", golden);
        const level_tests = b.addTest(.{
            .name = "test-" ++ level.name,
            .root_module = level_test_module,
            .use_llvm = true,
            .filters = filters,
        });
        const emulated = host.cpu.arch != arch and b.enable_qemu;
        if (native or emulated) {
            steps.tests.dependOn(runTests(b, level_tests));
        } else {
            steps.tests.dependOn(&SkipNote.create(b, level.name).step);
        }
        if (!native) steps.guest.dependOn(installGuest(b, level_tests));
    };
    installGuestTools(b, arch, steps.guest);
    if (best_level) |level| matvecBenchStep(b, level);
    b.installArtifact(b.addLibrary(.{ .name = "dequantizer", .linkage = .dynamic, .root_module = library_module }));

    const tests = b.addTest(.{ .name = "test-library", .root_module = test_module, .use_llvm = true, .filters = filters });
    if (b.graph.host.result.cpu.arch == arch) {
        steps.tests.dependOn(runTests(b, tests));
    } else {
        const options: std.Build.TestOptions = .{ .name = "test-library", .root_module = guest_module, .use_llvm = true, .filters = filters };
        steps.guest_library.dependOn(installGuest(b, b.addTest(options)));
        steps.guest.dependOn(steps.guest_library);
    }
}

fn isChosen(chosen: ?[]const []const u8, name: []const u8) bool {
    for (chosen orelse return true) |one| {
        if (std.mem.eql(u8, one, name)) return true;
    }
    return false;
}

/// The module `build_options` of dispatch.zig: the symbols of the levels that are compiled.
fn includedLevels(b: *std.Build, comptime all: anytype, chosen: ?[]const []const u8) *std.Build.Step.Options {
    var symbols: std.ArrayList([]const u8) = .empty;
    for (chosen orelse &.{}) |name| {
        const known = inline for (all) |level| {
            if (std.mem.eql(u8, level.name, name)) break true;
        } else false;
        if (!known) std.process.fatal("-Dlevels: there is no level '{s}' (see kernels/levels.zig)", .{name});
    }
    inline for (all) |level| {
        if (isChosen(chosen, level.name)) symbols.append(b.allocator, level.symbol) catch @panic("OOM");
    }
    const options = b.addOptions();
    options.addOption([]const []const u8, "level_symbols", symbols.items);
    return options;
}

fn guestTarget(b: *std.Build, comptime arch: std.Target.Cpu.Arch) std.Build.ResolvedTarget {
    return b.resolveTargetQuery(.{ .cpu_arch = arch, .os_tag = .linux, .abi = .musl, .cpu_model = .baseline });
}

/// Static programs for an emulated machine, beside each other in `guest/` of the install folder.
fn installGuest(b: *std.Build, program: *std.Build.Step.Compile) *std.Build.Step {
    const folder: std.Build.InstallDir = .{ .custom = "guest" };
    return &b.addInstallArtifact(program, .{ .dest_dir = .{ .override = folder } }).step;
}

/// What an emulated machine runs beside the tests: its first process, and the detection of levels.
fn installGuestTools(b: *std.Build, comptime arch: std.Target.Cpu.Arch, guest_step: *std.Build.Step) void {
    const target = guestTarget(b, arch);
    inline for (.{ "init", "levels" }) |name| {
        // Only the emulated PC boots a kernel.
        if (arch == .aarch64 and comptime std.mem.eql(u8, name, "init")) continue;
        const module = b.createModule(.{
            .root_source_file = b.path("test/emulation/" ++ name ++ ".zig"),
            .target = target,
            .optimize = .ReleaseSafe,
            .link_libc = true,
            .strip = true,
        });
        module.addAnonymousImport("levels", .{ .root_source_file = b.path("kernels/levels.zig") });
        module.addAnonymousImport("detect", .{ .root_source_file = b.path("kernels/detect.zig") });
        guest_step.dependOn(installGuest(b, b.addExecutable(.{ .name = name, .root_module = module })));
    }
}

/// Tests run every time: a cached result would hide how many there are.
fn runTests(b: *std.Build, tests: *std.Build.Step.Compile) *std.Build.Step {
    const run = b.addRunArtifact(tests);
    run.has_side_effects = true;
    return &run.step;
}

fn levelModule(
    b: *std.Build,
    comptime arch: std.Target.Cpu.Arch,
    comptime family: type,
    comptime level: anytype,
    optimize: std.builtin.OptimizeMode,
) *std.Build.Module {
    const query: std.Target.Query = .{
        .cpu_arch = arch,
        .os_tag = .linux,
        .abi = .gnu,
        .cpu_model = .{ .explicit = switch (arch) {
            .x86_64 => &family.cpu.x86_64,
            .aarch64 => &family.cpu.generic,
            else => unreachable,
        } },
        .cpu_features_add = family.featureSet(level.features),
    };
    const options = b.addOptions();
    options.addOption([]const u8, "name", level.name);
    options.addOption([]const u8, "symbol", level.symbol);
    const module = b.createModule(.{
        .root_source_file = b.path("kernels/level.zig"),
        .target = b.resolveTargetQuery(query),
        .optimize = optimize,
        .pic = true,
    });
    module.addOptions("level_options", options);
    return module;
}

/// The files of test/vectors as a module: `files`, each with its name and text.
fn goldenModule(b: *std.Build) *std.Build.Module {
    const folder = "test/vectors";
    var names: std.ArrayList([]const u8) = .empty;
    var directory = b.build_root.handle.openDir(folder, .{ .iterate = true }) catch @panic(folder ++ " is missing");
    defer directory.close();
    var entries = directory.iterate();
    while (entries.next() catch @panic(folder ++ " cannot be read")) |entry| {
        if (!std.mem.endsWith(u8, entry.name, ".json")) continue;
        names.append(b.allocator, b.dupe(entry.name)) catch @panic("OOM");
    }
    std.mem.sort([]const u8, names.items, {}, struct {
        fn lessThan(_: void, a: []const u8, c: []const u8) bool {
            return std.mem.lessThan(u8, a, c);
        }
    }.lessThan);
    const files = b.addWriteFiles();
    var text: []const u8 =
        \\pub const File = struct { name: []const u8, text: []const u8 };
        \\pub const files = [_]File{
        \\
    ;
    for (names.items) |name| {
        _ = files.addCopyFile(b.path(b.fmt(folder ++ "/{s}", .{name})), name);
        text = b.fmt("{s}    .{{ .name = \"{s}\", .text = @embedFile(\"{s}\") }},\n", .{ text, name, name });
    }
    text = b.fmt("{s}}};\n", .{text});
    return b.createModule(.{ .root_source_file = files.add("golden_vectors.zig", text) });
}

/// `zig build bench-decode`: see the file for its options.
fn benchStep(b: *std.Build, dispatch_module: *std.Build.Module) void {
    const bench = b.addExecutable(.{ .name = "bench-decode", .root_module = b.createModule(.{
        .root_source_file = b.path("kernels/testing/bench_decode.zig"),
        .target = dispatch_module.resolved_target,
        .optimize = .ReleaseFast,
        .imports = &.{.{ .name = "dispatch", .module = dispatch_module }},
    }) });
    const run = b.addRunArtifact(bench);
    if (b.args) |arguments| run.addArgs(arguments);
    b.step("bench-decode", "Decode speed of every codec, target and level on one core").dependOn(&run.step);
}

/// `zig build fuzz -- <name> [seed] [count]`: see the file.
fn fuzzStep(b: *std.Build, module: *std.Build.Module) void {
    const run = b.addRunArtifact(b.addExecutable(.{ .name = "fuzz", .root_module = module }));
    if (b.args) |arguments| run.addArgs(arguments);
    run.has_side_effects = true;
    b.step("fuzz", "Random blocks and plans: kernels/fuzz.zig").dependOn(&run.step);
}

/// `zig build bench-matvec`: see the file. Compiled for the best level of this machine alone.
fn matvecBenchStep(b: *std.Build, level: *std.Build.Module) void {
    const bench = b.addExecutable(.{ .name = "bench-matvec", .root_module = b.createModule(.{
        .root_source_file = b.path("kernels/bench_matvec.zig"),
        .target = level.resolved_target,
        .optimize = .ReleaseFast,
    }) });
    const run = b.addRunArtifact(bench);
    if (b.args) |arguments| run.addArgs(arguments);
    b.step("bench-matvec", "What each technique of the products is worth on one core").dependOn(&run.step);
}

/// Whether this machine has all that a level needs.
fn runsHere(
    b: *std.Build,
    comptime arch: std.Target.Cpu.Arch,
    comptime family: type,
    comptime level: anytype,
) bool {
    const cpu = b.graph.host.result.cpu;
    return cpu.arch == arch and cpu.features.isSuperSetOf(family.featureSet(level.features));
}

/// `zig build abi`: rewrites src/native/abi.gen.ts; with CI set, fails where it is stale instead.
fn abiStep(b: *std.Build) void {
    const emit = b.addExecutable(.{ .name = "abi_emit", .root_module = b.createModule(.{
        .root_source_file = b.path("kernels/abi_emit.zig"),
        .target = b.graph.host,
    }) });
    const generated = b.addRunArtifact(emit).captureStdOut();
    const step = b.step("abi", "Regenerate src/native/abi.gen.ts from kernels/abi.zig (with CI set: check that it is current)");
    if (b.graph.env_map.get("CI") != null) {
        const current = std.fs.cwd().readFileAlloc(b.allocator, b.pathFromRoot("src/native/abi.gen.ts"), 1 << 20) catch "";
        const check = b.addCheckFile(generated, .{ .expected_exact = current });
        check.setName("src/native/abi.gen.ts is current");
        step.dependOn(&check.step);
    } else {
        const update = b.addUpdateSourceFiles();
        update.addCopyFileToSource(generated, "src/native/abi.gen.ts");
        step.dependOn(&update.step);
    }
}

/// Says which level's tests did not run, so that a green run never hides it.
const SkipNote = struct {
    step: std.Build.Step,
    level: []const u8,

    fn create(b: *std.Build, level: []const u8) *SkipNote {
        const note = b.allocator.create(SkipNote) catch @panic("OOM");
        note.* = .{
            .step = .init(.{ .id = .custom, .name = b.fmt("skip level {s}", .{level}), .owner = b, .makeFn = make }),
            .level = level,
        };
        return note;
    }

    fn make(step: *std.Build.Step, _: std.Build.Step.MakeOptions) !void {
        const note: *SkipNote = @fieldParentPtr("step", step);
        std.debug.print("skipped: tests of level {s} (this CPU cannot run it)\n", .{note.level});
    }
};
