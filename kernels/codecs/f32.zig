//! Dense f32: see dense.zig for the layout.
const codec = @import("dense.zig").Codec(.f32);

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const dot_forms = codec.dot_forms;
pub const dotForm = codec.dotForm;
