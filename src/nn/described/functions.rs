//! Layers without parameters: functions of a value.

use serde::Deserialize;

use super::{AnyModule, Described};
use crate::error::Error;
use crate::graph::Var;

/// Options with their defaults, and the function of a value that they make.
macro_rules! functions {
    ($($(#[doc = $doc:literal])? $name:ident { $($field:ident: $type:ty $(= $default:expr)?),* } |$x:ident| $value:expr;)*) => {$(
        $(#[doc = $doc])?
        #[derive(Clone, Copy, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[serde(default = $default)])? $field: $type),*
        }

        impl Described for $name {
            fn module(self) -> Result<AnyModule, Error> {
                let Self { $($field),* } = self;
                Ok(Box::new(move |$x: &Var| $value))
            }
        }
    )*};
}

functions! {
    Dropout { p: f64 = "half" } |x| x.dropout(p);
    ELU { alpha: f64 = "one" } |x| x.elu(alpha);
    Flatten { start_dim: isize = "first", end_dim: isize = "last" } |x| x.flatten_dims(start_dim, end_dim);
    GELU { approximate: Approximate = "Approximate::default" } |x| match approximate {
        Approximate::None => x.gelu(),
        Approximate::Tanh => x.gelu_tanh(),
    };
    Hardsigmoid {} |x| x.hardsigmoid();
    Hardswish {} |x| x.hardswish();
    Hardtanh { min_val: f64 = "minus_one", max_val: f64 = "one" } |x| x.hardtanh(min_val, max_val);
    Identity {} |x| x.clone();
    LeakyReLU { negative_slope: f64 = "hundredth" } |x| x.leaky_relu(negative_slope);
    LogSigmoid {} |x| x.log_sigmoid();
    LogSoftmax { dim: isize } |x| x.log_softmax(dim);
    Mish {} |x| x.mish();
    ReLU {} |x| x.relu();
    SELU {} |x| x.selu();
    Select { dim: isize, index: isize } |x| x.select(dim, index);
    SiLU {} |x| x.silu();
    Sigmoid {} |x| x.sigmoid();
    Softmax { dim: isize } |x| x.softmax(dim);
    Softplus { beta: f64 = "one", threshold: f64 = "twenty" } |x| x.softplus(beta, threshold);
    Tanh {} |x| x.tanh();
}

/// torch's formulas of GELU.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Approximate {
    #[default]
    None,
    Tanh,
}

// torch's defaults.
fn half() -> f64 {
    0.5
}
fn one() -> f64 {
    1.0
}
fn minus_one() -> f64 {
    -1.0
}
fn hundredth() -> f64 {
    0.01
}
fn twenty() -> f64 {
    20.0
}
fn first() -> isize {
    1
}
fn last() -> isize {
    -1
}
