//! The CPU levels, best first: build.zig compiles the kernels once for each, dispatch.zig picks one at run time.
//! Levels list instruction sets only. CPU models (x86_64_v3, …) also carry LLVM's tuning flags, so that a comparison of
//! feature sets with a model fails on a CPU that has every instruction of it.
const std = @import("std");
const X86 = std.Target.x86.Feature;
const Arm = std.Target.aarch64.Feature;

pub fn Level(comptime Feature: type) type {
    return struct {
        /// As `--level`, DQ_LEVEL and reports spell it.
        name: []const u8,
        features: []const Feature,
        /// The same name as part of a symbol.
        symbol: []const u8,
    };
}

const v2 = [_]X86{ .cx16, .popcnt, .sahf, .sse3, .ssse3, .sse4_1, .sse4_2 };
const avx2 = v2 ++ [_]X86{ .avx, .avx2, .bmi, .bmi2, .f16c, .fma, .lzcnt, .movbe };
// evex512 permits zmm registers; without it LLVM stays at 256 bits.
const avx512 = avx2 ++ [_]X86{ .avx512f, .avx512bw, .avx512cd, .avx512dq, .avx512vl, .evex512 };

pub const x86_64 = [_]Level(X86){
    .{ .name = "avx512-vnni", .symbol = "avx512_vnni", .features = &(avx512 ++ [_]X86{ .avx512vnni, .avx512vbmi }) },
    .{ .name = "avx512", .symbol = "avx512", .features = &avx512 },
    .{ .name = "avx2-vnni", .symbol = "avx2_vnni", .features = &(avx2 ++ [_]X86{.avxvnni}) },
    .{ .name = "avx2", .symbol = "avx2", .features = &avx2 },
    .{ .name = "x86-64-v2", .symbol = "x86_64_v2", .features = &v2 },
};

pub const aarch64 = [_]Level(Arm){
    .{ .name = "neon-dotprod", .symbol = "neon_dotprod", .features = &.{ .neon, .dotprod } },
    .{ .name = "neon", .symbol = "neon", .features = &.{.neon} },
};

/// The levels of an architecture.
pub fn of(comptime arch: std.Target.Cpu.Arch) switch (arch) {
    .x86_64 => @TypeOf(x86_64),
    .aarch64 => @TypeOf(aarch64),
    else => @compileError("no levels for this architecture"),
} {
    return switch (arch) {
        .x86_64 => x86_64,
        .aarch64 => aarch64,
        else => unreachable,
    };
}
