use super::lines::{LARGEST, Lines, MATH, Parts, RUN, Reduction, SUM_JOIN};
use super::{Op, Reads, grid};
use crate::Error;
use crate::error::{at_least, closed};
use crate::gpu::{Binding, uniform};
use crate::graph::Mode;
use crate::graph::lowering::{Keep, Lowering, Operand, source};
use crate::graph::samples::{Place, Samples, SamplesOf};
use crate::graph::shape::{Matrix, u};
use crate::graph::team::{self, Team};
use crate::graph::template::expand;

/// Softmax and cross-entropy: one loss per row.
#[derive(Clone, Debug)]
pub(crate) struct CrossEntropy {
    pub(crate) label_smoothing: f64,
    /// One weight per class.
    pub(crate) weight: Option<Vec<f32>>,
    pub(crate) ignore_index: Option<u32>,
}

/// For each row, the weight of its label, which determines its share in the mean loss.
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
        all_targets: f32,
        ignores: u32,
        ignored: u32,
        accumulate: u32,
        columns: u32,
        pitch: u32,
    }
}
uniform! {
    /// A [`Shape`] with the upstream gradient of every loss.
    pub(crate) struct SlopesShape {
        rows: u32,
        classes: u32,
        row_quads: u32,
        at_label: f32,
        at_all: f32,
        all_targets: f32,
        ignores: u32,
        ignored: u32,
        accumulate: u32,
        columns: u32,
        pitch: u32,
        scale: f32,
    }
}
uniform! {
    pub(crate) struct WeightsShape { rows: u32, ignores: u32, ignored: u32, columns: u32, pitch: u32 }
}

pub(super) const LABELS: &str = include_str!("../../../shaders/shared/labels.wgsl");
const SOFTMAX: &str = include_str!("../../../shaders/shared/softmax.wgsl");
const SLOPE: &str = include_str!("../../../shaders/shared/cross_entropy_slope.wgsl");

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

/// Refuses values that are not `[N, classes, ..]` or labels that are not `[N, ..]`; returns the shape of the labels.
pub(super) fn shape_of_labels(layer: &str, what: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
    let refuse = |expected: String, got: &[usize]| {
        Err(Error::Shape { layer: layer.into(), expected, got: got.to_vec() })
    };
    let &[rows, _, ref places @ ..] = inputs[0] else {
        return refuse(format!("{what} [N, classes] or [N, classes, ..]"), inputs[0]);
    };
    let labels = [&[rows], places].concat();
    if inputs[1] != labels {
        return refuse(format!("labels {labels:?} for {what} {:?}", inputs[0]), inputs[1]);
    }
    Ok(labels)
}

/// The position of the samples in losses `[N, ..]`, from their position in `[N, classes, ..]`.
pub(super) fn samples_of_rows(of: &SamplesOf<'_>) -> Samples {
    match of.inputs[0].0 {
        Samples::Along(Place { axis: 1, .. }) => Samples::Mixed,
        Samples::Along(Place { axis, inner }) => {
            Samples::Along(Place { axis: axis.saturating_sub(1), inner })
        }
        _ => of.kept(),
    }
}

/// Emits the weighted sum of minus the log-softmax along long rows: one quad per row.
///
/// Operands: logits, class weights, and the result of [`Lines::reduce_exponentials`].
fn reduce_weighted(lowering: &mut Lowering, layer: &str, rows: &Lines, operands: [Operand; 3]) -> Operand {
    let reduction = Reduction {
        parts: ("cross_entropy_parts", &[include_str!("../../../shaders/ops/cross_entropy_parts.wgsl")]),
        join: ("sum_join", &[SUM_JOIN]),
        constants: &[],
        joins: &[team::SUM],
        width: 1,
    };
    rows.reduce(lowering, layer, &reduction, &operands, |parts| Parts { parts })
}

impl CrossEntropy {
    /// Whether the mean over rows is weighted.
    pub(crate) fn weighs(&self) -> bool {
        self.weight.is_some() || self.ignore_index.is_some()
    }

