//! Functions of elements: rows of texts, which chains of them join into one kernel.

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

/// A function of elements: a file of `shaders/pointwise/` with `NAME_of(x0, .., constants)`, four elements at once, and
/// `NAME_grad0(dy, .., constants)`, .. where slopes say so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function {
    /// Its name: the stem of its file, and the front of the names in it.
    pub(crate) name: &'static str,
    /// The text of its file.
    pub(crate) wgsl: &'static str,
    /// How the gradient of each input follows from that of the result.
    pub(crate) slopes: &'static [Slope],
    /// Whether a NaN of its only input is the result and the gradient whatever the text says: drivers' own functions
    /// may lose it.
    pub(crate) keeps_nan: bool,
    /// The function of numbers and constants in f64, if the host has it.
    pub(crate) on_host: Option<OnHost>,
    /// Whether plans under autocast store its result as f32 whatever it is of, as torch does: f16 has not the range or the
    /// precision.
    pub(crate) is_single: bool,
    /// What its constants are called where they are given, for refusals.
    pub(crate) constants: &'static [&'static str],
}

/// A function of numbers and of constants.
pub(crate) type OnHost = fn(&[f64], &[f64]) -> f64;

/// What the gradient of an input follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slope {
    /// It has none.
    Absent,
    /// It is the gradient of the result.
    Pass,
    /// The gradient of the result alone: `NAME_grad0(dy, constants)`.
    OfNothing,
    /// Also the result: `NAME_grad0(dy, y, constants)`.
    OfResult,
    /// Also the inputs: `NAME_grad0(dy, x0, x1, .., constants)`.
    OfInputs,
}

/// A function with its constants, as a node calls it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: &'static Function,
    pub(crate) constants: Vec<f64>,
    /// For a function of random numbers, its number among those of the graph: the text has two more arguments in front of
    /// the constants, the number of the quad and this one, and may call what `random.wgsl` has.
    pub(crate) stream: Option<usize>,
}

/// A row of the table of functions.
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

/// What the rows leave out.
const PLAIN: Function = Function {
    name: "",
    wgsl: "",
    slopes: &[],
    keeps_nan: false,
    on_host: None,
    is_single: false,
    constants: &[],
};

/// The op that is a function of elements.
#[derive(Debug)]
pub(crate) struct Elementwise {
    function: &'static Function,
    constants: Vec<f64>,
    /// The loss that it is, which refuses to broadcast.
    loss: Option<Loss>,
}

impl Var {
    /// A function of this value's elements.
    pub(crate) fn function(&self, function: &'static Function, constants: &[f64]) -> Var {
        self.function_with(function, &[], constants)
    }

    /// A function of this value's elements and of those of others, broadcast as torch does.
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

    /// As [`Var::function_with`], of a node with a name.
    pub(crate) fn function_named(&self, name: &str, function: &'static Function, others: &[&Var]) -> Var {
        let inputs: Vec<&Var> = [&[self], others].concat();
        let op = Elementwise { function, constants: Vec::new(), loss: None };
        self.graph().push(op, Some(name), &inputs, &[], None)
    }

    /// A loss of each element and that of a target of the same shape, and of what broadcasts to it.
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
        // As in the kernel; f64's own bounds lose it.
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

/// Whether a plan of this mode computes gradients and draws random numbers.
fn trains(mode: Mode) -> bool {
    mode == Mode::Train
}
