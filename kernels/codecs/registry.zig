//! The registry of codecs: one line for each. `abi.Codec` has its tags from here, in this order,
//! after `copy`, which moves bytes and has no file. The name of a codec is that of its file, of its
//! vectors, and of its row in benches; codecs.zig says what the file declares.

pub const @"f32" = @import("f32.zig");
pub const @"f16" = @import("f16.zig");
pub const bf16 = @import("bf16.zig");
// OCP MXFP4: E2M1 codes, two to a byte (low nibble first), E8M0 scale for each 32 columns.
pub const mxfp4 = @import("mxfp4.zig");
// ggml's block types, as GGUF files have them; the `_ggml` ones in ggml's own order of nibbles.
pub const q4_0 = @import("q4_0.zig");
pub const q4_1 = @import("q4_1.zig");
pub const q5_0 = @import("q5_0.zig");
pub const q5_1 = @import("q5_1.zig");
pub const q8_0 = @import("q8_0.zig");
pub const q2_k = @import("q2_k.zig");
pub const q3_k = @import("q3_k.zig");
pub const q4_k = @import("q4_k.zig");
pub const q5_k = @import("q5_k.zig");
pub const q6_k = @import("q6_k.zig");
pub const iq1_s = @import("iq1_s.zig");
pub const iq1_m = @import("iq1_m.zig");
pub const iq2_xxs = @import("iq2_xxs.zig");
pub const iq2_xs = @import("iq2_xs.zig");
pub const iq2_s = @import("iq2_s.zig");
pub const iq3_xxs = @import("iq3_xxs.zig");
pub const iq3_s = @import("iq3_s.zig");
pub const iq4_nl = @import("iq4_nl.zig");
pub const iq4_xs = @import("iq4_xs.zig");
pub const tq1_0 = @import("tq1_0.zig");
pub const tq2_0 = @import("tq2_0.zig");
pub const mxfp4_ggml = @import("mxfp4_ggml.zig");
pub const nvfp4_ggml = @import("nvfp4_ggml.zig");
pub const q1_0 = @import("q1_0.zig");
pub const q2_0 = @import("q2_0.zig");
// A byte for each value (OCP FP8; FNUZ: AMD's forms) and a scale for each block of rows and
// columns; MXFP8 too.
pub const fp8_e4m3 = @import("fp8_e4m3.zig");
pub const fp8_e5m2 = @import("fp8_e5m2.zig");
pub const fp8_e4m3fnuz = @import("fp8_e4m3fnuz.zig");
pub const fp8_e5m2fnuz = @import("fp8_e5m2fnuz.zig");
// OCP MXFP6: four codes in three bytes, E8M0 scale for each 32 columns.
pub const mxfp6_e2m3 = @import("mxfp6_e2m3.zig");
pub const mxfp6_e3m2 = @import("mxfp6_e3m2.zig");
// E2M1 codes, two to a byte (low nibble first), E4M3 scale for each 16 columns, F32 scale for all.
pub const nvfp4 = @import("nvfp4.zig");
// Codes of four bits of which two rows share a byte, as modelopt packs INT4 AWQ and transposed
// NVFP4 experts.
pub const nvfp4_row_pairs = @import("nvfp4_row_pairs.zig");
pub const int4_row_pairs = @import("int4_row_pairs.zig");
// bitsandbytes: four bits to a value (high nibble first), an absmax for each block of values.
pub const nf4 = @import("nf4.zig");
pub const fp4_bnb = @import("fp4_bnb.zig");
// Whole numbers of 2 to 8 bits under a scale and a zero for each column of a group of rows, stored
// [in, out].
pub const gptq = @import("gptq.zig");
pub const awq = @import("awq.zig");
// Integers under scales: of compressed-tensors in words, as signed bytes, and MLX's with biases.
pub const pack_quantized = @import("pack_quantized.zig");
pub const int8 = @import("int8.zig");
pub const mlx_affine = @import("mlx_affine.zig");
// Whole numbers with scales and zeros for groups of columns of a row, stored [out, in]; of hqq and
// bitnet a byte holds a code of each matrix of the batch.
pub const awq_gemv = @import("awq_gemv.zig");
pub const hqq = @import("hqq.zig");
pub const bitnet = @import("bitnet.zig");
