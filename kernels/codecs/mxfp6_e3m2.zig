//! MXFP6 with codes of E3M2: see scaled.zig for the layout.
const codec = @import("scaled.zig").Codec(.e3m2);

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
