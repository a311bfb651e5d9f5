//! Convolutions on GPUs as products in tiles of workgroup memory: pixels are gathered as a tile is staged.

#[cfg(test)]
mod tests;
mod weight_grad;

pub(super) use weight_grad::weight_grad;

use bytemuck::Zeroable;

use super::geometry::{Geometry, Window, flag};
use super::pack::{Pack, Packed};
use crate::gpu::{Capabilities, uniform};
use crate::graph::ops::split::{Parts, RUN, even_tile, is_long};
use crate::graph::ops::tile::{LARGE, MEDIUM, SMALL, Staging, TALL, Tile};
use crate::graph::shape::pitch;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// Output channels of a group from which on tiles are worth it: they have 32 columns, so of 8 channels three quarters
/// would be padding, and an invocation of the plain kernels loads a fourth of what it multiplies.
const LEAST_COLUMNS: u32 = 9;

/// Whether groups are whole quads of channels, which are what a kernel loads, and large enough to fill columns.
fn fills(geometry: &Geometry, columns: u32) -> bool {
    let are_quads = geometry.group().iter().all(|channels| channels.is_multiple_of(4));
    columns >= LEAST_COLUMNS && (geometry.groups == 1 || are_quads)
}

/// Whether these kernels are worth it for the forward pass.
pub(super) fn fits(geometry: &Geometry) -> bool {
    fills(geometry, geometry.group()[1])
}

/// As [`fits`], of the input gradient: each phase of the stride is a product of its own, which should fill a tile.
pub(super) fn fits_input_grad(geometry: &Geometry) -> bool {
    const MOST_PHASES: u32 = 8;
    fills(geometry, geometry.group()[0]) && geometry.stride.iter().all(|stride| *stride <= MOST_PHASES)
}

/// As [`fits`], of the weight gradient, whose rows are input channels for each tap.
pub(super) fn fits_weight_grad(geometry: &Geometry) -> bool {
    let [inputs, outputs] = geometry.group();
    fills(geometry, outputs) && geometry.taps() * pitch(inputs) >= LEAST_COLUMNS
}

/// Sizes of products: their number, their rows and columns.
#[derive(Clone, Copy, Debug)]
struct Products {
    count: u32,
    rows: u32,
    columns: u32,
}

impl Products {
    /// Tiles of a size that they take.
    fn tiles(&self, tile: &Tile) -> u64 {
        [self.count, self.rows.div_ceil(tile.rows), self.columns.div_ceil(tile.columns)]
            .map(u64::from)
            .iter()
            .product()
    }

    /// The tile that takes the least time, of those that keep `cores` busy.
    ///
    /// Time is that of all products, those outside of the output included, each weighed by what has to be loaded for it.
    fn tile(&self, cores: u32) -> Tile {
        let ranked = [(LARGE, 16, 2), (MEDIUM, 18, 1), (TALL, 19, 2), (SMALL, 24, 0)];
        let enough = ranked.iter().filter(|(tile, _, each)| self.tiles(tile) >= u64::from(each * cores));
        let time = |(tile, weight, _): &&(Tile, u64, u32)| {
            self.tiles(tile) * u64::from(tile.rows * tile.columns) * weight
        };
        enough.min_by_key(time).expect("the smallest tile is always enough").0
    }
}

/// Steps of a part are a multiple of this, so that each begins with a whole tile.
const PART: u32 = 256;

/// How the steps of products are split: where these are too few for `cores`, or the sum is too long.
fn parts_of(products: &Products, steps: u32, cores: u32) -> Parts {
    /// Steps from which on a second dispatch is worth it.
    const LONG: u32 = 1_024;
    /// Parts that it adds at most.
    const MOST: u64 = 8;
    let tiles = products.tiles(&SMALL);
    let parts = if steps >= LONG { (u64::from(cores) / tiles).clamp(1, MOST) } else { 1 };
    let mut run = steps.div_ceil(u32::try_from(parts).expect("parts are few")).next_multiple_of(PART);
    if is_long(u64::from(run / 4), u64::from(run)) {
        run = even_tile(steps, RUN).next_multiple_of(PART);
    }
    Parts { run, count: steps.div_ceil(run) }
}

/// The weight for [`forward`].
pub(super) fn pack(geometry: &Geometry, has_bias: bool) -> Packed {
    Packed::new(geometry, Pack::Forward, geometry.out_channels, has_bias)
}

