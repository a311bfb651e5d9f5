//! Transforms of the caller's own: centralisation, and one that is written here.

use std::sync::Arc;

use gradus::gpu::{Binding, Kernel, KernelSource, Recorder};
use gradus::grad::{Centralize, ClipGradNorm, Skip, Transform, Transforms};
use gradus::{Error, ParamStore};

use crate::common::{bits, gpu, noises, read_all};
use crate::grad::{LENS, close, negated, zeros};

#[test]
fn centralised_gradients_have_no_mean() {
    let Some(gpu) = gpu() else { return };
    let (mut params, mut optimizer) = zeros(&gpu);
    let transforms = Transforms { custom: vec![Box::new(Centralize::default())], ..Transforms::default() };
    optimizer.set_transforms(transforms, &params).unwrap();
    let mut want = noises(9, LENS.iter().sum());
    params.write_grads(&want).unwrap();
    optimizer.step(&mut params).unwrap();
    for row in want[LENS[0]..LENS[0] + LENS[1]].chunks_mut(1000) {
        let mean = row.iter().map(|g| f64::from(*g)).sum::<f64>() / 1000.0;
        #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
        row.iter_mut().for_each(|g| *g = (f64::from(*g) - mean) as f32);
    }
    for (index, (got, want)) in negated(&params).into_iter().zip(&want).enumerate() {
        assert!((got - want).abs() < 1e-6, "{index}: got {got}, expected {want}");
    }
    assert_eq!(negated(&params)[..LENS[0]], want[..LENS[0]]);
}

/// A transform of one's own, whole: the gradients of one tensor become their signs.
#[derive(Debug, Default)]
struct Signs {
    made: Option<(Arc<Kernel>, wgpu::BindGroup, u32)>,
}

impl Transform for Signs {
    fn prepare(&mut self, params: &ParamStore) -> Result<(), Error> {
        let kernel = params.gpu().kernel(&KernelSource {
            name: "signs".into(),
            wgsl: "@group(0) @binding(0) var<storage, read_write> grad: array<f32>;
                @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
                    if id.x < arrayLength(&grad) { grad[id.x] = sign(grad[id.x]); }
                }"
            .into(),
            bindings: vec![Binding::ReadWrite],
        })?;
        let span = params.layout().span("y")?;
        let group = params.gpu().bind_group(&kernel, &[params.grads().region_of(span)?])?;
        self.made = Some((kernel, group, u32::try_from(span.len.div_ceil(64)).expect("small")));
        Ok(())
    }

    fn record(&mut self, recorder: &mut Recorder<'_>, _: &ParamStore) -> Result<(), Error> {
        if let Some((kernel, group, workgroups)) = &self.made {
            recorder.dispatch(kernel, group, &[], [*workgroups, 1, 1]);
        }
        Ok(())
    }
}

#[test]
fn a_transform_of_ones_own_comes_first() {
    let Some(gpu) = gpu() else { return };
    let (mut params, mut optimizer) = zeros(&gpu);
    let transforms = Transforms {
        custom: vec![Box::new(Signs::default())],
        clip_grad_norm: Some(ClipGradNorm::new(20.0)),
        ..Transforms::default()
    };
    optimizer.set_transforms(transforms, &params).unwrap();
    params.write_grad("y", &noises(2, 40_000)).unwrap();
    optimizer.step(&mut params).unwrap();
    // The norm of 40,000 signs is 200.
    for (p, g) in params.read("y").unwrap().into_iter().zip(noises(2, 40_000)) {
        close(p.into(), -0.1 * f64::from(g.signum()), 1e-6);
    }
}

/// Refuses to be recorded, as often as it is told.
#[derive(Debug)]
struct Refuses(u32);

impl Transform for Refuses {
    fn prepare(&mut self, _: &ParamStore) -> Result<(), Error> {
        Ok(())
    }

    fn record(&mut self, _: &mut Recorder<'_>, _: &ParamStore) -> Result<(), Error> {
        let Some(left) = self.0.checked_sub(1) else { return Ok(()) };
        self.0 = left;
        Err(Error::Config { what: "my transform".into(), reason: "not now".into() })
    }
}

#[test]
fn a_transform_that_refuses_leaves_nothing_recorded() {
    let Some(gpu) = gpu() else { return };
    let transforms = |refusals| Transforms {
        custom: vec![Box::new(Signs::default()), Box::new(Refuses(refusals))],
        skip: Some(Skip::default()),
        ..Transforms::default()
    };
    let (mut params, mut optimizer) = zeros(&gpu);
    optimizer.set_transforms(transforms(2), &params).unwrap();
    let grads = noises(2, LENS.iter().sum());
    params.write_grads(&grads).unwrap();
    for refusal in 0..2 {
        let mut encoder = gpu.encoder("one that is submitted all the same");
        let before = gpu.counters();
        let refused = optimizer.record(&mut encoder, &mut params).unwrap_err();
        assert_eq!(refused.to_string(), "my transform: not now");
        let after = gpu.counters();
        assert_eq!(after.dispatches, before.dispatches, "refusal {refusal}");
        gpu.submit(encoder).unwrap();
        assert_eq!((optimizer.attempted(), optimizer.applied("y").unwrap()), (0, 0));
    }
    // The first transform has not touched the gradients either.
    let kept = params.grads().read_all(&gpu).unwrap();
    for span in params.layout().spans() {
        let first: usize =
            params.layout().spans().iter().take_while(|s| s.name != span.name).map(|s| s.len).sum();
        assert_eq!(kept[span.first..span.first + span.len], grads[first..first + span.len]);
    }
    // The slots of the refused steps are free: then all is as if there had been no refusal.
    for _ in 0..9 {
        optimizer.step(&mut params).unwrap();
    }
    let (mut others, mut plain) = zeros(&gpu);
    plain.set_transforms(transforms(0), &others).unwrap();
    others.write_grads(&grads).unwrap();
    for _ in 0..9 {
        plain.step(&mut others).unwrap();
    }
    assert_eq!(bits(&read_all(&params)), bits(&read_all(&others)));
    assert_eq!(optimizer.read_step_results().unwrap(), plain.read_step_results().unwrap());
}
