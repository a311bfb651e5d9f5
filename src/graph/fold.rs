//! Reductions over axes. Elements are combined in a fixed order, and long lines are split into parts.

use super::axes::{Axes, outer, stride};
use super::lowering::elementwise::Shape;
use super::lowering::{Lowering, source};
use super::shape::u;
use super::team::{Join, Shared, Team, Walk};
use super::template::expand;
use super::view::{Order, View};
use crate::gpu::{Binding, Capabilities, MAX_TRIPS};

const FRAME: &str = include_str!("../../shaders/ops/reduce.wgsl");
const MATH: &str = include_str!("../../shaders/shared/math.wgsl");

/// Longest line that one invocation reduces, in steps: quads along the lanes, elements along other axes.
const SHORT: usize = 1024;

/// Number of steps, or of parts, that one invocation combines into one part.
const PART: usize = 256;

/// Number of steps that are combined separately before being combined with the total, and again for those runs. A
/// long chain of additions would lose precision.
const RUN: u32 = 8;
const RUNS: u32 = 128;

const _: () = assert!(SHORT + SHORT / RUN as usize + SHORT / RUNS as usize <= MAX_TRIPS);

/// How a reduction combines the elements of a line.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    /// Name for labels.
    pub(crate) name: &'static str,
    /// WGSL of the functions that are called.
    pub(crate) functions: &'static str,
    /// Value for lanes without elements; combining with it changes nothing.
    pub(crate) neutral: &'static str,
    /// Expression for one step. It can use the quads `x0`, `x1`, .. of the operands, and `place`, the indices of the
    /// elements of `x0` along the reduced axes.
    pub(crate) brings: String,
    /// Expression that combines two results `a` and `b`.
    pub(crate) join: &'static str,
    /// Expression for the final result from `total`.
    pub(crate) finish: String,
}

impl Fold {
    /// A sum.
    pub(crate) fn sum() -> Self {
        Self {
            name: "sum",
            functions: "",
            neutral: "vec4f()",
            brings: "x0".into(),
            join: "a + b",
            finish: "total".into(),
        }
    }
}

/// Emits the sum of a gradient over the axes on which `to` has extent 1 or which it lacks: the backward pass of
/// broadcasting `to` to the shape of `from`. Writes whole quads of `to`, or adds to it.
pub(crate) fn reduce_to(lowering: &mut Lowering, layer: &str, from: &View, to: &View, adds: bool) {
    fold(lowering, layer, &Fold::sum(), &[from], &to.aligned(from.shape.len()), adds);
}

/// Emits a reduction of the first of `from` over the axes on which `to` has extent 1. The other operands are
/// broadcast to its shape. All have the same rank.
pub(crate) fn fold(lowering: &mut Lowering, layer: &str, what: &Fold, from: &[&View], to: &View, adds: bool) {
    let Shared { team, parts } = Line::of(from, to).shared(to, &lowering.capabilities);
    if parts == 1 {
        return emit(lowering, layer, what, (from, to, adds), team);
    }
    // The parts become an additional first axis.
    let shape = [&[parts], &to.shape[..]].concat();
    let mut left = packed_with_lanes(&shape, to.lanes + 1);
    left.of = lowering.scratch("parts of lines", parts * to_len(to));
    let first = Fold { finish: "total".into(), ..what.clone() };
    let whole: Vec<View> = from.iter().map(|view| view.aligned(shape.len())).collect();
    emit(lowering, layer, &first, (&whole.iter().collect::<Vec<_>>(), &left, false), team);
    let rest = Fold { brings: "x0".into(), ..what.clone() };
    fold(lowering, layer, &rest, &[&left], &to.aligned(shape.len()), adds);
}

/// Number of elements of packed memory with the shape and lanes of `to`.
fn to_len(to: &View) -> usize {
    to.shape.iter().product::<usize>() / to.shape[to.lanes] * to.row_quads() * 4
}

/// Packed memory with these lanes; the other axes keep their order.
fn packed_with_lanes(shape: &[usize], lanes: usize) -> View {
    let mut view = View::packed(super::lowering::Operand::Value(0), shape, Order::Natural);
    let mut stride = shape[lanes].next_multiple_of(4);
    for axis in (0..shape.len()).rev().filter(|&axis| axis != lanes) {
        view.strides[axis] = stride;
        stride *= shape[axis];
    }
    view.strides[lanes] = 1;
    view.lanes = lanes;
    view
}

/// The axes of a reduction.
struct Line {
    /// The reduced axes, except for the axis of the lanes.
    axes: Vec<usize>,
    /// Whether a step is a quad along the reduced axis of the lanes, instead of one element for each lane.
    along_lanes: bool,
    steps: usize,
}

impl Line {
    fn of(from: &[&View], to: &View) -> Self {
        let first = from[0];
        let is_reduced = |axis: usize| to.shape[axis] == 1 && first.shape[axis] > 1;
        let along_lanes = is_reduced(first.lanes) && stride(first, first.lanes) == 1;
        let mut axes = outer(first);
        if !along_lanes {
            axes.push(first.lanes);
        }
        axes.retain(|&axis| is_reduced(axis));
        let steps = axes.iter().map(|&axis| first.shape[axis]).product::<usize>();
        let steps = steps * if along_lanes { first.row_quads() } else { 1 };
        Self { axes, along_lanes, steps }
    }