/// The weight for [`input_grad`].
pub(super) fn pack_input_grad(geometry: &Geometry, has_bias: bool) -> Packed {
    let classes = Phases::of(geometry).map(|phases| phases.classes);
    Packed::new(geometry, Pack::ByPhase { classes }, geometry.in_channels, has_bias)
}

/// Phases of a stride along one axis: pixels of the input that are made by the same taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Phases {
    count: u32,
    /// The greatest common divisor of stride and dilation.
    common: u32,
    /// Every so many taps make the same phase.
    classes: u32,
    /// What the dilation, without the common divisor, is to be multiplied with to be 1 modulo `classes`.
    inverse: u32,
    /// Pixels of the output from one of these taps to the one before it.
    step: u32,
}

impl Phases {
    /// Of both axes.
    fn of(geometry: &Geometry) -> [Self; 2] {
        [0, 1].map(|axis| Self::along(geometry.stride[axis], geometry.dilation[axis]))
    }

    fn along(stride: u32, dilation: u32) -> Self {
        let divides = |n: &u32| stride.is_multiple_of(*n) && dilation.is_multiple_of(*n);
        let common = (1..=stride).rev().find(divides).expect("1 divides all");
        let (classes, step) = (stride / common, dilation / common);
        let is_inverse =
            |n: &u32| u64::from(*n) * u64::from(step) % u64::from(classes) == 1 % u64::from(classes);
        let inverse = (0..classes).find(is_inverse).expect("they have no common divisor");
        Self { count: stride, common, classes, inverse, step }
    }
}

uniform! {
    struct Shape {
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

/// A dispatch: its sizes without those of its grid, and what that is made for.
#[derive(Clone, Copy, Debug)]
struct Job {
    shape: Shape,
    is_phased: bool,
    products: Products,
    /// Steps of the longest sum, and what all of them are a multiple of.
    steps: u32,
    steps_unit: u32,
}

impl Job {
    fn forward(geometry: &Geometry) -> Self {
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

    fn input_grad(geometry: &Geometry) -> Self {
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

    /// A dispatch of these parts from one on, in tiles of a size.
    fn launch(&self, tile: &Tile, parts: Parts, first_part: u32, accumulate: bool) -> AnyLaunch {
        let Products { count, rows, columns } = self.products;
        let (row_tiles, column_tiles) = (rows.div_ceil(tile.rows), columns.div_ceil(tile.columns));
        let tiles = count * row_tiles * column_tiles;
        let groups = fold(tiles);
        let shape = Shape {
            column_tiles,
            row_tiles,
            tiles,
            grid_width: groups[0],
            run: parts.run,
            first_part,
            accumulate: flag(accumulate),
            ..self.shape
        };
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
                include_str!("../../../../shaders/ops/conv2d_tile.wgsl"),
            ),
            constants,
            aliases: vec![],
        };
        AnyLaunch::from(Launch { template, shape, groups }).finishing(4)
    }

    /// As [`Job::launch`], in the tiles and the parts that an adapter should have.
    fn launch_on(&self, offered: &Capabilities, first_part: u32, accumulate: bool) -> AnyLaunch {
        self.launch(&self.products.tile(offered.cores), self.parts(offered), first_part, accumulate)
    }
}

/// Parts of the sum of a forward pass.
pub(super) fn parts(geometry: &Geometry, offered: &Capabilities) -> u32 {
    Job::forward(geometry).parts(offered).count
}

/// Forward pass. Bindings: input, weight as [`pack`] leaves it, output.
pub(super) fn forward(
    geometry: &Geometry,
    offered: &Capabilities,
    first_part: u32,
    accumulate: bool,
) -> AnyLaunch {
    Job::forward(geometry).launch_on(offered, first_part, accumulate)
}

/// Parts of the sum of an input gradient.
pub(super) fn input_grad_parts(geometry: &Geometry, offered: &Capabilities) -> u32 {
    Job::input_grad(geometry).parts(offered).count
}

/// Input gradient, at any stride and dilation. Bindings: output's gradient, weight as [`pack_input_grad`] leaves it,
/// input's gradient.
pub(super) fn input_grad(
    geometry: &Geometry,
    offered: &Capabilities,
    first_part: u32,
    accumulate: bool,
) -> AnyLaunch {
    Job::input_grad(geometry).launch_on(offered, first_part, accumulate)
}
