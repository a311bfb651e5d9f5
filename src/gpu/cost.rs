//! What a dispatch moves and computes, derived from its kernel's WGSL and its bindings.

mod text;

use super::Kernel;
pub(crate) use text::KernelText;

/// The memory traffic and arithmetic of one dispatch, as far as known before it runs. Compare its time with
/// the device's memory bandwidth and arithmetic rate.
///
/// *Bytes*: each element that the dispatch needs counts as read once and written once, whatever caches do.
/// This is the size of the bound region, or of the part that the dispatch is known to touch. The WGSL shows
/// whether a binding is read, written or both.
///
/// *FLOP*: for products, convolutions and attention, two per multiplication and addition of the definition,
/// including products with zero padding. For other kernels, the float operations of the WGSL per invocation,
/// with each loop body counted once, times the number of quads processed: one per operation or built-in
/// function, two per `fma`, none for comparisons, `select` and moves.
///
/// ```no_run
/// // Needs a device.
/// use gradus::optim::{AdamW, Rule};
/// use gradus::{Gpu, GpuOptions, ParamStore};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let params = ParamStore::builder().tensor("w", [1000], &[0.0; 1000]).build(&gpu)?;
/// for dispatch in AdamW::default().build(&params)?.dispatches() {
///     println!("{}: {} bytes, {} FLOP", dispatch.label, dispatch.bytes(), dispatch.flops);
/// }
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dispatch {
    /// The phase of a training step that it belongs to.
    pub phase: Phase,
    /// Its purpose: the layer and its kernel, or the rule and its stage.
    pub label: String,
    /// Workgroups along each axis.
    pub workgroups: [u32; 3],
    /// Bytes that must be read at least once.
    pub bytes_read: u64,
    /// Bytes that must be written at least once.
    pub bytes_written: u64,
    /// Floating-point operations.
    pub flops: u64,
}

/// A phase of a training step.
///
/// ```
/// use gradus::gpu::{Dispatch, Phase};
///
/// fn bytes_of_the_update(dispatches: &[Dispatch]) -> u64 {
///     dispatches.iter().filter(|dispatch| dispatch.phase == Phase::Update).map(Dispatch::bytes).sum()
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The forward pass, from inputs to outputs.
    #[default]
    Forward,
    /// The backward pass, from the loss to the gradients.
    Backward,
    /// Gradient transforms before the update.
    Gradients,
    /// The update of the optimizer's rule.
    Update,
}

impl Dispatch {
    /// Bytes read plus bytes written.
    pub fn bytes(&self) -> u64 {
        self.bytes_read + self.bytes_written
    }

    /// `regions` are the sizes in bytes of the bindings after the uniform blocks.
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

/// What the lowering knows of a dispatch beyond its kernel's WGSL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Floating-point operations by definition, for products.
    pub(crate) flops: Option<u64>,
    /// Number of quads processed, for other kernels.
    pub(crate) quads: Option<u64>,
    /// Number of calls of `finish`.
    pub(crate) finishes: u64,
    /// Whether it overwrites its output, although the WGSL can also add to it.
    pub(crate) overwrites: bool,
    /// For each storage binding, the number of elements touched, if that is not all of them.
    pub(crate) touched: Vec<Option<u64>>,
}

impl Work {
    /// For a kernel with one invocation per quad.
    pub(crate) fn of_quads(quads: usize) -> Self {
        Self { quads: Some(quads as u64), ..Self::default() }
    }

    /// For a known number of floating-point operations.
    pub(crate) fn of_flops(flops: u64) -> Self {
        Self { flops: Some(flops), ..Self::default() }
    }

    /// With the number of elements touched of each storage binding.
    pub(crate) fn touching(self, elements: impl IntoIterator<Item = Option<usize>>) -> Self {
        Self { touched: elements.into_iter().map(|n| n.map(|n| n as u64)).collect(), ..self }
    }

    /// The share of one dispatch in work that several dispatches split.
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