    /// How invocations share the lines of results laid out as `to`, and the number of parts.
    fn shared(&self, to: &View, offered: &Capabilities) -> Shared {
        let quads = to_len(to) / 4;
        let walk = match self.along_lanes {
            true => Walk { lines: quads * 4, count: self.steps, side: 1 },
            false => Walk { lines: quads, count: self.steps, side: to.row_quads() },
        };
        let parts = if self.steps <= SHORT { 1 } else { self.steps.div_ceil(PART) };
        Shared::choose(&walk, offered).unwrap_or(Shared { team: Team::alone(64), parts })
    }
}

/// Emits one kernel. If `to` is longer on the first axis than `from` (which has extent 1), that axis is the parts of
/// each line: part `p` of `n` takes the steps `p`, `p + n`, `p + 2 * n`, ..
fn emit(
    lowering: &mut Lowering,
    layer: &str,
    what: &Fold,
    (from, to, adds): (&[&View], &View, bool),
    team: Team,
) {
    let line = Line::of(from, to);
    let text = Text { what, from, to, adds, line: &line };
    let quads = to_len(to) / 4;
    let work = if line.along_lanes { quads * 4 } else { quads };
    let storage = [vec![Binding::Read; from.len()], vec![Binding::ReadWrite]].concat();
    let joins = team.text(&[Join { name: "line", kind: "vec4f", of: what.join }]);
    let wgsl = [FRAME, MATH, what.functions, &joins, &text.kernel()].concat();
    let mut constants = team.constants();
    constants.extend([("COUNT", u(line.steps)), ("PARTS", u(text.parts())), ("RUN", RUN), ("RUNS", RUNS)]);
    let wgsl = expand(&wgsl, &constants, &[]);
    let kernel = source::<Shape>(format!("reduce[{}]", what.name), wgsl, &storage);
    let operands: Vec<_> = from.iter().map(|view| view.of).chain([to.of]).collect();
    lowering.emit(layer, kernel, team.grid(work), &operands, Shape { quads: u(work) });
}

/// Generates the WGSL of one kernel.
struct Text<'a> {
    what: &'a Fold,
    from: &'a [&'a View],
    to: &'a View,
    adds: bool,
    line: &'a Line,
}

