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
    return failure(faults.effect(.map)) orelse mapShared(fd, size, linux.PROT.READ);
}

/// The same for reading and writing.
pub fn mapTarget(fd: Fd, size: usize) usize {
    const access = linux.PROT.READ | linux.PROT.WRITE;
    return failure(faults.effect(.map_target)) orelse mapShared(fd, size, access);
}

fn mapShared(fd: Fd, size: usize, access: usize) usize {
    const flags: linux.MAP = .{ .TYPE = .SHARED };
    return linux.mmap(null, size, access, flags, fd, 0);
}

/// An open file, or why there is none.
pub const Opened = union(enum) { fd: Fd, failed: E };

pub fn open(path: []const u8, flags: linux.O, mode: linux.mode_t) Opened {
    return openAs(.open, path, flags, mode);
}

fn openAs(call: faults.Call, path: []const u8, flags: linux.O, mode: linux.mode_t) Opened {
    const path_z = std.posix.toPosixPath(path) catch return .{ .failed = .NAMETOOLONG };
    while (true) {
        const result = failure(faults.effect(call)) orelse linux.open(&path_z, flags, mode);
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
    return readAs(.read, fd, bytes, offset);
}

/// `read` of a file that `openDirect` opened. What is filled ends at a border, or at the end of
/// the file.
pub fn readDirect(fd: Fd, bytes: []u8, offset: u64) Read {
    return readAs(.read_direct, fd, bytes, offset);
}

inline fn readAs(call: faults.Call, fd: Fd, bytes: []u8, offset: u64) Read {
    var done: usize = 0;
    while (done < bytes.len) {
        const effect = faults.effect(call);
        const size = @min(bytes.len - done, chunk_max, sizeLimit(effect));
        const result = failure(effect) orelse
            linux.pread(fd, bytes.ptr + done, size, @intCast(offset + done));
        switch (E.init(result)) {
            .SUCCESS => {},
            .INTR => continue,
            else => |failed| return .{ .failed = failed },
        }
        done += result;
        // Around the page cache nothing begins between two borders.
        const at_border = call != .read_direct or result % direct_align == 0;
        if (result == 0 or !at_border) break;
    }
    return .{ .size = done };
}

/// Writes all of `bytes` at `offset`.
pub fn write(fd: Fd, bytes: []const u8, offset: u64) E {
    return writeAs(.write, fd, bytes, offset);
}

/// `write` to a file that `openDirect` opened.
pub fn writeDirect(fd: Fd, bytes: []const u8, offset: u64) E {
    return writeAs(.write_direct, fd, bytes, offset);
}

inline fn writeAs(call: faults.Call, fd: Fd, bytes: []const u8, offset: u64) E {
    var done: usize = 0;
    while (done < bytes.len) {
        const effect = faults.effect(call);
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
/// `promised`: bytes of other new files on the same device that their writers have yet to take.
pub fn allocate(fd: Fd, size: u64, promised: u64) E {
    if (size == 0) return .SUCCESS;
    var space: Space = undefined;
    const in_memory = examineSpace(fd, &space) == .SUCCESS and space.in_memory;
    if (in_memory) {
        // Taking pages here would be work for one thread, a third of the whole conversion's time,
        // where the writers take them as they go. Memory that others take until then is told by
        // the write that lacks it.
        if (failure(faults.effect(.allocate))) |injected| return E.init(injected);
        if (space.free < size +| promised) return .NOSPC;
    } else while (true) {
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

/// What the file system of an open file is and has.
pub const Space = struct {
    /// Bytes that this user may take.
    free: u64,
    /// The files live in the page cache and nowhere else.
    in_memory: bool,
};

/// struct statfs of 64-bit Linux (asm-generic/statfs.h).
const Statfs = extern struct {
    type: u64,
    block_size: u64,
    blocks: u64,
    blocks_free: u64,
    blocks_available: u64,
    rest: [10]u64,
};

/// TMPFS_MAGIC and RAMFS_MAGIC (linux/magic.h).
const tmpfs_magic = 0x01021994;
const ramfs_magic = 0x858458f6;

pub fn examineSpace(fd: Fd, space: *Space) E {
    var statfs: Statfs = undefined;
    const result = linux.syscall2(.fstatfs, @intCast(fd), @intFromPtr(&statfs));
    const failed = E.init(result);
    if (failed != .SUCCESS) return failed;
    const limited = statfs.blocks > 0; // ramfs, and tmpfs without a size, tell of no blocks
    const free = statfs.blocks_available *| statfs.block_size;
    space.* = .{
        .free = if (limited) free else std.math.maxInt(u64),
        .in_memory = statfs.type == tmpfs_magic or statfs.type == ramfs_magic,
    };
    return .SUCCESS;
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

/// MADV_POPULATE_WRITE (Linux 5.14): makes pages present for writing.
pub fn populateWrite(bytes: []u8) E {
    const advice = 23;
    while (true) {
        const injected = failure(faults.effect(.populate_target));
        const result = E.init(injected orelse linux.madvise(bytes.ptr, bytes.len, advice));
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

/// POSIX_FADV_DONTNEED: whole pages of the range that are not waiting to be written leave the page
/// cache. Size 0: up to the end of the file.
pub fn forget(fd: Fd, offset: u64, size: u64) void {
    _ = linux.fadvise(fd, @intCast(offset), @intCast(size), linux.POSIX_FADV.DONTNEED);
}

/// Where O_DIRECT reads and writes begin and end, in files and in memory: blocks of devices are no
/// larger.
pub const direct_align = 4096;

/// Opens the file behind `fd` once more, for O_DIRECT. Failed where the file system has no such
/// thing, or only in name: files that live in the page cache cannot go around it.
pub fn openDirect(fd: Fd, mode: std.posix.ACCMODE) Opened {
    var space: Space = undefined;
    if (examineSpace(fd, &space) == .SUCCESS and space.in_memory) return .{ .failed = .OPNOTSUPP };
    var path_buffer: [32]u8 = undefined;
    // By its number: the name may belong to another file by now.
    const path = std.fmt.bufPrint(&path_buffer, "/proc/self/fd/{d}", .{fd}) catch unreachable;
    const flags: linux.O = .{ .ACCMODE = mode, .DIRECT = true, .NONBLOCK = true, .CLOEXEC = true };
    return openAs(.open_direct, path, flags, 0);
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
    try testing.expectEqual(E.SUCCESS, allocate(fd, 10, 0));
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
