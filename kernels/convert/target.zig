//! The files that a job writes, or that a verify job reads back. A convert job creates all of them
//! before any work, at their full size, with their heads: a lack of space or permission shows at
//! once. After that each is open from its first tile to its last. output.zig is how bytes get into
//! them.
const std = @import("std");
const assert = std.debug.assert;
const abi = @import("../abi.zig");
const system = @import("../machine/system.zig");
const fault_file = @import("fault.zig");
const guard = @import("guard.zig");
const Fault = fault_file.Fault;
const Stop = fault_file.Stop;
const Output = @import("output.zig").Output;
const Seal = @import("seal.zig").Seal;
const SourceFile = @import("source.zig").SourceFile;

pub const TargetFile = struct {
    /// Number of the file in the plan.
    index: u32,
    path: []const u8,
    size: u64,
    kind: abi.JobKind,
    /// fsync at the end.
    sync: bool,
    seal: *Seal,
    stop: *Stop,
    /// Items that still need the file.
    items_left: std.atomic.Value(u64),
    mutex: std.Thread.Mutex = .{},
    is_open: std.atomic.Value(bool) = .init(false),
    fd: system.Fd = -1,
    output: Output,
    /// The file that `create` made.
    created: ?system.Identity = null,

    pub fn init(
        index: u32,
        path: []const u8,
        file: *const abi.File,
        options: *const abi.JobOptions,
        seal: *Seal,
        watch: *guard.Watch,
        stop: *Stop,
    ) TargetFile {
        assert(file.role == .target);
        return .{
            .index = index,
            .path = path,
            .size = file.size,
            .kind = options.kind,
            .sync = options.sync == 1,
            .output = .{ .watch = watch },
            .seal = seal,
            .stop = stop,
            .items_left = .init(0),
        };
    }

    /// Makes the file with its size and head. It must not exist. `promised`: bytes of the targets
    /// that were made before it.
    pub fn create(
        target: *TargetFile,
        head: []const u8,
        promised: u64,
    ) fault_file.Error!void {
        assert(target.kind == .convert and head.len <= target.size);
        const flags: std.os.linux.O = .{
            .ACCMODE = .WRONLY,
            .CREAT = true,
            .EXCL = true,
            .NOFOLLOW = true,
            .CLOEXEC = true,
        };
        target.fd = switch (system.open(target.path, flags, 0o644)) {
            .fd => |fd| fd,
            .failed => |failed| return target.fail(.open, failed),
        };
        var identity: system.Identity = undefined;
        const unknown = system.identify(target.fd, &identity);
        // Even a file that cannot be examined is ours to remove.
        target.created = if (unknown == .SUCCESS) identity else std.mem.zeroes(system.Identity);
        if (unknown != .SUCCESS) return target.fail(.stat, unknown);
        const refused = system.allocate(target.fd, target.size, promised);
        if (refused != .SUCCESS) return target.fail(.allocate, refused);
        const failed = system.write(target.fd, head, 0);
        if (failed != .SUCCESS) return target.fail(.write, failed);
        target.seal.add(head, 0);
        if (target.isDone()) try target.finish();
        target.closeFile();
    }

    /// Whether no item needs the file any more.
    pub fn isDone(target: *const TargetFile) bool {
        return target.items_left.load(.acquire) == 0;
    }

    /// Verify: looks at the size of the file, and compares its head where the plan has one.
    pub fn checkHead(target: *TargetFile, head: []const u8) fault_file.Error!void {
        assert(target.kind == .verify);
        try target.openFile();
        defer target.closeFile();
        var found: [4096]u8 = undefined;
        var done: usize = 0;
        while (done < head.len) {
            const part = found[0..@min(found.len, head.len - done)];
            try target.read(part, done);
            if (!std.mem.eql(u8, part, head[done..][0..part.len]))
                return target.stop.fail(.headDiffers(target.index));
            done += part.len;
        }
    }

    /// Opens the file if nobody has yet.
    pub fn acquire(target: *TargetFile, io: abi.IoMode) fault_file.Error!void {
        if (target.is_open.load(.acquire)) return;
        target.mutex.lock();
        defer target.mutex.unlock();
        if (target.is_open.load(.acquire)) return;
        try target.openFile();
        if (target.kind == .convert) target.output.open(target.fd, target.size, io, target.sync);
        target.is_open.store(true, .release);
    }

    fn openFile(target: *TargetFile) fault_file.Error!void {
        const convert = target.kind == .convert;
        const flags: std.os.linux.O = .{
            .ACCMODE = if (convert) .RDWR else .RDONLY, // a map that is written is read as well
            .NOFOLLOW = convert,
            .NONBLOCK = true,
            .CLOEXEC = true,
        };
        target.fd = switch (system.open(target.path, flags, 0)) {
            .fd => |fd| fd,
            .failed => |failed| return target.fail(.open, failed),
        };
        errdefer target.closeFile();
        var identity: system.Identity = undefined;
        const failed = system.identify(target.fd, &identity);
        if (failed != .SUCCESS) return target.fail(.stat, failed);
        if (target.created) |created| {
            // Somebody put another file in its place.
            const same = created.inode == identity.inode and created.device == identity.device;
            if (!same) return target.fail(.open, .STALE);
        } else if (identity.size != target.size) {
            return target.stop.fail(.sizeDiffers(target.index));
        }
    }

    /// One item less that needs the file; after the last one it is flushed, where that is wanted,
    /// and closed. True when it was the last one.
    pub fn release(target: *TargetFile) fault_file.Error!bool {
        const before = target.items_left.fetchSub(1, .acq_rel);
        assert(before > 0);
        if (before > 1) return false;
        defer target.closeFile();
        try target.finish();
        return true;
    }

    fn finish(target: *TargetFile) fault_file.Error!void {
        if (target.kind == .convert) try target.complete();
        // What is mapped would stay in the page cache.
        target.output.close();
        if (target.output.drop_cache) system.forget(target.fd, 0, 0);
    }

    /// The file is whole: nothing but the bytes of its head and its steps is in it.
    fn complete(target: *TargetFile) fault_file.Error!void {
        var identity: system.Identity = undefined;
        const unknown = system.identify(target.fd, &identity);
        if (unknown != .SUCCESS) return target.fail(.stat, unknown);
        // Somebody cut it short, or made it longer.
        if (identity.size != target.size) return target.fail(.write, .STALE);
        if (!target.seal.covers(target.size))
            return target.stop.fail(.{ .status = .incomplete, .file = target.index });
        if (!target.sync) return;
        const failed = system.sync(target.fd);
        if (failed != .SUCCESS) return target.fail(.sync, failed);
    }

    pub fn write(target: *TargetFile, bytes: []const u8, offset: u64) fault_file.Error!void {
        const failed = target.put(bytes, offset);
        if (failed != .SUCCESS) return target.fail(.write, failed);
    }

    /// Writes bytes of a map: where the file behind it has lost them the source is at fault, which
    /// the system tells by EFAULT instead of a signal.
    pub fn writeMapped(
        target: *TargetFile,
        source: *SourceFile,
        bytes: []const u8,
        offset: u64,
    ) fault_file.Error!void {
        switch (target.put(bytes, offset)) {
            .SUCCESS => {},
            .FAULT => {
                try source.checkIdentity();
                return target.stop.fail(.io(.read, .IO, source.index));
            },
            else => |failed| return target.fail(.write, failed),
        }
    }

    fn put(target: *TargetFile, bytes: []const u8, offset: u64) system.E {
        assert(offset <= target.size and bytes.len <= target.size - offset);
        const failed = target.output.write(target.fd, bytes, offset);
        if (failed == .SUCCESS) target.seal.add(bytes, offset);
        return failed;
    }

    /// Fills `bytes` from `offset` on.
    pub fn read(target: *TargetFile, bytes: []u8, offset: u64) fault_file.Error!void {
        switch (system.read(target.fd, bytes, offset)) {
            .size => |size| {
                if (size < bytes.len) return target.stop.fail(.sizeDiffers(target.index));
                target.output.countDone(target.fd, size);
            },
            .failed => |failed| return target.fail(.read, failed),
        }
    }

    /// At the end of the job, after its workers. `keep`: the file is whole.
    pub fn deinit(target: *TargetFile, keep: bool) void {
        target.closeFile();
        if (!keep and target.created != null) system.unlink(target.path);
    }

    fn closeFile(target: *TargetFile) void {
        target.output.close();
        if (target.fd >= 0) system.close(target.fd);
        target.fd = -1;
    }

    fn fail(target: *TargetFile, operation: abi.Operation, failed: system.E) fault_file.Error {
        return target.stop.fail(.io(operation, failed, target.index));
    }
};
