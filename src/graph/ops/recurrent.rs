mod backward;
mod forward;
mod kernels;

use backward::Backward;
use forward::Forward;
use kernels::Sizes;

use super::{Cast, Op, Samples, SamplesOf, rearrange};
use crate::Error;
use crate::graph::lowering::elementwise::{Program, Target};
use crate::graph::lowering::{Lowering, Operand};
use crate::graph::samples::Place;
use crate::graph::view::View;

/// What a recurrent layer computes per sample and step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Tanh,
    Relu,
    Lstm,
    Gru,
}

impl Cell {
    /// Number of weight rows per unit.
    pub(crate) fn gates(self) -> u32 {
        match self {
            Self::Tanh | Self::Relu => 1,
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tanh => "tanh",
            Self::Relu => "relu",
            Self::Lstm => "lstm",
            Self::Gru => "gru",
        }
    }
}

/// The sequential part of a recurrent layer.
///
/// Inputs: the products of the layer's inputs with their bias, `[T, B, gates * hidden]` (or `[B, T, ..]`); optionally
/// the initial hidden state and, for an LSTM, the initial cell state, `[1, B, hidden]`. Parameters: the recurrent
/// weight `[gates * hidden, hidden]` and optionally a bias. Results: the hidden states of all steps, the last hidden
/// state and, for an LSTM, the last cell state.
///
/// A step is one dispatch, forward and backward. The gradients of weight and bias are one product and one sum over
/// all steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recurrent {
    pub(crate) cell: Cell,
    pub(crate) hidden: usize,
    pub(crate) batch_first: bool,
}

/// Numbers of the last hidden state and the last cell state among the further results.
pub(crate) const LAST_STATE: usize = 0;
pub(crate) const LAST_CELL: usize = 1;

/// Inputs with the initial hidden state and the initial cell state.
const FIRST_STATE: usize = 1;
const FIRST_CELL: usize = 2;

impl Recurrent {
    fn state_shape(&self, gates: &[usize]) -> [usize; 3] {
        [1, gates[usize::from(!self.batch_first)], self.hidden]
    }
}

impl Op for Recurrent {
    fn kind(&self) -> &'static str {
        match self.cell {
            Cell::Tanh | Cell::Relu => "rnn",
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
        }
    }

    fn cast(&self) -> Cast {
        Cast::Half
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let gates = self.hidden.saturating_mul(self.cell.gates() as usize);
        let refuse = |expected: String, got: &[usize]| {
            Err(Error::Shape { layer: layer.into(), expected, got: got.to_vec() })
        };
        let &[first, second, last] = inputs[0] else {
            return refuse(format!("three dimensions, the last of {gates}"), inputs[0]);
        };
        if last != gates {
            return refuse(format!("three dimensions, the last of {gates}"), inputs[0]);
        }
        let wanted = self.state_shape(inputs[0]);
        if let Some(state) = inputs[1..].iter().find(|state| ***state != wanted) {
            return refuse(format!("first states of {wanted:?} for inputs of {:?}", [first, second]), state);
        }
        Ok(vec![first, second, self.hidden])
    }

    fn parts(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        let count = if self.cell == Cell::Lstm { 2 } else { 1 };
        vec![self.state_shape(inputs[0]).to_vec(); count]
    }

    /// The last states are `[1, batch, hidden]`, whether or not the batch comes first in the sequences.
    fn samples_of_part(&self, _: usize, of: &SamplesOf<'_>) -> Samples {
        let batch = usize::from(!self.batch_first);
        match of.inputs[0].0 {
            Samples::Along(place) if place.axis == batch => Samples::Along(Place { axis: 1, ..place }),
            Samples::Along(_) => Samples::Mixed,
            other => other,
        }
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        Forward::new(self, lowering, id).emit(lowering);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        Backward::new(self, lowering, id).emit(lowering);
        Ok(())
    }
}

/// Values that the forward pass saves, in this order.
const STATES: usize = 0;
/// For an LSTM and a GRU.
const SAVED: usize = 1;
/// For an LSTM.
const CELLS: usize = 2;

/// One state of the whole batch: `[1, batch, hidden]`, starting at a row.
fn state_view(sizes: &Sizes, of: Operand, row: u32, stride: u32) -> View {
    let pitch = sizes.pitch() as usize;
    let shape = vec![1, sizes.batch as usize, sizes.hidden as usize];
    let strides = vec![0, stride as usize * pitch, 1];
    View { of, shape, strides, offset: row as usize * pitch, lanes: 2 }
}

/// Emits a copy of a state, or zeros if there is none.
fn begin(lowering: &mut Lowering, layer: &str, from: Option<View>, to: View) {
    match from {
        Some(from) => rearrange(lowering, layer, &from, &to, false),
        None => {
            let zeros =
                Program { name: "zeros".into(), results: vec!["vec4f()".into()], ..Program::default() };
            lowering.emit_elementwise(layer, &zeros, &[], &[Target { view: to, adds: false }]);
        }
    }
}
