//! Fused gradient transforms: clip by value, noise and penalties, applied in the optimizer's own dispatch.

use super::{Penalty, Transforms};
use crate::Error;
use crate::gpu::{Buffer, Gpu};
use crate::layout::Layout;

/// The variant of the transforms' WGSL that is joined with the optimizer's frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum FusedKernel {
    /// No fused transforms.
    #[default]
    Plain,
    /// Clip by value and penalties.
    Bounded,
    /// Also noise, which needs the number of real elements: padding gets none.
    Noisy,
}

impl FusedKernel {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Bounded, Self::Noisy];

    /// Suffix of the kernel's name.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bounded => "+bounds",
            Self::Noisy => "+noise",
        }
    }

    /// WGSL with the function `transformed`.
    pub(crate) fn wgsl(self) -> &'static str {
        match self {
            Self::Plain => include_str!("../../shaders/grad/plain.wgsl"),
            Self::Bounded => {
                concat!(
                    include_str!("../../shaders/grad/bounds.wgsl"),
                    include_str!("../../shaders/grad/bounded.wgsl")
                )
            }
            Self::Noisy => concat!(
                include_str!("../../shaders/grad/bounds.wgsl"),
                include_str!("../../shaders/shared/random.wgsl"),
                include_str!("../../shaders/grad/noisy.wgsl")
            ),
        }
    }
}

/// Penalty factors of one tensor in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PenaltyFactors {
    /// Factor of the parameter's sign.
    pub(crate) l1: f32,
    /// Factor of the parameter: twice that of its square.
    pub(crate) l2: f32,
}

/// The constants of all fused transforms over one layout.
#[derive(Debug, Default)]
pub(crate) struct FusedTransforms {
    /// One per tensor.
    pub(crate) tensors: Vec<PenaltyFactors>,
    pub(crate) variant: FusedKernel,
    pub(crate) scale: f32,
    pub(crate) clip_value: f32,
    pub(crate) seed: u64,
    /// For each buffer of the layout, the number of real elements in each block of 64; empty without noise.
    pub(crate) real: Vec<Buffer<u32>>,
}

impl FusedTransforms {
    pub(crate) fn new(gpu: &Gpu, transforms: &Transforms, layout: &Layout) -> Result<Self, Error> {
        let factors = Penalty::factors(&transforms.penalties, layout)?;
        let factor =
            |name: &str, factor: f64| at_least_in_32_bits(name, factor, 0.0).map(|()| narrow(factor));
        let tensors = factors
            .iter()
            .map(|&[l1, l2]| {
                Ok(PenaltyFactors {
                    l1: factor("penalty.l1", l1)?,
                    l2: factor("twice penalty.l2", 2.0 * l2)?,
                })
            })
            .collect::<Result<_, Error>>()?;
        let bounded = transforms.clip_grad_value.is_some() || !transforms.penalties.is_empty();
        let variant = match (&transforms.noise, bounded) {
            (Some(_), _) => FusedKernel::Noisy,
            (None, true) => FusedKernel::Bounded,
            (None, false) => FusedKernel::Plain,
        };
        Ok(Self {
            tensors,
            variant,
            scale: narrow(transforms.scale()),
            clip_value: transforms.clip_grad_value.map_or(f32::INFINITY, narrow),
            seed: transforms.noise.as_ref().map_or(0, |noise| noise.seed),
            real: if variant == FusedKernel::Noisy { real_elements(gpu, layout)? } else { Vec::new() },
        })
    }
}

/// Refuses values below `min`, and values that become infinite in f32, which would make padding NaN.
pub(super) fn at_least_in_32_bits(name: &str, value: f64, min: f64) -> Result<(), Error> {
    if value >= min && narrow(value).is_finite() {
        return Ok(());
    }
    Err(Error::constant(name, format!("finite in 32 bits and at least {min}"), value))
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
pub(super) fn narrow(value: f64) -> f32 {
    value as f32
}

/// The number of real elements in each block of 64. No block spans two tensors.
pub(crate) fn real_elements(gpu: &Gpu, layout: &Layout) -> Result<Vec<Buffer<u32>>, Error> {
    const BLOCK: usize = Layout::TENSOR_ALIGN;
    let mut counts = vec![0_u32; layout.len() / BLOCK];
    for span in layout.spans() {
        let blocks = &mut counts[span.first / BLOCK..];
        for (block, first) in blocks.iter_mut().zip((0..span.len).step_by(BLOCK)) {
            *block = u32::try_from((span.len - first).min(BLOCK)).expect("at most 64");
        }
    }
    let mut rest = &counts[..];
    (0..layout.buffers())
        .map(|index| {
            let (part, after) = rest.split_at(layout.buffer_elements(index) / BLOCK);
            rest = after;
            let buffer = Buffer::storage(gpu, "real elements", part.len())?;
            buffer.write(gpu, 0, part)?;
            Ok(buffer)
        })
        .collect()
}
