//! Networks for images.

use anyhow::Result;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use protocol::Tensors;

use crate::weights::{batch_norm, conv, linear};

#[derive(Module, Debug)]
pub struct Cnn {
    convs: Vec<Conv2d>,
    pool: MaxPool2d,
    head: Mlp,
}

impl Cnn {
    pub fn new(weights: &Tensors, device: &Device) -> Result<Self> {
        let convs = ["conv1", "conv2"].map(|name| conv(weights, name, 1, true, device));
        let pool = MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
        Ok(Self { convs: convs.into_iter().collect::<Result<_>>()?, pool, head: Mlp::new(weights, device)? })
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let h = self.convs.iter().fold(x, |h, conv| self.pool.forward(relu(conv.forward(h))));
        self.head.forward(h.flatten(1, 3))
    }
}

#[derive(Module, Debug)]
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    pub fn new(weights: &Tensors, device: &Device) -> Result<Self> {
        Ok(Self { fc1: linear(weights, "fc1", device)?, fc2: linear(weights, "fc2", device)? })
    }

    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.fc2.forward(relu(self.fc1.forward(x)))
    }
}

#[derive(Module, Debug)]
struct BasicBlock {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    around: Option<(Conv2d, BatchNorm)>,
}

impl BasicBlock {
    fn new(weights: &Tensors, name: &str, stride: usize, device: &Device) -> Result<Self> {
        let layer = |part: &str, stride| conv(weights, &format!("{name}.{part}"), stride, false, device);
        let norm = |part: &str| batch_norm(weights, &format!("{name}.{part}"), device);
        let around = match stride {
            1 => None,
            _ => Some((layer("downsample.0", stride)?, norm("downsample.1")?)),
        };
        Ok(Self {
            conv1: layer("conv1", stride)?,
            bn1: norm("bn1")?,
            conv2: layer("conv2", 1)?,
            bn2: norm("bn2")?,
            around,
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let h = relu(self.bn1.forward(self.conv1.forward(x.clone())));
        let h = self.bn2.forward(self.conv2.forward(h));
        let around = match &self.around {
            Some((conv, norm)) => norm.forward(conv.forward(x)),
            None => x,
        };
        relu(h + around)
    }
}

#[derive(Module, Debug)]
pub struct Resnet {
    conv1: Conv2d,
    bn1: BatchNorm,
    blocks: Vec<BasicBlock>,
    fc: Linear,
}

impl Resnet {
    pub fn new(weights: &Tensors, device: &Device) -> Result<Self> {
        let blocks = [("layer1.0", 1), ("layer2.0", 2), ("layer3.0", 2)];
        let blocks = blocks.map(|(name, stride)| BasicBlock::new(weights, name, stride, device));
        Ok(Self {
            conv1: conv(weights, "conv1", 1, false, device)?,
            bn1: batch_norm(weights, "bn1", device)?,
            blocks: blocks.into_iter().collect::<Result<_>>()?,
            fc: linear(weights, "fc", device)?,
        })
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let h = relu(self.bn1.forward(self.conv1.forward(x)));
        let h = self.blocks.iter().fold(h, |h, block| block.forward(h));
        self.fc.forward(h.flatten::<3>(2, 3).mean_dim(2).flatten(1, 2))
    }
}
