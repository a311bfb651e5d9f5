//! Generates the WGSL around the user's text: the functions that it can call, and the entry point that calls it.

use std::fmt::Write;

use super::{Declared, Read, Role, Stage};
use crate::gpu::{Binding, Field, KernelSource};
use crate::graph::shape::{Matrix, u};
use crate::graph::template::expand;
use crate::graph::view::Order;

/// The name of the uniform block in WGSL.
pub(super) const BLOCK: &str = "gradus_Scalars";

/// The members of the uniform block.
pub(super) fn fields(declared: &Declared) -> Vec<Field> {
    let own = ["gradus_quads", "gradus_adds"].map(|name| (name.to_owned(), "u32"));
    let scalars = declared.scalars.iter().map(|(name, _)| (name.clone(), "f32"));
    let all = (0..).zip(own.into_iter().chain(scalars));
    all.map(|(at, (name, kind))| Field { name: name.into(), kind, offset: 4 * at }).collect()
}

/// The names of the constants for a value with `rank` dimensions.
pub(super) fn constants(name: &str, rank: usize) -> Vec<String> {
    let plain = ["len", "rank", "last"].map(|what| format!("{name}_{what}"));
    let each = (0..rank).flat_map(|axis| [format!("{name}_dim{axis}"), format!("{name}_stride{axis}")]);
    plain.into_iter().chain(each).collect()
}

/// What the user's text can use: constants, functions that read values, and scalars. Only values in `bound` are read
/// from a binding.
pub(super) fn prelude(declared: &Declared, shapes: &[Vec<usize>], bound: &[Read]) -> String {
    let mut text = format!("struct {BLOCK} {{\n");
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for field in fields(declared) {
        line(format!("    {}: {},", field.name, field.kind));
    }
    line(format!("}}\n@group(0) @binding(0) var<uniform> scalars: {BLOCK};"));
    for (number, (value, shape)) in declared.values.iter().zip(shapes).enumerate() {
        let (name, len) = (&value.name, shape.iter().product::<usize>());
        line(format!("const {name}_len: u32 = {len}u;"));
        line(format!("const {name}_rank: u32 = {}u;", shape.len()));
        line(format!("const {name}_last: u32 = {}u;", shape.last().copied().unwrap_or(1)));
        for (axis, extent) in shape.iter().enumerate() {
            let stride: usize = shape[axis + 1..].iter().product();
            line(format!(
                "const {name}_dim{axis}: u32 = {extent}u;\nconst {name}_stride{axis}: u32 = {stride}u;"
            ));
        }
        let kind = if value.role == Role::Labels { "u32" } else { "f32" };
        line(reader(name, kind, shape, bound.iter().position(|read| *read == Read::Value(number))));
        if matches!(value.role, Role::Output(_)) {
            let at = bound.iter().position(|read| *read == Read::Gradient(number));
            line(reader(&format!("grad_{name}"), kind, shape, at));
        }
    }
    text
}

/// The function that reads a value. `at` is its position among the bound values.
fn reader(name: &str, kind: &str, shape: &[usize], at: Option<usize>) -> String {
    let Some(at) = at else {
        return format!("fn {name}(i: u32) -> {kind} {{ return {kind}(0); }}");
    };
    let Matrix { columns, pitch, .. } = Matrix::of(shape, Order::Natural);
    let place = match kind {
        // Labels have no padding.
        "f32" if columns != pitch => format!("i / {columns}u * {pitch}u + i % {columns}u"),
        _ => "i".into(),
    };
    format!(
        "@group(0) @binding({}) var<storage, read> gradus_{name}: array<{kind}>;\nfn {name}(i: u32) -> {kind} {{ return \
         gradus_{name}[{place}]; }}",
        at + 1
    )
}

/// The complete kernel of a stage, and the offset of the user's text in it.
pub(super) fn whole(
    declared: &Declared,
    stage: &Stage,
    shapes: &[Vec<usize>],
    bound: &[Read],
) -> (String, usize) {
    let mut text = prelude(declared, shapes, bound);
    let before = text.len();
    text.push_str(&declared.text);
    let Matrix { columns, pitch, .. } = Matrix::of(&shapes[stage.value], Order::Natural);
    // All values without padding are treated alike.
    let (columns, quads) = if columns == pitch { (4, 1) } else { (columns, pitch / 4) };
    write!(
        text,
        "\n@group(0) @binding({}) var<storage, read_write> gradus_target: array<vec4f>;\nfn gradus_element(i: u32) -> f32 \
         {{ return {}(i); }}\n",
        bound.len() + 1,
        stage.function
    )
    .expect("a string takes everything");
    let constants = [("GRADUS_COLUMNS", u(columns)), ("GRADUS_QUADS", u(quads))];
    text.push_str(&expand(include_str!("../../../shaders/ops/custom.wgsl"), &constants, &[]));
    (text, before)
}

pub(super) fn kernel(
    declared: &Declared,
    stage: &Stage,
    shapes: &[Vec<usize>],
    bound: &[Read],
) -> KernelSource {
    let bytes = u(4 * fields(declared).len());
    let mut bindings = vec![Binding::Uniform { bytes, dynamic: false }];
    bindings.extend(bound.iter().map(|_| Binding::Read));
    bindings.push(Binding::ReadWrite);
    let name = format!("custom[{}.{}]", declared.name, stage.function);
    KernelSource { name, wgsl: whole(declared, stage, shapes, bound).0.into(), bindings }
}
