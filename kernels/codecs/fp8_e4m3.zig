//! FP8 with codes of E4M3: see scaled.zig for the layout.
const codec = @import("scaled.zig").Codec(.e4m3);

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
