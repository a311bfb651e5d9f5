use super::{Op, grid};
use crate::Error;
use crate::error::{at_least, closed};
use crate::gpu::{Binding, uniform};
use crate::graph::lower::{Keep, Lowering, Operand, source};
use crate::graph::shape::{Matrix, u};

/// Softmax and cross-entropy in one: a loss for each row.
#[derive(Clone, Debug)]
pub(crate) struct CrossEntropy {
    pub(crate) label_smoothing: f64,
    /// One for each class.
    pub(crate) weight: Option<Vec<f32>>,
    pub(crate) ignore_index: Option<u32>,
}

/// The weight of the label of each row, as a mean of these losses counts it.
#[derive(Clone, Debug)]
pub(crate) struct LabelWeights {
    pub(crate) losses: CrossEntropy,
    pub(crate) classes: usize,
}

uniform! {
    pub(crate) struct Shape {
        rows: u32,
        classes: u32,
        row_quads: u32,
        at_label: f32,
        at_all: f32,
        weight_sum: f32,
        ignores: u32,
        ignored: u32,
        accumulate: u32,
    }
}
uniform! {
    pub(crate) struct WeightsShape { rows: u32, ignores: u32, ignored: u32 }
}

/// Refuses logits that are not `[N, classes]` or labels that are not `[N]`; returns `N`.
pub(super) fn rows_and_labels(layer: &str, inputs: &[&[usize]]) -> Result<usize, Error> {
    let refuse = |expected: String, got: &[usize]| {
        Err(Error::Shape { layer: layer.into(), expected, got: got.to_vec() })
    };
    let &[rows, _] = inputs[0] else { return refuse("logits [N, classes]".into(), inputs[0]) };
    if inputs[1] != [rows] {
        return refuse(format!("labels [{rows}] for logits {:?}", inputs[0]), inputs[1]);
    }
    Ok(rows)
}

impl CrossEntropy {
    /// Whether the mean over rows is one with weights.
    pub(crate) fn weighs(&self) -> bool {
        self.weight.is_some() || self.ignore_index.is_some()
    }

    fn check(&self, layer: &str, classes: usize) -> Result<(), Error> {
        closed(&format!("{layer}: label_smoothing"), self.label_smoothing, 0.0, 1.0)?;
        let Some(weight) = &self.weight else { return Ok(()) };
        if weight.len() != classes {
            let what = format!("{layer}: weight");
            return Err(Error::Length { what, expected: classes, got: weight.len() });
        }
        let mut weights = weight.iter().enumerate();
        weights.try_for_each(|(at, w)| at_least(&format!("{layer}: weight[{at}]"), f64::from(*w), 0.0))?;
        let sum: f64 = weight.iter().copied().map(f64::from).sum();
        if sum > f64::from(f32::MAX) {
            return Err(Error::constant(format!("{layer}: the sum of weight"), "finite in 32 bits", sum));
        }
        Ok(())
    }

    /// The weights of all classes, in whole `vec4`s.
    fn weights(&self, lowering: &mut Lowering, classes: usize) -> Operand {
        let mut weights = self.weight.clone().unwrap_or_else(|| vec![1.0; classes]);
        weights.resize(classes.next_multiple_of(4), 0.0);
        let label = "class weights".into();
        Operand::Value(lowering.value_kept(label, weights.len(), Keep::Constant(weights)))
    }

    /// Whether a label is ignored, and which.
    fn ignored(&self) -> [u32; 2] {
        [u32::from(self.ignore_index.is_some()), self.ignore_index.unwrap_or_default()]
    }

    /// Rows whose targets are `at_label` at their label and `at_all` in addition at each class, times the weights.
    #[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
    fn shape(&self, matrix: Matrix, accumulate: bool) -> Shape {
        let at_all = self.label_smoothing / matrix.columns as f64;
        let [ignores, ignored] = self.ignored();
        let sum = self.weight.as_ref().map(|weight| weight.iter().copied().map(f64::from).sum());
        Shape {
            rows: u(matrix.rows),
            classes: u(matrix.columns),
            row_quads: u(matrix.pitch / 4),
            at_label: (1.0 - self.label_smoothing) as f32,
            at_all: at_all as f32,
            weight_sum: sum.unwrap_or(matrix.columns as f64) as f32,
            ignores,
            ignored,
            accumulate: u32::from(accumulate),
        }
    }
}

impl Op for CrossEntropy {
    fn kind(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let rows = rows_and_labels(layer, inputs)?;
        self.check(layer, inputs[0][1])?;
        Ok(vec![rows])
    }

    fn takes_labels(&self, input: usize) -> bool {
        input == 1
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let matrix = Matrix::of(lowering.input_shape(id, 0));
        lowering.limit_labels(id, 1, matrix.columns);
        lowering.ignore_label(id, 1, self.ignore_index);
        let (logits, labels) = (lowering.argument(id, 0), lowering.argument(id, 1));
        let weights = self.weights(lowering, matrix.columns);
        let losses = lowering.define(id);
        let wgsl = concat!(
            include_str!("../../../shaders/ops/cross_entropy.wgsl"),
            include_str!("../../../shaders/shared/softmax.wgsl"),
            include_str!("../../../shaders/shared/labels.wgsl")
        );
        let storage = [Binding::Read, Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = source::<Shape>("cross_entropy", wgsl, &storage);
        let work = grid(matrix.rows.next_multiple_of(4));
        let shape = self.shape(matrix, false);
        lowering.emit(&lowering.name(id), kernel, work, &[logits, labels, weights, losses], shape);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let matrix = Matrix::of(lowering.input_shape(id, 0));
        let weights = self.weights(lowering, matrix.columns);
        let (logits, labels) = (lowering.argument(id, 0), lowering.argument(id, 1));
        let operands = [logits, labels, weights, lowering.gradient(id), dx];
        let wgsl = concat!(
            include_str!("../../../shaders/ops/cross_entropy_grad.wgsl"),
            include_str!("../../../shaders/shared/softmax.wgsl"),
            include_str!("../../../shaders/shared/labels.wgsl")
        );
        let storage = [Binding::Read, Binding::Read, Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = source::<Shape>("cross_entropy_grad", wgsl, &storage);
        let shape = self.shape(matrix, accumulate);
        lowering.emit(&lowering.name(id), kernel, grid(matrix.rows), &operands, shape);
        Ok(())
    }
}

impl Op for LabelWeights {
    fn kind(&self) -> &'static str {
        "label_weights"
    }

    fn infer(&self, _: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        Ok(inputs[0].to_vec())
    }

    fn takes_labels(&self, _: usize) -> bool {
        true
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let rows = lowering.shape(id)[0];
        let weights = self.losses.weights(lowering, self.classes);
        let operands = [lowering.argument(id, 0), weights, lowering.define(id)];
        let wgsl = concat!(
            include_str!("../../../shaders/ops/label_weights.wgsl"),
            include_str!("../../../shaders/shared/labels.wgsl")
        );
        let kernel = source::<WeightsShape>(
            "label_weights",
            wgsl,
            &[Binding::Read, Binding::Read, Binding::ReadWrite],
        );
        let [ignores, ignored] = self.losses.ignored();
        let work = grid(rows.next_multiple_of(4));
        lowering.emit(
            &lowering.name(id),
            kernel,
            work,
            &operands,
            WeightsShape { rows: u(rows), ignores, ignored },
        );
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        Ok(())
    }
}
