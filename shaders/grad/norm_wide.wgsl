// Numbers with an exponent of their own: `digits`, 0 or in [1, 2), times two to the power of `exponent`.
struct Wide { digits: f32, exponent: i32 }

const ONE = Wide(1.0, 0);

// Converts a finite non-negative number, on bits, because devices may flush subnormal numbers to zero.
fn wide(x: f32) -> Wide {
    var bits = bitcast<u32>(x);
    var exponent = -127;
    if bits < 0x00800000u {
        bits = bitcast<u32>(f32(bits));
        exponent -= 149;
    }
    if bits == 0u {
        return Wide(0.0, 0);
    }
    return Wide(bitcast<f32>((bits & 0x007fffffu) | 0x3f800000u), exponent + i32(bits >> 23u));
}

fn wide_product(a: Wide, b: Wide) -> Wide {
    let digits = wide(a.digits * b.digits);
    return Wide(digits.digits, digits.exponent + a.exponent + b.exponent);
}

fn wide_quotient(a: Wide, b: Wide) -> Wide {
    let digits = wide(a.digits / b.digits);
    return Wide(digits.digits, digits.exponent + a.exponent - b.exponent);
}

fn wide_less(a: Wide, b: Wide) -> bool {
    if a.digits == 0.0 || b.digits == 0.0 || a.exponent == b.exponent {
        return a.digits < b.digits;
    }
    return a.exponent < b.exponent;
}

// The bits of the nearest f32; infinity if the number is too large.
fn narrow_bits(x: Wide) -> u32 {
    let bits = bitcast<u32>(x.digits) & 0x007fffffu;
    if x.digits == 0.0 || x.exponent < -150 {
        return 0u;
    }
    if x.exponent > 127 {
        return EXPONENT;
    }
    if x.exponent >= -126 {
        return bits | (u32(x.exponent + 127) << 23u);
    }
    let lost = u32(-126 - x.exponent);
    return ((bits | 0x00800000u) + (1u << (lost - 1u))) >> lost;
}

fn narrow(x: Wide) -> f32 {
    return bitcast<f32>(narrow_bits(x));
}
