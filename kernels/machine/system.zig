//! System calls on files as the engine needs them: whole ranges however the kernel splits them,
//! interrupted calls tried again, and the error number kept, because the user is told which one it
//! was.
const std = @import("std");
const linux = std.os.linux;
const faults = @import("faults.zig");

pub const E = linux.E;
pub const Fd = i32;

/// Most bytes of one read or write; Linux itself moves 0x7ffff000 at the most.
const chunk_max = 1 << 30;

/// What a call that a test lets fail returns.
inline fn failure(effect: ?faults.Effect) ?usize {
    return switch (effect orelse return null) {
        .errno => |errno| @bitCast(-@as(isize, @intFromEnum(errno))),
        .short => null,
    };
}

inline fn sizeLimit(effect: ?faults.Effect) usize {
    return switch (effect orelse return chunk_max) {
        .errno => chunk_max,
        .short => |size| size,
    };
}

/// Maps all of a file for reading, shared with the page cache. The address, or an error as Linux
/// returns it.
pub fn map(fd: Fd, size: usize) usize {
    const flags: linux.MAP = .{ .TYPE = .SHARED };
    return failure(faults.effect(.map)) orelse linux.mmap(null, size, linux.PROT.READ, flags, fd, 0);
}

/// An open file, or why there is none.
pub const Opened = union(enum) { fd: Fd, failed: E };

pub fn open(path: []const u8, flags: linux.O, mode: linux.mode_t) Opened {
    const path_z = std.posix.toPosixPath(path) catch return .{ .failed = .NAMETOOLONG };
    while (true) {
        const result = failure(faults.effect(.open)) orelse linux.open(&path_z, flags, mode);
        switch (E.init(result)) {
            .SUCCESS => return .{ .fd = @intCast(result) },
            .INTR => continue,
            else => |failed| return .{ .failed = failed },
        }
    }
}

pub fn close(fd: Fd) void {
    // An interrupted close has closed the file all the same (close(2)).
    _ = linux.close(fd);
}

pub fn unlink(path: []const u8) void {
    const path_z = std.posix.toPosixPath(path) catch return;
    _ = linux.unlink(&path_z);
}

/// What tells whether a file is still the one it was.
pub const Identity = struct {
    device: u64,
    inode: u64,
    size: u64,
    mtime_ns: u64,

    pub fn of(stat: linux.Stat) Identity {
        const mtime_ns = @as(i128, stat.mtim.sec) * std.time.ns_per_s + stat.mtim.nsec;
        return .{
            .device = @intCast(stat.dev),
            .inode = @intCast(stat.ino),
            .size = @intCast(@max(0, stat.size)),
            // Before 1970: as a negative number of 64 bits.
            .mtime_ns = @truncate(@as(u128, @bitCast(mtime_ns))),
        };
    }
};

pub fn identify(fd: Fd, identity: *Identity) E {
    var stat: linux.Stat = undefined;
    const failed = E.init(failure(faults.effect(.stat)) orelse linux.fstat(fd, &stat));
    if (failed == .SUCCESS) identity.* = .of(stat);
    return failed;
}

/// How many bytes there were up to the end of the file, or what failed.
pub const Read = union(enum) { size: usize, failed: E };

/// Fills `bytes` from `offset` on, or up to the end of the file.
pub fn read(fd: Fd, bytes: []u8, offset: u64) Read {
    var done: usize = 0;
    while (done < bytes.len) {
        const effect = faults.effect(.read);
        const size = @min(bytes.len - done, chunk_max, sizeLimit(effect));
        const result = failure(effect) orelse
            linux.pread(fd, bytes.ptr + done, size, @intCast(offset + done));
        switch (E.init(result)) {
            .SUCCESS => {},
            .INTR => continue,
            else => |failed| return .{ .failed = failed },
        }
        if (result == 0) break;
        done += result;
    }
    return .{ .size = done };
}

