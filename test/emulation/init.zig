//! The first process of the emulated machine: runs each program of /tests, repeats what it says on
//! the console, and switches the machine off. A program's lines stand between `begin <name>` and
//! `end <name> exit <n>` or `end <name> signal <n>`; the last line is `done`, so that a log without
//! it belongs to a machine that did not get there.
const std = @import("std");
const linux = std.os.linux;

const folder = "/tests";

/// Tests that would take minutes each make a part of their comparisons; see the suite.
const environment = [_:null]?[*:0]const u8{"DQ_CONFORMANCE_EVERY=13"};

/// Bochs ends when the letters of this word arrive at this port, one after the other.
const switch_off_port = 0x8900;
const switch_off_word = "Shutdown";

pub fn main() void {
    // A failing test finds its own debug information through /proc/self/exe.
    if (linux.E.init(linux.mount("proc", "/proc", "proc", 0, 0)) != .SUCCESS)
        say("init: no /proc, stack traces will lack names\n", .{});
    if (runAll()) say("done\n", .{}) else |failure| say("init: {s}\n", .{@errorName(failure)});
    switchOff();
}

fn runAll() !void {
    var directory = try std.fs.openDirAbsolute(folder, .{ .iterate = true });
    defer directory.close();
    var entries = directory.iterate();
    while (try entries.next()) |entry| {
        if (entry.kind != .file) continue;
        var path_memory: [std.fs.max_path_bytes]u8 = undefined;
        const path = try std.fmt.bufPrintZ(&path_memory, folder ++ "/{s}", .{entry.name});
        say("begin {s}\n", .{entry.name});
        const status = try run(path);
        if (linux.W.IFEXITED(status))
            say("end {s} exit {d}\n", .{ entry.name, linux.W.EXITSTATUS(status) })
        else
            say("end {s} signal {d}\n", .{ entry.name, linux.W.TERMSIG(status) });
    }
}

/// Runs the program to its end; returns its wait status. Its output goes through a pipe: on the
/// console itself the test runner would draw a progress bar, byte by byte through the serial port.
fn run(path: [*:0]const u8) !u32 {
    const ends = try std.posix.pipe();
    const child = try std.posix.fork();
    if (child == 0) {
        _ = linux.dup2(ends[1], std.posix.STDOUT_FILENO);
        _ = linux.dup2(ends[1], std.posix.STDERR_FILENO);
        _ = linux.close(ends[0]);
        _ = linux.close(ends[1]);
        _ = linux.execve(path, &[_:null]?[*:0]const u8{path}, &environment);
        linux.exit_group(127);
    }
    std.posix.close(ends[1]);
    defer std.posix.close(ends[0]);
    var last: u8 = '\n';
    while (true) {
        var memory: [4096]u8 = undefined;
        const size = try std.posix.read(ends[0], &memory);
        if (size == 0) break;
        try std.fs.File.stderr().writeAll(memory[0..size]);
        last = memory[size - 1];
    }
    if (last != '\n') say("\n", .{});
    return std.posix.waitpid(child, 0).status;
}

fn say(comptime format: []const u8, arguments: anytype) void {
    std.debug.print(format, arguments);
}

fn switchOff() noreturn {
    // The console's last bytes are still on their way through the serial port.
    const drain = 1;
    _ = linux.ioctl(std.posix.STDERR_FILENO, linux.T.CSBRK, drain);
    if (linux.E.init(linux.syscall1(.iopl, 3)) == .SUCCESS) {
        for (switch_off_word) |letter| asm volatile ("outb %[letter], %[port]"
            :
            : [letter] "{al}" (letter),
              [port] "{dx}" (@as(u16, switch_off_port)),
        );
    }
    // Another emulator than Bochs: the kernel's way, and never a return from the first process.
    _ = linux.reboot(.MAGIC1, .MAGIC2, .HALT, null);
    while (true) _ = linux.pause();
}
