//! Operations of the user's own, in WGSL.

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

/// An operation of one's own: values that are pure functions of their index, in WGSL, with declared shapes.
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
/// Each value has a name, and a function that gives its element `i` in torch's order, whatever the memory of the plan is
/// like: `forward_<name>` for outputs and for [values](CustomOpBuilder::forward) that are kept for the backward pass,
/// `backward_<name>` for the gradients of inputs and for [values](CustomOpBuilder::backward) that only the backward pass
/// has. Each is `fn(i: u32) -> f32`, and one dispatch computes all elements of one value, in the order in which the
/// values are declared. They may read:
///
/// | | |
/// |---|---|
/// | `<name>(i: u32)` | element `i` of an input, or of a value that was computed before: `f32`, of [labels](CustomOpBuilder::labels) `u32` |
/// | `grad_<output>(i: u32)` | in the backward pass, the gradient that has arrived at an output; 0 where none has |
/// | `<name>_len`, `<name>_rank` | constants: elements and dimensions of a value, `u32` |
/// | `<name>_dim0`, `<name>_dim1`, ... | constants: its extents; the last is also `<name>_last` |
/// | `<name>_stride0`, ... | constants: by how much `i` grows along a dimension |
/// | `scalars.<name>` | a [scalar](CustomOpBuilder::scalar), `f32` |
///
/// An index beyond the end reads zero or another element, and never other memory. Beside these there are functions,
/// constants, structs and aliases of one's own and what WGSL computes with. An input without a `backward_<input>` is not
/// differentiable: a plan that would train through it is refused.
///
/// | | |
/// |---|---|
/// | bindings | a function and what it calls may read at most 7 values |
/// | declarations | `fn`, `const`, `struct` and `alias`, at most 256; no `var` outside functions, attributes, overrides, extensions or entry points |
/// | functions of WGSL | all but barriers, atomics, derivatives, textures and subgroups |
/// | memory | at most 1 KiB of variables in a function and what it calls; arrays of at most 256 elements, with a plain length |
/// | text | at most 64 KiB, nested at most 64 deep; only ASCII outside comments |
///
/// Loops are not counted: one that never ends hangs the device, and software adapters leave those of an invocation after
/// 65,535 iterations in silence. Sums over long axes belong into values of their own, which every element then reads.
///
/// Parameters are inputs: [`Graph::parameter`] makes one. Losses are best an element a sample, with
/// [`mean`](Var::mean) behind it. [`CustomOp::check_gradient`] holds the backward pass against finite differences.
#[derive(Clone, Debug)]
pub struct CustomOp {
    declared: Arc<Declared>,
    scalars: Vec<f32>,
}

/// What all copies of an op share.
#[derive(Debug)]
struct Declared {
    name: String,
    text: String,
    /// Inputs, then values in the order in which they are computed.
    values: Vec<Value>,
    scalars: Vec<(String, f32)>,
    /// The forward functions, then the backward ones.
    stages: Vec<Stage>,
}

type ShapeRule = dyn Fn(&[&[usize]]) -> Result<Vec<usize>, String> + Send + Sync;

struct Value {
    name: String,
    role: Role,
    /// Of the shapes of the inputs; none for these.
    shape: Option<Box<ShapeRule>>,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.name, self.role)
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Input,
    Labels,
    /// Kept for the backward pass.
    Forward,
    /// With its number.
    Output(usize),
    Backward,
}

/// One function that gives the elements of a value or of the gradient of an input.
#[derive(Clone, Debug, PartialEq)]
struct Stage {
    function: String,
    /// The value, or the input.
    value: usize,
    reads: Vec<Read>,
}

/// What a stage binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Read {
    Value(usize),
    /// The gradient of the output that is this value.
    Gradient(usize),
}

impl Declared {
    fn inputs(&self) -> usize {
        self.values.iter().filter(|value| matches!(value.role, Role::Input | Role::Labels)).count()
    }

    /// The values that are outputs, in order.
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
    /// An op in the making: its name for labels and errors, and WGSL with its functions.
    pub fn builder(name: impl Into<String>, wgsl: impl Into<String>) -> CustomOpBuilder {
        CustomOpBuilder::new(name.into(), wgsl.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.declared.name
    }

    /// Sets a scalar, for nodes that are made afterwards.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Constant`] unless it is finite in 32 bits.
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

    /// The shapes of its outputs, once all that depends on shapes has been checked.
    pub(super) fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>, Error> {
        let shapes = self.declared.shapes(layer, inputs)?;
        inspect::inspect_at(&self.declared, layer, &shapes)?;
        Ok(self.declared.outputs().map(|value| shapes[value].clone()).collect())
    }

    /// As [`CustomOp::infer`], of shapes that were checked.
    pub(super) fn output_shapes(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        let shapes = self.declared.shapes("", inputs).unwrap_or_default();
        self.declared.outputs().filter_map(|value| shapes.get(value).cloned()).collect()
    }

    /// Where the samples are in an output, told by what its shape rule makes of twice as many: one that stays the same, as
    /// that of a loss over the whole batch, has none of its own.
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
        // As many places for each sample as an input has there, or one.
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

    /// The kernel of a stage, whose operands are its reads and what it writes.
    fn kernel(&self, stage: &Stage, shapes: &[Vec<usize>], known: &[Read]) -> KernelSource {
        text::kernel(&self.declared, stage, shapes, known)
    }

    /// The uniform block of a stage that writes so many quads.
    fn block(&self, quads: u32, adds: bool) -> (Vec<u8>, Block) {
        let mut bytes = [quads, u32::from(adds)].map(u32::to_ne_bytes).concat();
        bytes.extend(self.scalars.iter().flat_map(|scalar| scalar.to_ne_bytes()));
        let fields = text::fields(&self.declared).into();
        let block = Block { name: text::BLOCK, fields, bytes: bytes.len() };
        (bytes, block)
    }
}

impl Graph {
    /// Computes an op of one's own; of several outputs the first, and [`Graph::custom_all`] gives all.
    ///
    /// Like all calls it is refused by [`Graph::check`] and by what compiles: with [`Error::Length`] for another number of
    /// inputs, [`Error::Config`] or [`Error::Shape`] by the op's shape rules, and [`Error::Wgsl`] where its text does not
    /// fit these shapes.
    pub fn custom(&self, op: &CustomOp, inputs: &[&Var]) -> Var {
        let expected = op.declared.inputs();
        if inputs.len() != expected {
            let what = format!("inputs of {}", op.declared.what());
            self.refuse(Error::Length { what, expected, got: inputs.len() });
        }
        self.push(ops::Custom(op.clone()), None, inputs, &[], inputs.is_empty().then(Vec::new))
    }

    /// As [`Graph::custom`], with all outputs in the order in which they are declared.
    pub fn custom_all(&self, op: &CustomOp, inputs: &[&Var]) -> Vec<Var> {
        let first = self.custom(op, inputs);
        let further = (1..op.declared.outputs().count()).map(|number| first.part(number - 1));
        [first.clone()].into_iter().chain(further).collect()
    }
}
