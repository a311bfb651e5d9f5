//! Kernels that compute each element of their outputs from elements of their inputs: one text for a chain of functions,
//! with the addresses of every operand in it.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::lower::{Lowering, Operand, source};
use super::ops::grid;
use super::shape::u;
use super::view::View;
use crate::gpu::{Binding, uniform};

uniform! {
    pub(crate) struct Shape { pub(crate) quads: u32 }
}

const MATH: &str = include_str!("../../shaders/shared/math.wgsl");
const RANDOM: &str = include_str!("../../shaders/shared/random.wgsl");
const FRAME: &str = include_str!("../../shaders/ops/elementwise.wgsl");

/// What a kernel computes of the quads of its inputs, which it knows as `x0`, `x1`, ...
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Program {
    /// Name for labels.
    pub(crate) name: String,
    /// The texts of the functions that are called.
    pub(crate) functions: BTreeSet<&'static str>,
    /// Whether they draw random numbers.
    pub(crate) random: bool,
    /// Statements before the results.
    pub(crate) body: String,
    /// One expression for each output.
    pub(crate) results: Vec<String>,
}

/// Where a kernel writes a result, and whether it adds to what is there.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) view: View,
    pub(crate) adds: bool,
}

impl Lowering {
    /// Emits a kernel with an invocation for each quad of its outputs, which have one shape and one axis of lanes.
    ///
    /// Inputs are broadcast to that shape as torch does, wherever their elements lie.
    pub(crate) fn emit_elementwise(
        &mut self,
        layer: &str,
        program: &Program,
        inputs: &[View],
        outputs: &[Target],
    ) {
        let walk = Walk::new(&outputs[0].view, inputs.iter().chain(outputs.iter().map(|o| &o.view)));
        let quads = walk.quads;
        let wgsl = program.text(&walk, inputs, outputs);
        let views = inputs.iter().chain(outputs.iter().map(|output| &output.view));
        let mut operands: Vec<Operand> = views.map(|view| view.of).collect();
        let mut storage = vec![Binding::Read; inputs.len()];
        storage.resize(operands.len(), Binding::ReadWrite);
        if program.random {
            operands.push(self.random());
            storage.push(Binding::Read);
        }
        let kernel = source::<Shape>(program.name.clone(), wgsl, &storage);
        self.emit(layer, kernel, grid(quads), &operands, Shape { quads: u(quads) });
    }
}

/// How the invocations of a kernel walk the elements: the axes from the outermost to the innermost, of which the last
/// one is that of the lanes. Neighbours that all operands have in one run are one axis.
#[derive(Clone, Debug)]
struct Walk {
    extents: Vec<usize>,
    quads: usize,
    /// For each operand, its stride along each axis.
    strides: Vec<Vec<usize>>,
}

