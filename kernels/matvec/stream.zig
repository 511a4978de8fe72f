//! What memory gives to the workers of a team: each reads, or copies, its part of a buffer that it
//! touched first. The limit that products are told against.
const std = @import("std");
const abi = @import("../abi.zig");
const dispatch = @import("../dispatch.zig");
const memory = @import("../machine/memory.zig");
const table = @import("../table.zig");
const teams_file = @import("teams.zig");
const Team = @import("team.zig").Team;

pub const Error = teams_file.Error || error{BadArgument};

pub const Stream = struct {
    gpa: std.mem.Allocator,
    team: *Team,
    teams: *teams_file.Teams,
    functions: *const table.Table,
    budget: memory.Budget,
    parts: []Part,
    kind: abi.Stream = .read,
    mutex: std.Thread.Mutex = .{},
    user_count: std.atomic.Value(u32) = .init(0),

    const Part = struct { source: memory.Bytes, target: memory.Bytes };

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
            .functions = dispatch.active(),
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
        const begin = std.time.Instant.now() catch unreachable; // Linux has a monotonic clock
        stream.runTeam(pass);
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

    fn pass(stream: *Stream, part: Part) void {
        const function = stream.functions.stream[@intFromEnum(stream.kind)];
        function(part.source.ptr, part.target.ptr, part.source.len);
    }
};
