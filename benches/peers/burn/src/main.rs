//! Models of `benches/models.rs` in Burn on wgpu, with fusion and autotune.

mod images;
mod sequences;
mod weights;

use anyhow::{Result, bail};
use burn::module::Module;
use burn::nn::loss::{CrossEntropyLossConfig, MseLoss, Reduction};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor};
use protocol::{Tensors, Training};

fn main() -> Result<()> {
    protocol::serve(|model, weights, batch| {
        let device = Device::wgpu(Default::default()).autodiff();
        let data = Batch { batch, device: &device };
        Ok(match model {
            "reference-cnn" => {
                let (x, y) = (data.numbers("x")?, data.labels("y")?);
                training(images::Cnn::new(weights, &device)?, &device, move |m| {
                    classify(m.forward(x.clone()), &y)
                })
            }
            "mlp" => {
                let (x, y) = (data.numbers::<4>("x")?.flatten(1, 3), data.labels("y")?);
                training(images::Mlp::new(weights, &device)?, &device, move |m| {
                    classify(m.forward(x.clone()), &y)
                })
            }
            "resnet" => {
                let (x, y) = (data.numbers("x")?, data.labels("y")?);
                training(images::Resnet::new(weights, &device)?, &device, move |m| {
                    classify(m.forward(x.clone()), &y)
                })
            }
            "lstm" => {
                let (x, y) = (data.numbers("x")?, data.numbers("y")?);
                training(sequences::Sums::new(weights, &device)?, &device, move |m| {
                    MseLoss::new().forward(m.forward(x.clone()), y.clone(), Reduction::Mean)
                })
            }
            "transformer" => {
                let (x, y) = (data.whole::<2>("x")?, data.whole::<2>("y")?.flatten(0, 1));
                training(sequences::Transformer::new(weights, &device)?, &device, move |m| {
                    classify(m.forward(x.clone()), &y)
                })
            }
            _ => bail!("burn: no model {model}"),
        })
    })
}

fn classify(logits: Tensor<2>, labels: &Tensor<1, Int>) -> Tensor<1> {
    CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels.clone())
}

struct Batch<'a> {
    batch: &'a Tensors,
    device: &'a Device,
}

impl Batch<'_> {
    fn numbers<const D: usize>(&self, name: &str) -> Result<Tensor<D>> {
        weights::tensor(self.batch, name, self.device)
    }

    fn whole<const D: usize>(&self, name: &str) -> Result<Tensor<D, Int>> {
        Ok(self.numbers(name)?.int())
    }

    fn labels(&self, name: &str) -> Result<Tensor<1, Int>> {
        self.whole(name)
    }
}

/// A model in training with torch's defaults of AdamW.
fn training<M: Module + 'static>(
    model: M,
    device: &Device,
    loss_of: impl Fn(&M) -> Tensor<1> + 'static,
) -> Box<dyn Training> {
    let optimizer = AdamWConfig::new().with_weight_decay(0.01).with_epsilon(1e-8).init();
    Box::new(Model { model: Some(model), optimizer, loss_of, loss: None, device: device.clone() })
}

struct Model<M, F> {
    /// Only a step takes it, and gives it back.
    model: Option<M>,
    optimizer: ModuleOptimizer,
    loss_of: F,
    loss: Option<Tensor<1>>,
    device: Device,
}

impl<M: Module, F: Fn(&M) -> Tensor<1>> Training for Model<M, F> {
    fn step(&mut self) -> Result<()> {
        let model = self.model.take().expect("the step before gave it back");
        let loss = (self.loss_of)(&model);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimizer.step(1e-3, model, gradients));
        self.loss = Some(loss);
        Ok(())
    }

    fn loss(&mut self) -> Result<f32> {
        self.device.sync().map_err(|error| anyhow::anyhow!("burn: {error:?}"))?;
        Ok(self.loss.clone().map_or(f32::NAN, Tensor::into_scalar))
    }
}
