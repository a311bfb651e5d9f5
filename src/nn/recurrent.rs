use crate::Error;
use crate::error::closed;
use crate::graph::{Init, Var, ops, shown, within};

/// A stack of Elman recurrent layers, like torch's `RNN`: `h_t = tanh(x_t W_ih^T + b_ih + h_(t-1) W_hh^T + b_hh)`, or
/// with ReLU.
///
/// Apply it with [`Var::rnn`], which describes the shapes. Layer k has the parameters `name.weight_ih_l<k>` `[hidden,
/// in]`, `name.weight_hh_l<k>` `[hidden, hidden]` and, with a bias, `name.bias_ih_l<k>` and `name.bias_hh_l<k>`
/// `[hidden]`, all initialised as in torch: uniform within `1 / sqrt(hidden)`. There is no bidirectional variant.
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html>.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::RNN;
///
/// let x = Graph::new().input("x", [4, 30, 2]);
/// let (y, last) = x.rnn(RNN::new(64).batch_first(true), None);
/// assert_eq!(y.shape(), [4, 30, 64]);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RNN {
    stack: Stack,
    nonlinearity: RnnNonlinearity,
}

/// The activation of a plain recurrent layer.
///
/// ```
/// use gradus::nn::{RNN, RnnNonlinearity};
///
/// let layer = RNN::new(64).nonlinearity(RnnNonlinearity::Relu);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RnnNonlinearity {
    /// The hyperbolic tangent, the default.
    #[default]
    Tanh,
    /// The rectifier.
    Relu,
}

/// A stack of long short-term memory layers, like torch's `LSTM`.
///
/// With the quarters `i, f, g, o` of `x_t W_ih^T + b_ih + h_(t-1) W_hh^T + b_hh`: `c_t = sigmoid(f) * c_(t-1) +
/// sigmoid(i) * tanh(g)` and `h_t = sigmoid(o) * tanh(c_t)`.
///
/// Apply it with [`Var::lstm`], which describes the shapes. Layer k has the parameters `name.weight_ih_l<k>` `[4 *
/// hidden, in]`, `name.weight_hh_l<k>` `[4 * hidden, hidden]` and, with a bias, `name.bias_ih_l<k>` and
/// `name.bias_hh_l<k>` `[4 * hidden]`, all initialised as in torch: uniform within `1 / sqrt(hidden)`. There is no
/// bidirectional variant and no projection of the states (torch's `proj_size`).
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::LSTM;
///
/// let graph = Graph::new();
/// let x = graph.input("x", [32, 50, 64]);
/// let (y, (h, c)) = x.lstm(LSTM::new(128).batch_first(true), None);
/// assert_eq!((y.shape(), h.shape(), c.shape()), (vec![32, 50, 128], vec![1, 32, 128], vec![1, 32, 128]));
/// ```
///
/// Sources: <https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html>; Hochreiter and Schmidhuber 1997.
#[derive(Clone, Debug)]
#[must_use]
pub struct LSTM {
    stack: Stack,
}

/// A stack of gated recurrent unit layers, like torch's `GRU`.
///
/// The rows of weights and biases are split into thirds `r, z, n`: `r = sigmoid(x_t W_ir^T + b_ir + h_(t-1) W_hr^T +
/// b_hr)`, `z` likewise, `n = tanh(x_t W_in^T + b_in + r * (h_(t-1) W_hn^T + b_hn))` and `h_t = (1 - z) * n + z *
/// h_(t-1)`.
///
/// Apply it with [`Var::gru`], which describes the shapes. Layer k has the parameters `name.weight_ih_l<k>` `[3 *
/// hidden, in]`, `name.weight_hh_l<k>` `[3 * hidden, hidden]` and, with a bias, `name.bias_ih_l<k>` and
/// `name.bias_hh_l<k>` `[3 * hidden]`, all initialised as in torch: uniform within `1 / sqrt(hidden)`. There is no
/// bidirectional variant.
///
/// Sources: <https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html>; Cho et al. 2014, arXiv:1406.1078.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::GRU;
///
/// let x = Graph::new().input("x", [4, 30, 2]);
/// let (y, last) = x.gru(GRU::new(64).num_layers(2).batch_first(true), None);
/// assert_eq!(y.shape(), [4, 30, 64]);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct GRU {
    stack: Stack,
}

/// Options that the three kinds of layers share.
#[derive(Clone, Debug)]
struct Stack {
    hidden: usize,
    layers: usize,
    batch_first: bool,
    bias: bool,
    dropout: f64,
    name: Option<String>,
}

impl Stack {
    fn new(hidden: usize) -> Self {
        Self { hidden, layers: 1, batch_first: false, bias: true, dropout: 0.0, name: None }
    }
}

impl RNN {
    /// One layer of this hidden size with a bias and tanh, over inputs `[time, batch, features]`.
    pub fn new(hidden: usize) -> Self {
        Self { stack: Stack::new(hidden), nonlinearity: RnnNonlinearity::Tanh }
    }

