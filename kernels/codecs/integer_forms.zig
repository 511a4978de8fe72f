//! How whole numbers of one to eight bits stand in tiles for products: of up to four bits as
//! nibbles, else as signed bytes, in both cases in the highest bits, so that one table of numbers
//! serves every width, and less the middle of their range, so that sums of them stay small. Each 128
//! or 32 columns have a scale, and what is still to be subtracted, in F32.
const dots = @import("../matvec/dot.zig");

const Form = enum(u8) { four_128, four_32, eight_128, eight_32 };

pub const dot_forms = [_]dots.Form{
    formOf(.{ .four = dots.centered_nibbles }, 128),
    formOf(.{ .four = dots.centered_nibbles }, 32),
    formOf(.eight, 128),
    formOf(.eight, 32),
};

fn formOf(codes: dots.Codes, block_columns: u16) dots.Form {
    return .{ .coded = .{
        .codes = codes,
        .block_columns = block_columns,
        .scale = .f32,
        .has_minimum = true,
        .order = if (codes == .four) dots.neighbour_order else dots.column_order,
    } };
}

/// The form of weights of which `width` of `count` columns share a scale; 0: all of them. Null where
/// a block of 32 columns would have several.
pub fn select(has_nibbles: bool, width: u64, count: u64) ?u8 {
    const is_wide = width == 0 or width % 128 == 0 or width >= count;
    if (!is_wide and width % 32 != 0) return null;
    const form: Form = if (has_nibbles)
        (if (is_wide) .four_128 else .four_32)
    else
        (if (is_wide) .eight_128 else .eight_32);
    return @intFromEnum(form);
}

/// Bits of a nibble or byte that codes of so many bits do not need.
pub fn spareBits(bits: u32) u3 {
    return @intCast(if (bits <= 4) 4 - bits else 8 - bits);
}

/// What one means once it was moved up by so many bits.
pub fn unit(spare: u3) f32 {
    return @floatFromInt(@as(u32, 1) << spare);
}
