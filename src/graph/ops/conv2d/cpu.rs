//! Convolutions on CPU adapters with subgroups: output channels on lanes, tiles of pixels in registers.
//!
//! Tiles, and parts of sums, are those of subgroups of [`LANES`], whatever the width is: so the bits of a result do not
//! depend on it.

mod plane;
mod weight_grad;

pub(super) use weight_grad::{weight_grad, weight_grad_pooled};

use std::ops::Range;

use super::geometry::{Geometry, Window, flag};
use super::pack::{Pack, Packed};
use super::parts::WindowParts;
use crate::gpu::{Capabilities, uniform};
use crate::graph::ops::split::even_tile;
use crate::graph::shape::pitch;
use crate::graph::template::{AnyLaunch, Launch, Template, excess, fold};

/// Lanes of the subgroups that tiles are chosen for.
const LANES: u32 = 8;

/// Whether these kernels can serve: they unroll a row of the kernel and all that it steps over, so one that is very
/// wide would take for ever to compile, and they know no gaps in it. Groups fill
/// lanes.
pub(super) fn fits(geometry: &Geometry, offered: &Capabilities) -> bool {
    const WIDEST: u32 = 32;
    let fills = geometry.groups == 1
        || geometry.group().into_iter().all(|each| {
            let vector = || Lanes::vector(each * geometry.groups, geometry.groups);
            each.is_multiple_of(LANES) && each.is_multiple_of(offered.lanes() * vector())
        });
    fills && !geometry.is_dilated() && geometry.kernel[1].max(geometry.stride[1]) <= WIDEST
}

/// Like [`fits`], of the input gradient, which is a convolution at stride 1 only.
pub(super) fn fits_input_grad(geometry: &Geometry, offered: &Capabilities) -> bool {
    fits(geometry, offered) && geometry.stride == [1, 1]
}

/// Like [`fits`], of the weight gradient, which knows no groups.
pub(super) fn fits_weight_grad(geometry: &Geometry, offered: &Capabilities) -> bool {
    fits(geometry, offered) && geometry.groups == 1
}

/// Like [`fits`], of the pooled forward pass: a word holds the places of two channels, so a lane needs as many, and only
/// a whole sum can be pooled.
pub(super) fn fits_pooled(geometry: &Geometry, offered: &Capabilities) -> bool {
    fits(geometry, offered)
        && Lanes::vector(geometry.out_channels, geometry.groups) > 1
        && parts(geometry) == 1
}

/// The weight for [`forward`] and [`forward_pooled`].
pub(super) fn pack(geometry: &Geometry, offered: &Capabilities, has_bias: bool) -> Packed {
    let lanes = Lanes::of(geometry.out_channels, geometry.groups, offered.lanes());
    Packed::new(geometry, Pack::Forward, lanes.packed(), has_bias)
}

/// The weight for [`input_grad`].
pub(super) fn pack_input_grad(geometry: &Geometry, offered: &Capabilities, has_bias: bool) -> Packed {
    let lanes = Lanes::of(geometry.in_channels, geometry.groups, offered.lanes());
    Packed::new(geometry, Pack::InputGrad, lanes.packed(), has_bias)
}

/// Parts of the sum of a forward pass.
pub(super) fn parts(geometry: &Geometry) -> u32 {
    WindowParts::broadcast(geometry.kernel, geometry.group()[0]).count
}

/// Channels that a forward pass finishes at once.
pub(super) fn lanes(geometry: &Geometry) -> usize {
    Lanes::vector(geometry.out_channels, geometry.groups) as usize
}

/// Parts of the sum of an input gradient: a convolution of the output's channels.
pub(super) fn input_grad_parts(geometry: &Geometry) -> u32 {
    WindowParts::broadcast(geometry.kernel, geometry.group()[1]).count
}

/// Forward pass. Bindings: input, weight as [`pack`] leaves it, output.
pub(super) fn forward(
    geometry: &Geometry,
    offered: &Capabilities,
    first_part: u32,
    accumulate: bool,
) -> AnyLaunch {
    let end = End::Store { accumulate };
    if geometry.planar {
        return plane::launch(geometry, offered.lanes(), end);
    }
    broadcast(&Window::forward(geometry), offered.lanes(), first_part, Source::Image, end)
}

/// Whether these kernels can read an input that lies in the natural order: a single channel, whose rows are quads then.
pub(super) fn fits_planar(geometry: &Geometry, offered: &Capabilities) -> bool {
    fits(geometry, offered) && geometry.in_channels == 1 && plane::fits(geometry)
}