    /// The activation. Default [`RnnNonlinearity::Tanh`].
    pub fn nonlinearity(mut self, nonlinearity: RnnNonlinearity) -> Self {
        self.nonlinearity = nonlinearity;
        self
    }
}

impl LSTM {
    /// One layer of this hidden size with a bias, over inputs `[time, batch, features]`.
    pub fn new(hidden: usize) -> Self {
        Self { stack: Stack::new(hidden) }
    }
}

impl GRU {
    /// One layer of this hidden size with a bias, over inputs `[time, batch, features]`.
    pub fn new(hidden: usize) -> Self {
        Self { stack: Stack::new(hidden) }
    }
}

macro_rules! stacks {
    ($($layer:ident),*) => {$(
        impl $layer {
            /// Number of layers, each over the outputs of the previous one; 1 to 1,024. Default 1.
            pub fn num_layers(mut self, layers: usize) -> Self {
                self.stack.layers = layers;
                self
            }

            /// Whether inputs and outputs are `[batch, time, ..]` instead of `[time, batch, ..]`. States are
            /// `[layers, batch, hidden]` in both cases. Default false.
            pub fn batch_first(mut self, batch_first: bool) -> Self {
                self.stack.batch_first = batch_first;
                self
            }

            /// Probability, in `[0, 1]`, with which [`Var::dropout`] zeroes outputs of each layer but the last.
            /// Default 0.
            pub fn dropout(mut self, p: f64) -> Self {
                self.stack.dropout = p;
                self
            }

            /// Omits both biases.
            pub fn without_bias(mut self) -> Self {
                self.stack.bias = false;
                self
            }

            /// Names the layer; the name is the prefix of its parameters.
            pub fn name(mut self, name: &str) -> Self {
                self.stack.name = Some(name.into());
                self
            }
        }

        impl From<usize> for $layer {
            fn from(hidden: usize) -> Self {
                Self::new(hidden)
            }
        }
    )*};
}

stacks!(RNN, LSTM, GRU);

impl Var {
    /// Applies a stack of plain recurrent layers to these sequences, starting from `state` or from zeros.
    ///
    /// Shapes: `self` `[time, batch, features]`, or `[batch, time, features]` with [`RNN::batch_first`]; `state`
    /// `[layers, batch, hidden]`. Returns the states of the last layer at all steps, `[time, batch, hidden]` or
    /// `[batch, time, hidden]`, and the states of all layers after the last step, `[layers, batch, hidden]`.
    ///
    /// A plan with another batch size ([`PlanOptions::batch`](crate::graph::PlanOptions::batch)) changes the first
    /// dimension of all inputs of a graph. So it needs `batch_first`, and `state` must not be an input.
    ///
    /// Refused by [`Graph::check`](crate::graph::Graph::check) and on compiling, with the shapes: sequences or a
    /// state of other shapes; a hidden size or number of layers of 0; a dropout probability outside `[0, 1]`; more
    /// than 65,536 steps.
    #[must_use]
    pub fn rnn(&self, layer: impl Into<RNN>, state: Option<&Var>) -> (Var, Var) {
        let RNN { stack, nonlinearity } = layer.into();
        let cell = match nonlinearity {
            RnnNonlinearity::Tanh => ops::Cell::Tanh,
            RnnNonlinearity::Relu => ops::Cell::Relu,
        };
        let (results, state, _) = self.recurrent(&stack, cell, state, None);
        (results, state)
    }

    /// Applies a stack of LSTM layers to these sequences, starting from `state` (hidden states and cell states) or
    /// from zeros.
    ///
    /// Shapes, other batch sizes and refusals are as for [`Var::rnn`]; cell states have the shape of hidden states.
    /// Returns the hidden states of the last layer at all steps, and the hidden and cell states of all layers after
    /// the last step.
    #[must_use]
    pub fn lstm(&self, layer: impl Into<LSTM>, state: Option<(&Var, &Var)>) -> (Var, (Var, Var)) {
        let (state, cell) = state.unzip();
        let (results, state, cell) = self.recurrent(&layer.into().stack, ops::Cell::Lstm, state, cell);
        let cell = cell.unwrap_or_else(|| state.clone());
        (results, (state, cell))
    }

    /// Applies a stack of GRU layers to these sequences, starting from `state` or from zeros.
    ///
    /// Shapes, results, other batch sizes and refusals are as for [`Var::rnn`].
    #[must_use]
    pub fn gru(&self, layer: impl Into<GRU>, state: Option<&Var>) -> (Var, Var) {
        let (results, state, _) = self.recurrent(&layer.into().stack, ops::Cell::Gru, state, None);
        (results, state)
    }

