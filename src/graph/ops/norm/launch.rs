//! The dispatches of a normalisation.

use super::geometry::{Geometry, Level};
use super::{Batch, Norm, Over};
use crate::gpu::{Binding, uniform};
use crate::graph::lower::{Lowering, Operand, source};
use crate::graph::shape::u;
use crate::graph::template::expand;

uniform! {
    pub(crate) struct Shape {
        work: u32,
        lines: u32,
        count: u32,
        length: u32,
        quads: u32,
        scale: f32,
        eps: f32,
        momentum: f32,
        unbias: f32,
        adds: u32,
        adds_weight: u32,
        adds_bias: u32,
    }
}
uniform! {
    pub(crate) struct CountShape { batches: u32 }
}

macro_rules! shared {
    ($name:literal) => {
        include_str!(concat!("../../../../shaders/shared/norm", $name, ".wgsl"))
    };
}
macro_rules! kernel {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../shaders/ops/", $name, ".wgsl")))
    };
}

/// What a kernel binds, under its name there.
#[derive(Clone, Copy, Debug)]
struct Bound {
    name: &'static str,
    of: Operand,
    written: bool,
    /// Whether elements are touched one by one.
    scalars: bool,
}

impl Bound {
    fn read(name: &'static str, of: Operand) -> Self {
        Self { name, of, written: false, scalars: false }
    }

    fn written(name: &'static str, of: Operand) -> Self {
        Self { name, of, written: true, scalars: false }
    }

    fn scalars(self) -> Self {
        Self { scalars: true, ..self }
    }
}

/// A kernel in the making: what it binds, and the texts that it is joined of.
#[derive(Debug, Default)]
struct Parts {
    bound: Vec<Bound>,
    texts: Vec<&'static str>,
    constants: Vec<(&'static str, u32)>,
}

impl Parts {
    fn with(mut self, bound: impl IntoIterator<Item = Bound>, texts: &[&'static str]) -> Self {
        self.bound.extend(bound);
        self.texts.extend(texts);
        self
    }

    fn and(mut self, other: Self) -> Self {
        self.bound.extend(other.bound);
        self.texts.extend(other.texts);
        self.constants.extend(other.constants);
        self
    }
}

/// The gradients of weight and bias, if they are there to be written, and whether that adds.
#[derive(Clone, Copy, Debug)]
struct Targets {
    weight: Option<(Operand, bool)>,
    bias: Option<(Operand, bool)>,
}

/// One pass of one node.
#[derive(Debug)]
pub(super) struct Run<'a> {
    norm: &'a Norm,
    lowering: &'a mut Lowering,
    id: usize,
    layer: String,
    geometry: Geometry,
    /// Whether it normalises by running statistics.
    running: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(norm: &'a Norm, lowering: &'a mut Lowering, id: usize) -> Self {
        let (layer, geometry) = (lowering.name(id), norm.geometry(lowering, id));
        let running = norm.uses_running(lowering.mode);
        Self { norm, lowering, id, layer, geometry, running }
    }

    pub(super) fn forward(&mut self) {
        let x = Bound::read("x", self.lowering.argument(self.id, 0));
        if self.running {
            return self.write(x, self.statistic());
        }
        let statistics = self.geometry.statistics();
        let statistics = self.lowering.save(self.id, "statistics", statistics);
        let keep = self.keep(statistics);
        if self.geometry.is_whole() {
            let y = Bound::written("y", self.lowering.define(self.id));
            let parts = keep.and(self.affine()).with([x, y], &[shared!("_moments_of_elements")]);
            let count = self.geometry.count;
            let shape = Shape { count: u(count), length: u(count), ..self.shape(self.geometry.lines) };
            self.emit(kernel!("norm"), parts, shape);
        } else {
            self.moments(x, keep);
            self.write(x, self.statistic());
        }
        self.count_batch();
    }

    pub(super) fn backward(&mut self) {
        let trains = self.lowering.trains_input(self.id, 0);
        if self.geometry.joined || self.running {
            if trains {
                match (self.running, self.geometry.is_whole()) {
                    (true, _) => self.write_gradient(None),
                    (false, true) => self.gradient_of_lines(None),
                    (false, false) => {
                        let sums = self.sums();
                        self.write_gradient(Some(sums));
                    }
                }
            }
            let targets = self.targets();
            if targets.weight.is_some() || targets.bias.is_some() {
                self.affine_gradients(targets, None);
            }
            return;
        }
        let targets = self.targets();
        if trains && self.geometry.is_whole() {
            self.gradient_of_lines(Some(targets));
        } else if trains {
            let sums = self.lowering.scratch("sums of columns", self.geometry.lines * 8);
            self.affine_gradients(targets, Some(sums));
            self.write_gradient(Some(sums));
        } else if targets.weight.is_some() || targets.bias.is_some() {
            self.affine_gradients(targets, None);
        }
    }

