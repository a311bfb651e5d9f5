//! What a dispatch moves and computes, by its kernel's text and by what is bound to it.

mod text;

use super::Kernel;
pub(crate) use text::KernelText;

/// What one dispatch moves and computes, as far as that is known before it runs: to hold its time against the speed of
/// memory and of arithmetic.
///
/// *Bytes* are those of the elements that the dispatch needs, each read once and written once, whatever caches do:
/// a region that is bound, or the part of it that a dispatch is known to touch. Whether a binding is read, written or both
/// is taken from the kernel's text.
///
/// *FLOP* of products, convolutions and attention are those of the definition: two for each multiplication and addition,
/// products with zeros of padding included. Of other kernels it is the arithmetic on floats that their text has for the
/// lanes of one invocation, in a loop once, for each quad that they work on: one for an operation or a built-in function,
/// two for `fma`, none for comparisons, selections and moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dispatch {
    /// What of a step it belongs to.
    pub phase: Phase,
    /// What it is for: the layer and its kernel, or the rule and its stage.
    pub label: String,
    /// Workgroups along each axis.
    pub workgroups: [u32; 3],
    /// Bytes that must be read.
    pub bytes_read: u64,
    /// Bytes that must be written.
    pub bytes_written: u64,
    /// Floating-point operations.
    pub flops: u64,
}

/// A part of a training step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// From inputs to outputs.
    #[default]
    Forward,
    /// From the loss to gradients.
    Backward,
    /// What happens to gradients before the rule.
    Gradients,
    /// The optimizer's rule.
    Update,
}

impl Dispatch {
    /// Bytes that must move, read and written.
    pub fn bytes(&self) -> u64 {
        self.bytes_read + self.bytes_written
    }

    /// `regions` are the bytes of what is bound behind the uniform blocks.
    pub(crate) fn new(
        (phase, label): (Phase, &str),
        kernel: &Kernel,
        workgroups: [u32; 3],
        regions: &[u64],
        work: &Work,
    ) -> Self {
        let text = kernel.text();
        let storage = text.accesses.iter().zip(regions).enumerate();
        let (mut read, mut written, mut largest) = (0, 0, 0);
        for (number, (access, region)) in storage {
            let touched = work.touched.get(number).copied().flatten();
            let bytes = touched.map_or(*region, |elements| (elements * 4).min(*region));
            let reads = access.reads && !(access.writes && work.overwrites);
            read += if reads { bytes } else { 0 };
            written += if access.writes { bytes } else { 0 };
            largest = largest.max(bytes);
        }
        let quads = work.quads.unwrap_or_else(|| match text.loops {
            true => largest.div_ceil(16),
            false => workgroups.iter().map(|n| u64::from(*n)).product::<u64>() * text.invocations,
        });
        let flops = work.flops.unwrap_or(text.flops * quads) + text.finish_flops * work.finishes;
        Self { phase, label: label.into(), workgroups, bytes_read: read, bytes_written: written, flops }
    }
}

/// What is known of a dispatch beside its kernel's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Floating-point operations of its definition, for products.
    pub(crate) flops: Option<u64>,
    /// Quads that it works on, elsewhere.
    pub(crate) quads: Option<u64>,
    /// How often it calls `finish`.
    pub(crate) finishes: u64,
    /// Whether it adds nothing to what it writes, though its text can.
    pub(crate) overwrites: bool,
    /// Elements that it touches of each storage binding, where that is not all of them.
    pub(crate) touched: Vec<Option<u64>>,
}

impl Work {
    /// Of a kernel with an invocation for each quad.
    pub(crate) fn of_quads(quads: usize) -> Self {
        Self { quads: Some(quads as u64), ..Self::default() }
    }

    /// Of so many floating-point operations.
    pub(crate) fn of_flops(flops: u64) -> Self {
        Self { flops: Some(flops), ..Self::default() }
    }

    /// With so many elements touched of each storage binding.
    pub(crate) fn touching(self, elements: impl IntoIterator<Item = Option<usize>>) -> Self {
        Self { touched: elements.into_iter().map(|n| n.map(|n| n as u64)).collect(), ..self }
    }

    /// One dispatch's part of work that several share.
    pub(crate) fn part(&self, part: u64, of: u64) -> Self {
        let share = |whole: u64| (u128::from(whole) * u128::from(part)).div_ceil(u128::from(of.max(1)));
        let share = |whole: u64| u64::try_from(share(whole)).unwrap_or(whole);
        Self {
            flops: self.flops.map(share),
            quads: self.quads.map(share),
            touched: self.touched.iter().map(|touched| touched.map(share)).collect(),
            ..*self
        }
    }
}
