//! Clipping, noise and a rate for each parameter together, on Rosenbrock's function of four variables.

use anyhow::{Result, ensure};
use gradus::ParamStore;
use gradus::grad::{ClipGradNorm, Noise, Transforms};
use gradus::optim::{RMSprop, Rule};
use gradus::search::TestFunction;

use crate::curves;
use crate::descent::numbered;
use crate::sheet::{COLORS, Scale, cells, panel, sheet};
use crate::{Picture, Stage};

const START: [f32; 4] = [0.4, -0.8, 1.4, -1.0];

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let steps = if stage.quick { 1500 } else { 6000 };
    let problem = TestFunction::Rosenbrock.in_dimensions(START.len())?;
    let mut params = ParamStore::builder().tensor("x", [START.len()], &START).build(&stage.gpu)?;
    let mut optimizer = RMSprop { lr: 1e-3, alpha: 0.999, ..RMSprop::default() }.build(&params)?;
    let safeguards = Transforms {
        clip_grad_norm: Some(ClipGradNorm::new(1.0)),
        noise: Some(Noise::default()),
        ..Transforms::default()
    };
    optimizer.set_transforms(safeguards, &params)?;
    let (mut losses, mut ways) = (Vec::new(), vec![Vec::new(); START.len()]);
    for step in 0..=steps {
        let x: Vec<f64> = params.read("x")?.into_iter().map(f64::from).collect();
        losses.push(problem.value(&x));
        for (way, x) in ways.iter_mut().zip(&x) {
            way.push(*x);
        }
        if step < steps {
            #[expect(clippy::cast_possible_truncation, reason = "gradients are f32")]
            let gradient: Vec<f32> = problem.gradient(&x).into_iter().map(|g| g as f32).collect();
            params.write_grads(&gradient)?;
            optimizer.step(&mut params)?;
        }
    }
    let ends: Vec<f64> = ways.iter().map(|way| way[steps]).collect();
    let (first, last) = (losses[0], losses[steps]);
    let least = if stage.quick { 0.2 } else { 0.01 };
    ensure!(last < least * first, "from {first} to {last}");
    let ways: Vec<_> = ways
        .into_iter()
        .zip(COLORS)
        .zip(["x₁", "x₂", "x₃", "x₄"])
        .map(|((way, color), name)| numbered(name, color, way))
        .collect();
    let losses = [numbered("loss", COLORS[0], losses)];
    let lines = [
        "RMSprop with a rate of 0.001, gradients clipped to a norm of 1, then noise of 0.001 / (1 + t)^0.55.",
    ];
    let title = "All safeguards together on Rosenbrock's function of four variables";
    let svg = sheet((880, 400), title, &lines, |body| {
        let areas = cells(body, 1, 2, 14)?;
        let x = Scale::linear(0.0..steps as f64, "step");
        let mut plot = panel(&areas[0], "Loss", (&x, &Scale::log(1e-4..1e3, "f")), 44)?;
        curves::draw(&areas[0], &mut plot, &losses)?;
        let mut plot = panel(
            &areas[1],
            "Parameters: the minimum is at 1",
            (&x, &Scale::linear(-1.5..1.6, "value")),
            34,
        )?;
        curves::draw(&areas[1], &mut plot, &ways)
    })?;
    let shows = format!(
        "The loss falls from {first:.0} to {last:.3} in {steps} steps, and the parameters come to {ends:.2?}; all four are 1 at the \
         minimum."
    );
    Ok(Picture { svg, shows })
}
