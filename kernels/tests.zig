pub fn x() void {}