/// Windows of a row that a tile of [`forward_pooled`] makes.
fn pooled_pixels(geometry: &Geometry) -> u32 {
    if geometry.planar {
        return plane::tile(geometry, 2, plane::COLUMNS)[1];
    }
    tile(&Window::of_images(geometry), Source::Image, 2)[1]
}

/// Windows of a row whose places [`forward_pooled`] leaves in one word: at most eight.
pub(super) fn pooled_block(geometry: &Geometry) -> u32 {
    block_of(pooled_pixels(geometry))
}

/// Windows of a row of which a weight gradient sums at once: whole words, or all.
fn pooled_at_once(geometry: &Geometry) -> u32 {
    if geometry.planar {
        let wide = plane::tile(geometry, 2, 2 * plane::COLUMNS)[1];
        if wide >= geometry.output[1] / 2 {
            return wide;
        }
    }
    pooled_pixels(geometry)
}

/// What of a tile of so many windows shares a word.
fn block_of(pixels: u32) -> u32 {
    pixels / pixels.div_ceil(8)
}

/// Forward pass with a 2x2 max pooling of stride 2. Bindings: input, weight as [`pack`] leaves it, pooled output,
/// places.
pub(super) fn forward_pooled(geometry: &Geometry, offered: &Capabilities, relu: bool) -> AnyLaunch {
    let end = End::Pool { relu };
    if geometry.planar {
        return plane::launch(geometry, offered.lanes(), end);
    }
    broadcast(&Window::of_images(geometry), offered.lanes(), 0, Source::Image, end)
}

/// Input gradient at stride 1. Bindings: output's gradient, weight as [`pack_input_grad`] leaves it, input's gradient.
pub(super) fn input_grad(
    geometry: &Geometry,
    offered: &Capabilities,
    first_part: u32,
    accumulate: bool,
) -> AnyLaunch {
    let window = Window::input_grad(geometry);
    broadcast(&window, offered.lanes(), first_part, Source::Image, End::Store { accumulate })
}

/// Like [`fits_input_grad`], of [`input_grad_pooled`]: the sum must be whole.
pub(super) fn fits_input_grad_pooled(geometry: &Geometry, offered: &Capabilities) -> bool {
    fits_input_grad(geometry, offered) && input_grad_parts(geometry) == 1
}

/// Input gradient at stride 1 where the output was pooled. Bindings: gradient of the pooled output, weight as
/// [`pack_input_grad`] leaves it, input's gradient, places as [`forward_pooled`] leaves them.
pub(super) fn input_grad_pooled(geometry: &Geometry, offered: &Capabilities, accumulate: bool) -> AnyLaunch {
    let mut window = Window::of_input_grads(geometry);
    // What no window covers has no gradient.
    window.input = window.input.map(|len| len / 2 * 2);
    let source = Source::Windows { block: pooled_block(geometry) };
    broadcast(&window, offered.lanes(), 0, source, End::Store { accumulate })
}

/// How output channels lie on lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lanes {
    /// Of a subgroup.
    count: u32,
    /// Channels of a lane: 1, 2 or 4.
    vector: u32,
    /// Workgroups that cover all channels.
    tiles: u32,
}

impl Lanes {
    /// Of all output channels, on subgroups of so many lanes; the workgroups of several groups do not share one.
    fn of(channels: u32, groups: u32, count: u32) -> Self {
        let vector = Self::vector(channels, groups);
        Self { count, vector, tiles: groups * (channels / groups).div_ceil(count * vector) }
    }

    /// Channels of a lane, at any width.
    fn vector(channels: u32, groups: u32) -> u32 {
        let each = channels / groups;
        // A lane's work is its channels and about one more for what does not depend on them.
        [4, 2, 1]
            .into_iter()
            .filter(|vector| groups == 1 || each.is_multiple_of(LANES * vector))
            .min_by_key(|vector| each.div_ceil(LANES * vector) * (vector + 1))
            .expect("one channel a lane is a choice")
    }

    /// Width in channels of a packed weight.
    fn packed(self) -> u32 {
        self.tiles * self.vector * self.count
    }

    fn alias(self) -> (&'static str, &'static str) {
        ("V", ["f32", "vec2f", "", "vec4f"][self.vector as usize - 1])
    }

    /// A word for each of its channels.
    fn places_alias(self) -> (&'static str, &'static str) {
        ("P", ["u32", "vec2u", "", "vec4u"][self.vector as usize - 1])
    }
}

/// Multiply-adds in the innermost block of a kernel: larger tiles share more of what is loaded, and every one of
/// these is compiled.
const UNROLLED: u32 = 200;

