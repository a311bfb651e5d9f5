//! Pointwise kernels: one generated kernel per chain of functions, with the addressing of every operand in its text.

mod walk;

use std::collections::BTreeSet;

use self::walk::Walk;
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

/// The computation of a kernel on the quads of its inputs, which are called `x0`, `x1`, ...
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Program {
    /// Name for labels.
    pub(crate) name: String,
    /// WGSL of the functions that it calls.
    pub(crate) functions: BTreeSet<&'static str>,
    /// Whether it draws random numbers.
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
    /// Emits a kernel with one invocation per quad of its outputs, which have the same shape and axis of lanes.
    ///
    /// Inputs are broadcast to that shape as in torch, and can have any strides.
    pub(crate) fn emit_elementwise(
        &mut self,
        layer: &str,
        program: &Program,
        inputs: &[View],
        outputs: &[Target],
    ) {
        self.emit_elementwise_as(layer, program, &outputs[0].view, inputs, outputs);
    }

    /// Like [`Lowering::emit_elementwise`], with quads numbered by their position in `order`, which has the shape and
    /// lanes of the outputs. These numbers determine the random numbers.
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

    /// The function `finish(i, value)` for a kernel that ends with this program: it returns what is stored as vector
    /// `i`, of `width` elements, of an output.
    ///
    /// `inputs` are the views of `x0`, `x1`, .., with `None` for the kernel's own `value`. With `before`, that value
    /// is saved too. Bindings from `first` on: the inputs, the saved value, random numbers.
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

    /// The WGSL of all functions that it calls.
    fn joined(&self) -> String {
        let functions: String = self.functions.iter().copied().collect();
        let names = MATH.split("\nfn ").skip(1).filter_map(|rest| rest.split_once('(').map(|(name, _)| name));
        let called = |text: &str| names.clone().any(|name| text.contains(&format!("{name}(")));
        let calls = called(&functions) || called(&self.body) || self.results.iter().any(|text| called(text));
        let math = if calls { MATH } else { "" };
        [&functions[..], math, if self.random { RANDOM } else { "" }].concat()
    }
}

/// The type of a vector with 4, 2 or 1 elements.
fn vector(width: usize) -> &'static str {
    ["", "f32", "vec2f", "", "vec4f"][width]
}

/// Adapts functions of four elements to another width. They must be pointwise.
fn in_width(text: &str, width: usize) -> String {
    match width {
        4 => text.to_owned(),
        2 => text.replace("vec4", "vec2"),
        _ => text.replace("vec4f", "f32").replace("vec4u", "u32").replace("vec4<bool>", "bool"),
    }
}

/// The function `finish` of a kernel without a fused chain.
pub(crate) fn finish_nothing(width: usize) -> String {
    let vector = vector(width);
    format!("fn finish(i: u32, value: {vector}) -> {vector} {{\n    return value;\n}}\n")
}
