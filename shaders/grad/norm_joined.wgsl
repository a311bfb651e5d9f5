// A partial norm: `sum` times two to the power of `exponent`, so that no gradient is too large or too small for it; and
// the bits of the largest magnitude. As bits, numbers without a sign have the order of their values, infinity comes
// after them and NaN last: a maximum of bits loses neither.
struct Part { sum: f32, exponent: i32, most: u32 }

const EXPONENT = 0x7f800000u;
// Below the exponent of any sum.
const OF_ZERO = -4096;

fn no_part() -> Part {
    return Part(0.0, OF_ZERO, 0u);
}

// Two to a power of at most 0; 0 if that is subnormal.
fn power(exponent: i32) -> f32 {
    return select(0.0, bitcast<f32>(u32(max(exponent, -127) + 127) << 23u), exponent >= -126);
}

// Each sum is at least 1 and can grow only by the number of sums.
fn norm_joined(a: Part, b: Part) -> Part {
    let exponent = max(a.exponent, b.exponent);
    let sum = a.sum * power(a.exponent - exponent) + b.sum * power(b.exponent - exponent);
    return Part(sum, exponent, max(a.most, b.most));
}

// The part of a sum in units of two to the power of `exponent`, zero or a normal number. Exponents are even, for the
// root.
fn part_of(sum: f32, exponent: i32, most: u32) -> Part {
    let bits = bitcast<u32>(sum);
    if bits == 0u {
        return Part(0.0, OF_ZERO, most);
    }
    let own = exponent + i32(bits >> 23u) - 127;
    let odd = u32(own & 1);
    return Part(bitcast<f32>((bits & 0x007fffffu) | ((127u + odd) << 23u)), own - i32(odd), most);
}
