//! What the dispatches of both passes of a normalisation share.

use super::geometry::{Geometry, Level};
use super::parts::{Bound, Kernel, Parts, shared};
use super::{Batch, Norm, Over};
use crate::gpu::{Binding, uniform};
use crate::graph::lowering::finish::Draft;
use crate::graph::lowering::{Lowering, Operand, source};
use crate::graph::shape::u;
use crate::graph::team::{SUM, Team};
use crate::graph::template::expand;

uniform! {
    pub(crate) struct Shape {
        pub(super) work: u32,
        pub(super) lines: u32,
        pub(super) count: u32,
        pub(super) length: u32,
        pub(super) quads: u32,
        pub(super) scale: f32,
        pub(super) eps: f32,
        pub(super) momentum: f32,
        pub(super) unbias: f32,
        pub(super) adds: u32,
        pub(super) adds_weight: u32,
        pub(super) adds_bias: u32,
    }
}

/// One pass of one node.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) norm: &'a Norm,
    pub(super) lowering: &'a mut Lowering,
    pub(super) id: usize,
    pub(super) layer: String,
    pub(super) geometry: Geometry,
    /// Whether it normalises with running statistics.
    pub(super) running: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(norm: &'a Norm, lowering: &'a mut Lowering, id: usize) -> Self {
        let (layer, geometry) = (lowering.name(id), norm.geometry(lowering, id));
        let running = norm.uses_running(lowering.mode);
        Self { norm, lowering, id, layer, geometry, running }
    }

    /// The weight of a batch in the running statistics; `None` if they are means over all batches.
    pub(super) fn momentum(&self) -> Option<f64> {
        match &self.norm.over {
            Over::Batch(Batch { momentum, .. }) if !self.lowering.cumulative => *momentum,
            _ => None,
        }
    }

    pub(super) fn parameter(&self, place: usize) -> Operand {
        Operand::Parameter(self.lowering.parameters(self.id)[place])
    }

    /// WGSL that obtains the statistic of a quad.
    pub(super) fn statistic(&self) -> Parts {
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

    pub(super) fn weight(&self) -> Parts {
        let parts = Parts::default().with([], &[shared!("_affine")]);
        match self.norm.tensors.weight {
            Some(weight) => {
                parts.with([Bound::read("weight", self.parameter(weight))], &[shared!("_weight")])
            }
            None => parts.with([], &["fn weight_of(i: u32) -> vec4f {\n    return vec4f(1.0);\n}\n"]),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
    pub(super) fn shape(&self, work: usize) -> Shape {
        let elements = self.geometry.elements as f64;
        let momentum = self.momentum().unwrap_or(0.0);
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

    pub(super) fn shape_of(&self, level: Level, work: usize) -> (Shape, Team) {
        (Shape { count: u(level.count), length: u(level.length), ..self.shape(work) }, level.team)
    }

    /// The dispatch of a kernel that processes whole lines.
    pub(super) fn of_lines(&self) -> (Shape, Team) {
        self.shape_of(self.geometry.levels()[0], self.geometry.lines)
    }

    /// The dispatch of a kernel that processes single quads.
    pub(super) fn of_quads(&self) -> (Shape, Team) {
        (self.shape(self.geometry.quads()), Team::alone(64))
    }

    /// Emits a kernel that does not write the result.
    pub(super) fn emit(&mut self, kernel: Kernel, parts: Parts, (shape, team): (Shape, Team)) {
        let draft = self.draft(kernel, parts, team);
        self.emit_draft(draft, shape, team);
    }

    /// Emits the kernel that writes the result, which must be allocated. It can end with a fused chain.
    pub(super) fn emit_finishing(&mut self, kernel: Kernel, parts: Parts, (shape, team): (Shape, Team)) {
        let mut draft = self.draft(kernel, parts, team);
        let buffers = self.norm.buffers(&self.geometry, self.lowering.mode);
        assert_eq!(draft.operands.len(), buffers, "{}: its buffers", draft.name);
        let finish = self.lowering.finish(self.id);
        draft.finish(finish.as_ref(), 4);
        self.emit_draft(draft, shape, team);
    }

    fn draft(&self, (name, kernel): Kernel, parts: Parts, team: Team) -> Draft {
        let mut text = String::new();
        let mut storage = Vec::new();
        for (number, Bound { name, written, scalars, .. }) in parts.bound.iter().enumerate() {
            let access = if *written { "read_write" } else { "read" };
            let element = if *scalars { "f32" } else { "vec4f" };
            let binding = number + 1;
            text +=
                &format!("@group(0) @binding({binding}) var<storage, {access}> {name}: array<{element}>;\n");
            storage.push(if *written { Binding::ReadWrite } else { Binding::Read });
        }
        text += &team.text(&[SUM]);
        for joined in [shared!("")].iter().chain(&parts.texts).chain([&kernel]) {
            text += joined;
            text.push('\n');
        }
        let mut constants = self.geometry.constants();
        constants.extend(team.constants());
        constants.push(("CENTRED", u32::from(self.norm.is_centred())));
        constants.push(("FIXED", u32::from(self.running)));
        let operands = parts.bound.iter().map(|bound| bound.of).collect();
        Draft { name: name.into(), text: expand(&text, &constants, &[]), storage, operands }
    }

    fn emit_draft(&mut self, draft: Draft, shape: Shape, team: Team) {
        let grid = team.grid(shape.work as usize);
        let kernel = source::<Shape>(draft.name, draft.text, &draft.storage);
        self.lowering.emit(&self.layer, kernel, grid, &draft.operands, shape);
    }
}
