//! The networks, for images of any size and any number of classes.

use std::fmt::Display;

use clap::ValueEnum;
use gradus::graph::Var;
use gradus::nn::{Conv2d, Linear, Module};
use serde::{Deserialize, Serialize};

use crate::resnet::Resnet;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Model {
    /// Two convolutions with pooling, then two linear layers.
    #[default]
    Cnn,
    /// One hidden layer of 128.
    Mlp,
    /// Three convolutions of 64, 128 and 256 channels with pooling, then 512 hidden.
    WideCnn,
    /// Three residual blocks of 16, 32 and 64 channels with batch normalisation, named as torchvision's.
    Resnet,
}

impl Display for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cnn => "cnn",
            Self::Mlp => "mlp",
            Self::WideCnn => "wide-cnn",
            Self::Resnet => "resnet",
        })
    }
}

pub(crate) fn logits(model: Model, x: &Var, classes: usize) -> Var {
    match model {
        Model::Cnn => {
            let h = x.conv2d(Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2);
            let h = h.conv2d(Conv2d::new(32, 3).padding(1)).relu().max_pool2d(2);
            h.flatten().linear(64).relu().linear(classes)
        }
        Model::Mlp => x.flatten().linear(128).relu().linear(classes),
        Model::WideCnn => x.apply("", &WideCnn { classes }),
        Model::Resnet => x.apply("", &Resnet { classes }),
    }
}

/// Three convolutions, each with a pooling that halves the image, and a hidden layer of 512.
struct WideCnn {
    classes: usize,
}

impl Module for WideCnn {
    fn forward(&self, x: &Var) -> Var {
        let mut h = x.clone();
        for (name, channels) in [("conv1", 64), ("conv2", 128), ("conv3", 256)] {
            h = h.apply(name, &Conv2d::new(channels, 3).padding(1)).relu().max_pool2d(2);
        }
        h.flatten().apply("fc1", &Linear::new(512)).relu().apply("fc2", &Linear::new(self.classes))
    }
}
