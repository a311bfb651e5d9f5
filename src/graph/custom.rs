//! Custom operations, written in WGSL.

mod builder;
mod gradient;
mod inspect;
mod lowered;
mod text;

use std::fmt;
use std::sync::Arc;

pub use self::builder::CustomOpBuilder;
use super::samples::{Place, Samples, SamplesOf};
use super::{Graph, Var, ops, shape};
use crate::Error;
use crate::gpu::{Block, KernelSource};

/// A custom operation: values with declared shapes, each computed by a pure WGSL function of the element index.
///
/// ```
/// use gradus::graph::{CustomOp, Graph};
///
/// let swish = CustomOp::builder(
///     "swish",
///     "fn gate(v: f32) -> f32 { return 1.0 / (1.0 + exp(-scalars.beta * v)); }
///      fn forward_y(i: u32) -> f32 { return x(i) * gate(x(i)); }
///      fn backward_x(i: u32) -> f32 {
///          let s = gate(x(i));
///          return grad_y(i) * (s + scalars.beta * x(i) * s * (1.0 - s));
///      }",
/// )
/// .input("x")
/// .scalar("beta", 1.0)
/// .build()?;
/// let graph = Graph::new();
/// let h = graph.custom(&swish, &[&graph.input("x", [32, 8]).linear(16)]);
/// assert_eq!(h.shape(), [32, 16]);
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Each value has a name and a function that returns its element `i` in row-major order, independent of the memory
/// layout: `forward_<name>` for outputs and for intermediate [values](CustomOpBuilder::forward) that are saved for
/// the backward pass, `backward_<name>` for gradients of inputs and for intermediate
/// [values](CustomOpBuilder::backward) of the backward pass. Each function is `fn(i: u32) -> f32`. One dispatch
/// computes all elements of one value; values are computed in the order of their declaration. The functions may read:
///
/// | | |
/// |---|---|
/// | `<name>(i: u32)` | element `i` of an input, or of a value computed earlier: `f32`, for [labels](CustomOpBuilder::labels) `u32` |
/// | `grad_<output>(i: u32)` | in the backward pass, the gradient of an output; 0 if it has none |
/// | `<name>_len`, `<name>_rank` | constants: number of elements and of dimensions of a value, `u32` |
/// | `<name>_dim0`, `<name>_dim1`, ... | constants: its extents; the last one is also `<name>_last` |
/// | `<name>_stride0`, ... | constants: distance in `i` between neighbours along a dimension |
/// | `scalars.<name>` | a [scalar](CustomOpBuilder::scalar), `f32` |
///
/// An index past the end reads zero or another element of the same buffer, never other memory. The text may also
/// declare functions, constants, structs and aliases, and use WGSL's operators and built-in functions. An input
/// without `backward_<input>` is not differentiable: a plan that would need its gradient is refused.
///
/// | | |
/// |---|---|
/// | bindings | a function with the functions it calls may read at most 7 values |
/// | declarations | `fn`, `const`, `struct` and `alias`, at most 256; no `var` outside functions, attributes, overrides, extensions or entry points |
/// | functions of WGSL | all but barriers, atomics, derivatives, textures and subgroups |
/// | memory | at most 1 KiB of variables in a function with the functions it calls; arrays of at most 256 elements, whose length is a literal or a constant |
/// | text | at most 64 KiB, nested at most 64 deep; only ASCII outside comments |
///
/// The number of loop iterations is not limited. An endless loop hangs the device, and software adapters silently
/// stop all loops of an invocation after 65,535 iterations. Compute sums over long axes as intermediate values that
/// the elements read.
///
/// Pass parameters, from [`Graph::parameter`], as inputs. For a loss, return one element per sample and apply
/// [`mean`](Var::mean). [`CustomOp::check_gradient`] compares the backward pass with finite differences.
#[derive(Clone, Debug)]
pub struct CustomOp {
    declared: Arc<Declared>,
    scalars: Vec<f32>,
}

/// The definition, shared by all clones of an operation.
#[derive(Debug)]
struct Declared {
    name: String,
    text: String,
    /// Inputs, then the other values in the order in which they are computed.
    values: Vec<Value>,
    scalars: Vec<(String, f32)>,
    /// The forward functions, then the backward functions.
    stages: Vec<Stage>,
}

type ShapeRule = dyn Fn(&[&[usize]]) -> Result<Vec<usize>, String> + Send + Sync;

struct Value {
    name: String,
    role: Role,
    /// Computes the shape from those of the inputs; `None` for inputs.
    shape: Option<Box<ShapeRule>>,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.name, self.role)
    }
}

/// The role of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Input,
    Labels,
    /// Saved for the backward pass.
    Forward,
    /// The output with this number.
    Output(usize),
    Backward,
}

/// One function that computes a value or the gradient of an input.
#[derive(Clone, Debug, PartialEq)]
struct Stage {
    function: String,
    /// Index of the value or the input.
    value: usize,
    reads: Vec<Read>,
}

/// What a stage reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Read {
    Value(usize),
    /// The gradient of the output with this value index.
    Gradient(usize),
}

impl Declared {
    fn inputs(&self) -> usize {
        self.values.iter().filter(|value| matches!(value.role, Role::Input | Role::Labels)).count()
    }

