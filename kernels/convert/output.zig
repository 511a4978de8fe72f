//! How the bytes of a tile get into a target file: through the page cache, around it, or by a map.
//!
//! A map is for file systems that live in memory. There the time goes into taking pages, and a
//! write holds the lock of its file while it takes them: one thread works and the others wait. Pages
//! of a map are taken side by side. A write alone is cheaper, for it need not clear its pages first.
//! So one thread writes and the others use the map meanwhile. Measured on tmpfs with two cores, 1.7
//! GB: writes 0.80 s, maps 0.90 s, both 0.65 s.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("../abi.zig");
const system = @import("../machine/system.zig");
const guard = @import("guard.zig");
const E = system.E;

/// Pages that are taken with one call, and filled: cleared lines are still in the cache then.
const fill_bytes = 128 << 10;

/// Pages that are let go with one call, for which the other CPUs are interrupted; until then they
/// count as the process's own.
pub const window_bytes = 512 << 10;

/// After so many bytes what has reached the device leaves the page cache.
const drop_bytes = 128 << 20;

pub const Output = struct {
    watch: *guard.Watch,
    /// What has reached the device leaves the page cache.
    drop_cache: bool = false,
    /// The system begins to write to the device at once, so that less is left for the sync.
    starts_sync: bool = false,
    /// The file, opened for writes around the page cache.
    direct_fd: system.Fd = -1,
    /// Such writes were wanted and the file system refuses them.
    refuses_direct: std.atomic.Value(bool) = .init(false),
    map: []align(std.heap.page_size_min) u8 = &.{},
    /// Held by the thread that writes while others use the map.
    writer: std.Thread.Mutex = .{},
    bytes_done: std.atomic.Value(u64) = .init(0),

    /// Makes a file of `size` bytes ready for `io`. What is not possible is done by plain writes.
    pub fn open(
        output: *Output,
        fd: system.Fd,
        size: u64,
        io: abi.IoMode,
        sync: bool,
    ) void {
        var space: system.Space = undefined;
        const known = system.examineSpace(fd, &space) == .SUCCESS;
        output.starts_sync = sync and io != .direct and !(known and space.in_memory);
        switch (io) {
            .auto, .pread => {},
            .mmap => output.mapFile(fd, size),
            .direct => switch (system.openDirect(fd, .WRONLY)) {
                .fd => |direct_fd| output.direct_fd = direct_fd,
                .failed => output.refuses_direct.store(true, .monotonic),
            },
        }
    }

    fn mapFile(output: *Output, fd: system.Fd, size: u64) void {
        const result = system.mapTarget(fd, @intCast(size));
        if (E.init(result) != .SUCCESS) return;
        const start: [*]align(std.heap.page_size_min) u8 = @ptrFromInt(result);
        output.map = start[0..@intCast(size)];
        output.watch.set(output.map);
    }

    /// After the last write.
    pub fn close(output: *Output) void {
        if (output.direct_fd >= 0) system.close(output.direct_fd);
        output.direct_fd = -1;
        if (output.map.len == 0) return;
        output.watch.clear();
        std.posix.munmap(output.map);
        output.map = &.{};
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write(output: *Output, fd: system.Fd, bytes: []const u8, offset: u64) E {
        const failed = if (output.map.len > 0)
            output.writeShared(fd, bytes, offset)
        else if (output.direct_fd >= 0)
            output.writeDirect(fd, bytes, offset)
        else
            system.write(fd, bytes, offset);
        if (failed != .SUCCESS) return failed;
        if (output.starts_sync) system.startSync(fd, offset, bytes.len);
        output.countDone(fd, bytes.len);
        return .SUCCESS;
    }

    /// After every `drop_bytes` the page cache gives up what it can.
    pub fn countDone(output: *Output, fd: system.Fd, size: u64) void {
        if (!output.drop_cache) return;
        const before = output.bytes_done.fetchAdd(size, .monotonic);
        if (before / drop_bytes != (before + size) / drop_bytes) system.forget(fd, 0, 0);
    }

    /// Blocks that the bytes fill go around the page cache, the pieces of blocks before and after
    /// them through it. Both sides of a border write the same page of the cache, and none of them
    /// writes that page around it.
    fn writeDirect(output: *Output, fd: system.Fd, bytes: []const u8, offset: u64) E {
        const first = std.mem.alignForward(u64, offset, system.direct_align);
        const end = offset + bytes.len;
        const last = end - end % system.direct_align;
        const begin = first - offset;
        const place = @intFromPtr(bytes.ptr) +% begin;
        if (first >= last or place % system.direct_align != 0)
            return system.write(fd, bytes, offset);
        const middle = bytes[@intCast(begin)..][0..@intCast(last - first)];
        var failed = system.writeDirect(output.direct_fd, middle, first);
        if (failed == .INVAL or failed == .OPNOTSUPP) {
            output.refuses_direct.store(true, .monotonic);
            failed = system.write(fd, middle, first);
        }
        if (failed != .SUCCESS) return failed;
        failed = system.write(fd, bytes[0..@intCast(begin)], offset);
        if (failed != .SUCCESS) return failed;
        return system.write(fd, bytes[@intCast(last - offset)..], last);
    }

    fn writeShared(output: *Output, fd: system.Fd, bytes: []const u8, offset: u64) E {
        if (output.writer.tryLock()) {
            defer output.writer.unlock();
            return system.write(fd, bytes, offset);
        }
        var done: usize = 0;
        while (done < bytes.len) {
            const begin: usize = @intCast(offset + done);
            const size = @min(toBorder(begin, window_bytes), bytes.len - done);
            const failed = output.fill(fd, bytes[done..][0..size], begin);
            system.advise(output.pagesOf(begin, begin + size), linux.MADV.DONTNEED);
            if (failed != .SUCCESS) return failed;
            done += size;
        }
        // Somebody cut the file short meanwhile.
        return if (output.watch.failed.load(.acquire)) .STALE else .SUCCESS;
    }

    /// Bytes within one window into the map.
    fn fill(output: *Output, fd: system.Fd, bytes: []const u8, offset: usize) E {
        var done: usize = 0;
        while (done < bytes.len) {
            const begin = offset + done;
            const size = @min(toBorder(begin, fill_bytes), bytes.len - done);
            if (system.populateWrite(output.pagesOf(begin, begin + size)) != .SUCCESS) {
                // No space, no such call: a write does it, or says why not.
                output.writer.lock();
                defer output.writer.unlock();
                return system.write(fd, bytes[done..], begin);
            }
            @memcpy(output.map[begin..][0..size], bytes[done..][0..size]);
            done += size;
        }
        return .SUCCESS;
    }

    fn toBorder(offset: usize, size: usize) usize {
        return size - offset % size;
    }

    fn pagesOf(output: *Output, begin: usize, end: usize) []u8 {
        return output.map[begin - begin % std.heap.pageSize() .. end];
    }
};
