//! One hidden layer of 128.

use gradus::graph::Var;
use gradus::nn::{Linear, Sequential};

/// Logits of the classes of images of any size.
pub(crate) fn logits(x: &Var, classes: usize) -> Var {
    let network = Sequential::new()
        .append(Var::flatten)
        .add_module("fc1", Linear::new(128))
        .append(Var::relu)
        .add_module("fc2", Linear::new(classes));
    x.apply("", &network)
}
