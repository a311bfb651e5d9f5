//! The reference network and the perceptron in candle on the CPU: it has no wgpu.

use anyhow::{Result, bail};
use candle_core::{Device, Tensor, Var};
use candle_nn::{AdamW, Conv2dConfig, Module, Optimizer, ParamsAdamW};
use protocol::{Tensors, Training};

fn main() -> Result<()> {
    protocol::serve(|model, weights, batch| {
        let forward: fn(&Layers, &Tensor) -> candle_core::Result<Tensor> = match model {
            "reference-cnn" => cnn,
            "mlp" => mlp,
            _ => bail!("candle: no model {model}"),
        };
        let names: &[&str] = if model == "mlp" { &["fc1", "fc2"] } else { &["conv1", "conv2", "fc1", "fc2"] };
        let layers = Layers::new(weights, names)?;
        let (shape, x) = batch.get("x")?;
        let x = Tensor::from_slice(x, shape, &Device::Cpu)?;
        let y: Vec<u32> = batch.get("y")?.1.iter().map(|label| *label as u32).collect();
        let y = Tensor::new(y, &Device::Cpu)?;
        // torch's defaults.
        let options = ParamsAdamW { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };
        let optimizer = AdamW::new(layers.vars(), options)?;
        Ok(Box::new(Model { layers, forward, optimizer, x, y, loss: None }))
    })
}

/// Weight and bias of each layer.
struct Layers(Vec<[Var; 2]>);

impl Layers {
    fn new(weights: &Tensors, names: &[&str]) -> Result<Self> {
        let var = |name: String| {
            let (shape, values) = weights.get(&name)?;
            anyhow::Ok(Var::from_slice(values, shape, &Device::Cpu)?)
        };
        let layer = |name: &&str| Ok([var(format!("{name}.weight"))?, var(format!("{name}.bias"))?]);
        Ok(Self(names.iter().map(layer).collect::<Result<_>>()?))
    }

    fn vars(&self) -> Vec<Var> {
        self.0.iter().flatten().cloned().collect()
    }

    fn tensors(&self, at: usize) -> [Tensor; 2] {
        [0, 1].map(|which: usize| self.0[at][which].as_tensor().clone())
    }

    fn conv(&self, at: usize, x: &Tensor) -> candle_core::Result<Tensor> {
        let [weight, bias] = self.tensors(at);
        let config = Conv2dConfig { padding: 1, ..Default::default() };
        candle_nn::Conv2d::new(weight, Some(bias), config).forward(x)
    }

    fn linear(&self, at: usize, x: &Tensor) -> candle_core::Result<Tensor> {
        let [weight, bias] = self.tensors(at);
        candle_nn::Linear::new(weight, Some(bias)).forward(x)
    }
}

fn cnn(layers: &Layers, x: &Tensor) -> candle_core::Result<Tensor> {
    let x = layers.conv(0, x)?.relu()?.max_pool2d(2)?;
    let x = layers.conv(1, &x)?.relu()?.max_pool2d(2)?;
    layers.linear(3, &layers.linear(2, &x.flatten_from(1)?)?.relu()?)
}

fn mlp(layers: &Layers, x: &Tensor) -> candle_core::Result<Tensor> {
    layers.linear(1, &layers.linear(0, &x.flatten_from(1)?)?.relu()?)
}

struct Model {
    layers: Layers,
    forward: fn(&Layers, &Tensor) -> candle_core::Result<Tensor>,
    optimizer: AdamW,
    x: Tensor,
    y: Tensor,
    loss: Option<Tensor>,
}

impl Training for Model {
    fn step(&mut self) -> Result<()> {
        let logits = (self.forward)(&self.layers, &self.x)?;
        let loss = candle_nn::loss::cross_entropy(&logits, &self.y)?;
        self.optimizer.backward_step(&loss)?;
        self.loss = Some(loss);
        Ok(())
    }

    fn loss(&mut self) -> Result<f32> {
        Ok(self.loss.as_ref().map_or(Ok(f32::NAN), |loss| loss.to_scalar())?)
    }
}
