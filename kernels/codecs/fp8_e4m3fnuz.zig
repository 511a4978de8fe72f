//! FP8 with codes of E4M3FNUZ: see scaled.zig for the layout.
const codec = @import("scaled.zig").Codec(.e4m3fnuz);

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
pub const dot_forms = codec.dot_forms;
pub const dotForm = codec.dotForm;
pub const spanCodes = codec.spanCodes;
pub const blockScale = codec.blockScale;
pub const rowFactor = codec.rowFactor;
pub const weightBits = codec.weightBits;
