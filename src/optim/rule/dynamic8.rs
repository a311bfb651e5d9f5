//! The code of 8 bits on the host: the same numbers as `dynamic8.wgsl` and `dynamic8_subgroup8.wgsl` make, operation for
//! operation.
//!
//! A magnitude in [0, 1] has a number `m`. Those with the same highest bit `p` share a decade, of which they are the middles
//! of `p` equal pieces between its tenth and its end: `(18 m - 16 p + 9) * unit(p)`. The last number stands for 1.
//! Numbers of both signs have 7 decades, of 1 to 64 pieces, and codes `127 - m` and `127 + m`, so that 127 is zero and
//! there is no -1; those that are at least 0 have 7 decades of 2 to 128 pieces, and codes `m - 1`.
//!
//! Sources: Dettmers 2016, arXiv:1511.04561; Dettmers et al. 2022, arXiv:2110.02861.

/// Which of the two codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Signed,
    Unsigned,
}

/// The smallest normal number: a block whose largest magnitude is below it counts as zeros.
const LEAST_SCALE: u32 = 0x0080_0000;
const INFINITE: u32 = 0x7f80_0000;

impl Code {
    /// The code of zero, which stands where nothing was written yet.
    pub(crate) fn zero(self) -> u8 {
        match self {
            Self::Signed => 127,
            Self::Unsigned => 0,
        }
    }

    /// Of each decade the number of pieces, the reciprocal of its unit, and the magnitude that it begins with.
    fn decades(self) -> [(f32, f32, f32); 7] {
        match self {
            Self::Signed => [
                (1.0, 2e7, 0.0),
                (2.0, 4e6, 1.9e-6),
                (4.0, 8e5, 1.45e-5),
                (8.0, 1.6e5, 1.225e-4),
                (16.0, 3.2e4, 1.1125e-3),
                (32.0, 6.4e3, 1.056_25e-2),
                (64.0, 1.28e3, 0.102_812_5),
            ],
            Self::Unsigned => [
                (2.0, 4e7, 0.0),
                (4.0, 8e6, 1.45e-6),
                (8.0, 1.6e6, 1.225e-5),
                (16.0, 3.2e5, 1.1125e-4),
                (32.0, 6.4e4, 1.056_25e-3),
                (64.0, 1.28e4, 1.028_125e-2),
                (128.0, 2.56e3, 0.101_406_25),
            ],
        }
    }

    /// What a number of a decade is multiplied by: with the number of pieces.
    fn unit(self, pieces: f32) -> f32 {
        let signed = [5e-8, 2.5e-7, 1.25e-6, 6.25e-6, 3.125e-5, 1.5625e-4, 7.8125e-4];
        let unsigned = [2.5e-8, 1.25e-7, 6.25e-7, 3.125e-6, 1.5625e-5, 7.8125e-5, 3.906_25e-4];
        let units = if self == Self::Signed { signed } else { unsigned };
        let at = self.decades().iter().position(|(own, _, _)| *own == pieces);
        units[at.expect("a decade")]
    }

    /// The number that stands for 1, and from which magnitude on it does.
    fn top(self) -> (f32, f32) {
        match self {
            Self::Signed => (128.0, 0.996_484_4),
            Self::Unsigned => (256.0, 0.998_242_2),
        }
    }

    /// The magnitude of a number.
    fn magnitude(self, m: f32) -> f32 {
        if m == self.top().0 {
            return 1.0;
        }
        let is_zero = m < self.decades()[0].0;
        if is_zero {
            return 0.0;
        }
        let pieces = f32::from_bits(m.to_bits() & INFINITE);
        (18.0 * m - 16.0 * pieces + 9.0) * self.unit(pieces)
    }

    /// The number of a magnitude that is not zero.
    fn number(self, a: f32) -> f32 {
        let decade = self.decades().into_iter().rev().find(|(_, _, from)| a >= *from);
        let (pieces, per_unit, _) = decade.expect("the first begins at zero");
        let piece = ((a * per_unit - 2.0 * pieces) * (1.0 / 18.0)).floor();
        let m = pieces + piece.clamp(0.0, pieces - 1.0);
        let (top, from) = self.top();
        match self {
            _ if a >= from => top,
            // Half of the least.
            Self::Signed if a < 2.75e-7 => 0.0,
            Self::Signed | Self::Unsigned => m,
        }
    }

    /// What a code stands for, in parts of its block's scale.
    pub(crate) fn part(self, code: u8) -> f32 {
        match self {
            Self::Signed => {
                let m = f32::from((i16::from(code) - 127).unsigned_abs());
                let magnitude = self.magnitude(m);
                if code < 127 { -magnitude } else { magnitude }
            }
            Self::Unsigned => self.magnitude(f32::from(u16::from(code) + 1)),
        }
    }

    /// The code of a value in a block of this scale.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers of a code")]
    fn code(self, value: f32, scale: f32) -> u8 {
        if scale == 0.0 {
            return self.zero();
        }
        if !scale.is_finite() {
            return u8::MAX;
        }
        // So that no reciprocal is below the normal numbers.
        let down = if scale > LARGE { DOWN } else { 1.0 };
        let m = self.number((value.abs() * down) * (1.0 / (scale * down)));
        let m = if value == 0.0 { 0.0 } else { m };
        match self {
            Self::Signed if value < 0.0 => (127.0 - m.min(127.0)) as u8,
            Self::Signed => (127.0 + m) as u8,
            // What is not zero never becomes zero: a root of it is divided by.
            Self::Unsigned => (m - 1.0).max(0.0) as u8,
        }
    }

