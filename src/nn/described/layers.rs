//! Layers with parameters, and poolings.

use serde::Deserialize;

use super::{AnyModule, Described};
use crate::error::Error;
use crate::graph::Var;
use crate::nn;

/// One number for both axes, or `[vertical, horizontal]`.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "expected a whole number of at least 0, or a list of two")]
pub(super) enum Pair {
    Both(usize),
    Each([usize; 2]),
}

impl From<Pair> for nn::Pair {
    fn from(pair: Pair) -> Self {
        match pair {
            Pair::Both(both) => both.into(),
            Pair::Each(each) => each.into(),
        }
    }
}

/// Zeros on each side, or what torch calls `same` and `valid`.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "expected a whole number of at least 0, a list of two, \"same\" or \"valid\"")]
pub(super) enum Padding {
    Zeros(Pair),
    Named(NamedPadding),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum NamedPadding {
    Same,
    Valid,
}

impl From<Padding> for nn::Padding {
    fn from(padding: Padding) -> Self {
        match padding {
            Padding::Zeros(zeros) => nn::Pair::from(zeros).into(),
            Padding::Named(NamedPadding::Same) => Self::SAME,
            Padding::Named(NamedPadding::Valid) => Self::VALID,
        }
    }
}

/// A number of at least 0 or torch's name, for one axis.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "expected a whole number of at least 0, \"same\" or \"valid\"")]
pub(super) enum PaddingOfOne {
    Zeros(usize),
    Named(NamedPadding),
}

/// One size or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a whole number, or a list of them")]
enum Shape {
    One(usize),
    Several(Vec<usize>),
}

impl From<Shape> for Vec<usize> {
    fn from(shape: Shape) -> Self {
        match shape {
            Shape::One(size) => vec![size],
            Shape::Several(sizes) => sizes,
        }
    }
}

/// Options of a layer that is a module, with how they make it.
macro_rules! layers {
    ($($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty),* $(,)? } $value:expr;)*) => {$(
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$attribute])* $field: $type),*
        }

        impl Described for $name {
            fn module(self) -> Result<AnyModule, Error> {
                let make: fn(Self) -> _ = $value;
                Ok(Box::new(make(self)))
            }
        }
    )*};
}

layers! {
    Linear { out_features: usize, #[serde(default = "yes")] bias: bool } |o| {
        let layer = nn::Linear::new(o.out_features);
        if o.bias { layer } else { layer.without_bias() }
    };
    Conv1d {
        out_channels: usize,
        kernel_size: usize,
        #[serde(default = "one")] stride: usize,
        #[serde(default = "no_zeros_of_one")] padding: PaddingOfOne,
        #[serde(default = "one")] dilation: usize,
        #[serde(default = "one")] groups: usize,
        #[serde(default = "yes")] bias: bool,
    } |o| {
        let padding: nn::Padding = match o.padding {
            PaddingOfOne::Zeros(zeros) => zeros.into(),
            PaddingOfOne::Named(named) => Padding::Named(named).into(),
        };
        let layer = nn::Conv1d::new(o.out_channels, o.kernel_size)
            .stride(o.stride)
            .padding(padding)
            .dilation(o.dilation)
            .groups(o.groups);
        if o.bias { layer } else { layer.without_bias() }
    };
    Conv2d {
        out_channels: usize,
        kernel_size: Pair,
        #[serde(default = "ones")] stride: Pair,
        #[serde(default = "no_zeros")] padding: Padding,
        #[serde(default = "ones")] dilation: Pair,
        #[serde(default = "one")] groups: usize,
        #[serde(default = "yes")] bias: bool,
    } |o| {
        let layer = nn::Conv2d::new(o.out_channels, o.kernel_size)
            .stride(o.stride)
            .padding(o.padding)
            .dilation(o.dilation)
            .groups(o.groups);
        if o.bias { layer } else { layer.without_bias() }
    };
    ConvTranspose2d {
        out_channels: usize,
        kernel_size: Pair,
        #[serde(default = "ones")] stride: Pair,
        #[serde(default = "zeros")] padding: Pair,
        #[serde(default = "zeros")] output_padding: Pair,
        #[serde(default = "ones")] dilation: Pair,
        #[serde(default = "one")] groups: usize,
        #[serde(default = "yes")] bias: bool,
    } |o| {
        let layer = nn::ConvTranspose2d::new(o.out_channels, o.kernel_size)
            .stride(o.stride)
            .padding(o.padding)
            .output_padding(o.output_padding)
            .dilation(o.dilation)
            .groups(o.groups);
        if o.bias { layer } else { layer.without_bias() }
    };
    Embedding { num_embeddings: usize, embedding_dim: usize, #[serde(default)] padding_idx: Option<usize> } |o| {
        nn::Embedding::new(o.num_embeddings, o.embedding_dim).padding_idx(o.padding_idx)
    };
    LayerNorm {
        normalized_shape: Shape,
        #[serde(default = "eps")] eps: f64,
        #[serde(default = "yes")] elementwise_affine: bool,
        #[serde(default = "yes")] bias: bool,
    } |o| {
        let layer = nn::LayerNorm::new(Vec::from(o.normalized_shape));
        let layer = layer.eps(o.eps).elementwise_affine(o.elementwise_affine);
        if o.bias { layer } else { layer.without_bias() }
    };
    RMSNorm {
        normalized_shape: Shape,
        #[serde(default)] eps: Option<f64>,
        #[serde(default = "yes")] elementwise_affine: bool,
    } |o| {
        let layer = nn::RMSNorm::new(Vec::from(o.normalized_shape));
        layer.eps(o.eps).elementwise_affine(o.elementwise_affine)
    };
    GroupNorm { num_groups: usize, #[serde(default = "eps")] eps: f64, #[serde(default = "yes")] affine: bool } |o| {
        nn::GroupNorm::new(o.num_groups).eps(o.eps).affine(o.affine)
    };
    PReLU { #[serde(default = "one")] num_parameters: usize, #[serde(default = "quarter")] init: f64 } |o| {
        nn::PReLU::new().num_parameters(o.num_parameters).init(o.init)
    };
    MaxPool2d {
        kernel_size: Pair,
        #[serde(default)] stride: Option<Pair>,
        #[serde(default = "zeros")] padding: Pair,
        #[serde(default = "ones")] dilation: Pair,
        #[serde(default)] ceil_mode: bool,
    } |o| {
        nn::MaxPool2d::new(o.kernel_size)
            .stride(o.stride.unwrap_or(o.kernel_size))
            .padding(o.padding)
            .dilation(o.dilation)
            .ceil_mode(o.ceil_mode)
    };
    AvgPool2d {
        kernel_size: Pair,
        #[serde(default)] stride: Option<Pair>,
        #[serde(default = "zeros")] padding: Pair,
        #[serde(default)] ceil_mode: bool,
        #[serde(default = "yes")] count_include_pad: bool,
        #[serde(default)] divisor_override: Option<usize>,
    } |o| {
        nn::AvgPool2d::new(o.kernel_size)
            .stride(o.stride.unwrap_or(o.kernel_size))
            .padding(o.padding)
            .ceil_mode(o.ceil_mode)
            .count_include_pad(o.count_include_pad)
            .divisor_override(o.divisor_override)
    };
}

