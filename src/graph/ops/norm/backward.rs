//! The backward pass of a normalisation.

use super::launch::{Run, Shape};
use super::parts::{Bound, Parts, kernel, shared};
use crate::graph::lowering::Operand;

/// The gradients of weight and bias to be written, and whether to add.
#[derive(Clone, Copy, Debug)]
struct Targets {
    weight: Option<(Operand, bool)>,
    bias: Option<(Operand, bool)>,
}

impl Run<'_> {
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

    /// Both sums of lines that are shared by several invocations or share quads.
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

    /// The gradient of the input, line by line; also of weight and bias if lines are columns.
    fn gradient_of_lines(&mut self, targets: Option<Targets>) {
        let Some((dx, adds)) = self.lowering.gradient_into(self.id, 0) else { return };
        let [x, dy] = self.x_and_dy();
        let texts = [shared!("_sums_of_line"), shared!("_slope")];
        let parts = self.statistic().and(self.weight());
        let parts = parts.with([x, dy, Bound::written("dx", dx)], &texts);
        let targets = targets.unwrap_or(Targets { weight: None, bias: None });
        let (shape, team) = self.of_lines();
        let shape = Shape { adds: u32::from(adds), ..shape };
        self.emit(kernel!("norm_grad"), parts.and(put(targets)), (adding(targets, shape), team));
    }

    /// The gradient of the input, quad by quad, from sums. Without sums, the statistic does not depend on the input.
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
        let (shape, team) = self.of_quads();
        let shape = Shape { adds: u32::from(adds), ..shape };
        self.emit(kernel!("norm_grad_write"), parts, (shape, team));
    }

    /// The gradients of weight and bias and, if lines are columns, the sums for the gradient of the input.
    fn affine_gradients(&mut self, targets: Targets, sums: Option<Operand>) {
        let mut before = None;
        for level in self.geometry.affine_levels() {
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
            let (shape, team) = self.shape_of(level, work);
            self.emit(kernel!("norm_affine"), parts, (adding(targets, shape), team));
        }
    }

    fn targets(&mut self) -> Targets {
        let mut target = |place: Option<usize>| {
            let parameter = self.lowering.parameters(self.id)[place?];
            self.lowering.parameter_gradient(parameter)
        };
        Targets { weight: target(self.norm.tensors.weight), bias: target(self.norm.tensors.bias) }
    }

    fn x_and_dy(&mut self) -> [Bound; 2] {
        let x = self.lowering.argument(self.id, 0);
        [Bound::read("x", x), Bound::read("dy", self.lowering.gradient(self.id))]
    }
}

/// WGSL that writes the gradients of weight and bias.
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