    fn recurrent(
        &self,
        stack: &Stack,
        cell: ops::Cell,
        state: Option<&Var>,
        first_cell: Option<&Var>,
    ) -> (Var, Var, Option<Var>) {
        let kind = match cell {
            ops::Cell::Tanh | ops::Cell::Relu => "rnn",
            ops::Cell::Lstm => "lstm",
            ops::Cell::Gru => "gru",
        };
        let name = self.graph().layer_name(kind, stack.name.as_deref());
        let mut layers = stack.layers;
        if let Err(error) = stack.check(shown(kind, &name), &self.shape(), [state, first_cell]) {
            self.graph().refuse(error);
            layers = 1;
        }
        let mut results = self.clone();
        let (mut states, mut cells) = (Vec::new(), Vec::new());
        for layer in 0..layers {
            if layer > 0 && stack.dropout > 0.0 {
                results = results.dropout(stack.dropout);
            }
            let of_layer =
                |all: &Var| if layers > 1 { all.narrow(0, layer as isize, 1) } else { all.clone() };
            let first = [state, first_cell].map(|all| all.map(of_layer));
            results = results.recurrent_layer(&name, layer, stack, cell, &first);
            states.push(results.part(ops::LAST_STATE));
            cells.extend((cell == ops::Cell::Lstm).then(|| results.part(ops::LAST_CELL)));
        }
        let joined = |parts: Vec<Var>| match &parts[..] {
            [] => None,
            [only] => Some(only.clone()),
            [first, others @ ..] => Some(first.concat(&others.iter().collect::<Vec<_>>(), 0)),
        };
        let state = joined(states).expect("there is a layer");
        (results, state, joined(cells))
    }

    /// One layer: the input products of all steps at once, then step by step.
    fn recurrent_layer(
        &self,
        name: &str,
        layer: usize,
        stack: &Stack,
        cell: ops::Cell,
        first: &[Option<Var>; 2],
    ) -> Var {
        let graph = self.graph();
        let (hidden, features) = (stack.hidden, self.shape().last().copied().unwrap_or(1));
        let rows = hidden.saturating_mul(cell.gates() as usize);
        let init = Init::Uniform { bound: 1.0 / (hidden.max(1) as f64).sqrt() };
        let declare = |tensor: &str, shape: Vec<usize>| {
            graph.declare(&within(name, &format!("{tensor}_l{layer}")), shape, init)
        };
        let mut of_inputs = vec![declare("weight_ih", vec![rows, features])];
        let mut of_states = vec![declare("weight_hh", vec![rows, hidden])];
        if stack.bias {
            of_inputs.push(declare("bias_ih", vec![rows]));
            of_states.push(declare("bias_hh", vec![rows]));
        }
        let op = ops::Linear { weight: [rows, features] };
        let gates = graph.push(op, Some(&within(name, &format!("ih_l{layer}"))), &[self], &of_inputs, None);
        let mut inputs = vec![&gates];
        inputs.extend(first.iter().flatten());
        let op = ops::Recurrent { cell, hidden, batch_first: stack.batch_first };
        let last = layer + 1 == stack.layers;
        let layer_name = if last { name.to_owned() } else { within(name, &format!("l{layer}")) };
        graph.push(op, Some(&layer_name), &inputs, &of_states, None)
    }
}

/// Maximum number of steps of a sequence. Each step is a dispatch in the forward and in the backward pass.
const MOST_STEPS: usize = 65_536;

/// Maximum number of layers. Each layer is declared when the stack is applied, so a mistakenly huge number is refused
/// instead of taking forever.
const MOST_LAYERS: usize = 1024;

impl Stack {
    fn check(&self, name: &str, input: &[usize], first: [Option<&Var>; 2]) -> Result<(), Error> {
        if self.hidden == 0 {
            return Err(Error::constant(format!("{name}: hidden"), "at least 1", self.hidden));
        }
        if !(1..=MOST_LAYERS).contains(&self.layers) {
            let allowed = format!("in [1, {MOST_LAYERS}]");
            return Err(Error::constant(format!("{name}: num_layers"), allowed, self.layers));
        }
        closed(&format!("{name}: dropout"), self.dropout, 0.0, 1.0)?;
        let order = if self.batch_first { "[batch, time, features]" } else { "[time, batch, features]" };
        let refuse = |expected: String, got: &[usize]| {
            Err(Error::Shape { layer: name.into(), expected, got: got.to_vec() })
        };
        let (steps, batch) = match *input {
            [batch, steps, _] if self.batch_first => (steps, batch),
            [steps, batch, _] => (steps, batch),
            _ => return refuse(format!("sequences {order}"), input),
        };
        if steps > MOST_STEPS {
            return refuse(format!("sequences {order} of at most {MOST_STEPS} steps"), input);
        }
        let wanted = [self.layers, batch, self.hidden];
        for (what, var) in ["state", "cell"].into_iter().zip(first) {
            let shape = var.map(Var::shape);
            if let Some(shape) = shape.filter(|shape| *shape != wanted) {
                return refuse(format!("a first {what} {wanted:?} for sequences {input:?}"), &shape);
            }
        }
        Ok(())
    }
}