    /// Normalises by a statistic that is known.
    fn write(&mut self, x: Bound, statistic: Parts) {
        let y = Bound::written("y", self.lowering.define(self.id));
        let parts = statistic.and(self.affine()).with([x, y], &[]);
        let quads = self.geometry.quads();
        self.emit(kernel!("norm_write"), parts, self.shape(quads));
    }

    /// Finds the statistic of lines that more than one invocation takes, or that share quads.
    fn moments(&mut self, x: Bound, keep: Parts) {
        let of_elements = || Parts::default().with([x], &[shared!("_moments_of_elements")]);
        let of_parts = |parts| {
            let parts = Bound::read("parts", parts);
            Parts::default().with([parts], &[shared!("_moments_of_parts")])
        };
        let width = if self.geometry.joined { 4 } else { 16 };
        let (mut before, mut keep) = (None, Some(keep));
        for level in self.geometry.levels() {
            let moments = before.map_or_else(of_elements, of_parts);
            let work = self.geometry.lines * level.parts;
            let parts = if level.parts == 1 {
                keep.take().expect("the last level is one").with([], &[shared!("_leave_statistic")])
            } else {
                let left = self.lowering.scratch("moments of parts", work * width);
                before = Some(left);
                let texts = [shared!("_moments"), shared!("_leave")];
                Parts::default().with([Bound::written("left", left)], &texts)
            };
            self.emit(kernel!("norm_moments"), moments.and(parts), self.shape_of(level, work));
        }
    }

    /// The two sums of lines that more than one invocation takes, or that share quads.
    fn sums(&mut self) -> Operand {
        let mut before = None;
        for level in self.geometry.levels() {
            let work = self.geometry.lines * level.parts;
            let left = self.lowering.scratch("sums of lines", work * 4);
            let bound = Bound::written("left", left);
            let shape = self.shape_of(level, work);
            match before {
                None => {
                    let statistics = Bound::read("statistics", self.lowering.saved(self.id));
                    let [x, dy] = self.x_and_dy();
                    let texts = [shared!("_sums_of_line")];
                    let parts = self.weight().with([x, dy, statistics, bound], &texts);
                    self.emit(kernel!("norm_sums"), parts, shape);
                }
                Some(before) => {
                    let parts = Parts::default().with([Bound::read("parts", before), bound], &[]);
                    self.emit(kernel!("norm_sums_join"), parts, shape);
                }
            }
            before = Some(left);
        }
        before.expect("there is a level")
    }

    /// The gradient of the input, line by line, and of weight and bias where lines are columns.
    fn gradient_of_lines(&mut self, targets: Option<Targets>) {
        let Some((dx, adds)) = self.lowering.gradient_into(self.id, 0) else { return };
        let [x, dy] = self.x_and_dy();
        let texts = [shared!("_sums_of_line"), shared!("_slope")];
        let parts = self.statistic().and(self.weight());
        let parts = parts.with([x, dy, Bound::written("dx", dx)], &texts);
        let targets = targets.unwrap_or(Targets { weight: None, bias: None });
        let count = u(self.geometry.count);
        let shape = Shape { count, length: count, adds: u32::from(adds), ..self.shape(self.geometry.lines) };
        self.emit(kernel!("norm_grad"), parts.and(put(targets)), adding(targets, shape));
    }

    /// The gradient of the input, quad by quad, from sums; without, the statistic does not depend on the input.
    fn write_gradient(&mut self, sums: Option<Operand>) {
        let Some((dx, adds)) = self.lowering.gradient_into(self.id, 0) else { return };
        let [x, dy] = self.x_and_dy();
        let mut parts = self.statistic().and(self.weight());
        parts.bound.extend([x, dy, Bound::written("dx", dx)]);
        parts.texts.push(shared!("_slope"));
        match sums {
            Some(sums) => {
                parts.bound.push(Bound::read("sums", sums));
                parts.texts.push(shared!("_sums_at"));
            }
            None => parts.texts.push(shared!("_no_sums")),
        }
        let quads = self.geometry.quads();
        let shape = Shape { adds: u32::from(adds), ..self.shape(quads) };
        self.emit(kernel!("norm_grad_write"), parts, shape);
    }

