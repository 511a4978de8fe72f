//! MXFP6 with codes of E2M3: see scaled.zig for the layout.
const codec = @import("scaled.zig").Codec(.e2m3);

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
