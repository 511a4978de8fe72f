//! NF4 of bitsandbytes: see blockwise.zig for the layout. The elements are quantiles of the normal
//! distribution (Dettmers et al. 2023, QLoRA, appendix E), as bitsandbytes has them in f32.
const blockwise = @import("blockwise.zig");

/// The best number up to dots.fine_max: of trained weights (all layers of all-MiniLM-L6-v2) the
/// roundings of these integers are 0.09 % in the root of the mean of squares, and 0.008 % in the mean,
/// which activations of one sign add up. What bytes can hold, 127 steps, has 0.5 % at the best.
const steps = 503;
const codec = blockwise.Codec(@as([16]f32, @bitCast([16]u32{
    0xbf80_0000, 0xbf32_39b1, 0xbf06_6b30, 0xbeca_32a0, 0xbe91_a24d, 0xbe3d_353f, 0xbdba_7871,
    0x0000_0000, 0x3da2_faff, 0x3e24_cae3, 0x3e7c_04dd, 0x3ead_033a, 0x3ee1_a4b8, 0x3f10_07ab,
    0x3f39_13b3, 0x3f80_0000,
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