    /// The gradients of weight and bias, and, where lines are columns, the sums that the gradient of the input needs.
    fn affine_gradients(&mut self, targets: Targets, sums: Option<Operand>) {
        let mut before = None;
        for level in self.geometry.affine_levels(self.lowering.capabilities.is_cpu) {
            let work = self.geometry.affine * level.parts;
            let from = match before {
                None => self.statistic().with(self.x_and_dy(), &[shared!("_affine_of_elements")]),
                Some(before) => {
                    let parts = Bound::read("parts", before);
                    Parts::default().with([parts], &[shared!("_affine_of_parts")])
                }
            };
            let to = if level.parts == 1 {
                let put = put(targets).with([], &[shared!("_affine_put")]);
                match sums {
                    Some(sums) => put.with([Bound::written("sums", sums)], &[shared!("_put_sums")]),
                    None => put.with([], &["fn put_sums(q: u32, plain: vec4f, product: vec4f) {}\n"]),
                }
            } else {
                let left = self.lowering.scratch("sums of rows", work * 8);
                before = Some(left);
                Parts::default().with([Bound::written("left", left)], &[shared!("_affine_leave")])
            };
            let parts = from.and(to).with([], &[shared!("_affine")]);
            self.emit(kernel!("norm_affine"), parts, adding(targets, self.shape_of(level, work)));
        }
    }

    /// Counts a batch that the running statistics have taken in, where they are means over all and each line reads the
    /// count; elsewhere the kernel that moves them counts.
    fn count_batch(&mut self) {
        let means = matches!(self.norm.over, Over::Batch(Batch { momentum: None, .. }));
        let Some(count) = self.norm.tensors.num_batches_tracked.filter(|_| means) else { return };
        let wgsl = include_str!("../../../../shaders/ops/norm_count.wgsl");
        if self.tracks() {
            let kernel = source::<CountShape>("norm_count", wgsl, &[Binding::ReadWrite]);
            let count = self.parameter(count);
            self.lowering.emit(&self.layer, kernel, [1, 1, 1], &[count], CountShape { batches: 1 });
        }
    }

    fn parameter(&self, place: usize) -> Operand {
        Operand::Parameter(self.lowering.parameters(self.id)[place])
    }

    fn x_and_dy(&mut self) -> [Bound; 2] {
        let x = self.lowering.argument(self.id, 0);
        [Bound::read("x", x), Bound::read("dy", self.lowering.gradient(self.id))]
    }

    fn targets(&mut self) -> Targets {
        let mut target = |place: Option<usize>| {
            let parameter = self.lowering.parameters(self.id)[place?];
            self.lowering.parameter_gradient(parameter)
        };
        Targets { weight: target(self.norm.tensors.weight), bias: target(self.norm.tensors.bias) }
    }

    /// Whether this pass moves running statistics.
    fn tracks(&self) -> bool {
        let trains = self.lowering.mode == crate::graph::Mode::Train;
        trains && !self.running && self.norm.tensors.running.is_some()
    }

    /// How a kernel keeps the statistic of a line.
    fn keep(&self, statistics: Operand) -> Parts {
        let texts = [shared!("_moments"), shared!("_keep")];
        let parts = Parts::default().with([Bound::written("statistics", statistics)], &texts);
        let tensors = &self.norm.tensors;
        let Some(running) = tensors.running.filter(|_| self.tracks()) else {
            return parts.with([], &["fn track(line: u32, moments: Moments) {}\n"]);
        };
        let mean = Bound::written("running_mean", self.parameter(running));
        let variance = Bound::written("running_var", self.parameter(running + 1));
        let parts = parts.with([mean, variance], &[shared!("_track")]);
        let count = tensors.num_batches_tracked.expect("it goes with the other statistics");
        let parts = parts.with([Bound::written("num_batches_tracked", self.parameter(count)).scalars()], &[]);
        match self.norm.over {
            Over::Batch(Batch { momentum: None, .. }) => parts.with([], &[shared!("_track_mean")]),
            _ => parts.with([], &[shared!("_track_moving")]),
        }
    }