/// Writes all of `bytes` at `offset`.
pub fn write(fd: Fd, bytes: []const u8, offset: u64) E {
    var done: usize = 0;
    while (done < bytes.len) {
        const effect = faults.effect(.write);
        const size = @min(bytes.len - done, chunk_max, sizeLimit(effect));
        const result = failure(effect) orelse
            linux.pwrite(fd, bytes.ptr + done, size, @intCast(offset + done));
        switch (E.init(result)) {
            .SUCCESS => {},
            .INTR => continue,
            else => |failed| return failed,
        }
        // A regular file takes at least a byte or says why not.
        if (result == 0) return .IO;
        done += result;
    }
    return .SUCCESS;
}

/// Gives the file its size and, where the file system can, its space: what is missing is known now.
pub fn allocate(fd: Fd, size: u64) E {
    if (size == 0) return .SUCCESS;
    while (true) {
        const injected = failure(faults.effect(.allocate));
        switch (E.init(injected orelse linux.fallocate(fd, 0, 0, @intCast(size)))) {
            .INTR => continue,
            .OPNOTSUPP, .NOSYS => break,
            else => |result| return result,
        }
    }
    while (true) {
        const result = E.init(linux.ftruncate(fd, @intCast(size)));
        if (result != .INTR) return result;
    }
}

/// Starts writing a range to the device, without waiting for it: less is left for `sync`.
pub fn startSync(fd: Fd, offset: u64, size: u64) void {
    const flags = 2; // SYNC_FILE_RANGE_WRITE
    _ = linux.syscall4(.sync_file_range, @intCast(fd), @intCast(offset), @intCast(size), flags);
}

pub fn sync(fd: Fd) E {
    while (true) {
        const result = E.init(failure(faults.effect(.sync)) orelse linux.fsync(fd));
        if (result != .INTR) return result;
    }
}

/// MADV_POPULATE_READ (Linux 5.14): maps pages now, and tells instead of faulting when there is no
/// file behind them.
pub fn populate(bytes: []const u8) E {
    const advice = 22;
    while (true) {
        const result = E.init(linux.madvise(@constCast(bytes.ptr), bytes.len, advice));
        if (result != .INTR and result != .AGAIN) return result;
    }
}

/// madvise whose failure costs speed only.
pub fn advise(bytes: []const u8, advice: u32) void {
    _ = linux.madvise(@constCast(bytes.ptr), bytes.len, advice);
}

/// POSIX_FADV_WILLNEED: the range is read ahead.
pub fn expect(fd: Fd, offset: u64, size: u64) void {
    _ = linux.fadvise(fd, @intCast(offset), @intCast(size), linux.POSIX_FADV.WILLNEED);
}

const testing = std.testing;

test "whole ranges are written and read, and the end is told" {
    var tmp = testing.tmpDir(.{});
    defer tmp.cleanup();
    var path_buffer: [std.fs.max_path_bytes]u8 = undefined;
    const folder = try tmp.dir.realpath(".", &path_buffer);
    const path = try std.fs.path.join(testing.allocator, &.{ folder, "file" });
    defer testing.allocator.free(path);

    try testing.expectEqual(E.NOENT, open(path, .{ .ACCMODE = .RDONLY }, 0).failed);
    const fd = open(path, .{ .ACCMODE = .RDWR, .CREAT = true, .EXCL = true }, 0o644).fd;
    defer close(fd);
    try testing.expectEqual(E.SUCCESS, allocate(fd, 10));
    try testing.expectEqual(E.SUCCESS, write(fd, "abcd", 6));
    var bytes: [8]u8 = undefined;
    try testing.expectEqual(8, read(fd, &bytes, 2).size);
    try testing.expectEqualStrings("\x00\x00\x00\x00abcd", &bytes);
    try testing.expectEqual(3, read(fd, &bytes, 7).size);
    try testing.expectEqual(E.BADF, write(-1, "a", 0));
    try testing.expectEqual(E.BADF, read(-1, &bytes, 0).failed);
    try testing.expectEqual(E.SUCCESS, sync(fd));
    var identity: Identity = undefined;
    try testing.expectEqual(E.SUCCESS, identify(fd, &identity));
    try testing.expectEqual(10, identity.size);
    unlink(path);
    try testing.expectEqual(E.NOENT, open(path, .{ .ACCMODE = .RDONLY }, 0).failed);
}
