//! Convolutions on GPUs: products in tiles of workgroup memory, whose pixels are gathered as tiles are staged.

mod phases;
pub(super) mod products;
#[cfg(test)]
mod tests;
mod weight_grad;

pub(super) use weight_grad::{grid as weight_grad_grid, weight_grad};

use bytemuck::Zeroable;

use phases::Phases;
use products::parts_of;

use super::geometry::{Geometry, Window, flag};
use super::pack::{Pack, Packed};
use crate::gpu::{Capabilities, uniform};
use crate::graph::ops::split::Parts;
use crate::graph::ops::tile::{Products, Staging, Tile};
use crate::graph::shape::pitch;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// Minimum number of output channels per group for tiles. Tiles have 32 columns, so with 8 channels three quarters
/// would be padding; and an invocation of the plain kernels loads only a fourth of what it multiplies.
const LEAST_COLUMNS: u32 = 9;

/// Whether groups are whole quads of channels, which kernels load, and fill enough columns.
fn fills(geometry: &Geometry, columns: u32) -> bool {
    let are_quads = geometry.group().iter().all(|channels| channels.is_multiple_of(4));
    columns >= LEAST_COLUMNS && (geometry.groups == 1 || are_quads)
}

/// Whether to use these kernels for the forward pass.
pub(super) fn fits(geometry: &Geometry) -> bool {
    fills(geometry, geometry.group()[1])
}

/// Whether to use them for the input gradient. Each phase of the stride is a separate product, which should fill a
/// tile.
pub(super) fn fits_input_grad(geometry: &Geometry) -> bool {
    const MOST_PHASES: u32 = 8;
    fills(geometry, geometry.group()[0]) && geometry.stride.iter().all(|stride| *stride <= MOST_PHASES)
}

/// Whether to use them for the weight gradient, whose rows are the input channels of each tap.
pub(super) fn fits_weight_grad(geometry: &Geometry) -> bool {
    let [inputs, outputs] = geometry.group();
    fills(geometry, outputs) && geometry.taps() * pitch(inputs) >= LEAST_COLUMNS
}

/// The packed weight for [`forward`].
pub(super) fn pack(geometry: &Geometry, has_bias: bool) -> Packed {
    Packed::new(geometry, Pack::Forward, geometry.out_channels, has_bias)
}

/// The packed weight for [`input_grad`].
pub(super) fn pack_input_grad(geometry: &Geometry, has_bias: bool) -> Packed {
    let classes = Phases::of(geometry).map(|phases| phases.classes);
    Packed::new(geometry, Pack::ByPhase { classes }, geometry.in_channels, has_bias)
}

uniform! {
    pub(super) struct Shape {
        height: u32,
        width: u32,
        channel_vectors: u32,
        group_vectors: u32,
        images: u32,
        out_height: u32,
        out_width: u32,
        out_vectors: u32,
        group_out_vectors: u32,
        kernel_height: u32,
        kernel_width: u32,
        stride_y: u32,
        stride_x: u32,
        step_y: u32,
        step_x: u32,
        pad_y: u32,
        pad_x: u32,
        phases_y: u32,
        phases_x: u32,
        common_y: u32,
        common_x: u32,
        classes_y: u32,
        classes_x: u32,
        inverse_y: u32,
        inverse_x: u32,
        column_tiles: u32,
        row_tiles: u32,
        groups: u32,
        tiles: u32,
        grid_width: u32,
        run: u32,
        first_part: u32,
        part_len: u32,
        accumulate: u32,
    }
}

/// A dispatch: its sizes, without those of the grid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    shape: Shape,
    pub(super) is_phased: bool,
    pub(super) products: Products,
    /// Number of steps of the longest sum, and a common divisor of all numbers of steps.
    pub(super) steps: u32,
    steps_unit: u32,
}

impl Job {
    pub(super) fn forward(geometry: &Geometry) -> Self {
        let window = Window::forward(geometry);
        let [inputs, outputs] = geometry.group();
        let shape = Shape {
            stride_y: window.stride[0],
            stride_x: window.stride[1],
            step_y: window.dilation[0],
            step_x: window.dilation[1],
            pad_y: window.padding[0].cast_unsigned(),
            pad_x: window.padding[1].cast_unsigned(),
            ..Self::sizes(&window)
        };
        let rows = window.images * window.output[0] * window.output[1];
        let steps = geometry.taps() * pitch(inputs);
        Self {
            shape,
            is_phased: false,
            products: Products { count: geometry.groups, rows, columns: outputs },
            steps,
            steps_unit: steps,
        }
    }

