use super::{Anchor, Made, Op, Reads, column_sum, grid, pass_gradient};
use crate::Error;
use crate::gpu::{Binding, uniform};
use crate::graph::lower::{Lowering, Operand};
use crate::graph::shape::{Matrix, u};
use crate::graph::template::{AnyLaunch, Launch, Template};
use crate::graph::view::Order;
use crate::graph::{Init, Var};

uniform! {
    pub(crate) struct Shape { quads: u32, row_quads: u32, columns: u32 }
}

#[derive(Debug)]
struct Bias {
    len: usize,
    of_channels: bool,
}

fn order(of_channels: bool) -> Order {
    if of_channels { Order::ChannelsLast } else { Order::Natural }
}

impl Var {
    /// Adds a trained number to each channel of an image, or to each element of the last dimension.
    ///
    /// The parameter is `bias1`, `bias2`, … and starts at 0.
    #[must_use]
    pub fn bias(&self) -> Var {
        let graph = self.graph();
        let name = graph.layer_name("bias", None);
        let shape = self.shape();
        let of_channels = shape.len() == 4;
        let len = Matrix::of(&shape, order(of_channels)).columns;
        let parameter = graph.declare(&name, vec![len], Init::Constant(0.0));
        graph.push(Bias { len, of_channels }, Some(&name), &[self], &[parameter], None)
    }
}

impl Op for Bias {
    fn kind(&self) -> &'static str {
        "bias"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        // A vector has a bias for each element, so its length is no batch that could change.
        if Matrix::of(inputs[0], order(self.of_channels)).columns != self.len {
            let expected = format!("{} channels", self.len);
            return Err(Error::Shape { layer: layer.into(), expected, got: inputs[0].to_vec() });
        }
        Ok(inputs[0].to_vec())
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::AsMade
    }

    fn makes(&self) -> Made {
        if self.of_channels { Made::ChannelsLast } else { Made::Natural }
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let matrix = lowering.matrix(id);
        let shape =
            Shape { quads: u(matrix.quads()), row_quads: u(matrix.pitch / 4), columns: u(matrix.columns) };
        let parameter = Operand::Parameter(lowering.parameters(id)[0]);
        let operands = [lowering.argument(id, 0), parameter, lowering.define(id)];
        let template = Template {
            name: "bias",
            source: include_str!("../../../shaders/ops/bias.wgsl"),
            constants: vec![],
            aliases: vec![],
        };
        let [x, y, _] = grid(matrix.quads());
        let launch = AnyLaunch::from(Launch { template, shape, groups: [x, y] }).finishing(4);
        let storage = [Binding::Read, Binding::Read, Binding::ReadWrite];
        let (layer, finish) = (lowering.name(id), lowering.finish(id));
        lowering.launch_finishing(&layer, (&storage, &operands), launch, 1, finish.as_ref());
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let matrix = lowering.matrix(id);
        let (name, dy) = (lowering.name(id), lowering.gradient(id));
        let parameter = lowering.parameters(id)[0];
        column_sum::emit(lowering, &name, u(matrix.rows), u(matrix.columns), dy, parameter);
        pass_gradient(lowering, id, 0);
        Ok(())
    }

    fn anchor(&self, _: &Lowering, _: usize) -> Option<Anchor> {
        Some(Anchor { buffers: 3, lanes: 4 })
    }
}