impl Walk {
    fn new<'a>(output: &View, operands: impl Iterator<Item = &'a View>) -> Self {
        let rank = output.shape.len();
        // The output is written in the order in which it lies.
        let mut axes: Vec<usize> =
            (0..rank).filter(|&axis| axis != output.lanes && output.shape[axis] > 1).collect();
        axes.sort_by_key(|&axis| std::cmp::Reverse(output.strides[axis]));
        axes.push(output.lanes);
        let all: Vec<Vec<usize>> = operands
            .map(|view| {
                let missing = rank - view.shape.len();
                let stride = |axis: usize| match axis.checked_sub(missing) {
                    Some(own) if view.shape[own] > 1 => view.strides[own],
                    _ => 0,
                };
                axes.iter().map(|&axis| stride(axis)).collect()
            })
            .collect();
        let mut walk = Self { extents: Vec::new(), quads: 1, strides: vec![Vec::new(); all.len()] };
        for (at, &axis) in axes.iter().enumerate() {
            let extent = output.shape[axis];
            let is_lanes = at + 1 == axes.len();
            let joins = !is_lanes
                && walk.extents.last().is_some()
                && all
                    .iter()
                    .zip(&walk.strides)
                    .all(|(new, known)| known.last().is_some_and(|&outer| outer == new[at] * extent));
            walk.quads *= if is_lanes { extent.div_ceil(4) } else { extent };
            if joins {
                *walk.extents.last_mut().expect("it has one") *= extent;
                for (known, new) in walk.strides.iter_mut().zip(&all) {
                    *known.last_mut().expect("it has one") = new[at];
                }
            } else {
                walk.extents.push(extent);
                for (known, new) in walk.strides.iter_mut().zip(&all) {
                    known.push(new[at]);
                }
            }
        }
        walk
    }

    /// Whether all operands are walked from quad to quad.
    fn is_flat(&self, offsets: &[usize]) -> bool {
        let lanes = self.extents[self.extents.len() - 1];
        let row = lanes.next_multiple_of(4);
        offsets.iter().all(|&offset| offset == 0)
            && self.strides.iter().all(|strides| match strides[..] {
                [inner] => inner == 1 || lanes == 1,
                [outer, inner] => (inner == 1 || lanes == 1) && outer == row,
                _ => false,
            })
    }

    /// Statements that make `c0`, `c1`, .. of the number of a quad: the place along each axis, in elements but the last,
    /// which is in quads.
    fn coordinates(&self) -> String {
        let mut text = String::new();
        let last = self.extents.len() - 1;
        text += "    var rest = i;\n";
        for axis in (0..=last).rev() {
            let extent = if axis == last { self.extents[axis].div_ceil(4) } else { self.extents[axis] };
            if axis == 0 {
                writeln!(text, "    let c0 = rest;").expect("text grows");
            } else {
                writeln!(text, "    let c{axis} = rest % {extent}u;\n    rest /= {extent}u;")
                    .expect("text grows");
            }
        }
        text
    }

    /// The address of an operand's first element of a quad, without its lanes, in elements.
    fn address(&self, operand: usize, offset: usize, divisor: usize) -> String {
        let strides = &self.strides[operand];
        let last = strides.len() - 1;
        let mut terms: Vec<String> = (0..last)
            .filter(|&axis| strides[axis] > 0)
            .map(|axis| match strides[axis] / divisor {
                1 => format!("c{axis}"),
                stride => format!("c{axis} * {stride}u"),
            })
            .collect();
        if offset > 0 {
            terms.push(format!("{}u", offset / divisor));
        }
        if terms.is_empty() { "0u".into() } else { terms.join(" + ") }
    }

    /// An expression for the quad of an input.
    fn load(&self, operand: usize, view: &View, buffer: &str) -> String {
        let strides = &self.strides[operand];
        let (last, lanes) = (strides.len() - 1, strides[strides.len() - 1]);
        let extent = self.extents[last];
        let even = strides[..last].iter().all(|stride| stride % 4 == 0) && view.offset % 4 == 0;
        if even && (lanes == 1 || extent == 1) {
            return format!("{buffer}[{} + c{last}]", self.address(operand, view.offset, 4));
        }
        if lanes == 0 {
            if even {
                return format!("vec4f({buffer}[{}].x)", self.address(operand, view.offset, 4));
            }
            let at = self.address(operand, view.offset, 1);
            return format!("vec4f({buffer}[({at}) / 4u][({at}) % 4u])");
        }
        let at = self.address(operand, view.offset, 1);
        // Past the end of the lanes the last element stands in.
        let lane = |lane: usize| {
            let place = format!("min(c{last} * 4u + {lane}u, {}u)", extent - 1);
            let element = format!("({at} + {place} * {lanes}u)");
            format!("{buffer}[{element} / 4u][{element} % 4u]")
        };
        format!("vec4f({}, {}, {}, {})", lane(0), lane(1), lane(2), lane(3))
    }
}

impl Program {
    /// A copy.
    pub(crate) fn copy() -> Self {
        Self { name: "copy".into(), results: vec!["x0".into()], ..Self::default() }
    }

    fn text(&self, walk: &Walk, inputs: &[View], outputs: &[Target]) -> String {
        let mut text = String::new();
        let mut put = |line: String| {
            text += &line;
            text.push('\n');
        };
        for (number, _) in inputs.iter().enumerate() {
            put(format!("@group(0) @binding({}) var<storage, read> in{number}: array<vec4f>;", number + 1));
        }
        for (number, _) in outputs.iter().enumerate() {
            let binding = inputs.len() + number + 1;
            put(format!("@group(0) @binding({binding}) var<storage, read_write> out{number}: array<vec4f>;"));
        }
        if self.random {
            let binding = inputs.len() + outputs.len() + 1;
            put(format!("// Seed and step, the low word of each first."));
            put(format!("@group(0) @binding({binding}) var<storage, read> random: array<vec4u>;"));
        }
        put("fn compute(i: u32) {".into());
        let offsets: Vec<usize> =
            inputs.iter().chain(outputs.iter().map(|o| &o.view)).map(|v| v.offset).collect();
        let flat = walk.is_flat(&offsets);
        let last = walk.extents.len() - 1;
        let lanes = walk.extents[last];
        if !flat {
            put(walk.coordinates());
        }
        for (number, view) in inputs.iter().enumerate() {
            let load =
                if flat { format!("in{number}[i]") } else { walk.load(number, view, &format!("in{number}")) };
            put(format!("    let x{number} = {load};"));
        }
        put(self.body.clone());
        if lanes % 4 != 0 {
            let column = if flat { format!("i % {}u", lanes.div_ceil(4)) } else { format!("c{last}") };
            put(format!(
                "    let inside = vec4u(({column}) * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u({lanes}u);"
            ));
        }
        for (number, (output, result)) in outputs.iter().zip(&self.results).enumerate() {
            let operand = inputs.len() + number;
            let at = if flat {
                "i".to_owned()
            } else {
                format!("{} + c{last}", walk.address(operand, output.view.offset, 4))
            };
            let value =
                if lanes % 4 == 0 { result.clone() } else { format!("select(vec4f(), {result}, inside)") };
            let sum = if output.adds { format!("out{number}[{at}] + ") } else { String::new() };
            put(format!("    out{number}[{at}] = {sum}{value};"));
        }
        put("}".into());
        let functions: String = self.functions.iter().copied().collect();
        [FRAME, &functions, MATH, if self.random { RANDOM } else { "" }, &text].concat()
    }
}
