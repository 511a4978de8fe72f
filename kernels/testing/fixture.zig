//! A temporary folder with files in it, for tests of code that reads /sys and /proc.
const std = @import("std");

pub const Fixture = struct {
    tmp: std.testing.TmpDir,

    /// Pairs of path and text.
    pub fn init(files: []const [2][]const u8) !Fixture {
        var fixture: Fixture = .{ .tmp = std.testing.tmpDir(.{}) };
        errdefer fixture.deinit();
        for (files) |file| try fixture.write(file[0], file[1]);
        return fixture;
    }

    pub fn deinit(fixture: *Fixture) void {
        fixture.tmp.cleanup();
    }

    pub fn dir(fixture: *const Fixture) std.fs.Dir {
        return fixture.tmp.dir;
    }

    pub fn write(fixture: *Fixture, path: []const u8, text: []const u8) !void {
        if (std.fs.path.dirname(path)) |folder| try fixture.tmp.dir.makePath(folder);
        try fixture.tmp.dir.writeFile(.{ .sub_path = path, .data = text });
    }
};
