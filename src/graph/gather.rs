//! Kernels that move elements: into a window of a larger value, or to another shape.

use super::axes::{Axes, outer, stride};
use super::lowering::elementwise::Shape;
use super::lowering::{Lowering, source};
use super::ops::grid;
use super::shape::u;
use super::view::View;
use crate::gpu::{Binding, Work};

const FRAME: &str = include_str!("../../shaders/ops/elementwise.wgsl");

/// Where elements are placed along an axis: element `i` goes to index `start + i * step`. Elements that would fall
/// outside are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: isize,
    pub(crate) step: usize,
}

impl Window {
    /// Each element keeps its index.
    pub(crate) const WHOLE: Self = Self { start: 0, step: 1 };
}

/// What a kernel does with positions where it places no element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Around {
    /// Writes a constant.
    Value(f32),
    /// Keeps what is there; elements are added to it.
    Sum,
    /// Along the lanes, keeps what is before the window and writes zeros after it. Quads outside are not touched.
    Earlier,
}

impl Lowering {
    /// Emits a kernel that places the elements of `from` in `to`, with one window per axis.
    pub(crate) fn emit_placed(
        &mut self,
        layer: &str,
        from: &View,
        to: &View,
        windows: &[Window],
        around: Around,
    ) {
        let placed = Placed { from, to, windows, around };
        let (quads, wgsl) = (placed.quads(), placed.text());
        let kernel = source::<Shape>("place", [FRAME, &wgsl].concat(), &[Binding::Read, Binding::ReadWrite]);
        self.next_does(Work::of_quads(quads).touching([Some(from.touched()), Some(4 * quads)]));
        self.emit(layer, kernel, grid(quads), &[from.of, to.of], Shape { quads: u(quads) });
    }

    /// Emits a kernel that copies the elements of `from`, in row-major order, to `to`, which has as many elements but
    /// any shape; or adds them.
    pub(crate) fn emit_reshaped(&mut self, layer: &str, from: &View, to: &View, adds: bool) {
        let rows = to.shape.iter().product::<usize>() / to.shape[to.lanes];
        let quads = rows * to.row_quads();
        let wgsl = reshape_text(from, to, adds);
        let kernel =
            source::<Shape>("reshape", [FRAME, &wgsl].concat(), &[Binding::Read, Binding::ReadWrite]);
        self.next_does(Work::of_quads(quads).touching([Some(from.touched()), Some(to.touched())]));
        self.emit(layer, kernel, grid(quads), &[from.of, to.of], Shape { quads: u(quads) });
    }
}

const OPERANDS: &str = "@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
";

/// Statements that compute `inside`: for each lane from `column` on, whether it is an element of `to`.
fn inside(to: &View) -> String {
    let lanes = to.shape[to.lanes];
    format!("let inside = vec4u(column) + vec4u(0u, 1u, 2u, 3u) < vec4u({lanes}u);\n")
}

struct Placed<'a> {
    from: &'a View,
    to: &'a View,
    windows: &'a [Window],
    around: Around,
}

