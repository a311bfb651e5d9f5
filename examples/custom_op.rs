//! A custom operation in WGSL: a root-mean-square norm with a trained scale. Its gradients are checked against finite
//! differences before a network with it is trained.
//!
//! `cargo run --release --example custom_op`

use gradus::graph::{CustomOp, Graph, Init};
use gradus::optim::Adam;
use gradus::{Error, Gpu, GpuOptions};

/// Sums along a row are separate values, so that each is computed once; the backward pass uses `inverse` too.
const RMS_NORM: &str = "
fn forward_inverse(row: u32) -> f32 {
    var sum = 0.0;
    for (var k = 0u; k < x_last; k++) {
        let v = x(row * x_last + k);
        sum += v * v;
    }
    return inverseSqrt(sum / f32(x_last) + scalars.eps);
}

fn forward_y(i: u32) -> f32 {
    return x(i) * inverse(i / x_last) * scale(i % x_last);
}

fn backward_along(row: u32) -> f32 {
    var sum = 0.0;
    for (var k = 0u; k < x_last; k++) {
        let i = row * x_last + k;
        sum += grad_y(i) * scale(k) * x(i);
    }
    return sum / f32(x_last);
}

fn backward_x(i: u32) -> f32 {
    let row = i / x_last;
    let r = inverse(row);
    return r * (grad_y(i) * scale(i % x_last) - x(i) * r * r * along(row));
}

fn backward_scale(k: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < inverse_len; row++) {
        let i = row * x_last + k;
        sum += grad_y(i) * x(i) * inverse(row);
    }
    return sum;
}";

fn rms_norm() -> Result<CustomOp, Error> {
    let rows = |shapes: &[&[usize]]| match shapes {
        [[rows, columns], [scale]] if columns == scale => Ok(vec![*rows]),
        other => Err(format!("expected rows and a scale for each column, got {other:?}")),
    };
    CustomOp::builder("rms_norm", RMS_NORM)
        .input("x")
        .input("scale")
        .scalar("eps", 1e-6)
        .forward("inverse", rows)
        .output("y", |shapes| Ok(shapes[0].to_vec()))
        .backward("along", rows)
        .build()
}

fn main() -> Result<(), Error> {
    let gpu = Gpu::new(GpuOptions::default())?;
    let norm = rms_norm()?;
    let x = [0.3, -1.2, 2.0, 0.7, 1.1, -0.4];
    norm.check_gradient(&gpu, &[(&[2, 3], &x), (&[3], &[1.0, 0.5, -2.0])])?;
    println!("the gradients agree with finite differences");

    let graph = Graph::new();
    let (x, y) = (graph.input("x", [64, 2]), graph.input("y", [64, 1]));
    let scale = graph.parameter("scale", [32], Init::Constant(1.0));
    let h = graph.custom(&norm, &[&x.linear(32).tanh(), &scale]);
    let loss = h.linear(1).mse_loss(&y);
    let mut trainer = graph.trainer(&loss, Adam { lr: 0.01, ..Default::default() }).build(&gpu)?;
    let xs: Vec<f32> = (0..128_u8).map(|i| (1.7 * f32::from(i)).sin()).collect();
    let ys: Vec<f32> = xs.chunks_exact(2).map(|point| point[0] * point[1]).collect();
    for _ in 0..500 {
        trainer.step(&[("x", &xs), ("y", &ys)])?;
    }
    let loss = trainer.read_loss()?;
    println!("loss {loss:.6} after 500 steps");
    assert!(loss < 1e-2, "it does not learn");
    Ok(())
}
