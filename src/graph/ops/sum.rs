use super::{Joins, Op, Reads, Samples, SamplesOf, grid};
use crate::Error;
use crate::gpu::{Binding, MAX_TRIPS, uniform};
use crate::graph::Var;
use crate::graph::fold::{Fold, fold};
use crate::graph::lowering::{Lowering, source};
use crate::graph::shape::u;
use crate::graph::team::{Shared, Walk};
use crate::graph::view::{Order, View};

uniform! {
    pub(crate) struct Shape { quads: u32, sums: u32, scale: f32 }
}
uniform! {
    pub(crate) struct GradShape { quads: u32, row_quads: u32, columns: u32, scale: f32, accumulate: u32 }
}

/// Number of quads that one invocation sums, as in the kernel.
const CHUNK: usize = 64;
const _: () = assert!(4 * (CHUNK + 1) <= MAX_TRIPS);

#[derive(Debug)]
struct Sum {
    mean: bool,
}

impl Var {
    /// The sum of all elements, of shape `[1]`, in a fixed order.
    #[must_use]
    pub fn sum(&self) -> Var {
        self.unary(Sum { mean: false })
    }

    /// The mean of all elements, of shape `[1]`, summed in a fixed order.
    #[must_use]
    pub fn mean(&self) -> Var {
        self.unary(Sum { mean: true })
    }
}

impl Sum {
    fn scale(&self, lowering: &Lowering, id: usize) -> f32 {
        let len = lowering.input_shape(id, 0).iter().product::<usize>();
        if self.mean { 1.0 / len as f32 } else { 1.0 }
    }
}

impl Op for Sum {
    fn kind(&self) -> &'static str {
        if self.mean { "mean" } else { "sum" }
    }

    fn infer(&self, _: &str, _: &[&[usize]]) -> Result<Vec<usize>, Error> {
        Ok(vec![1])
    }

    fn samples(&self, of: &SamplesOf<'_>) -> Samples {
        match of.inputs[0].0 {
            Samples::Along(_) => Samples::Joined(if self.mean { Joins::Mean } else { Joins::Sum }),
            other => other,
        }
    }

    fn of_scalars(&self, inputs: &[f64]) -> Option<f64> {
        Some(inputs[0])
    }

    fn spreads_evenly(&self, lowering: &Lowering, id: usize) -> Option<f32> {
        Some(self.scale(lowering, id))
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::AsIs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let mut quads = lowering.input_matrix(id, 0).quads();
        let mut x = lowering.argument(id, 0);
        let walk = Walk { lines: 1, count: quads, side: 1 };
        if Shared::choose(&walk, &lowering.capabilities).is_some() {
            // One line, whose padding is zero.
            let x = View::packed(x, &[4 * quads], Order::Natural);
            let y = View::packed(lowering.define(id), &[1], Order::Natural);
            let sum = Fold { finish: format!("total * {:?}f", self.scale(lowering, id)), ..Fold::sum() };
            fold(lowering, &lowering.name(id), &sum, &[&x], &y, false);
            return Ok(());
        }
        loop {
            let sums = quads.div_ceil(CHUNK);
            let last = sums == 1;
            let y =
                if last { lowering.define(id) } else { lowering.scratch("sums", sums.next_multiple_of(4)) };
            let shape = Shape {
                quads: u(quads),
                sums: u(sums),
                scale: if last { self.scale(lowering, id) } else { 1.0 },
            };
            let wgsl = include_str!("../../../shaders/ops/sum_chunks.wgsl");
            let kernel = source::<Shape>("sum_chunks", wgsl, &[Binding::Read, Binding::ReadWrite]);
            lowering.emit(&lowering.name(id), kernel, grid(sums.div_ceil(4)), &[x, y], shape);
            if last {
                return Ok(());
            }
            (x, quads) = (y, sums.div_ceil(4));
        }
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        if lowering.leave_to_made_gradient(id) {
            return Ok(());
        }
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let matrix = lowering.input_matrix(id, 0);
        let shape = GradShape {
            quads: u(matrix.quads()),
            row_quads: u(matrix.pitch / 4),
            columns: u(matrix.columns),
            scale: self.scale(lowering, id),
            accumulate: u32::from(accumulate),
        };
        let dy = lowering.gradient(id);
        let wgsl = include_str!("../../../shaders/ops/sum_grad.wgsl");
        let kernel = source::<GradShape>("sum_grad", wgsl, &[Binding::Read, Binding::ReadWrite]);
        lowering.emit(&lowering.name(id), kernel, grid(matrix.quads()), &[dy, dx], shape);
        Ok(())
    }
}