impl Placed<'_> {
    /// The quads of a row that are touched: the first one and their number.
    fn row(&self) -> [usize; 2] {
        let lanes = self.to.lanes;
        let Window { start, step } = self.windows[lanes];
        let within = |place: isize| place.max(0).unsigned_abs().min(self.to.shape[lanes]);
        let first = within(start) / 4;
        let end = within(start.saturating_add_unsigned(self.from.shape[lanes] * step)).div_ceil(4);
        match self.around {
            Around::Value(_) => [0, self.to.row_quads()],
            Around::Sum | Around::Earlier => [first, end.saturating_sub(first).max(1)],
        }
    }

    fn quads(&self) -> usize {
        let rows = self.to.shape.iter().product::<usize>() / self.to.shape[self.to.lanes];
        rows * self.row()[1]
    }

    /// Whether elements keep their lane, so that whole quads can be read.
    fn is_even(&self) -> bool {
        let lanes = self.to.lanes;
        let Window { start, step } = self.windows[lanes];
        let even = |axis: usize| axis == lanes || stride(self.from, axis).is_multiple_of(4);
        start % 4 == 0
            && step == 1
            && (self.from.shape[lanes] == 1 || self.from.strides[lanes] == 1)
            && self.from.offset.is_multiple_of(4)
            && (0..self.from.shape.len()).all(even)
    }

    fn text(&self) -> String {
        let Self { from, to, windows, around } = *self;
        let [first, count] = self.row();
        // If nothing is cut or moved, axes can be merged.
        let rest = outer(to);
        let is_whole = |axis: &usize| windows[*axis] == Window::WHOLE && from.shape[*axis] == to.shape[*axis];
        let (whole, cut): (Vec<usize>, Vec<usize>) = rest.into_iter().partition(is_whole);
        let whole = Axes::new('c', &to.shape, &whole, &[from, to]);
        let mut text = format!("{OPERANDS}fn compute(i: u32) {{\n");
        text += &format!("let column = (i % {count}u + {first}u) * 4u;\nlet row = i / {count}u;\n");
        text += &whole.places(&format!("row % {}u", whole.count()));
        text += &format!("var rest = row / {}u;\n", whole.count());
        text += &format!("var at = {}u + {};\n", from.offset, whole.address(0, 1));
        text += &format!("var to = {}u + {};\nvar holds = true;\n", to.offset, whole.address(1, 1));
        for &axis in cut.iter().rev() {
            let (extent, has, Window { start, step }) = (to.shape[axis], from.shape[axis], windows[axis]);
            text += &format!("let p{axis} = i32(rest % {extent}u);\nrest /= {extent}u;\n");
            text += &format!("to += u32(p{axis}) * {}u;\n", stride(to, axis));
            text += &format!("let d{axis} = p{axis} - ({start});\n");
            text += &format!("holds = holds && d{axis} >= 0 && d{axis} < {};\n", has * step);
            if step > 1 {
                text += &format!("holds = holds && d{axis} % {step} == 0;\n");
            }
            text += &format!("at += u32(d{axis}) / {step}u * {}u;\n", stride(from, axis));
        }
        let value = match around {
            Around::Value(value) => value,
            Around::Sum | Around::Earlier => 0.0,
        };
        // WGSL has no literal for infinity.
        text += &format!("var bits = {}u;\nvar value = vec4f(bitcast<f32>(bits));\n", value.to_bits());
        text += "let quad = (to + column) / 4u;\n";
        text += &inside(to);
        text += &if self.is_even() { self.whole_quads() } else { self.single_lanes() };
        let result = match around {
            Around::Value(_) => "value",
            Around::Sum => "y[quad] + value",
            Around::Earlier => {
                let start = windows[to.lanes].start;
                text += &format!(
                    "let earlier = vec4u(column) + vec4u(0u, 1u, 2u, 3u) < vec4u({start}u);\n\
                     if column < {start}u {{\nvalue = select(value, y[quad], earlier);\n}}\n"
                );
                "value"
            }
        };
        text + &format!("y[quad] = select(vec4f(), {result}, inside);\n}}\n")
    }

    fn whole_quads(&self) -> String {
        let lanes = self.to.lanes;
        let (start, has) = (self.windows[lanes].start, self.from.shape[lanes]);
        format!(
            "let place = i32(column) - ({start});\n\
             if holds && place >= 0 && place < {has} {{\n\
             let there = vec4i(place) + vec4i(0, 1, 2, 3) < vec4i({has});\n\
             value = select(value, x[(at + u32(place)) / 4u], there);\n}}\n"
        )
    }

    fn single_lanes(&self) -> String {
        let lanes = self.to.lanes;
        let Window { start, step } = self.windows[lanes];
        let (has, along) = (self.from.shape[lanes], stride(self.from, lanes));
        let mut text = String::new();
        for (lane, name) in ["x", "y", "z", "w"].into_iter().enumerate() {
            text += &format!("let l{lane} = i32(column) + {lane} - ({start});\n");
            let on_step = if step > 1 { format!(" && l{lane} % {step} == 0") } else { String::new() };
            text += &format!(
                "if holds && l{lane} >= 0 && l{lane} < {}{on_step} {{\n\
                 let source = at + u32(l{lane}) / {step}u * {along}u;\n\
                 value.{name} = x[source / 4u][source % 4u];\n}}\n",
                has * step
            );
        }
        text
    }
}

fn reshape_text(from: &View, to: &View, adds: bool) -> String {
    let rank = to.shape.len();
    // The row-major index of each element.
    let mut dense = vec![1; rank];
    for axis in (1..rank).rev() {
        dense[axis - 1] = dense[axis] * to.shape[axis];
    }
    let number = View { strides: dense, offset: 0, ..to.clone() };
    let walk = Axes::new('c', &to.shape, &outer(to), &[&number, to]);
    let all: Vec<usize> = (0..from.shape.len()).collect();
    let places = Axes::new('p', &from.shape, &all, &[from]);
    let mut text = format!("{OPERANDS}fn element(number: u32) -> f32 {{\n{}", places.places("number"));
    text += &format!("let at = {}u + {};\n", from.offset, places.address(0, 1));
    text += "return x[at / 4u][at % 4u];\n}\nfn compute(i: u32) {\n";
    let (quads, last) = (to.row_quads(), to.shape[to.lanes] - 1);
    text += &format!("let column = i % {quads}u * 4u;\n{}", walk.places(&format!("i / {quads}u")));
    text += &format!("let first = {};\n", walk.address(0, 1));
    let along = stride(&number, to.lanes);
    // Past the end of the lanes, the last element is used.
    let lanes =
        [0, 1, 2, 3].map(|lane| format!("element(first + min(column + {lane}u, {last}u) * {along}u)"));
    text += &format!("let value = vec4f({});\n{}", lanes.join(", "), inside(to));
    text += &format!("let quad = ({}u + {} + column) / 4u;\n", to.offset, walk.address(1, 1));
    let sum = if adds { "y[quad] + " } else { "" };
    text + &format!("y[quad] = select(vec4f(), {sum}value, inside);\n}}\n")
}
