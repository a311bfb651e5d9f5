//! The forward pass of a normalisation.

use super::launch::Run;
use super::parts::{Bound, Parts, kernel, shared};
use crate::gpu::{Binding, uniform};
use crate::graph::lowering::{Operand, source};

uniform! {
    pub(crate) struct CountShape { batches: u32 }
}

impl Run<'_> {
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
            self.emit_finishing(kernel!("norm"), parts, self.of_lines());
        } else {
            self.moments(x, keep);
            self.write(x, self.statistic());
        }
        self.count_batch();
    }

    /// Normalises with a known statistic.
    fn write(&mut self, x: Bound, statistic: Parts) {
        let y = Bound::written("y", self.lowering.define(self.id));
        let parts = statistic.and(self.affine()).with([x, y], &[]);
        self.emit_finishing(kernel!("norm_write"), parts, self.of_quads());
    }

    /// Computes the statistic of lines that are shared by several invocations or share quads.
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

    /// Increments the count of batches, if running statistics are means over all batches and every line reads the
    /// count. Otherwise the kernel that updates the statistics increments it.
    fn count_batch(&mut self) {
        let means = self.momentum().is_none();
        let Some(count) = self.norm.tensors.num_batches_tracked.filter(|_| means) else { return };
        let wgsl = include_str!("../../../../shaders/ops/norm_count.wgsl");
        if self.norm.tracks(self.lowering.mode) {
            let kernel = source::<CountShape>("norm_count", wgsl, &[Binding::ReadWrite]);
            let count = self.parameter(count);
            self.lowering.emit(&self.layer, kernel, [1, 1, 1], &[count], CountShape { batches: 1 });
        }
    }

    /// WGSL that saves the statistic of a line.
    fn keep(&self, statistics: Operand) -> Parts {
        let texts = [shared!("_moments"), shared!("_keep")];
        let parts = Parts::default().with([Bound::written("statistics", statistics)], &texts);
        let tensors = &self.norm.tensors;
        let Some(running) = tensors.running.filter(|_| self.norm.tracks(self.lowering.mode)) else {
            return parts.with([], &["fn track(line: u32, moments: Moments) {}\n"]);
        };
        let mean = Bound::written("running_mean", self.parameter(running));
        let variance = Bound::written("running_var", self.parameter(running + 1));
        let parts = parts.with([mean, variance], &[shared!("_track")]);
        let count = tensors.num_batches_tracked.expect("it goes with the other statistics");
        let parts = parts.with([Bound::written("num_batches_tracked", self.parameter(count)).scalars()], &[]);
        match self.momentum() {
            None => parts.with([], &[shared!("_track_mean")]),
            Some(_) => parts.with([], &[shared!("_track_moving")]),
        }
    }

    fn affine(&self) -> Parts {
        let parts = self.weight();
        match self.norm.tensors.bias {
            Some(bias) => parts.with([Bound::read("bias", self.parameter(bias))], &[shared!("_bias")]),
            None => parts.with([], &["fn bias_of(i: u32) -> vec4f {\n    return vec4f(0.0);\n}\n"]),
        }
    }
}
