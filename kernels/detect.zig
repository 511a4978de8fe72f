//! Which instruction sets of levels.zig this CPU has. x86: CPUID, and XCR0 for the registers that
//! the operating system saves on a context switch, without which the instructions fault (Intel SDM
//! vol. 1, 14.3 and 15.2). aarch64: the kernel's AT_HWCAP. No file is read.
const std = @import("std");
const builtin = @import("builtin");

/// Whether this CPU has every one of `features`.
pub const hasAll = switch (builtin.cpu.arch) {
    .x86_64 => x86.hasAll,
    .aarch64 => aarch64.hasAll,
    else => @compileError("no levels for this architecture"),
};

const x86 = struct {
    const Feature = std.Target.x86.Feature;
    const Register = enum { eax, ebx, ecx, edx };
    const Leaf = struct { eax: u32, ebx: u32, ecx: u32, edx: u32 };

    /// Registers that must be saved by the operating system: bits of XCR0.
    const State = enum(u32) {
        none = 0,
        /// SSE and the upper halves of ymm.
        ymm = 0b0000_0110,
        /// Also the mask registers, the upper halves of zmm0–15, and zmm16–31.
        zmm = 0b1110_0110,
    };

    /// Where CPUID reports a feature.
    const Bit = struct {
        leaf: u32,
        subleaf: u32 = 0,
        register: Register,
        bit: u5,
        state: State = .none,
    };

    fn bitOf(comptime feature: Feature) Bit {
        return switch (feature) {
            .sse3 => .{ .leaf = 1, .register = .ecx, .bit = 0 },
            .ssse3 => .{ .leaf = 1, .register = .ecx, .bit = 9 },
            .fma => .{ .leaf = 1, .register = .ecx, .bit = 12, .state = .ymm },
            .cx16 => .{ .leaf = 1, .register = .ecx, .bit = 13 },
            .sse4_1 => .{ .leaf = 1, .register = .ecx, .bit = 19 },
            .sse4_2 => .{ .leaf = 1, .register = .ecx, .bit = 20 },
            .movbe => .{ .leaf = 1, .register = .ecx, .bit = 22 },
            .popcnt => .{ .leaf = 1, .register = .ecx, .bit = 23 },
            .avx => .{ .leaf = 1, .register = .ecx, .bit = 28, .state = .ymm },
            .f16c => .{ .leaf = 1, .register = .ecx, .bit = 29, .state = .ymm },
            .bmi => .{ .leaf = 7, .register = .ebx, .bit = 3 },
            .avx2 => .{ .leaf = 7, .register = .ebx, .bit = 5, .state = .ymm },
            .bmi2 => .{ .leaf = 7, .register = .ebx, .bit = 8 },
            // evex512 is LLVM's permission to use zmm, which AVX512F before AVX10 always grants.
            .avx512f, .evex512 => .{ .leaf = 7, .register = .ebx, .bit = 16, .state = .zmm },
            .avx512dq => .{ .leaf = 7, .register = .ebx, .bit = 17, .state = .zmm },
            .avx512cd => .{ .leaf = 7, .register = .ebx, .bit = 28, .state = .zmm },
            .avx512bw => .{ .leaf = 7, .register = .ebx, .bit = 30, .state = .zmm },
            .avx512vl => .{ .leaf = 7, .register = .ebx, .bit = 31, .state = .zmm },
            .avx512vbmi => .{ .leaf = 7, .register = .ecx, .bit = 1, .state = .zmm },
            .avx512vnni => .{ .leaf = 7, .register = .ecx, .bit = 11, .state = .zmm },
            .avxvnni => .{ .leaf = 7, .subleaf = 1, .register = .eax, .bit = 4, .state = .ymm },
            .sahf => .{ .leaf = 0x8000_0001, .register = .ecx, .bit = 0 },
            .lzcnt => .{ .leaf = 0x8000_0001, .register = .ecx, .bit = 5 },
            else => @compileError("no CPUID bit is known for " ++ @tagName(feature)),
        };
    }

    fn hasAll(comptime features: []const Feature) bool {
        const saved = savedState();
        inline for (features) |feature| {
            const where = comptime bitOf(feature);
            const state = @intFromEnum(where.state);
            if (saved & state != state) return false;
            const leaf = cpuid(where.leaf, where.subleaf) orelse return false;
            if (@field(leaf, @tagName(where.register)) >> where.bit & 1 == 0) return false;
        }
        return true;
    }

    /// XCR0, or 0 where the operating system does not use it.
    fn savedState() u32 {
        const osxsave = 1 << 27;
        const leaf = cpuid(1, 0) orelse return 0;
        if (leaf.ecx & osxsave == 0) return 0;
        return asm volatile ("xgetbv"
            : [low] "={eax}" (-> u32),
            : [index] "{ecx}" (@as(u32, 0)),
            : .{ .edx = true });
    }

    /// Null where the CPU does not know the leaf: it would answer with another one's bits.
    fn cpuid(leaf: u32, subleaf: u32) ?Leaf {
        if (cpuidRaw(leaf & 0x8000_0000, 0).eax < leaf) return null;
        if (subleaf > 0 and cpuidRaw(leaf, 0).eax < subleaf) return null;
        return cpuidRaw(leaf, subleaf);
    }

    fn cpuidRaw(leaf: u32, subleaf: u32) Leaf {
        var eax: u32 = undefined;
        var ebx: u32 = undefined;
        var ecx: u32 = undefined;
        var edx: u32 = undefined;
        asm volatile ("cpuid"
            : [eax] "={eax}" (eax),
              [ebx] "={ebx}" (ebx),
              [ecx] "={ecx}" (ecx),
              [edx] "={edx}" (edx),
            : [leaf] "{eax}" (leaf),
              [subleaf] "{ecx}" (subleaf),
        );
        return .{ .eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx };
    }
};

const aarch64 = struct {
    const Feature = std.Target.aarch64.Feature;
    extern "c" fn getauxval(kind: c_ulong) c_ulong;

    /// Bit of AT_HWCAP (Linux, arch/arm64/include/uapi/asm/hwcap.h).
    fn bitOf(comptime feature: Feature) u6 {
        return switch (feature) {
            .neon => 1, // HWCAP_ASIMD
            .dotprod => 20, // HWCAP_ASIMDDP
            else => @compileError("no HWCAP bit is known for " ++ @tagName(feature)),
        };
    }

    fn hasAll(comptime features: []const Feature) bool {
        const capabilities: u64 = getauxval(std.elf.AT_HWCAP);
        inline for (features) |feature| {
            const bit = comptime bitOf(feature);
            if (capabilities >> bit & 1 == 0) return false;
        }
        return true;
    }
};