/// Options of both batch normalisations.
macro_rules! batch_norms {
    ($($name:ident: $call:ident),*) => {$(
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            #[serde(default = "eps")]
            eps: f64,
            /// torch's `None` is `null` here.
            #[serde(default = "tenth")]
            momentum: Option<f64>,
            #[serde(default = "yes")]
            affine: bool,
            #[serde(default = "yes")]
            track_running_stats: bool,
        }

        impl Described for $name {
            fn module(self) -> Result<AnyModule, Error> {
                let layer = nn::BatchNorm::new()
                    .eps(self.eps)
                    .momentum(self.momentum)
                    .affine(self.affine)
                    .track_running_stats(self.track_running_stats)
                    .name("");
                Ok(Box::new(move |x: &Var| x.$call(layer.clone())))
            }
        }
    )*};
}

batch_norms!(BatchNorm1d: batch_norm1d, BatchNorm2d: batch_norm2d);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdaptiveAvgPool2d {
    output_size: OutputSize,
}

/// A size for both axes, or one for each, where `null` keeps the input's.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "expected a whole number, or a list of two, each a whole number or null")]
enum OutputSize {
    Both(usize),
    Each([Option<usize>; 2]),
}

impl Described for AdaptiveAvgPool2d {
    fn module(self) -> Result<AnyModule, Error> {
        let size: nn::OutputSize = match self.output_size {
            OutputSize::Both(both) => both.into(),
            OutputSize::Each(each) => each.into(),
        };
        Ok(Box::new(move |x: &Var| x.adaptive_avg_pool2d(size)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upsample {
    #[serde(default)]
    scale_factor: Option<Factors>,
    #[serde(default)]
    size: Option<Pair>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a list of two")]
enum Factors {
    Both(f64),
    Each([f64; 2]),
}

impl Described for Upsample {
    fn module(self) -> Result<AnyModule, Error> {
        let layer = match (self.scale_factor, self.size) {
            (Some(Factors::Both(both)), None) => nn::Upsample::new(both),
            (Some(Factors::Each(each)), None) => nn::Upsample::new(each),
            (None, Some(size)) => nn::Upsample::to_size(size),
            _ => {
                let reason = "expected either scale_factor or size".into();
                return Err(Error::Config { what: "layer Upsample".into(), reason });
            }
        };
        Ok(Box::new(layer))
    }
}

// torch's defaults.
pub(super) fn yes() -> bool {
    true
}
fn one() -> usize {
    1
}
fn ones() -> Pair {
    Pair::Both(1)
}
fn zeros() -> Pair {
    Pair::Both(0)
}
fn no_zeros() -> Padding {
    Padding::Zeros(zeros())
}
fn no_zeros_of_one() -> PaddingOfOne {
    PaddingOfOne::Zeros(0)
}
fn eps() -> f64 {
    1e-5
}
fn tenth() -> Option<f64> {
    Some(0.1)
}
fn quarter() -> f64 {
    0.25
}
