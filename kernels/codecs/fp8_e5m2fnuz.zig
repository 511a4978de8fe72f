//! FP8 with codes of E5M2FNUZ: see scaled.zig for the layout.
const codec = @import("scaled.zig").Codec(.e5m2fnuz);

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
