//! A network in candle, with its autograd on the CPU, trained by an optimizer that candle lacks: Adamax.
//!
//! A step is one flat upload of all gradients, one dispatch and one download of all parameters. Beside it the same rule runs
//! by candle's own operations in f64, on the same gradients, and both must agree.
//!
//! `cargo run --release --manifest-path examples/candle/Cargo.toml`

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor, Var};
use gradus::optim::{Adamax, Rule};
use gradus::{Gpu, GpuOptions, ParamStore};

const STEPS: i32 = 300;
/// A perceptron of one hidden layer: shapes of its parameters, by name.
const SHAPES: [(&str, &[usize]); 4] =
    [("fc1.weight", &[32, 2]), ("fc1.bias", &[32]), ("fc2.weight", &[1, 32]), ("fc2.bias", &[1])];

fn main() -> Result<()> {
    let vars: Vec<Var> =
        SHAPES.iter().enumerate().map(|(i, (_, shape))| initial(i, shape)).collect::<Result<_>>()?;

    // The same values in a store, in the same order.
    let values: Vec<Vec<f32>> = vars.iter().map(|var| flat(var)).collect::<Result<_>>()?;
    let tensors = SHAPES.iter().zip(&values);
    let builder = tensors
        .fold(ParamStore::builder(), |store, ((name, shape), values)| store.tensor(*name, *shape, values));
    let gpu = Gpu::new(GpuOptions::default())?;
    let mut params = builder.build(&gpu)?;
    let rule = Adamax { lr: 1e-2, ..Adamax::default() };
    let mut optimizer = rule.clone().build(&params)?;
    let mut exact = Exact::new(rule, &vars)?;

    let (x, y) = samples()?;
    let (mut first, mut last) = (0.0, 0.0);
    for step in 1..=STEPS {
        let loss = (network(&vars, &x)? - &y)?.sqr()?.mean_all()?;
        last = loss.to_scalar::<f32>()?;
        if step == 1 {
            first = last;
        }
        let gradients = loss.backward()?;
        let gradients: Vec<&Tensor> = vars
            .iter()
            .map(|var| gradients.get(var).ok_or_else(|| anyhow::anyhow!("no gradient")))
            .collect::<Result<_>>()?;
        exact.step(step, &gradients)?;

        let all: Vec<f32> = gradients.iter().map(|g| flat(g)).collect::<Result<Vec<_>>>()?.concat();
        params.write_grads(&all)?;
        optimizer.step(&mut params)?;
        let all = params.params().read_all(&gpu)?;
        for (var, span) in vars.iter().zip(params.layout().spans()) {
            var.set(&Tensor::from_slice(
                &all[span.first..][..span.len],
                span.shape.as_slice(),
                &Device::Cpu,
            )?)?;
        }
    }
    let error = exact.largest_error(&vars)?;
    println!(
        "loss {first:.4} to {last:.4} in {STEPS} steps; largest difference from f64 by candle {error:.1e}"
    );
    ensure!(last < first / 20.0, "it does not learn");
    ensure!(error < 1e-5, "Adamax by candle ends elsewhere");
    Ok(())
}

fn network(vars: &[Var], x: &Tensor) -> candle_core::Result<Tensor> {
    let hidden = x.matmul(&vars[0].t()?)?.broadcast_add(&vars[1])?.tanh()?;
    hidden.matmul(&vars[2].t()?)?.broadcast_add(&vars[3])
}

/// Values of a tensor in row-major order, whatever its strides.
fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

/// Values between -1 and 1 over the root of the inputs, the same in each run.
fn initial(index: usize, shape: &[usize]) -> Result<Var> {
    let bound = 1.0 / (*shape.last().unwrap_or(&1) as f32).sqrt();
    let number = |i: usize| ((i * 7919 + index * 104_729 + 1) * 2_654_435_761 % 4093) as f32 / 2046.5 - 1.0;
    let values: Vec<f32> = (0..shape.iter().product()).map(|i| number(i) * bound).collect();
    Ok(Var::from_slice(&values, shape, &Device::Cpu)?)
}

/// Points of a saddle, `y = x0 * x1`.
fn samples() -> Result<(Tensor, Tensor)> {
    let points: Vec<[f32; 2]> =
        (0..256_u16).map(|i| [f32::from(i % 16) / 7.5 - 1.0, f32::from(i / 16) / 7.5 - 1.0]).collect();
    let y: Vec<f32> = points.iter().map(|[a, b]| a * b).collect();
    Ok((
        Tensor::from_slice(&points.concat(), (256, 2), &Device::Cpu)?,
        Tensor::from_slice(&y, (256, 1), &Device::Cpu)?,
    ))
}

/// Adamax by candle's operations in f64, on the gradients that the store is given.
struct Exact {
    rule: Adamax,
    /// Parameter, average of the gradient and largest gradient of each tensor.
    tensors: Vec<[Tensor; 3]>,
}

impl Exact {
    fn new(rule: Adamax, vars: &[Var]) -> Result<Self> {
        let start = |var: &Var| {
            let p = var.to_dtype(DType::F64)?;
            Ok([p.clone(), p.zeros_like()?, p.zeros_like()?])
        };
        Ok(Self { rule, tensors: vars.iter().map(start).collect::<Result<_>>()? })
    }

    fn step(&mut self, step: i32, gradients: &[&Tensor]) -> Result<()> {
        let Adamax { lr, betas: (beta1, beta2), eps, .. } = self.rule;
        for ([p, m, u], g) in self.tensors.iter_mut().zip(gradients) {
            let g = g.to_dtype(DType::F64)?;
            *m = ((&*m * beta1)? + (&g * (1.0 - beta1))?)?;
            *u = (&*u * beta2)?.maximum(&(g.abs()? + eps)?)?;
            *p = (&*p - ((&*m / &*u)? * (lr / (1.0 - beta1.powi(step))))?)?;
        }
        Ok(())
    }

    fn largest_error(&self, vars: &[Var]) -> Result<f64> {
        let error = |(var, [p, ..]): (&Var, &[Tensor; 3])| -> Result<f64> {
            Ok((var.to_dtype(DType::F64)? - p)?.abs()?.max_all()?.to_scalar()?)
        };
        vars.iter().zip(&self.tensors).map(error).try_fold(0.0, |most: f64, error| Ok(most.max(error?)))
    }
}
