//! The files that a job reads. Each is opened when the first tile needs it and closed when the last
//! one is done, so that a thousand shards take few descriptors; a map stays until the end of the
//! job, for workers may still advise on it. A file must be the one whose header was read, when it
//! is opened and again when it is closed.
const std = @import("std");
const assert = std.debug.assert;
const linux = std.os.linux;
const abi = @import("../abi.zig");
const system = @import("../machine/system.zig");
const fault_file = @import("fault.zig");
const guard = @import("guard.zig");
const tiles = @import("tiles.zig");
const Fault = fault_file.Fault;
const Stop = fault_file.Stop;

/// Bytes that are made present with one call: the job can be cancelled in between.
const populate_bytes_max = 8 << 20;

/// Reading ahead further than this would hold up the thread that asks for it.
const expect_bytes_max = 64 << 20;

/// fault_around_bytes of Linux (mm/memory.c).
pub const fault_around = 64 << 10;

/// Less than this is read through the page cache in direct mode too: a device answers as late for
/// a few bytes, and the system reads ahead.
const direct_bytes_min = 64 << 10;

/// Where in the buffer of a read its first line begins, and the bytes from one line to the next.
pub const Placed = struct { skip: u64, stride: u64 };

pub const SourceFile = struct {
    /// Number of the file in the plan.
    index: u32,
    path: []const u8,
    identity: system.Identity,
    watch: *guard.Watch,
    stop: *Stop,
    /// Items that still need the file.
    items_left: std.atomic.Value(u64),
    mutex: std.Thread.Mutex = .{},
    is_open: std.atomic.Value(bool) = .init(false),
    fd: system.Fd = -1,
    /// The same file, opened for reads around the page cache.
    direct_fd: system.Fd = -1,
    /// Such reads were wanted and the file system refuses them.
    refuses_direct: std.atomic.Value(bool) = .init(false),
    /// What was read leaves the page cache.
    drop_cache: bool = false,
    map: []align(std.heap.page_size_min) const u8 = &.{},

    pub fn init(
        index: u32,
        path: []const u8,
        file: *const abi.File,
        watch: *guard.Watch,
        stop: *Stop,
    ) SourceFile {
        assert(file.role == .source);
        return .{
            .index = index,
            .path = path,
            .identity = .{
                .device = file.device,
                .inode = file.inode,
                .size = file.size,
                .mtime_ns = file.mtime_ns,
            },
            .watch = watch,
            .stop = stop,
            .items_left = .init(0),
        };
    }

    /// Looks whether the file can be opened and is still the one it was.
    pub fn probe(source: *SourceFile) fault_file.Error!void {
        try source.openFile();
        defer source.closeFile();
        try source.checkIdentity();
    }

    /// Opens the file if nobody has yet.
    pub fn acquire(source: *SourceFile, io: abi.IoMode) fault_file.Error!void {
        if (source.is_open.load(.acquire)) return;
        source.mutex.lock();
        defer source.mutex.unlock();
        if (source.is_open.load(.acquire)) return;
        try source.openFile();
        errdefer source.closeFile();
        try source.checkIdentity();
        if (io == .mmap) try source.mapFile();
        if (io == .direct) switch (system.openDirect(source.fd, .RDONLY)) {
            .fd => |fd| source.direct_fd = fd,
            .failed => source.refuses_direct.store(true, .monotonic),
        };
        source.is_open.store(true, .release);
    }

    /// One item less that needs the file; after the last one, which gives true, it is checked and
    /// closed.
    pub fn release(source: *SourceFile) fault_file.Error!bool {
        const before = source.items_left.fetchSub(1, .acq_rel);
        assert(before > 0);
        if (before > 1) return false;
        defer source.closeFile();
        try source.checkIdentity();
        if (source.drop_cache) system.forget(source.fd, 0, 0);
        return true;
    }

    /// At the end of the job, after its workers.
    pub fn deinit(source: *SourceFile) void {
        source.closeFile();
        if (source.map.len > 0) std.posix.munmap(source.map);
        source.map = &.{};
    }

    fn openFile(source: *SourceFile) fault_file.Error!void {
        // NONBLOCK: a FIFO in the place of the file must not hold the job up.
        const flags: linux.O = .{ .ACCMODE = .RDONLY, .CLOEXEC = true, .NONBLOCK = true };
        source.fd = switch (system.open(source.path, flags, 0)) {
            .fd => |fd| fd,
            .failed => |failed| return source.stop.fail(.io(.open, failed, source.index)),
        };
    }

    fn closeFile(source: *SourceFile) void {
        if (source.fd >= 0) system.close(source.fd);
        if (source.direct_fd >= 0) system.close(source.direct_fd);
        source.fd = -1;
        source.direct_fd = -1;
    }

    pub fn checkIdentity(source: *SourceFile) fault_file.Error!void {
        var identity: system.Identity = undefined;
        const failed = system.identify(source.fd, &identity);
        if (failed != .SUCCESS) return source.stop.fail(.io(.stat, failed, source.index));
        if (!std.meta.eql(identity, source.identity)) return source.changed();
    }

    fn changed(source: *SourceFile) fault_file.Error {
        return source.stop.fail(.sourceChanged(source.index));
    }

    fn mapFile(source: *SourceFile) fault_file.Error!void {
        if (source.identity.size == 0) return;
        const size: usize = @intCast(source.identity.size);
        const result = system.map(source.fd, size);
        const failed = linux.E.init(result);
        if (failed != .SUCCESS) return source.stop.fail(.io(.map, failed, source.index));
        const start: [*]align(std.heap.page_size_min) const u8 = @ptrFromInt(result);
        source.map = start[0..size];
        source.watch.set(source.map);
        system.advise(source.map, linux.MADV.SEQUENTIAL);
        system.advise(source.map, linux.MADV.HUGEPAGE);
    }

    /// Makes mapped bytes present, so that a file that has lost them is found out here.
    pub fn populate(source: *SourceFile, begin: u64, end: u64) fault_file.Error!void {
        const pages = source.pagesOf(begin, end);
        var done: usize = 0;
        while (done < pages.len) {
            if (source.stop.isRequested()) return error.Fault;
            const size = @min(pages.len - done, populate_bytes_max);
            switch (system.populate(pages[done..][0..size])) {
                // Kernels before 5.14 do not know the advice, and memory limits may forbid it:
                // pages come when touched.
                .SUCCESS, .INVAL, .NOMEM, .PERM => {},
                else => |failed| {
                    try source.checkIdentity();
                    const errno: system.E = if (failed == .FAULT) .IO else failed;
                    return source.stop.fail(.io(.read, errno, source.index));
                },
            }
            done += size;
        }
    }

    /// Says that bytes are needed soon: the system may read them while others are decoded.
    pub fn expect(source: *SourceFile, begin: u64, end: u64) void {
        const near = @min(end, begin + expect_bytes_max);
        if (source.direct_fd >= 0) return;
        if (source.map.len == 0) return system.expect(source.fd, begin, near - begin);
        system.advise(source.pagesOf(begin, near), linux.MADV.WILLNEED);
    }

    /// Takes mapped bytes out of the process again. The kernel maps pages around the one that is
    /// touched, up to a border of `fault_around`: these go too. A neighbour that still reads them
    /// gets them back from the page cache and drops them in its turn.
    pub fn drop(source: *SourceFile, begin: u64, end: u64) void {
        const first = begin - begin % fault_around;
        const last = std.mem.alignForward(u64, end, fault_around);
        system.advise(source.pagesOf(first, @min(last, source.map.len)), linux.MADV.DONTNEED);
    }

    /// Lets the page cache give up what no item needs any more. The caller holds an item.
    pub fn forget(source: *SourceFile, begin: u64, end: u64) void {
        if (source.drop_cache) system.forget(source.fd, begin, end - begin);
    }

    fn pagesOf(source: *SourceFile, begin: u64, end: u64) []const u8 {
        assert(begin < end and end <= source.map.len);
        const page = std.heap.pageSize();
        const first = std.mem.alignBackward(usize, @intCast(begin), page);
        return source.map[first..@intCast(end)];
    }

    /// Whether a read of the map has met the end of the file.
    pub fn checkMap(source: *SourceFile) fault_file.Error!void {
        if (source.watch.failed.load(.acquire)) return source.changed();
    }

    /// Reads lines into `buffer`, which tiles.inputSize measured.
    pub fn read(source: *SourceFile, lines: tiles.Lines, buffer: []u8) fault_file.Error!Placed {
        if (tiles.readsWhole(lines)) {
            const extent = lines.extent();
            if (source.direct_fd >= 0 and extent >= direct_bytes_min) {
                const skip = lines.begin % system.direct_align;
                const part = buffer[0..@intCast(skip + extent)];
                if (try source.readDirect(part, lines.begin - skip))
                    return .{ .skip = skip, .stride = lines.stride };
            }
            try source.readParts(buffer[0..@intCast(extent)], lines.begin);
            return .{ .skip = 0, .stride = lines.stride };
        }
        for (0..lines.lines) |i| {
            const target = buffer[@intCast(i * lines.size)..][0..@intCast(lines.size)];
            try source.readExactly(target, lines.begin + i * lines.stride);
        }
        return .{ .skip = 0, .stride = lines.size };
    }

    /// Fills `buffer`, and up to the next border after it, around the page cache. False where the
    /// file system turns out to refuse that, or gives less: the page cache does it, or knows why.
    fn readDirect(source: *SourceFile, buffer: []u8, offset: u64) fault_file.Error!bool {
        var done: usize = 0;
        while (done < buffer.len) {
            if (source.stop.isRequested()) return error.Fault;
            const wanted = @min(populate_bytes_max, buffer.len - done);
            const size = std.mem.alignForward(usize, wanted, system.direct_align);
            switch (system.readDirect(source.direct_fd, buffer.ptr[done..][0..size], offset + done)) {
                // The file may end before the border.
                .size => |read_size| if (read_size < wanted) return false,
                .failed => |failed| switch (failed) {
                    .INVAL, .OPNOTSUPP => {
                        source.refuses_direct.store(true, .monotonic);
                        return false;
                    },
                    else => return source.stop.fail(.io(.read, failed, source.index)),
                },
            }
            done += wanted;
        }
        return true;
    }

    fn readParts(source: *SourceFile, buffer: []u8, offset: u64) fault_file.Error!void {
        var done: usize = 0;
        while (done < buffer.len) {
            if (source.stop.isRequested()) return error.Fault;
            const size = @min(populate_bytes_max, buffer.len - done);
            try source.readExactly(buffer[done..][0..size], offset + done);
            done += size;
        }
    }

    fn readExactly(source: *SourceFile, buffer: []u8, offset: u64) fault_file.Error!void {
        switch (system.read(source.fd, buffer, offset)) {
            .size => |size| if (size < buffer.len) return source.changed(),
            .failed => |failed| return source.stop.fail(.io(.read, failed, source.index)),
        }
    }
};