/// The same, each of one element of a lane's vector.
const SCALARS: u32 = 4 * UNROLLED;

/// Sums of a tile: a CPU adapter runs a store as a loop over lanes, and unrolled stores are many loops to compile.
const SUMS: u32 = 32;

uniform! {
    struct Shape {
        height: u32,
        width: u32,
        channel_pairs: u32,
        packed_pairs: u32,
        used_pairs: u32,
        out_height: u32,
        out_width: u32,
        out_vectors: u32,
        packed_vectors: u32,
        kernel_height: u32,
        stride_y: u32,
        pad_y: i32,
        pad_x: i32,
        column_tiles: u32,
        channel_tiles: u32,
        group_tiles: u32,
        tiles: u32,
        grid_width: u32,
        relu: u32,
        rows: u32,
        rows_per_part: u32,
        pairs_per_part: u32,
        pair_parts: u32,
        first_part: u32,
    }
}

/// Outputs that a kernel finishes at once, at least: fewer would move the others up too often.
const OUTPUTS_AT_ONCE: u32 = 8;

/// How many of the rows of a tile a kernel finishes at once: the fewest that have enough outputs.
fn finished(rows: u32, pixels: u32) -> u32 {
    (1..=rows).find(|some| rows.is_multiple_of(*some) && some * pixels >= OUTPUTS_AT_ONCE).unwrap_or(rows)
}

/// What a kernel reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Image,
    /// The gradients of 2x2 windows of an image, with the places of their maxima, `block` windows to a word.
    Windows {
        block: u32,
    },
}

impl Source {
    /// The constants by which a kernel reads it, for tiles of so many `pixels` of a row.
    fn constants(
        self,
        window: &Window,
        lanes: u32,
        pixels: u32,
        is_whole_row: bool,
    ) -> Vec<(&'static str, u32)> {
        let (block, scale) = if let Self::Windows { block } = self { (block, 2) } else { (1, 1) };
        let touched = Touched::of(window, pixels, scale, is_whole_row);
        let loaded = touched.pixels.div_ceil(lanes * scale);
        vec![
            ("POOLED", flag(scale == 2)),
            ("DIRECT", flag(scale == 1)),
            ("BLOCK", block),
            ("SCALE", scale),
            ("SPAN", lanes * scale),
            ("ODD", touched.odd),
            ("BEFORE", touched.inside.start),
            ("BEHIND", touched.inside.end),
            // In subgroups of what a lane loads.
            ("LOADED", loaded),
            ("LOADS", loaded * scale),
        ]
    }
}

/// What a kernel does with its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Store { accumulate: bool },
    Pool { relu: bool },
}

impl End {
    /// Rows and columns of sums that become one.
    fn step(self) -> u32 {
        if matches!(self, Self::Pool { .. }) { 2 } else { 1 }
    }

    /// The constants of what follows the sums of a tile that makes so many rows and columns.
    fn constants(self, [rows, pixels]: [u32; 2]) -> Vec<(&'static str, u32)> {
        let step = ("STEP", self.step());
        match self {
            Self::Store { accumulate } => {
                let finished = finished(rows, pixels);
                let sums = [("STORED", finished * pixels), ("TILE_SUMS", rows * pixels)];
                [&[step, ("ACCUMULATE", flag(accumulate)), ("FINISHED", finished)], &sums[..]].concat()
            }
            Self::Pool { .. } => {
                let block = block_of(pixels);
                let words = [("POOLED_BLOCK", block), ("WORDS", pixels / block)];
                [&[step, ("POOLED_ROWS", rows), ("POOLED_PIXELS", pixels)], &words[..]].concat()
            }
        }
    }

    /// What is stored can be finished, but not what is pooled.
    fn finishing(self, launch: AnyLaunch, lanes: Lanes) -> AnyLaunch {
        if self.step() == 1 { launch.finishing(lanes.vector as usize) } else { launch }
    }
}

/// The least multiple from `pixels` on of which tiles begin with what a lane loads: `lane` pixels.
fn whole(pixels: u32, lane: u32, stride: u32) -> u32 {
    let step = (1..=lane).find(|step| (step * stride).is_multiple_of(lane)).expect("a whole lane is one");
    pixels.next_multiple_of(step)
}

/// What a tile reads of a row.
struct Touched {
    /// What lies in the image, counted from what the first tap of the first sum reads: nothing is known of a tile that is
    /// not a whole row.
    inside: Range<u32>,
    /// Pixels before the first that the tile needs, where a lane loads several.
    odd: u32,
    /// Pixels to load, the odd ones included.
    pixels: u32,
}

