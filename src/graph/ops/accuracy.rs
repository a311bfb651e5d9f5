use super::Op;
use super::cross_entropy::rows_and_labels;
use super::lines::{Lines, Reduction};
use crate::Error;
use crate::gpu::{Binding, uniform};
use crate::graph::Var;
use crate::graph::lowering::{Lowering, Operand, source};
use crate::graph::shape::{Matrix, u};
use crate::graph::team::{Join, Team};
use crate::graph::template::expand;

uniform! {
    pub(crate) struct Shape { rows: u32, classes: u32, row_quads: u32 }
}
uniform! {
    pub(crate) struct PartsShape { parts: u32, classes: u32 }
}

const BEST: &str = include_str!("../../../shaders/shared/best.wgsl");

const BEST_OF: Join<'_> = Join { name: "best", kind: "Best", of: "better(a, b)" };

#[derive(Debug)]
struct Accuracy;

/// Emits the reduction of long rows to the rank and the class of the first maximum: two quads per row.
fn best_of(lowering: &mut Lowering, layer: &str, matrix: Matrix, logits: Operand) -> Operand {
    let classes = u(matrix.columns);
    let reduction = Reduction {
        parts: ("accuracy_parts", &[include_str!("../../../shaders/ops/accuracy_parts.wgsl"), BEST]),
        join: ("accuracy_join", &[include_str!("../../../shaders/ops/accuracy_join.wgsl"), BEST]),
        constants: &[],
        joins: &[BEST_OF],
        width: 2,
    };
    Lines::rows(matrix).reduce(lowering, layer, &reduction, &[logits], |parts| PartsShape { parts, classes })
}

impl Var {
    /// The fraction of rows of these logits `[N, classes]` whose maximum is at their label; of shape `[1]`.
    ///
    /// Of equal logits the first counts as the maximum, and NaN is larger than any number, as in torch's `argmax`.
    /// Has no gradient.
    #[must_use]
    pub fn accuracy(&self, labels: &Var) -> Var {
        self.graph().push(Accuracy, None, &[self, labels], &[], None).mean()
    }
}

impl Op for Accuracy {
    fn kind(&self) -> &'static str {
        "accuracy"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        Ok(vec![rows_and_labels(layer, inputs)?])
    }

    fn takes_labels(&self, input: usize) -> bool {
        input == 1
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let matrix = lowering.input_matrix(id, 0);
        lowering.limit_labels(id, 1, matrix.columns);
        let (logits, labels) = (lowering.argument(id, 0), lowering.argument(id, 1));
        let layer = lowering.name(id);
        let accuracy = include_str!("../../../shaders/ops/accuracy.wgsl");
        let whole = Lines::rows(matrix).whole(&lowering.capabilities);
        let (scores, quad, best) = if whole.is_some() {
            (logits, "vec4f", include_str!("../../../shaders/shared/best_of_row.wgsl"))
        } else {
            let joined = best_of(lowering, &layer, matrix, logits);
            (joined, "vec4u", include_str!("../../../shaders/shared/best_joined.wgsl"))
        };
        let team = whole.unwrap_or(Team::alone(64));
        let texts = [accuracy, best, BEST, &team.text(&[BEST_OF])];
        let hits = lowering.define(id);
        let shape =
            Shape { rows: u(matrix.rows), classes: u(matrix.columns), row_quads: u(matrix.pitch / 4) };
        let wgsl = expand(&texts.concat(), &team.constants(), &[("Quad", quad)]);
        let storage = [Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = source::<Shape>("accuracy", wgsl, &storage);
        let work = matrix.rows.next_multiple_of(4);
        lowering.emit(&layer, kernel, team.grid(work), &[scores, labels, hits], shape);
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        Ok(())
    }
}
