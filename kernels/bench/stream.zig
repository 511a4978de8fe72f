//! What memory gives to the workers of a team: each reads, or copies, its part of a buffer that it
//! touched first. The limit that products and decoding are told against; decoding is measured on
//! the same memory.
const std = @import("std");
const abi = @import("../abi.zig");
const dispatch = @import("../dispatch.zig");
const memory = @import("../machine/memory.zig");
const table = @import("../table.zig");
const teams_file = @import("../matvec/teams.zig");
const Decoding = @import("decoding.zig").Decoding;
const Team = @import("../matvec/team.zig").Team;

pub const Error = teams_file.Error || error{BadArgument};

pub const Stream = struct {
    gpa: std.mem.Allocator,
    team: *Team,
    teams: *teams_file.Teams,
    functions: *const table.Table = undefined,
    budget: memory.Budget,
    parts: []Part,
    kind: abi.Stream = .read,
    /// What was decoded last.
    decoding: ?Decoding = null,
    mutex: std.Thread.Mutex = .{},
    user_count: std.atomic.Value(u32) = .init(0),

    const Part = struct {
        source: memory.Bytes,
        target: memory.Bytes,
        /// Of decoding alone.
        scratch: ?memory.Bytes = null,
    };

    pub fn create(
        gpa: std.mem.Allocator,
        teams: *teams_file.Teams,
        options: *const abi.StreamOptions,
    ) Error!*Stream {
        if (options.numa > 1 or options.size == 0) return error.BadArgument;
        const team = try teams.acquire(gpa, options.thread_count, options.numa == 1);
        errdefer teams.release(team);
        const stream = try gpa.create(Stream);
        errdefer gpa.destroy(stream);
        const parts = try gpa.alloc(Part, team.placements.len);
        errdefer gpa.free(parts);
        stream.* = .{
            .gpa = gpa,
            .team = team,
            .teams = teams,
            .budget = .init(std.math.maxInt(u64)),
            .parts = parts,
        };
        const each = std.math.divCeil(u64, options.size, parts.len) catch unreachable;
        const size = std.mem.alignForward(u64, each, memory.alignment);
        for (parts, 0..) |*part, i| {
            part.* = stream.allocate(size) catch {
                stream.freeParts(parts[0..i]);
                return error.OutOfMemory;
            };
        }
        stream.runTeam(touch);
        return stream;
    }

    pub fn destroy(stream: *Stream) void {
        while (stream.user_count.load(.acquire) > 0) std.Thread.sleep(50 * std.time.ns_per_us);
        stream.forgetDecoding();
        stream.freeParts(stream.parts);
        stream.gpa.free(stream.parts);
        stream.teams.release(stream.team);
        stream.gpa.destroy(stream);
    }

    fn allocate(stream: *Stream, size: u64) !Part {
        const source = try memory.allocate(&stream.budget, size);
        errdefer memory.free(&stream.budget, source);
        return .{ .source = source, .target = try memory.allocate(&stream.budget, size) };
    }

    fn freeParts(stream: *Stream, parts: []const Part) void {
        for (parts) |part| {
            memory.free(&stream.budget, part.source);
            memory.free(&stream.budget, part.target);
        }
    }

    /// One pass over all parts, in nanoseconds.
    pub fn measure(stream: *Stream, kind: abi.Stream) u64 {
        stream.mutex.lock();
        defer stream.mutex.unlock();
        stream.kind = kind;
        stream.functions = dispatch.active();
        return stream.timeTeam(pass);
    }

    /// One pass that decodes matrices of the request's codec. They are made up before it, where the
    /// last pass was of others.
    pub fn decode(
        stream: *Stream,
        request: *const abi.StreamDecode,
    ) error{ BadArgument, OutOfMemory }!abi.StreamPass {
        stream.mutex.lock();
        defer stream.mutex.unlock();
        const known = if (stream.decoding) |decoding|
            std.meta.eql(decoding.request, request.*)
        else
            false;
        if (!known) try stream.prepare(request);
        stream.functions = dispatch.active();
        const elapsed_ns = stream.timeTeam(decodePart);
        return stream.decoding.?.passOf(stream.parts.len, elapsed_ns);
    }

    fn prepare(
        stream: *Stream,
        request: *const abi.StreamDecode,
    ) error{ BadArgument, OutOfMemory }!void {
        stream.forgetDecoding();
        const part_size = stream.parts[0].source.len;
        const size = if (request.size == 0)
            part_size
        else
            @min(part_size, request.size / stream.parts.len);
        stream.decoding = try Decoding.init(stream.gpa, request, size);
        errdefer stream.forgetDecoding();
        const scratch_bytes = stream.decoding.?.scratchBytes();
        for (stream.parts) |*part| {
            const bytes = memory.allocate(&stream.budget, scratch_bytes);
            part.scratch = bytes catch return error.OutOfMemory;
        }
        stream.runTeam(fillPart);
    }

    fn forgetDecoding(stream: *Stream) void {
        if (stream.decoding) |*decoding| decoding.deinit();
        stream.decoding = null;
        for (stream.parts) |*part| {
            if (part.scratch) |bytes| memory.free(&stream.budget, bytes);
            part.scratch = null;
        }
    }

    fn timeTeam(stream: *Stream, comptime work: fn (*Stream, Part) void) u64 {
        const begin = std.time.Instant.now() catch unreachable; // Linux has a monotonic clock
        stream.runTeam(work);
        const end = std.time.Instant.now() catch unreachable;
        return end.since(begin);
    }

    fn runTeam(stream: *Stream, comptime work: fn (*Stream, Part) void) void {
        const Body = struct {
            fn main(context: *anyopaque, worker: u32) void {
                const self: *Stream = @ptrCast(@alignCast(context));
                work(self, self.parts[worker]);
            }
        };
        stream.team.run(@intCast(stream.parts.len), .{ .context = stream, .function = Body.main });
    }

    fn touch(_: *Stream, part: Part) void {
        @memset(part.source, 1);
        @memset(part.target, 2);
    }

    fn fillPart(stream: *Stream, part: Part) void {
        stream.decoding.?.fill(part.source);
        @memset(part.scratch.?, 0);
    }

    fn decodePart(stream: *Stream, part: Part) void {
        stream.decoding.?.run(stream.functions, .{
            .source = part.source,
            .target = part.target,
            .scratch = part.scratch.?,
        });
    }

    fn pass(stream: *Stream, part: Part) void {
        const function = stream.functions.stream[@intFromEnum(stream.kind)];
        function(part.source.ptr, part.target.ptr, part.source.len);
    }
};
