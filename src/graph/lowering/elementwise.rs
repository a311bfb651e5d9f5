//! Kernels that compute each element of their outputs from elements of their inputs: one text for a chain of functions,
//! with the addresses of every operand in it.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Lowering, Operand, source};
use crate::gpu::{Binding, Work, uniform};
use crate::graph::ops::grid;
use crate::graph::shape::u;
use crate::graph::view::View;

uniform! {
    pub(crate) struct Shape { pub(crate) quads: u32 }
}

const MATH: &str = include_str!("../../../shaders/shared/math.wgsl");
const RANDOM: &str = include_str!("../../../shaders/shared/random.wgsl");
const FRAME: &str = include_str!("../../../shaders/ops/elementwise.wgsl");

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
        self.emit_elementwise_as(layer, program, &outputs[0].view, inputs, outputs);
    }

    /// As [`Lowering::emit_elementwise`], with the quads numbered as they lie in `order`, which has the shape and the lanes
    /// of the outputs: by these numbers random numbers are drawn.
    pub(crate) fn emit_elementwise_as(
        &mut self,
        layer: &str,
        program: &Program,
        order: &View,
        inputs: &[View],
        outputs: &[Target],
    ) {
        let views = inputs.iter().chain(outputs.iter().map(|o| &o.view));
        let walk = Walk::new(order, views, 4);
        let quads = walk.vectors;
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
        let views = inputs.iter().chain(outputs.iter().map(|output| &output.view));
        let touched = views.map(|view| Some(view.touched()));
        self.next_does(Work::of_quads(quads).touching(touched));
        self.emit(layer, kernel, grid(quads), &operands, Shape { quads: u(quads) });
    }
}

/// How the invocations of a kernel walk the elements: the axes from the outermost to the innermost, of which the last
/// one is that of the lanes. Neighbours that all operands have in one run are one axis.
#[derive(Clone, Debug)]
struct Walk {
    extents: Vec<usize>,
    /// Elements that an invocation takes along the lanes: 4, 2 or 1.
    width: usize,
    /// Vectors of so many elements.
    vectors: usize,
    /// For each operand, its stride along each axis.
    strides: Vec<Vec<usize>>,
}

