use super::{Cast, Op, Reads, Samples, SamplesOf, dims, layout};
use crate::Error;
use crate::graph::Var;
use crate::graph::lowering::Lowering;
use crate::graph::shape::Planes;
use crate::graph::view::Order;

#[derive(Debug)]
struct Flatten;

impl Var {
    /// Merges all dimensions but the first, in row-major order: `[N, C, H, W]` becomes `[N, C * H * W]`.
    #[must_use]
    pub fn flatten(&self) -> Var {
        self.unary(Flatten)
    }
}

/// The rows of the input as images of the output.
fn planes(lowering: &Lowering, id: usize) -> Planes {
    let (shape, order) = (lowering.input_shape(id, 0), lowering.input_order(id, 0));
    match *shape {
        [n, ref middle @ .., last] if order == Order::Natural => {
            let pixels = middle.iter().product();
            Planes { images: n, channels: last, pixels, channel_stride: 1, pixel_stride: last }
        }
        _ => Planes::of(shape, order),
    }
}

impl Op for Flatten {
    fn kind(&self) -> &'static str {
        "flatten"
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        match inputs[0] {
            [n, rest @ ..] if !rest.is_empty() => Ok(vec![*n, rest.iter().product()]),
            got => {
                let expected = "two dimensions or more".into();
                Err(Error::Shape { layer: layer.into(), expected, got: got.to_vec() })
            }
        }
    }

    fn samples(&self, of: &SamplesOf<'_>) -> Samples {
        of.reshaped()
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::AsIs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let shape = lowering.shape(id).to_vec();
        if dims::define_moved(lowering, id, |from| from.reshaped(&shape)) {
            return Ok(());
        }
        let planes = planes(lowering, id);
        let x = lowering.argument(id, 0);
        let pitch = lowering.shape(id)[1].next_multiple_of(4);
        let y = lowering.define(id);
        let name = lowering.name(id);
        layout::to_planes(lowering, &name, planes, pitch, x, y, false);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let planes = planes(lowering, id);
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let pitch = lowering.shape(id)[1].next_multiple_of(4);
        let dy = lowering.gradient(id);
        let name = lowering.name(id);
        layout::to_rows(lowering, &name, planes, pitch, dy, dx, accumulate);
        Ok(())
    }
}
