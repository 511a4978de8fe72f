//! FP4 of bitsandbytes: see blockwise.zig for the layout. Not E2M1: sign and magnitude, of which
//! the second half are twelfths (functional.py: get_4bit_type). Code 8 is -0, as the CUDA and CPU
//! kernels have it; the library's fallback in Python has +0.
const blockwise = @import("blockwise.zig");

/// Of which all elements are multiples.
const steps = 384;

/// 0, 1/192, 2/3, 1, 1/3, 1/2, 1/6, 1/4 and their negatives, rounded to f32.
const codec = blockwise.Codec(@as([16]f32, @bitCast([16]u32{
    0x0000_0000, 0x3baa_aaab, 0x3f2a_aaab, 0x3f80_0000, 0x3eaa_aaab, 0x3f00_0000, 0x3e2a_aaab,
    0x3e80_0000, 0x8000_0000, 0xbbaa_aaab, 0xbf2a_aaab, 0xbf80_0000, 0xbeaa_aaab, 0xbf00_0000,
    0xbe2a_aaab, 0xbe80_0000,
})), steps);

pub const check = codec.check;
pub const samples = codec.samples;
pub const value = codec.value;
pub const decode = codec.decode;
pub const scaleFault = codec.scaleFault;
pub const dot_forms = codec.dot_forms;
pub const dotForm = codec.dotForm;
pub const spanCodes = codec.spanCodes;
pub const blockScale = codec.blockScale;
pub const weightBits = codec.weightBits;
