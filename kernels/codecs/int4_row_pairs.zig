//! INT4 codes of which two rows share a byte: see row_pairs.zig for the layout.
const row_pairs = @import("row_pairs.zig");
const codec = row_pairs.Codec(row_pairs.int4);

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