    pub(super) fn check(&self, layer: &str, classes: usize) -> Result<(), Error> {
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
    pub(super) fn weights(&self, lowering: &mut Lowering, classes: usize) -> Operand {
        let mut weights = self.weight.clone().unwrap_or_else(|| vec![1.0; classes]);
        weights.resize(classes.next_multiple_of(4), 0.0);
        let label = "class weights".into();
        Operand::Value(lowering.value_kept(label, weights.len(), Keep::Constant(weights)))
    }

    /// Whether a label is ignored, and which.
    pub(super) fn ignored(&self) -> [u32; 2] {
        [u32::from(self.ignore_index.is_some()), self.ignore_index.unwrap_or_default()]
    }

    /// Emits the losses and the gradient of the logits in one dispatch. Possible if the upstream gradient of every
    /// loss is known: a factor times a number in `upstream`.
    fn forward_with_slopes(
        &self,
        lowering: &mut Lowering,
        id: usize,
        team: Team,
        mut operands: Vec<Operand>,
        (upstream, scale): (Operand, f32),
    ) {
        let (matrix, losses) = (lowering.input_matrix(id, 0), lowering.matrix(id));
        operands.extend([upstream, lowering.make_gradient_early(id)]);
        let kernel = include_str!("../../../shaders/ops/cross_entropy.wgsl");
        let joins = team.text(&[team::SUM, team::LARGEST]);
        let texts = [kernel, SOFTMAX, SLOPE, LABELS, MATH, LARGEST, &joins];
        let mut constants = team.constants();
        constants.extend([("RUN", u(RUN)), ("KEEPS", 0), ("SLOPES", 1)]);
        let wgsl = expand(&texts.concat(), &constants, &[]);
        let mut storage = vec![Binding::Read; operands.len()];
        (storage[3], storage[5]) = (Binding::ReadWrite, Binding::ReadWrite);
        let kernel = source::<SlopesShape>("cross_entropy[slopes]", wgsl, &storage);
        let shape = self.shape(matrix, losses, false).with_slopes(scale);
        lowering.emit(&lowering.name(id), kernel, team.grid(losses.len()), &operands, shape);
    }

    /// Rows whose targets are `at_label` at their label plus `at_all` for each class, times the weights.
    #[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
    fn shape(&self, matrix: Matrix, losses: Matrix, accumulate: bool) -> Shape {
        let at_all = self.label_smoothing / matrix.columns as f64;
        let [ignores, ignored] = self.ignored();
        let sum = self.weight.as_ref().map(|weight| weight.iter().copied().map(f64::from).sum());
        Shape {
            rows: u(matrix.rows),
            classes: u(matrix.columns),
            row_quads: u(matrix.pitch / 4),
            at_label: (1.0 - self.label_smoothing) as f32,
            at_all: at_all as f32,
            all_targets: (at_all * sum.unwrap_or(matrix.columns as f64)) as f32,
            ignores,
            ignored,
            accumulate: u32::from(accumulate),
            columns: u(losses.columns),
            pitch: u(losses.pitch),
        }
    }
}

impl Shape {
    fn with_slopes(self, scale: f32) -> SlopesShape {
        let Self { rows, classes, row_quads, at_label, at_all, all_targets, .. } = self;
        let Self { ignores, ignored, accumulate, columns, pitch, .. } = self;
        SlopesShape {
            rows,
            classes,
            row_quads,
            at_label,
            at_all,
            all_targets,
            ignores,
            ignored,
            accumulate,
            columns,
            pitch,
            scale,
        }
    }
}

impl Op for CrossEntropy {
    fn kind(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let labels = shape_of_labels(layer, "logits", inputs)?;
        self.check(layer, inputs[0][1])?;
        Ok(labels)
    }

    fn reads(&self, input: usize) -> Reads {
        // The classes of each position are side by side.
        if input == 0 { Reads::ChannelsLast } else { Reads::Natural }
    }

    fn samples(&self, of: &SamplesOf<'_>) -> Samples {
        samples_of_rows(of)
    }

