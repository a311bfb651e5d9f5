//! Pointwise functions: a table of WGSL functions, which chains combine into one kernel.

mod activation;
mod arithmetic;
mod dropout;
mod loss;

pub(crate) use arithmetic::{ADD, broadcast};
use loss::Loss;

use super::{Cast, Made, Op, Reads, same_shapes};
use crate::Error;
use crate::graph::lowering::Lowering;
use crate::graph::{Mode, Var};

/// A pointwise function: a file in `shaders/pointwise/` with `NAME_of(x0, .., constants)` for four elements at once,
/// and the gradient functions `NAME_grad0(dy, .., constants)`, .. that `slopes` requires.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function {
    /// Its name: the stem of its file and the prefix of its WGSL functions.
    pub(crate) name: &'static str,
    /// The text of its file.
    pub(crate) wgsl: &'static str,
    /// How the gradient of each input is computed.
    pub(crate) slopes: &'static [Slope],
    /// Whether a NaN input gives a NaN result and gradient, independent of the WGSL: drivers' built-in functions may
    /// lose it. Only for functions with one input.
    pub(crate) keeps_nan: bool,
    /// The function on numbers and constants in f64, if the host can compute it.
    pub(crate) on_host: Option<OnHost>,
    /// Whether plans with autocast always store its result as f32, as torch does, because f16 lacks the range or the
    /// precision.
    pub(crate) is_single: bool,
    /// Names of its constants for error messages.
    pub(crate) constants: &'static [&'static str],
}

/// A function of inputs and constants.
pub(crate) type OnHost = fn(&[f64], &[f64]) -> f64;

/// The arguments from which the gradient of an input is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slope {
    /// The input has no gradient.
    Absent,
    /// It equals the upstream gradient.
    Pass,
    /// The upstream gradient only: `NAME_grad0(dy, constants)`.
    OfNothing,
    /// The upstream gradient and the result: `NAME_grad0(dy, y, constants)`.
    OfResult,
    /// The upstream gradient and the inputs: `NAME_grad0(dy, x0, x1, .., constants)`.
    OfInputs,
}

/// A function with its constants, as called by a node.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: &'static Function,
    pub(crate) constants: Vec<f64>,
    /// For a random function, its number among those of the graph. Its WGSL takes two more arguments before the
    /// constants, the index of the quad and this number, and can call the functions of `random.wgsl`.
    pub(crate) stream: Option<usize>,
}

/// Declares an entry of the table of functions.
macro_rules! function {
    ($name:literal, [$($slope:ident),+], $on_host:expr $(, $field:ident: $value:expr)*) => {{
        use $crate::graph::ops::function::{Function, PLAIN, Slope};
        const ROW: Function = Function {
            name: $name,
            wgsl: include_str!(concat!("../../../../shaders/pointwise/", $name, ".wgsl")),
            slopes: &[$(Slope::$slope),+],
            on_host: $on_host,
            ..Function { $($field: $value,)* ..PLAIN }
        };
        &ROW
    }};
}
use function;

/// Default values of an entry.
const PLAIN: Function = Function {
    name: "",
    wgsl: "",
    slopes: &[],
    keeps_nan: false,
    on_host: None,
    is_single: false,
    constants: &[],
};

/// The op of a pointwise function.
#[derive(Debug)]
pub(crate) struct Elementwise {
    function: &'static Function,
    constants: Vec<f64>,
    /// For a loss: its name and checks. A loss does not broadcast its target.
    loss: Option<Loss>,
}

impl Var {
    /// Applies a pointwise function.
    pub(crate) fn function(&self, function: &'static Function, constants: &[f64]) -> Var {
        self.function_with(function, &[], constants)
    }

    /// Applies a pointwise function to this value and others, broadcast as in torch.
    pub(crate) fn function_with(
        &self,
        function: &'static Function,
        others: &[&Var],
        constants: &[f64],
    ) -> Var {
        let inputs: Vec<&Var> = [&[self], others].concat();
        let op = Elementwise { function, constants: constants.to_vec(), loss: None };
        self.graph().push(op, None, &inputs, &[], None)
    }

    /// Like [`Var::function_with`], for a node with a name.
    pub(crate) fn function_named(&self, name: &str, function: &'static Function, others: &[&Var]) -> Var {
        let inputs: Vec<&Var> = [&[self], others].concat();
        let op = Elementwise { function, constants: Vec::new(), loss: None };
        self.graph().push(op, Some(name), &inputs, &[], None)
    }

    /// A loss of each element of this value and of a target with the same shape. `others` broadcast to it.
    fn elementwise_loss(
        &self,
        loss: Loss,
        function: &'static Function,
        others: &[&Var],
        constants: &[f64],
    ) -> Var {
        let inputs: Vec<&Var> = [&[self], others].concat();
        let op = Elementwise { function, constants: constants.to_vec(), loss: Some(loss) };
        self.graph().push(op, None, &inputs, &[], None)
    }
}

impl Op for Elementwise {
    fn kind(&self) -> &'static str {
        self.loss.map_or(self.function.name, |loss| loss.name)
    }

    fn cast(&self) -> Cast {
        if self.loss.is_some() || self.function.is_single { Cast::Single } else { Cast::AsInputs }
    }

    #[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        if let Some(loss) = self.loss {
            (loss.check)(layer, &self.constants)?;
        }
        for (number, constant) in self.constants.iter().enumerate() {
            if !(*constant as f32).is_finite() {
                let name = self.function.constants.get(number).unwrap_or(&"a number of it");
                let what = format!("{layer}: {name}");
                return Err(Error::constant(what, "finite in 32 bits", *constant));
            }
        }
        if self.loss.is_none() {
            return broadcast(layer, inputs);
        }
        let shape = same_shapes(layer, &inputs[..2])?;
        for weight in &inputs[2..] {
            if broadcast(layer, &[&shape, weight])? != shape {
                let expected = format!("a weight that broadcasts to {shape:?}");
                return Err(Error::Shape { layer: layer.into(), expected, got: weight.to_vec() });
            }
        }
        Ok(shape)
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Strided
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn of_scalars(&self, inputs: &[f64]) -> Option<f64> {
        let function = self.function.on_host?;
        // Matches the kernel; the comparisons of f64 would lose the NaN.
        let lost = self.function.keeps_nan && inputs[0].is_nan();
        Some(if lost { f64::NAN } else { function(inputs, &self.constants) })
    }

    fn call(&self, _: &Lowering, _: usize) -> Option<Call> {
        Some(Call { function: self.function, constants: self.constants.clone(), stream: None })
    }

    fn is_relu(&self) -> bool {
        self.function.name == "relu"
    }

    fn forward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        unreachable!("functions run in chains")
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        unreachable!("functions run in chains")
    }
}

/// Whether a plan in this mode computes gradients and draws random numbers.
fn trains(mode: Mode) -> bool {
    mode == Mode::Train
}
