//! A residual network with batch normalisation (He et al. 2016, arXiv:1512.03385), in the form for small images:
//! three blocks of 16, 32 and 64 channels behind a 3x3 convolution.

use gradus::graph::Var;
use gradus::nn::{BatchNorm, Conv2d, Linear, Module, Sequential};

/// Parameters and running statistics are named as in torchvision's `ResNet`: `layer2.0.downsample.0.weight`.
pub(crate) struct Resnet {
    pub(crate) classes: usize,
}

impl Module for Resnet {
    fn forward(&self, x: &Var) -> Var {
        let h = x.apply("conv1", &conv3x3(16, 1)).apply("bn1", &BatchNorm::new()).relu();
        let h = h.apply("layer1", &Sequential::new().append(BasicBlock { channels: 16, stride: 1 }));
        let h = h.apply("layer2", &Sequential::new().append(BasicBlock { channels: 32, stride: 2 }));
        let h = h.apply("layer3", &Sequential::new().append(BasicBlock { channels: 64, stride: 2 }));
        h.adaptive_avg_pool2d(1).flatten().apply("fc", &Linear::new(self.classes))
    }
}

fn conv3x3(channels: usize, stride: usize) -> Conv2d {
    Conv2d::new(channels, 3).stride(stride).padding(1).without_bias()
}

/// Two convolutions, and a path around them that is projected where the shape changes.
struct BasicBlock {
    channels: usize,
    stride: usize,
}

impl Module for BasicBlock {
    fn forward(&self, x: &Var) -> Var {
        let Self { channels, stride } = *self;
        let h = x.apply("conv1", &conv3x3(channels, stride)).apply("bn1", &BatchNorm::new()).relu();
        let h = h.apply("conv2", &conv3x3(channels, 1)).apply("bn2", &BatchNorm::new());
        let around = if h.shape() == x.shape() {
            x.clone()
        } else {
            let conv1x1 = Conv2d::new(channels, 1).stride(stride).without_bias();
            x.apply("downsample", &Sequential::new().append(conv1x1).append(BatchNorm::new()))
        };
        (&h + &around).relu()
    }
}
