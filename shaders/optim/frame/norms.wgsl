// Sums of squares in two units, of which one fits whatever the norm is: `low` counts what is small, and is infinite
// where `high` is to be taken.
struct Squares { low: vec4f, high: vec4f }

// 2^46 and 2^-56; and the sum in `high` of a norm of 2^17.
const LOW = 70368744177664.0;
const FROM_LOW = 1.4210854715202004e-14;
const HIGH = 1.3877787807814457e-17;
const FROM_HIGH = 72057594037927936.0;
const IS_HIGH = 3.308722450212111e-24;

fn with_square(sums: Squares, x: vec4f) -> Squares {
    let low = x * LOW;
    let high = x * HIGH;
    return Squares(sums.low + low * low, sums.high + high * high);
}

fn added(x: vec4f) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}

// Low and high of the first norm, and of the second.
fn both(first: Squares, second: Squares) -> vec4f {
    return vec4f(added(first.low), added(first.high), added(second.low), added(second.high));
}

fn norms_of(sums: vec4f) -> vec2f {
    let low = sqrt(sums.xz) * FROM_LOW;
    return select(low, min(sqrt(sums.yw) * FROM_HIGH, LARGEST.xy), sums.yw >= vec2f(IS_HIGH));
}
