use super::lines::{COLUMNS, LARGEST, Lines, MATH, Parts, Reduction, SUM_JOIN};
use super::{Made, Op, Reads, grid};
use crate::Error;
use crate::gpu::{Binding, KernelSource, Uniform, uniform};
use crate::graph::Var;
use crate::graph::lowering::{Lowering, Operand, source};
use crate::graph::shape::u;
use crate::graph::team::{self, Join, Team};
use crate::graph::template::expand;

uniform! {
    pub(crate) struct Shape { lines: u32 }
}
uniform! {
    pub(crate) struct GradShape { lines: u32, accumulate: u32 }
}
uniform! {
    pub(crate) struct WriteShape { quads: u32 }
}
uniform! {
    pub(crate) struct WriteGradShape { quads: u32, accumulate: u32 }
}

const SLOPE: &str = include_str!("../../../shaders/shared/softmax_slope.wgsl");

/// The softmax, or log-softmax, along a dimension.
#[derive(Debug)]
struct Softmax {
    dim: isize,
    log: bool,
}

impl Var {
    /// `exp(x) / sum(exp(x))` along dimension `dim` (negative counts from the last), like torch's `softmax`.
    ///
    /// As in torch, a line is all NaN if it contains NaN or infinity, or only minus infinity.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax.html>.
    #[must_use]
    pub fn softmax(&self, dim: isize) -> Var {
        self.unary(Softmax { dim, log: false })
    }

    /// The logarithm of [`Var::softmax`], accurate also where the softmax is close to 0 or 1, like torch's
    /// `log_softmax`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.LogSoftmax.html>.
    #[must_use]
    pub fn log_softmax(&self, dim: isize) -> Var {
        self.unary(Softmax { dim, log: true })
    }
}

impl Softmax {
    /// The dimension counted from the first, if it exists.
    fn axis(&self, rank: usize) -> Option<usize> {
        let from_end = if self.dim < 0 { rank } else { 0 };
        from_end.checked_add_signed(self.dim).filter(|&axis| axis < rank)
    }

    fn lines(&self, lowering: &Lowering, id: usize) -> Lines {
        let shape = lowering.shape(id);
        let axis = self.axis(shape.len()).expect("the dimension was checked when the shape was inferred");
        Lines::of(shape, lowering.order(id), axis)
    }

    /// A kernel that writes elements of lines.
    fn source<S: Uniform>(
        &self,
        stem: &str,
        texts: &[&str],
        storage: &[Binding],
        lines: &Lines,
    ) -> KernelSource {
        let mut constants = lines.constants();
        constants.push(("LOG", u32::from(self.log)));
        source::<S>(stem, expand(&texts.concat(), &constants, &[]), storage)
    }

    /// A kernel that processes whole lines.
    fn source_of_lines<S: Uniform>(
        &self,
        stem: &str,
        (texts, joins): (&[&str], &[Join<'_>]),
        storage: &[Binding],
        (lines, team): (&Lines, Team),
    ) -> KernelSource {
        let mut constants = lines.constants();
        constants.push(("LOG", u32::from(self.log)));
        constants.extend(team.constants());
        let wgsl = expand(&[&texts.concat(), &team.text(joins)[..]].concat(), &constants, &[]);
        source::<S>(stem, wgsl, storage)
    }

    /// Emits the sum along each long line that the gradient needs.
    fn reduce_slope(&self, lowering: &mut Lowering, id: usize, lines: &Lines) -> Operand {
        let reduction = Reduction {
            parts: (
                "softmax_grad_parts",
                &[include_str!("../../../shaders/ops/softmax_grad_parts.wgsl"), SLOPE, MATH],
            ),
            join: ("sum_join", &[SUM_JOIN]),
            constants: &[("LOG", u32::from(self.log))],
            joins: &[team::SUM],
            width: 1,
        };
        let operands = [lowering.result(id), lowering.gradient(id)];
        lines.reduce(lowering, &lowering.name(id), &reduction, &operands, |parts| Parts { parts })
    }
}

impl Op for Softmax {
    fn kind(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let rank = inputs[0].len();
        match self.axis(rank) {
            Some(_) => Ok(inputs[0].to_vec()),
            None => {
                let allowed = format!("in [-{rank}, {}] for {:?}", rank - 1, inputs[0]);
                Err(Error::constant(format!("{layer}: dim"), allowed, self.dim))
            }
        }
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::AsMade
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let lines = self.lines(lowering, id);
        let (layer, x) = (lowering.name(id), lowering.argument(id, 0));
        let texts = |kernel| {
            [kernel, COLUMNS, MATH, LARGEST, include_str!("../../../shaders/shared/softmax_line.wgsl")]
        };
        if let Some(team) = lines.whole(&lowering.capabilities) {
            let y = lowering.define(id);
            let texts = texts(include_str!("../../../shaders/ops/softmax.wgsl"));
            let (joins, storage) = ([team::SUM, team::LARGEST], [Binding::Read, Binding::ReadWrite]);
            let kernel = self.source_of_lines::<Shape>("softmax", (&texts, &joins), &storage, (&lines, team));
            let shape = Shape { lines: u(lines.lines) };
            lowering.emit(&layer, kernel, team.grid(lines.lines), &[x, y], shape);
            return Ok(());
        }
        let joined = lines.reduce_exponentials(lowering, &layer, x);
        let y = lowering.define(id);
        let texts = texts(include_str!("../../../shaders/ops/softmax_write.wgsl"));
        let storage = [Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = self.source::<WriteShape>("softmax_write", &texts, &storage, &lines);
        let quads = lines.lines * lines.count;
        lowering.emit(&layer, kernel, grid(quads), &[x, joined, y], WriteShape { quads: u(quads) });
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let lines = self.lines(lowering, id);
        let (layer, accumulate) = (lowering.name(id), u32::from(accumulate));
        let (y, dy) = (lowering.result(id), lowering.gradient(id));
        if let Some(team) = lines.whole(&lowering.capabilities) {
            let texts = [include_str!("../../../shaders/ops/softmax_grad.wgsl"), COLUMNS, MATH, SLOPE];
            let storage = [Binding::Read, Binding::Read, Binding::ReadWrite];
            let texts = (&texts[..], &[team::SUM][..]);
            let kernel = self.source_of_lines::<GradShape>("softmax_grad", texts, &storage, (&lines, team));
            let shape = GradShape { lines: u(lines.lines), accumulate };
            lowering.emit(&layer, kernel, team.grid(lines.lines), &[y, dy, dx], shape);
            return Ok(());
        }
        let sums = self.reduce_slope(lowering, id, &lines);
        let texts = [include_str!("../../../shaders/ops/softmax_grad_write.wgsl"), COLUMNS, MATH, SLOPE];
        let storage = [Binding::Read, Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = self.source::<WriteGradShape>("softmax_grad_write", &texts, &storage, &lines);
        let quads = lines.lines * lines.count;
        let shape = WriteGradShape { quads: u(quads), accumulate };
        lowering.emit(&layer, kernel, grid(quads), &[y, dy, sums, dx], shape);
        Ok(())
    }
}
