//! Gradient transforms, applied after a closure and before its gradients are measured.

use std::sync::Arc;

use super::LBFGS;
use super::kernels::{ADDING, Kernels, TransformCall, region};
use super::tiles::Tile;
use crate::Error;
use crate::gpu::{Buffer, Kernel, Recorder, UniformRing, grid};
use crate::grad::{FusedTransforms, NormReduction, NormSpec, Transforms};
use crate::params::{Gate, ParamStore};

/// Refuses transforms that cannot act on a closure.
pub(super) fn check(transforms: &Transforms) -> Result<(), Error> {
    transforms.check()?;
    let Transforms {
        custom: _,
        accumulate,
        grad_scaler,
        skip,
        clip_grad_norm,
        clip_grad_value: _,
        noise,
        ..
    } = transforms;
    let refused = [
        ("accumulate", accumulate.is_some(), "it takes a step after each call; add batches in the closure"),
        ("grad_scaler", grad_scaler.is_some(), "steps need the loss as it is, and none can be skipped"),
        (
            "skip",
            skip.is_some(),
            "a loss or gradient that is not finite is an error, which takes the move back",
        ),
        ("noise", noise.is_some(), "a search compares gradients of one function"),
    ];
    match refused.into_iter().find(|(_, is_set, _)| *is_set) {
        Some((name, _, why)) => {
            Err(LBFGS::refused(format!("the transform {name} cannot act on a closure: {why}")))
        }
        None if clip_grad_norm.as_ref().is_some_and(|clip| clip.error_if_nonfinite) => {
            let why = "a gradient that is not finite is an error with or without it";
            Err(LBFGS::refused(format!(
                "error_if_nonfinite of clip_grad_norm has no effect on a closure: {why}"
            )))
        }
        None => Ok(()),
    }
}

/// The dispatches that change gradients in place, except custom transforms.
#[derive(Debug)]
pub(super) struct GradientPass {
    norms: NormSpec,
    reduction: NormReduction,
    kernel: Arc<Kernel>,
    /// One per window.
    bind_groups: Vec<wgpu::BindGroup>,
    /// For each tile, the byte offsets of its uniforms and of its group's gate.
    offsets: Vec<[u32; 2]>,
    /// The value of all penalties, in four parts.
    pub(super) penalty: Buffer<f32>,
    /// Read from the one or the other buffer of partial sums.
    pub(super) sums: [wgpu::BindGroup; 2],
}

/// The other resources that the pass is bound with.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) params: &'a ParamStore,
    pub(super) kernels: &'a Kernels,
    pub(super) parts: &'a [Buffer<f32>; 2],
    pub(super) sums: &'a Buffer<u8>,
    pub(super) tiles: &'a [Tile],
}

impl GradientPass {
    /// `None` if the transforms do not change gradients.
    pub(super) fn new(
        shared: &Shared<'_>,
        transforms: &Transforms,
        fused: &FusedTransforms,
    ) -> Result<Option<Self>, Error> {
        let Transforms { clip_grad_norm, clip_grad_value, penalties, .. } = transforms;
        if clip_grad_norm.is_none() && clip_grad_value.is_none() && penalties.is_empty() {
            return Ok(None);
        }
        let Shared { params, kernels, parts, sums, tiles } = *shared;
        let gpu = params.gpu();
        let (norms, reduction) = norm_reduction(transforms, params)?;
        let (calls, offsets) = calls(params, tiles, fused)?;
        let kernel = gpu.kernel(&super::kernels::transform().source)?;
        let layout = params.layout();
        let bind_groups = layout.windows().map(|window| {
            let (values, grads) = (params.params().window(&window), params.grads().window(&window));
            let regions =
                [region::<TransformCall>(&calls), params.gate().region(), values, grads, parts[0].region()];
            gpu.bind_group(&kernel, &regions)
        });
        let bind_groups = bind_groups.collect::<Result<_, _>>()?;
        let penalty: Buffer<f32> = Buffer::storage(gpu, "penalty", 4)?;
        let adding = |from: &Buffer<f32>| kernels.adding(gpu, sums, from, &penalty);
        let sums = [adding(&parts[0])?, adding(&parts[1])?];
        Ok(Some(Self { norms, reduction, kernel, bind_groups, offsets, penalty, sums }))
    }

    /// Records the pass, without the reduction of the penalties' parts.
    pub(super) fn record(&self, recorder: &mut Recorder<'_>, tiles: &[Tile]) {
        if !self.norms.is_empty() {
            self.reduction.record(&self.norms, recorder, 0);
        }
        for (tile, offsets) in tiles.iter().zip(&self.offsets) {
            let workgroups = grid((tile.call.lanes as usize).div_ceil(ADDING));
            recorder.dispatch(&self.kernel, &self.bind_groups[tile.window], offsets, workgroups);
        }
    }
}

/// The norm reduction and its description.
fn norm_reduction(transforms: &Transforms, params: &ParamStore) -> Result<(NormSpec, NormReduction), Error> {
    let (mut norms, mut reduction) = (NormSpec::default(), NormReduction::default());
    if transforms.clip_grad_norm.is_some() {
        let gpu = params.gpu();
        let mut bytes = Vec::new();
        let place = (&**params.layout(), gpu.capabilities());
        norms.describe(transforms, place, params.frozen(), 0, &mut bytes);
        UniformRing::align(&mut bytes);
        let uniforms = uniforms(params, &bytes)?;
        reduction.prepare(&norms, transforms, params, uniforms.raw())?;
    }
    Ok((norms, reduction))
}

/// The uniforms of all tiles, and the offset of each with that of its group's gate.
fn calls(
    params: &ParamStore,
    tiles: &[Tile],
    fused: &FusedTransforms,
) -> Result<(Buffer<u8>, Vec<[u32; 2]>), Error> {
    let (mut bytes, mut offsets) = (Vec::new(), Vec::new());
    for tile in tiles {
        let call = TransformCall {
            first: tile.call.first,
            len: tile.call.len,
            lanes: tile.call.lanes,
            out: tile.call.out,
            clip_value: fused.clip_value,
            l1: tile.penalty.l1,
            l2: tile.penalty.l2,
        };
        let gate = u32::try_from(tile.group * Gate::STRIDE).expect("groups are few");
        offsets.push([UniformRing::align(&mut bytes), gate]);
        bytes.extend_from_slice(bytemuck::bytes_of(&call));
    }
    bytes.resize(bytes.len().max(UniformRing::ALIGN), 0);
    Ok((uniforms(params, &bytes)?, offsets))
}

fn uniforms(params: &ParamStore, bytes: &[u8]) -> Result<Buffer<u8>, Error> {
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let buffer = Buffer::with_usage(params.gpu(), "calls of transforms", bytes.len(), usage)?;
    buffer.write(params.gpu(), 0, bytes)?;
    Ok(buffer)
}