    fn takes_labels(&self, input: usize) -> bool {
        input == 1
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let matrix = lowering.input_matrix(id, 0);
        lowering.limit_labels(id, 1, matrix.columns);
        lowering.ignore_label(id, 1, self.ignore_index);
        let (layer, weights) = (lowering.name(id), self.weights(lowering, matrix.columns));
        let mut operands = vec![lowering.argument(id, 0), lowering.argument(id, 1), weights];
        let mut storage = vec![Binding::Read, Binding::Read, Binding::Read, Binding::ReadWrite];
        let lines = Lines::rows(matrix);
        let whole = lines.whole(&lowering.capabilities);
        let keeps = whole.is_some_and(keeps_sums) && lowering.mode == Mode::Train;
        let softmax = if let Some(team) = whole {
            operands.push(lowering.define(id));
            if let Some(upstream) = lowering.even_upstream(id) {
                self.forward_with_slopes(lowering, id, team, operands, upstream);
                return Ok(());
            }
            if keeps {
                operands.push(lowering.save(id, "largest logits and sums", 8 * matrix.rows));
                storage.push(Binding::ReadWrite);
            }
            SOFTMAX
        } else {
            let joined = lines.reduce_exponentials(lowering, &layer, operands[0]);
            lowering.save_as(id, joined);
            // Without label smoothing, the kernel does not read this operand.
            let sums = if self.label_smoothing > 0.0 {
                reduce_weighted(lowering, &layer, &lines, [operands[0], weights, joined])
            } else {
                joined
            };
            operands.extend([lowering.define(id), joined, sums]);
            storage.extend([Binding::Read, Binding::Read]);
            include_str!("../../../shaders/shared/softmax_joined.wgsl")
        };
        let team = whole.unwrap_or(Team::alone(64));
        let joins = team.text(&[team::SUM, team::LARGEST]);
        let kernel = include_str!("../../../shaders/ops/cross_entropy.wgsl");
        let texts = [kernel, softmax, LABELS, MATH, LARGEST, &joins];
        let mut constants = team.constants();
        constants.extend([("RUN", u(RUN)), ("KEEPS", u32::from(keeps)), ("SLOPES", 0)]);
        let kernel = source::<Shape>("cross_entropy", expand(&texts.concat(), &constants, &[]), &storage);
        let losses = lowering.matrix(id);
        lowering.emit(&layer, kernel, team.grid(losses.len()), &operands, self.shape(matrix, losses, false));
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        if lowering.send_made_gradient(id) {
            return Ok(());
        }
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let matrix = lowering.input_matrix(id, 0);
        let weights = self.weights(lowering, matrix.columns);
        let mut operands = vec![lowering.argument(id, 0), lowering.argument(id, 1), weights];
        let lines = Lines::rows(matrix);
        let (name, work, mut constants, mut texts) = match lines.whole(&lowering.capabilities) {
            Some(team) if !keeps_sums(team) => {
                let kernel = include_str!("../../../shaders/ops/cross_entropy_grad.wgsl");
                let texts = vec![kernel.to_owned(), SOFTMAX.into(), team.text(&[team::SUM, team::LARGEST])];
                ("cross_entropy_grad", matrix.rows, team.constants(), texts)
            }
            _ => {
                operands.push(lowering.saved(id));
                let kernel = include_str!("../../../shaders/ops/cross_entropy_grad_write.wgsl");
                let constants = vec![("COUNT", u(lines.count))];
                ("cross_entropy_grad_write", matrix.quads(), constants, vec![kernel.to_owned()])
            }
        };
        operands.extend([lowering.gradient(id), dx]);
        let mut storage = vec![Binding::Read; operands.len()];
        storage[operands.len() - 1] = Binding::ReadWrite;
        constants.push(("RUN", u(RUN)));
        texts.extend([SLOPE, LABELS, MATH, LARGEST].map(str::to_owned));
        let kernel = source::<Shape>(name, expand(&texts.concat(), &constants, &[]), &storage);
        let shape = self.shape(matrix, lowering.matrix(id), accumulate);
        lowering.emit(&lowering.name(id), kernel, grid(work), &operands, shape);
        Ok(())
    }
}

/// Whether the loss kernel saves the row sums that the gradient needs, so that the gradient can use one lane per
/// quad.
fn keeps_sums(team: Team) -> bool {
    team.lanes > 1
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
        let Matrix { rows, columns, pitch } = lowering.matrix(id);
        let weights = self.losses.weights(lowering, self.classes);
        let operands = [lowering.argument(id, 0), weights, lowering.define(id)];
        let wgsl = [include_str!("../../../shaders/ops/label_weights.wgsl"), LABELS].concat();
        let kernel = source::<WeightsShape>(
            "label_weights",
            wgsl,
            &[Binding::Read, Binding::Read, Binding::ReadWrite],
        );
        let [ignores, ignored] = self.losses.ignored();
        let shape =
            WeightsShape { rows: u(rows * columns), ignores, ignored, columns: u(columns), pitch: u(pitch) };
        lowering.emit(&lowering.name(id), kernel, grid(rows * pitch), &operands, shape);
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        Ok(())
    }
}