impl Walk {
    fn new<'a>(output: &View, operands: impl Iterator<Item = &'a View>, width: usize) -> Self {
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
        let strides = vec![Vec::new(); all.len()];
        let mut walk = Self { extents: Vec::new(), width, vectors: 1, strides };
        for (at, &axis) in axes.iter().enumerate() {
            let extent = output.shape[axis];
            let is_lanes = at + 1 == axes.len();
            let joins = !is_lanes
                && walk.extents.last().is_some()
                && all
                    .iter()
                    .zip(&walk.strides)
                    .all(|(new, known)| known.last().is_some_and(|&outer| outer == new[at] * extent));
            walk.vectors *= if is_lanes { extent.next_multiple_of(4) / width } else { extent };
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

    /// The type of what an invocation takes.
    fn vector(&self) -> &'static str {
        vector(self.width)
    }

    /// Vectors along the lanes.
    fn row(&self) -> usize {
        self.extents[self.extents.len() - 1].next_multiple_of(4) / self.width
    }

    /// A condition for the elements that are none of the padding, if there is any.
    fn inside(&self, flat: bool) -> Option<String> {
        let last = self.extents.len() - 1;
        let extent = self.extents[last];
        if extent.is_multiple_of(4) {
            return None;
        }
        let place = if flat { format!("i % {}u", self.row()) } else { format!("c{last}") };
        let lanes = ["", "0u", "0u, 1u", "", "0u, 1u, 2u, 3u"][self.width];
        let counts = vector(self.width).replace("f32", "u32").replace('f', "u");
        Some(format!("{counts}(({place}) * {}u) + {counts}({lanes}) < {counts}({extent}u)", self.width))
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

    /// Statements that make `c0`, `c1`, .. of the number of a vector: the place along each axis, in elements but the last,
    /// which is in vectors.
    fn coordinates(&self) -> String {
        let mut text = String::new();
        let last = self.extents.len() - 1;
        text += "    var rest = i;\n";
        for axis in (0..=last).rev() {
            let extent = if axis == last { self.row() } else { self.extents[axis] };
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

    /// An expression for an element of a buffer of vectors.
    fn element(&self, buffer: &str, at: &str) -> String {
        let width = self.width;
        if width == 1 {
            format!("{buffer}[{at}]")
        } else {
            format!("{buffer}[({at}) / {width}u][({at}) % {width}u]")
        }
    }

    /// An expression for the vector of an input.
    fn load(&self, operand: usize, view: &View, buffer: &str) -> String {
        let strides = &self.strides[operand];
        let (last, lanes) = (strides.len() - 1, strides[strides.len() - 1]);
        let extent = self.extents[last];
        let even =
            strides[..last].iter().all(|stride| stride.is_multiple_of(4)) && view.offset.is_multiple_of(4);
        if even && (lanes == 1 || extent == 1) {
            return format!("{buffer}[{} + c{last}]", self.address(operand, view.offset, self.width));
        }
        let (vector, width) = (self.vector(), self.width);
        let at = self.address(operand, view.offset, 1);
        if lanes == 0 {
            return format!("{vector}({})", self.element(buffer, &at));
        }
        // Past the end of the lanes the last element stands in.
        let lane = |lane: usize| {
            let place = format!("min(c{last} * {width}u + {lane}u, {}u)", extent - 1);
            self.element(buffer, &format!("{at} + {place} * {lanes}u"))
        };
        format!("{vector}({})", (0..width).map(lane).collect::<Vec<_>>().join(", "))
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
            put("// Seed and step, the low word of each first.".into());
            put(format!("@group(0) @binding({binding}) var<storage, read> random: array<vec4u>;"));
        }
        put("fn compute(i: u32) {".into());
        let offsets: Vec<usize> =
            inputs.iter().chain(outputs.iter().map(|o| &o.view)).map(|v| v.offset).collect();
        let flat = walk.is_flat(&offsets);
        let last = walk.extents.len() - 1;
        if !flat {
            put(walk.coordinates());
        }
        for (number, view) in inputs.iter().enumerate() {
            let load =
                if flat { format!("in{number}[i]") } else { walk.load(number, view, &format!("in{number}")) };
            put(format!("    let x{number} = {load};"));
        }
        put(self.body.clone());
        let inside = walk.inside(flat);
        if let Some(inside) = &inside {
            put(format!("    let inside = {inside};"));
        }
        for (number, (output, result)) in outputs.iter().zip(&self.results).enumerate() {
            let operand = inputs.len() + number;
            let at = if flat {
                "i".to_owned()
            } else {
                format!("{} + c{last}", walk.address(operand, output.view.offset, 4))
            };
            let value = match inside {
                Some(_) => format!("select(vec4f(), {result}, inside)"),
                None => result.clone(),
            };
            let sum = if output.adds { format!("out{number}[{at}] + ") } else { String::new() };
            put(format!("    out{number}[{at}] = {sum}{value};"));
        }
        put("}".into());
        [FRAME, &self.joined(), &text].concat()
    }

    /// The function `finish(i, value)` of a kernel that ends with this program: what it stores as vector `i`, of `width`
    /// elements, of an output.
    ///
    /// `inputs` are the views of `x0`, `x1`, .., but `None` for that which is the kernel's own `value`; `before` says that
    /// this is to be kept too. Bindings from `first` on: the inputs, what keeps the value, random numbers.
    pub(crate) fn finish(
        &self,
        (inputs, output): (&[Option<View>], &View),
        before: bool,
        first: usize,
        width: usize,
    ) -> String {
        let views = inputs.iter().map(|view| view.as_ref().unwrap_or(output)).chain([output]);
        let walk = Walk::new(output, views.clone(), width);
        let flat = walk.is_flat(&views.map(|view| view.offset).collect::<Vec<_>>());
        let vector = walk.vector();
        let mut binding = first..;
        let mut number = || binding.next().unwrap_or_default();
        let (mut declared, mut text) = (String::new(), String::new());
        text += &format!("fn finish(i: u32, value: {vector}) -> {vector} {{\n");
        if !flat {
            text += &walk.coordinates();
        }
        for (operand, view) in inputs.iter().enumerate() {
            let buffer = format!("finish{operand}");
            let load = match view {
                None => "value".into(),
                Some(_) if flat => format!("{buffer}[i]"),
                Some(view) => walk.load(operand, view, &buffer),
            };
            if view.is_some() {
                let number = number();
                declared +=
                    &format!("@group(0) @binding({number}) var<storage, read> {buffer}: array<{vector}>;\n");
            }
            text += &format!("    let x{operand} = {load};\n");
        }
        if before {
            let number = number();
            declared +=
                &format!("@group(0) @binding({number}) var<storage, read_write> before: array<{vector}>;\n");
            text += "    before[i] = value;\n";
        }
        if self.random {
            let number = number();
            declared += &format!("@group(0) @binding({number}) var<storage, read> random: array<vec4u>;\n");
        }
        text += &self.body;
        let result = &self.results[0];
        text += &match walk.inside(flat) {
            Some(inside) => format!("    return select({vector}(), {result}, {inside});\n}}\n"),
            None => format!("    return {result};\n}}\n"),
        };
        let functions = in_width(&self.joined(), width);
        [&declared[..], &functions, &in_width(&text, width)].concat()
    }

    /// The texts of all that it calls.
    fn joined(&self) -> String {
        let functions: String = self.functions.iter().copied().collect();
        let names = MATH.split("\nfn ").skip(1).filter_map(|rest| rest.split_once('(').map(|(name, _)| name));
        let called = |text: &str| names.clone().any(|name| text.contains(&format!("{name}(")));
        let calls = called(&functions) || called(&self.body) || self.results.iter().any(|text| called(text));
        let math = if calls { MATH } else { "" };
        [&functions[..], math, if self.random { RANDOM } else { "" }].concat()
    }
}

/// The type of a vector of 4, 2 or 1 elements.
fn vector(width: usize) -> &'static str {
    ["", "f32", "vec2f", "", "vec4f"][width]
}

/// A text of functions of four elements for vectors of another width: all that they do, they do to each element alone.
fn in_width(text: &str, width: usize) -> String {
    match width {
        4 => text.to_owned(),
        2 => text.replace("vec4", "vec2"),
        _ => text.replace("vec4f", "f32").replace("vec4u", "u32").replace("vec4<bool>", "bool"),
    }
}

/// The function `finish` of a kernel that nothing follows.
pub(crate) fn finish_nothing(width: usize) -> String {
    let vector = vector(width);
    format!("fn finish(i: u32, value: {vector}) -> {vector} {{\n    return value;\n}}\n")
}