    /// The value indices of the outputs, in order.
    fn outputs(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.values.len()).filter(|&value| matches!(self.values[value].role, Role::Output(_)))
    }

    fn what(&self) -> String {
        format!("op {}", self.name)
    }

    /// The shapes of all values.
    fn shapes(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>, Error> {
        let mut shapes: Vec<Vec<usize>> = inputs.iter().map(|shape| shape.to_vec()).collect();
        for value in &self.values[inputs.len()..] {
            let what = || format!("{layer}: {} of {}", value.name, self.what());
            let rule = value.shape.as_ref().expect("values have shape rules");
            let made = rule(inputs).map_err(|reason| Error::Config { what: what(), reason })?;
            shape::check(&what(), &made)?;
            shapes.push(made);
        }
        Ok(shapes)
    }
}

impl CustomOp {
    /// Starts an operation with a name, for labels and errors, and the WGSL of its functions.
    pub fn builder(name: impl Into<String>, wgsl: impl Into<String>) -> CustomOpBuilder {
        CustomOpBuilder::new(name.into(), wgsl.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.declared.name
    }

    /// Sets the value of a scalar for nodes created from now on.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Constant`] for a value that is not finite as f32.
    pub fn set(&mut self, scalar: &str, value: f64) -> Result<(), Error> {
        let names = || self.declared.scalars.iter().map(|(name, _)| &**name);
        let at = names().position(|name| name == scalar);
        let at =
            at.ok_or_else(|| Error::unknown(format!("scalar of {}", self.declared.what()), scalar, names()))?;
        self.scalars[at] = builder::finite_f32(scalar, value)?;
        Ok(())
    }

    pub(super) fn takes_labels(&self, input: usize) -> bool {
        self.declared.values[input].role == Role::Labels
    }

    /// The shapes of its outputs. Checks everything that depends on shapes.
    pub(super) fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>, Error> {
        let shapes = self.declared.shapes(layer, inputs)?;
        inspect::inspect_at(&self.declared, layer, &shapes)?;
        Ok(self.declared.outputs().map(|value| shapes[value].clone()).collect())
    }

    /// Like [`CustomOp::infer`], for shapes that have been checked.
    pub(super) fn output_shapes(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        let shapes = self.declared.shapes("", inputs).unwrap_or_default();
        self.declared.outputs().filter_map(|value| shapes.get(value).cloned()).collect()
    }

    /// The position of the samples in an output, found by doubling the number of samples in its shape rule. An output
    /// whose shape does not change, such as a loss over the whole batch, has no samples.
    pub(super) fn samples(&self, output: usize, of: &SamplesOf<'_>) -> Samples {
        let Samples::Along(_) = of.kept() else { return of.kept() };
        let doubled = |(samples, shape): &(Samples, &[usize])| {
            let mut shape = shape.to_vec();
            if let Samples::Along(Place { axis, .. }) = samples {
                shape[*axis] = shape[*axis].saturating_mul(2);
            }
            shape
        };
        let doubled: Vec<Vec<usize>> = of.inputs.iter().map(doubled).collect();
        let shapes = self.output_shapes(&doubled.iter().map(|shape| &shape[..]).collect::<Vec<_>>());
        let Some(grown) = shapes.get(output).filter(|grown| grown.len() == of.shape.len()) else {
            return Samples::Mixed;
        };
        let mut axes = (0..grown.len()).filter(|&axis| grown[axis] != of.shape[axis]);
        let (Some(axis), None) = (axes.next(), axes.next()) else { return Samples::Mixed };
        // Each sample has as many positions as in an input, or one.
        let inners = of.inputs.iter().filter_map(|(samples, shape)| match samples {
            Samples::Along(place) if shape[place.axis] == of.shape[axis] => Some(place.inner),
            _ => None,
        });
        let one = (of.shape[axis] == of.batch).then_some(1);
        match one.or(inners.max()) {
            Some(inner) if grown[axis] == 2 * of.shape[axis] => Samples::Along(Place { axis, inner }),
            _ => Samples::Mixed,
        }
    }

    /// The kernel of a stage. Its operands are the values read, then the value written.
    fn kernel(&self, stage: &Stage, shapes: &[Vec<usize>], known: &[Read]) -> KernelSource {
        text::kernel(&self.declared, stage, shapes, known)
    }

    /// The uniform block of a stage that writes `quads` quads.
    fn block(&self, quads: u32, adds: bool) -> (Vec<u8>, Block) {
        let mut bytes = [quads, u32::from(adds)].map(u32::to_ne_bytes).concat();
        bytes.extend(self.scalars.iter().flat_map(|scalar| scalar.to_ne_bytes()));
        let fields = text::fields(&self.declared).into();
        let block = Block { name: text::BLOCK, fields, bytes: bytes.len() };
        (bytes, block)
    }
}

impl Graph {
    /// Applies a custom operation and returns its first output; [`Graph::custom_all`] returns all outputs.
    ///
    /// An invalid call is reported by [`Graph::check`] and on compiling: [`Error::Length`] for a wrong number of
    /// inputs, [`Error::Config`] or [`Error::Shape`] from the shape rules, [`Error::Wgsl`] if the WGSL does not match
    /// these shapes.
    pub fn custom(&self, op: &CustomOp, inputs: &[&Var]) -> Var {
        let expected = op.declared.inputs();
        if inputs.len() != expected {
            let what = format!("inputs of {}", op.declared.what());
            self.refuse(Error::Length { what, expected, got: inputs.len() });
        }
        self.push(ops::Custom(op.clone()), None, inputs, &[], inputs.is_empty().then(Vec::new))
    }

    /// Like [`Graph::custom`], with all outputs in the order of their declaration.
    pub fn custom_all(&self, op: &CustomOp, inputs: &[&Var]) -> Vec<Var> {
        let first = self.custom(op, inputs);
        let further = (1..op.declared.outputs().count()).map(|number| first.part(number - 1));
        [first.clone()].into_iter().chain(further).collect()
    }
}