impl Text<'_> {
    /// Number of parts of each line.
    fn parts(&self) -> usize {
        if self.from[0].shape[0] == 1 { self.part_axis().map_or(1, |axis| self.to.shape[axis]) } else { 1 }
    }

    /// The axis of the parts, if there is one.
    fn part_axis(&self) -> Option<usize> {
        (self.to.shape[0] > self.from[0].shape[0]).then_some(0)
    }

    fn kernel(&self) -> String {
        let Self { what, from, line, .. } = *self;
        let mut text = String::new();
        for number in 0..from.len() {
            text +=
                &format!("@group(0) @binding({}) var<storage, read> in{number}: array<vec4f>;\n", number + 1);
        }
        let element = if line.along_lanes { "f32" } else { "vec4f" };
        text += &format!(
            "@group(0) @binding({}) var<storage, read_write> out: array<{element}>;\n",
            from.len() + 1
        );
        text += &format!("fn join(a: vec4f, b: vec4f) -> vec4f {{\nreturn {};\n}}\n", what.join);
        text += "fn compute(team: Team, i: u32) {\n";
        text += &self.places();
        text += &self.loops();
        text += &self.store();
        text + "}\n"
    }

    /// Where the result is written, and where the line starts in each operand.
    fn places(&self) -> String {
        let Self { from, to, line, .. } = *self;
        let views: Vec<&View> = std::iter::once(to).chain(from.iter().copied()).collect();
        // The axis of the parts is separate, because its index does not advance with the elements.
        let kept: Vec<usize> = outer(to).into_iter().filter(|axis| Some(*axis) != self.part_axis()).collect();
        let walk = Axes::new('c', &to.shape, &kept, &views);
        let unit = if line.along_lanes { 4 } else { 1 };
        let row = to.row_quads() * unit;
        let mut text = format!("let column = i % {row}u;\nlet row = i / {row}u;\n");
        text += &walk.places(&format!("row % {}u", walk.count()));
        text += &format!("let part = row / {}u;\n", walk.count());
        text += "var count = COUNT;\n";
        let part = self.part_axis().map_or(0, |axis| stride(to, axis));
        text += &format!(
            "let to = ({}u + {} + part * {part}u) / {}u + column;\n",
            to.offset,
            walk.address(0, 1),
            4 / unit
        );
        if line.along_lanes {
            // Padding.
            let lanes = to.shape[to.lanes];
            if lanes % 4 != 0 {
                text += &format!("let is_padding = column >= {lanes}u;\nif is_padding {{\ncount = 0u;\n}}\n");
            }
        }
        for (number, view) in from.iter().enumerate() {
            let along = if to.shape[to.lanes] > 1 { stride(view, to.lanes) } else { 0 };
            // If each lane is reduced by itself, the lane offset is added where elements are read.
            let along = if line.along_lanes { along } else { 0 };
            text += &format!(
                "let base{number} = {}u + {} + column * {along}u;\n",
                view.offset,
                walk.address(number + 1, 1)
            );
        }
        text
    }

    /// Combines the steps of the line in runs.
    fn loops(&self) -> String {
        let Self { what, from, line, .. } = *self;
        let reduced = Axes::new('r', &from[0].shape, &line.axes, from);
        let quads = if line.along_lanes { from[0].row_quads() } else { 1 };
        let mut step = String::new();
        if line.along_lanes {
            step += &format!("let quad = k % {quads}u;\nlet line = k / {quads}u;\n");
        } else {
            step += "let line = k;\n";
        }
        step += &reduced.places("line");
        for (number, view) in from.iter().enumerate() {
            let at = format!("base{number} + {}", reduced.address(number, 1));
            step += &format!("let x{number} = {};\n", self.load(number, view, &at, &reduced));
        }
        if what.brings.contains("place") {
            step += &self.place();
        }
        let lanes = from[0].shape[from[0].lanes];
        let brings = if line.along_lanes && lanes % 4 != 0 {
            step += &format!("let inside = vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u({lanes}u);\n");
            format!("select({}, {}, inside)", what.neutral, what.brings)
        } else {
            what.brings.clone()
        };
        format!(
            "var total = {neutral};
for (var outer = part * TEAM + team.member; outer < count; outer += RUNS * LANES) {{
var runs = {neutral};
for (var first = outer; first < min(outer + RUNS * LANES, count); first += RUN * LANES) {{
var run = {neutral};
for (var k = first; k < min(first + RUN * LANES, count); k += LANES) {{
{step}run = join(run, {brings});
}}
runs = join(runs, run);
}}
total = join(total, runs);
}}
total = team_line(team, total);
if team.member != 0u || team.line >= shape.quads {{
return;
}}
",
            neutral = what.neutral,
        )
    }

    /// The quad of an operand for one step.
    fn load(&self, number: usize, view: &View, at: &str, reduced: &Axes) -> String {
        let Self { to, line, from, .. } = *self;
        // Lanes are those of the first operand, or those of the result.
        let (lanes, column) = if line.along_lanes { (from[0].lanes, "quad") } else { (to.lanes, "column") };
        let is_kept = line.along_lanes || to.shape[lanes] > 1;
        let along = if is_kept { stride(view, lanes) } else { 0 };
        let even = |axis: usize| axis == lanes || stride(view, axis).is_multiple_of(4);
        let aligned =
            view.offset.is_multiple_of(4) && (0..view.shape.len()).all(even) && reduced.are_even(number);
        if along == 1 && aligned {
            return format!("in{number}[({at}) / 4u + {column}]");
        }
        if along == 0 {
            return format!("vec4f(in{number}[({at}) / 4u][({at}) % 4u])");
        }
        let last = view.shape[lanes] - 1;
        let lane = |lane: u32| {
            let element = format!("({at} + min({column} * 4u + {lane}u, {last}u) * {along}u)");
            format!("in{number}[{element} / 4u][{element} % 4u]")
        };
        format!("vec4f({}, {}, {}, {})", lane(0), lane(1), lane(2), lane(3))
    }

    /// The indices of a step's elements within their line, in the order of the axes.
    fn place(&self) -> String {
        let Self { from, to, line, .. } = *self;
        let first = from[0];
        let mut dense = vec![0; first.shape.len()];
        let mut count = 1;
        for axis in (0..first.shape.len()).rev().filter(|&axis| to.shape[axis] == 1 || first.shape[axis] == 1)
        {
            dense[axis] = count;
            count *= first.shape[axis];
        }
        let numbers = View { strides: dense, ..first.clone() };
        let axes = Axes::new('n', &first.shape, &line.axes, &[&numbers]);
        let mut text = axes.places("line");
        text += &format!("let numbered = {};\n", axes.address(0, 1));
        let along = numbers.strides[first.lanes];
        text += &if line.along_lanes {
            format!(
                "let place = vec4f(vec4u(numbered) + (vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u)) * {along}u);\n"
            )
        } else {
            "let place = vec4f(f32(numbered));\n".into()
        };
        text
    }

    fn store(&self) -> String {
        let Self { what, to, line, adds, .. } = *self;
        let sum = if adds { "out[to] + " } else { "" };
        let lanes = to.shape[to.lanes];
        if line.along_lanes {
            let padding = if lanes % 4 != 0 { "if is_padding {\nout[to] = 0.0;\nreturn;\n}\n" } else { "" };
            return format!(
                "{padding}let halves = join(total, total.zwxy);\ntotal = join(halves, halves.yxwz);\n\
                 out[to] = {sum}({}).x;\n",
                what.finish
            );
        }
        if lanes % 4 == 0 {
            return format!("out[to] = {sum}{};\n", what.finish);
        }
        format!(
            "let inside = vec4u(column * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u({lanes}u);\n\
             out[to] = select(vec4f(), {sum}{}, inside);\n",
            what.finish
        )
    }
}