    /// How a kernel knows the statistic of a quad.
    fn statistic(&self) -> Parts {
        match self.norm.tensors.running.filter(|_| self.running) {
            Some(running) => {
                let mean = Bound::read("running_mean", self.parameter(running));
                let variance = Bound::read("running_var", self.parameter(running + 1));
                Parts::default().with([mean, variance], &[shared!("_statistic_running")])
            }
            None => {
                let statistics = Bound::read("statistics", self.lowering.saved(self.id));
                let texts = [shared!("_statistic"), shared!("_line_of")];
                Parts::default().with([statistics], &texts)
            }
        }
    }

    fn weight(&self) -> Parts {
        let parts = Parts::default().with([], &[shared!("_affine")]);
        match self.norm.tensors.weight {
            Some(weight) => {
                parts.with([Bound::read("weight", self.parameter(weight))], &[shared!("_weight")])
            }
            None => parts.with([], &["fn weight_of(i: u32) -> vec4f {\n    return vec4f(1.0);\n}\n"]),
        }
    }

    fn affine(&self) -> Parts {
        let parts = self.weight();
        match self.norm.tensors.bias {
            Some(bias) => parts.with([Bound::read("bias", self.parameter(bias))], &[shared!("_bias")]),
            None => parts.with([], &["fn bias_of(i: u32) -> vec4f {\n    return vec4f(0.0);\n}\n"]),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
    fn shape(&self, work: usize) -> Shape {
        let elements = self.geometry.elements as f64;
        let momentum = match &self.norm.over {
            Over::Batch(Batch { momentum, .. }) => momentum.unwrap_or(0.0),
            _ => 0.0,
        };
        Shape {
            work: u(work),
            lines: u(self.geometry.lines),
            quads: u(self.geometry.quads()),
            scale: (1.0 / elements) as f32,
            eps: self.norm.eps as f32,
            momentum: momentum as f32,
            unbias: (elements / (elements - 1.0).max(1.0)) as f32,
            ..Shape::default()
        }
    }

    fn shape_of(&self, level: Level, work: usize) -> Shape {
        Shape { count: u(level.count), length: u(level.length), ..self.shape(work) }
    }

    fn emit(&mut self, (name, text): (&'static str, &'static str), parts: Parts, shape: Shape) {
        let mut wgsl = String::new();
        let mut storage = Vec::new();
        for (number, Bound { name, written, scalars, .. }) in parts.bound.iter().enumerate() {
            let access = if *written { "read_write" } else { "read" };
            let element = if *scalars { "f32" } else { "vec4f" };
            let binding = number + 1;
            wgsl +=
                &format!("@group(0) @binding({binding}) var<storage, {access}> {name}: array<{element}>;\n");
            storage.push(if *written { Binding::ReadWrite } else { Binding::Read });
        }
        for text in [shared!("")].iter().chain(&parts.texts).chain([&text]) {
            wgsl += text;
            wgsl.push('\n');
        }
        let mut constants = self.geometry.constants();
        constants.push(("CENTRED", u32::from(self.norm.is_centred())));
        constants.push(("FIXED", u32::from(self.running)));
        let kernel = source::<Shape>(name, expand(&wgsl, &constants, &[]), &storage);
        let operands: Vec<Operand> = parts.bound.iter().map(|bound| bound.of).collect();
        let size = if name == "norm_affine" { 8 } else { 64 };
        let grid = crate::gpu::grid((shape.work as usize).div_ceil(size));
        self.lowering.emit(&self.layer, kernel, grid, &operands, shape);
    }
}

/// How a kernel writes the gradients of weight and bias.
fn put(targets: Targets) -> Parts {
    let parts = match targets.weight {
        Some((of, _)) => {
            Parts::default().with([Bound::written("d_weight", of).scalars()], &[shared!("_put_weight")])
        }
        None => Parts::default().with([], &["fn put_weight(q: u32, value: vec4f) {}\n"]),
    };
    match targets.bias {
        Some((of, _)) => parts.with([Bound::written("d_bias", of).scalars()], &[shared!("_put_bias")]),
        None => parts.with([], &["fn put_bias(q: u32, value: vec4f) {}\n"]),
    }
}

fn adding(targets: Targets, shape: Shape) -> Shape {
    let adds = |target: Option<(Operand, bool)>| u32::from(target.is_some_and(|(_, adds)| adds));
    Shape { adds_weight: adds(targets.weight), adds_bias: adds(targets.bias), ..shape }
}
