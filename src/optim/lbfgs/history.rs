use super::inner_products::OF_PAIR;
use super::kernels::Kernels;
use crate::Error;
use crate::gpu::{Buffer, Gpu, Region};
use crate::layout::Window;
use crate::params::{Flat, ParamStore};

/// Pairs share a buffer up to this many bytes, so that little is allocated before it is used.
const SHARED: usize = 16 << 20;
/// Maximum number of pairs in a history block: a dispatch has a row of workgroups for each of their products.
const MOST: usize = 4096;

/// A history block: memory for several pairs of steps and gradient changes, and its bind groups.
#[derive(Debug)]
pub(super) struct HistoryBlock {
    pub(super) weights: Buffer<f32>,
    pub(super) products: Buffer<f32>,
    /// Read from the one or the other buffer of partial sums.
    pub(super) sums: [wgpu::BindGroup; 2],
    pub(super) windows: Vec<HistoryWindow>,
}

#[derive(Debug)]
pub(super) struct HistoryWindow {
    pub(super) steps: Buffer<f32>,
    pub(super) changes: Buffer<f32>,
    pub(super) history: wgpu::BindGroup,
    pub(super) combine: wgpu::BindGroup,
    pub(super) remember: wgpu::BindGroup,
}

/// The other resources that pairs are bound with.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) kernels: &'a Kernels,
    pub(super) params: &'a ParamStore,
    pub(super) before: &'a Flat,
    pub(super) direction: &'a Flat,
    pub(super) parts: &'a [Buffer<f32>; 2],
    pub(super) call: Region<'a>,
    pub(super) sum: Region<'a>,
    pub(super) turn: Region<'a>,
}

/// Number of pairs in a history block, for windows of up to `len` elements.
pub(super) fn pairs_of(len: usize, history_size: usize, binding_bytes: u64) -> usize {
    let bytes = usize::try_from(binding_bytes).unwrap_or(usize::MAX).min(SHARED);
    (bytes / 4 / len).clamp(1, history_size.clamp(1, MOST))
}

impl HistoryBlock {
    pub(super) fn new(shared: &Shared<'_>, pairs: usize, windows: &[Window]) -> Result<Self, Error> {
        let Shared { gpu, kernels, params, before, direction, parts, call, sum, turn } = *shared;
        let weights = Buffer::storage(gpu, "weights of pairs", 2 * (2 + pairs))?;
        let products: Buffer<f32> = Buffer::storage(gpu, "products of pairs", 4 * OF_PAIR * pairs)?;
        let sums =
            |from: &Buffer<f32>| gpu.bind_group(&kernels.sums, &[sum, from.region(), products.region()]);
        let sums = [sums(&parts[0])?, sums(&parts[1])?];
        let bound = |window: &Window| -> Result<HistoryWindow, Error> {
            let memory = |label| Buffer::<f32>::storage(gpu, label, pairs * window.len);
            let (steps, changes) = (memory("old_stps")?, memory("old_dirs")?);
            let [grads, before, direction] =
                [params.grads(), before, direction].map(|flat| flat.window(window));
            let (s, y) = (steps.region(), changes.region());
            let history = [call, grads, before, direction, s, y, parts[0].region()];
            let combine = [call, weights.region(), grads, s, y, direction];
            let remember = [turn, call, grads, before, direction, s, y];
            Ok(HistoryWindow {
                history: gpu.bind_group(&kernels.history, &history)?,
                combine: gpu.bind_group(&kernels.combine, &combine)?,
                remember: gpu.bind_group(&kernels.remember, &remember)?,
                steps,
                changes,
            })
        };
        let windows = windows.iter().map(bound).collect::<Result<_, _>>()?;
        Ok(Self { weights, products, sums, windows })
    }
}