    pub(super) fn input_grad(geometry: &Geometry) -> Self {
        let window = match geometry.stride {
            [1, 1] => Window::input_grad(geometry),
            _ => Window::of_input_grads(geometry),
        };
        let [y, x] = Phases::of(geometry);
        let [inputs, outputs] = geometry.group();
        let shape = Shape {
            stride_y: 1,
            stride_x: 1,
            step_y: y.step.wrapping_neg(),
            step_x: x.step.wrapping_neg(),
            pad_y: geometry.padding[0],
            pad_x: geometry.padding[1],
            phases_y: y.count,
            phases_x: x.count,
            common_y: y.common,
            common_x: x.common,
            classes_y: y.classes,
            classes_x: x.classes,
            inverse_y: y.inverse,
            inverse_x: x.inverse,
            ..Self::sizes(&window)
        };
        let positions = [0, 1].map(|axis| window.output[axis].div_ceil([y, x][axis].count));
        let taps = [0, 1].map(|axis| geometry.kernel[axis].div_ceil([y, x][axis].classes));
        Self {
            shape,
            is_phased: true,
            products: Products {
                count: geometry.groups * y.count * x.count,
                rows: window.images * positions[0] * positions[1],
                columns: inputs,
            },
            steps: taps[0] * taps[1] * pitch(outputs),
            steps_unit: pitch(outputs),
        }
    }

    fn sizes(window: &Window) -> Shape {
        let vectors = |channels: u32| pitch(channels) / 4;
        let out_vectors = vectors(window.out_channels);
        Shape {
            height: window.input[0],
            width: window.input[1],
            channel_vectors: vectors(window.in_channels),
            group_vectors: vectors(window.in_channels / window.groups),
            images: window.images,
            out_height: window.output[0],
            out_width: window.output[1],
            out_vectors,
            group_out_vectors: vectors(window.out_channels / window.groups),
            kernel_height: window.kernel[0],
            kernel_width: window.kernel[1],
            groups: window.groups,
            part_len: window.images * window.output[0] * window.output[1] * out_vectors,
            ..Shape::zeroed()
        }
    }

    fn parts(&self, offered: &Capabilities) -> Parts {
        parts_of(&self.products, self.steps, offered.cores)
    }

    /// The uniform block and the grid for tiles of `rows` by `columns`, for parts of a given length, starting at a
    /// given part.
    pub(super) fn grid(
        &self,
        [tile_rows, tile_columns]: [u32; 2],
        (run, first_part): (u32, u32),
        accumulate: bool,
    ) -> (Shape, [u32; 2]) {
        let Products { count, rows, columns } = self.products;
        let (row_tiles, column_tiles) = (rows.div_ceil(tile_rows), columns.div_ceil(tile_columns));
        let tiles = count * row_tiles * column_tiles;
        let groups = fold(tiles);
        let shape = Shape {
            column_tiles,
            row_tiles,
            tiles,
            grid_width: groups[0],
            run,
            first_part,
            accumulate: flag(accumulate),
            ..self.shape
        };
        (shape, groups)
    }

    /// A dispatch in tiles of a given size, starting at a given part.
    fn launch(&self, tile: &Tile, parts: Parts, first_part: u32, accumulate: bool) -> AnyLaunch {
        let (shape, groups) = self.grid([tile.rows, tile.columns], (parts.run, first_part), accumulate);
        let steps_even = [self.steps_unit, parts.run].iter().all(|steps| steps.is_multiple_of(tile.steps));
        let mut constants = tile.constants([Staging::Blocks, Staging::Quads], steps_even);
        constants.push(("PHASED", flag(self.is_phased)));
        let template = Template {
            name: "conv2d_tile",
            source: concat!(
                include_str!("../../../../shaders/shared/tile_left_blocks.wgsl"),
                include_str!("../../../../shaders/shared/tile_right_quads.wgsl"),
                include_str!("../../../../shaders/shared/tile.wgsl"),
                include_str!("../../../../shaders/shared/phases.wgsl"),
                include_str!("../../../../shaders/shared/conv2d_work.wgsl"),
                include_str!("../../../../shaders/ops/conv2d_tile.wgsl"),
            ),
            constants,
            aliases: vec![],
        };
        AnyLaunch::from(Launch { template, shape, groups }).finishing(4).unchecked()
    }

    /// Like [`Job::launch`], with the tiles and parts chosen for an adapter.
    fn launch_on(&self, offered: &Capabilities, first_part: u32, accumulate: bool) -> AnyLaunch {
        let parts = self.parts(offered);
        let launch = |tile: &Tile| self.launch(tile, parts, first_part, accumulate);
        self.products.tile(offered).launch(self.products, offered, launch)
    }
}

/// Number of parts of the sum in a forward pass.
pub(super) fn parts(geometry: &Geometry, offered: &Capabilities) -> u32 {
    Job::forward(geometry).parts(offered).count
}

/// Forward pass. Bindings: input, weight from [`pack`], output.
pub(super) fn forward(
    geometry: &Geometry,
    offered: &Capabilities,
    first_part: u32,
    accumulate: bool,
) -> AnyLaunch {
    Job::forward(geometry).launch_on(offered, first_part, accumulate)
}

/// Number of parts of the sum in an input gradient.
pub(super) fn input_grad_parts(geometry: &Geometry, offered: &Capabilities) -> u32 {
    Job::input_grad(geometry).parts(offered).count
}

/// Input gradient at any stride and dilation. Bindings: output's gradient, weight from [`pack_input_grad`], input's
/// gradient.
pub(super) fn input_grad(
    geometry: &Geometry,
    offered: &Capabilities,
    first_part: u32,
    accumulate: bool,
) -> AnyLaunch {
    Job::input_grad(geometry).launch_on(offered, first_part, accumulate)
}