impl Touched {
    /// Of `pixels` sums of a row, where a lane loads `lane` pixels.
    fn of(window: &Window, pixels: u32, lane: u32, is_whole_row: bool) -> Self {
        let padding = window.padding[1];
        let inside = if is_whole_row {
            let behind = padding.saturating_add_unsigned(window.input[1]);
            padding.max(0).cast_unsigned()..behind.max(0).cast_unsigned()
        } else {
            0..u32::MAX
        };
        let odd = (inside.start.cast_signed() - padding).rem_euclid(lane.cast_signed()).cast_unsigned();
        let end = ((pixels - 1) * window.stride[1] + window.kernel[1]).min(inside.end);
        Self { odd, pixels: end.saturating_sub(inside.start).max(1) + odd, inside }
    }
}

/// Rows and columns of what a tile makes, where `step` rows and columns of sums become one.
fn tile(window: &Window, source: Source, step: u32) -> [u32; 2] {
    let vector = Lanes::vector(window.out_channels, window.groups);
    let per_pixel = window.kernel[1] * (window.in_channels / window.groups).min(2);
    let most = (SCALARS / (per_pixel * vector)).max(1);
    let sums = SUMS * 4 / vector.max(2);
    let output = window.output.map(|len| len / step);
    let pixels = (most.min(16 * step) / (step * step)).clamp(1, 16 / step);
    let lane = if source == Source::Image { 1 } else { 2 };
    let pixels = whole(even_tile(output[1], pixels), lane, window.stride[1] * step);
    // The rows of all images are one run.
    let rows =
        even_tile(window.images * output[0], (most.min(sums) / (pixels * step * step)).clamp(1, 16 / step));
    [rows, pixels]
}

/// Bindings: input, packed weight, output; then places, with a pooling or of the windows that it reads.
fn broadcast(window: &Window, width: u32, first_part: u32, source: Source, end: End) -> AnyLaunch {
    let lanes = Lanes::of(window.out_channels, window.groups, width);
    let in_channels = window.in_channels / window.groups;
    let channels = in_channels.min(2);
    // Rows and columns that become one.
    let step = end.step();
    let output = window.output.map(|len| len / step);
    let [rows, pixels] = tile(window, source, step);
    let all_rows = window.images * output[0];
    let column_tiles = output[1].div_ceil(pixels);
    let tiles = lanes.tiles * column_tiles * all_rows.div_ceil(rows);
    let groups = fold(tiles);
    let parts = WindowParts::broadcast(window.kernel, in_channels);
    let shape = Shape {
        height: window.input[0],
        width: window.input[1],
        channel_pairs: pitch(window.in_channels) / 2,
        packed_pairs: pitch(in_channels) / 2,
        used_pairs: in_channels.div_ceil(2),
        out_height: output[0],
        out_width: output[1],
        out_vectors: pitch(window.out_channels) / lanes.vector,
        packed_vectors: lanes.tiles * width,
        kernel_height: window.kernel[0],
        stride_y: window.stride[0],
        pad_y: window.padding[0],
        pad_x: window.padding[1],
        column_tiles,
        channel_tiles: lanes.tiles,
        group_tiles: lanes.tiles / window.groups,
        tiles,
        grid_width: groups[0],
        relu: flag(end == End::Pool { relu: true }),
        rows: all_rows,
        rows_per_part: parts.rows,
        pairs_per_part: parts.channels,
        pair_parts: parts.channel_parts,
        first_part,
    };
    let mut constants = vec![
        ("LANES", width),
        ("ROWS", rows * step),
        ("PIXELS", pixels * step),
        ("KERNEL_WIDTH", window.kernel[1]),
        ("STRIDE", window.stride[1]),
        ("CHANNELS", channels),
        ("SPLIT", flag(parts.count > 1)),
        excess(groups, tiles),
    ];
    constants.extend(source.constants(window, width, pixels * step, column_tiles == 1));
    let aliases = vec![lanes.alias(), lanes.places_alias()];
    constants.extend(end.constants([rows, pixels]));
    let (name, source) = match end {
        End::Store { .. } => (
            "conv2d",
            concat!(
                include_str!("../../../../shaders/ops/conv2d.wgsl"),
                include_str!("../../../../shaders/ops/conv2d_store.wgsl")
            ),
        ),
        End::Pool { .. } => (
            "conv2d_pool",
            concat!(
                include_str!("../../../../shaders/ops/conv2d.wgsl"),
                include_str!("../../../../shaders/ops/conv2d_pool.wgsl")
            ),
        ),
    };
    let template = Template { name, source, constants, aliases };
    end.finishing(Launch { template, shape, groups }.into(), lanes)
}
