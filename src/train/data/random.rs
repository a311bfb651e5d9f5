/// Random numbers as a pure function of a seed and a place: Philox 4x32-10 (Salmon et al. 2011), as on the device.
///
/// [`DataLoader::augment`](super::DataLoader::augment) gives one to each sample of each epoch.
///
/// ```
/// use gradus::train::data::Random;
///
/// let (mut a, mut b) = (Random::new(7, 0), Random::new(7, 0));
/// assert_eq!(a.uniform(), b.uniform());
/// assert_ne!(a.uniform(), Random::new(7, 1).uniform());
/// assert!(a.below(6) < 6);
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    key: [u32; 2],
    /// The block of the next words; its first word counts the blocks.
    counter: [u32; 4],
    words: [u32; 4],
    used: usize,
}

/// The low and the high word.
#[expect(clippy::cast_possible_truncation, reason = "words of 32 bits")]
fn words(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

impl Random {
    /// The numbers of one stream of `seed`. Streams are independent.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let [low, high] = words(stream);
        Self::at(words(seed), [0, 0, low, high])
    }

    /// The numbers of a sample: the one at `place` of epoch `epoch`.
    pub(super) fn of_sample(seed: u64, epoch: u64, place: u64) -> Self {
        let ([low, high], [place, _]) = (words(epoch), words(place));
        // Streams of `new` have 0 there.
        Self::at(words(seed), [0, place.wrapping_add(1), low, high])
    }

    fn at(key: [u32; 2], counter: [u32; 4]) -> Self {
        Self { key, counter, words: [0; 4], used: 4 }
    }

    /// The next word, every value as likely.
    pub fn word(&mut self) -> u32 {
        if self.used == 4 {
            self.words = philox(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// A uniform multiple of 2^-24 in `[0, 1)`.
    pub fn uniform(&mut self) -> f32 {
        (self.word() >> 8) as f32 * 2.0_f32.powi(-24)
    }

    /// A whole number below `end`, every one as likely to 2^-32; 0 if `end` is 0.
    pub fn below(&mut self, end: u32) -> u32 {
        words(u64::from(self.word()) * u64::from(end))[1]
    }

    /// A standard normal number (Box and Muller 1958).
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the purpose")]
    pub fn normal(&mut self) -> f32 {
        // In (0, 1], so that the logarithm is finite.
        let radius =
            (-2.0 * (f64::from(self.word()) + 1.0).ln() + 2.0 * 32.0 * std::f64::consts::LN_2).sqrt();
        (radius * (f64::from(self.uniform()) * std::f64::consts::TAU).cos()) as f32
    }
}

/// The block of four words for a counter and a key.
pub(super) fn philox([mut a, mut b, mut c, mut d]: [u32; 4], [mut k, mut l]: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let [low, high] = words(u64::from(a) * 0xd251_1f53);
        let [low2, high2] = words(u64::from(c) * 0xcd9e_8d57);
        (a, b, c, d) = (high2 ^ b ^ k, low2, high ^ d ^ l, low);
        (k, l) = (k.wrapping_add(0x9e37_79b9), l.wrapping_add(0xbb67_ae85));
    }
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_words_of_its_authors() {
        // From `kat_vectors` of Random123.
        let rows = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        ];
        for (counter, key, words) in rows {
            assert_eq!(philox(counter, key), words);
        }
    }

    #[test]
    fn numbers_have_the_moments_of_their_distributions() {
        let mut random = Random::new(3, 1);
        let n = 20_000;
        let mean = |draw: &mut dyn FnMut() -> f64| (0..n).map(|_| draw()).sum::<f64>() / f64::from(n);
        // Five standard deviations of the means.
        let bound = |std: f64| 5.0 * std / f64::from(n).sqrt();
        assert!((mean(&mut || random.uniform().into()) - 0.5).abs() < bound(12_f64.sqrt().recip()));
        let mut random = Random::new(3, 2);
        assert!(mean(&mut || random.normal().into()).abs() < bound(1.0));
        assert!((mean(&mut || f64::from(random.normal()).powi(2)) - 1.0).abs() < bound(2_f64.sqrt()));
        assert!((mean(&mut || random.below(7).into()) - 3.0).abs() < bound(2.0));
        assert_eq!((random.below(1), random.below(0)), (0, 0));
    }
}