    /// Codes and scale of a block.
    pub(crate) fn encode(self, values: &[f32]) -> (Vec<u8>, f32) {
        let most = values.iter().map(|value| value.to_bits() & 0x7fff_ffff).max().unwrap_or(0);
        let scale = if most < LEAST_SCALE { 0.0 } else { f32::from_bits(most) };
        (values.iter().map(|value| self.code(*value, scale)).collect(), scale)
    }

    /// The values of a block.
    pub(crate) fn decode(self, codes: &[u8], scale: f32) -> Vec<f32> {
        codes.iter().map(|code| self.part(*code) * scale).collect()
    }
}

/// 2^100, and 2^-24.
const LARGE: f32 = 1.267_650_6e30;
const DOWN: f32 = 5.960_464_5e-8;

#[cfg(test)]
mod tests {
    use super::*;

    /// As its sources describe it, in f64: pieces of each decade, zero and 1.
    fn table(code: Code) -> Vec<f64> {
        let mut all = vec![0.0, 1.0];
        for decade in 0..7 {
            let pieces = 1 << (decade + i32::from(code == Code::Unsigned));
            for piece in 0..pieces {
                let middle = 0.1 + 0.9 * (f64::from(piece) + 0.5) / f64::from(pieces);
                let value = middle * 10_f64.powi(decade - 6);
                all.push(value);
                if code == Code::Signed {
                    all.push(-value);
                }
            }
        }
        all.sort_by(f64::total_cmp);
        all
    }

    #[test]
    fn codes_are_those_of_their_sources() {
        for code in [Code::Signed, Code::Unsigned] {
            let table = table(code);
            assert_eq!(table.len(), 256);
            for (number, expected) in (0..=255).zip(&table) {
                let got = f64::from(code.part(number));
                assert!(
                    (got - expected).abs() <= 1.2e-7 * expected.abs(),
                    "{code:?} {number}: {got} {expected}"
                );
            }
            assert_eq!(code.part(code.zero()), 0.0);
        }
        assert_eq!(Code::Signed.part(128), 5.5e-7);
        assert_eq!(Code::Signed.part(0), -0.992_968_75);
        assert_eq!([1, 2].map(|code| Code::Unsigned.part(code)), [3.25e-7, 7.75e-7]);
    }

    #[test]
    fn values_become_the_nearest_code() {
        let mut state = 7_u32;
        for code in [Code::Signed, Code::Unsigned] {
            let table: Vec<f64> = (0..=255).map(|number| f64::from(code.part(number))).collect();
            for _ in 0..20_000 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let size = 10_f64.powf(-8.0 * f64::from(state >> 8) / f64::from(1 << 24));
                let sign = if state & 128 == 0 || code == Code::Unsigned { 1.0 } else { -1.0 };
                let value = crate::optim::rule::f32_of(sign * size);
                let (codes, _) = code.encode(&[value, 1.0]);
                let got = (table[usize::from(codes[0])] - f64::from(value)).abs();
                let nonzero = table.iter().filter(|part| code == Code::Signed || **part != 0.0);
                let nearest = nonzero.map(|part| (part - f64::from(value)).abs()).fold(f64::MAX, f64::min);
                assert!(got <= nearest * (1.0 + 1e-6) + 1e-7 * size, "{code:?} {value}: {got} {nearest}");
            }
            // Every code is its own nearest one.
            for number in 0..=255 {
                let back = code.encode(&[code.part(number), 1.0]).0[0];
                assert_eq!(back, number, "{code:?}");
            }
        }
    }

    #[test]
    fn ends_of_the_range_of_numbers_keep_their_meaning() {
        for code in [Code::Signed, Code::Unsigned] {
            let zero = code.zero();
            assert_eq!(code.encode(&[0.0, -0.0]), (vec![zero; 2], 0.0));
            // Below the normal numbers a block is zero, as on a device that has no others.
            assert_eq!(code.encode(&[1e-39, 0.0]), (vec![zero; 2], 0.0));
            for scale in [f32::MIN_POSITIVE, 1e-30, 1.0, 1e30, f32::MAX] {
                let (codes, got) = code.encode(&[scale, 0.0, scale / 2.0]);
                assert_eq!((got, codes[0], codes[1]), (scale, 255, zero));
                let values = code.decode(&codes, got);
                assert_eq!(values[..2], [scale, 0.0]);
                assert!((values[2] / scale - 0.5).abs() < 4e-3, "{code:?} {scale}: {values:?}");
            }
            let (codes, scale) = code.encode(&[f32::INFINITY, 1.0]);
            assert_eq!((codes, scale), (vec![255; 2], f32::INFINITY));
            let (codes, scale) = code.encode(&[f32::NAN, f32::INFINITY, 1.0]);
            assert!(scale.is_nan() && code.decode(&codes, scale).iter().all(|value| value.is_nan()));
        }
        // A second moment that is not zero stays so.
        assert_eq!(Code::Unsigned.encode(&[1.0, 1e-30, 0.0]).0, [255, 1, 0]);
        assert_eq!(Code::Signed.encode(&[1.0, 1e-30, -1e-30]).0, [255, 127, 127]);
        // There is no -1.
        assert_eq!(Code::Signed.encode(&[-2.0, 2.0]).0, [0, 255]);
    }
}
