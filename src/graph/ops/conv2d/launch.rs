//! Convolution: which kernel, with which tile and grid, computes it and its gradients.

use bytemuck::Zeroable;

use crate::gpu::{KernelClass, uniform};
use crate::graph::ops::split::{Epilogue, RUN, even_tile, is_long};
use crate::graph::shape::pitch;
use crate::graph::template::{Launch, Template, fold};

/// Sizes of a convolution over NHWC activations, `y[n, oy, ox, o] = sum x[n, oy*s + ky*d - p, .., c] * w[o, c, ky, kx]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) images: u32,
    pub(crate) in_channels: u32,
    pub(crate) out_channels: u32,
    /// Height and width of the input, the kernel, its stride, the padding on each side, and the distance between
    /// neighbours in the kernel.
    pub(crate) input: [u32; 2],
    pub(crate) kernel: [u32; 2],
    pub(crate) stride: [u32; 2],
    pub(crate) padding: [u32; 2],
    pub(crate) dilation: [u32; 2],
}

impl Geometry {
    /// Height and width of the output.
    pub(crate) fn output(&self) -> [u32; 2] {
        [0, 1].map(|axis| {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            (self.input[axis] + 2 * self.padding[axis] - reach) / self.stride[axis] + 1
        })
    }

    pub(super) fn taps(&self) -> u32 {
        self.kernel[0] * self.kernel[1]
    }
}

/// How output channels lie on lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lanes {
    /// Channels of a lane: 1, 2 or 4.
    pub(super) vector: u32,
    /// Workgroups that cover all channels.
    pub(super) tiles: u32,
}

impl Lanes {
    pub(super) fn of(class: KernelClass, channels: u32) -> Self {
        if class == KernelClass::Plain {
            return Self { vector: 4, tiles: channels.div_ceil(4) };
        }
        // A lane's work is its channels and about one more for what does not depend on them.
        [4, 2, 1]
            .map(|vector| Self { vector, tiles: channels.div_ceil(8 * vector) })
            .into_iter()
            .min_by_key(|lanes| lanes.tiles * (lanes.vector + 1))
            .expect("three choices")
    }

    /// Width in channels of a packed weight.
    pub(super) fn packed(self, class: KernelClass) -> u32 {
        match class {
            KernelClass::CpuSubgroup8 => self.tiles * self.vector * 8,
            KernelClass::Plain => self.tiles * 4,
        }
    }

    pub(super) fn alias(self) -> (&'static str, &'static str) {
        ("V", ["f32", "vec2f", "", "vec4f"][self.vector as usize - 1])
    }
}

/// Vec4 loads that cover what `pixels` outputs of a row touch, when each of eight lanes loads one pixel.
pub(super) fn loads(pixels: u32, stride: u32, kernel_width: u32) -> u32 {
    ((pixels - 1) * stride + kernel_width).div_ceil(8)
}

/// Direction of a packed weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pack {
    Forward,
    /// Transposed and flipped: the input gradient at stride 1 is a convolution with it.
    InputGrad,
}

uniform! {
    pub(crate) struct PackShape {
        out_channels: u32,
        in_channels: u32,
        kernel_height: u32,
        kernel_width: u32,
        transposed: u32,
        has_bias: u32,
        inner: u32,
        outer_vectors: u32,
        grid_width: u32,
    }
}

/// Elements of a packed weight.
pub(crate) fn packed_len(geometry: &Geometry, class: KernelClass, pack: Pack) -> u32 {
    let shape = pack_shape(geometry, class, pack, false);
    (geometry.taps() * shape.inner + 1) * shape.outer_vectors * 4
}

fn pack_shape(geometry: &Geometry, class: KernelClass, pack: Pack, has_bias: bool) -> PackShape {
    let (inner, outer) = match pack {
        Pack::Forward => (geometry.in_channels, geometry.out_channels),
        Pack::InputGrad => (geometry.out_channels, geometry.in_channels),
    };
    let class = if pack == Pack::InputGrad && geometry.stride != [1, 1] { KernelClass::Plain } else { class };
    PackShape {
        out_channels: geometry.out_channels,
        in_channels: geometry.in_channels,
        kernel_height: geometry.kernel[0],
        kernel_width: geometry.kernel[1],
        transposed: u32::from(pack == Pack::InputGrad),
        has_bias: u32::from(has_bias && pack == Pack::Forward),
        inner: pitch(inner),
        outer_vectors: pitch(Lanes::of(class, outer).packed(class)) / 4,
        grid_width: 0,
    }
}

/// Bindings: weight, bias (or the weight again), packed weight.
pub(crate) fn pack(geometry: &Geometry, class: KernelClass, pack: Pack, has_bias: bool) -> Launch<PackShape> {
    let mut shape = pack_shape(geometry, class, pack, has_bias);
    let vectors = (geometry.taps() * shape.inner + 1) * shape.outer_vectors;
    let groups = fold(vectors.div_ceil(64));
    shape.grid_width = groups[0];
    let template = Template {
        name: "conv2d_pack",
        source: include_str!("../../../../shaders/ops/conv2d_pack.wgsl"),
        constants: vec![],
        aliases: vec![],
    };
    Launch { template, shape, groups }
}

uniform! {
    pub(crate) struct ConvShape {
        height: u32,
        width: u32,
        channel_pairs: u32,
        used_pairs: u32,
        out_height: u32,
        out_width: u32,
        out_vectors: u32,
        packed_vectors: u32,
        kernel_height: u32,
        stride_y: u32,
        pad_y: i32,
        pad_x: i32,
        row_tiles: u32,
        column_tiles: u32,
        channel_tiles: u32,
        tiles: u32,
        grid_width: u32,
        relu: u32,
        rows_per_part: u32,
        pairs_per_part: u32,
        pair_parts: u32,
        first_part: u32,
        images: u32,
    }
}

uniform! {
    pub(crate) struct ConvPlainShape {
        height: u32,
        width: u32,
        channel_vectors: u32,
        out_height: u32,
        out_width: u32,
        out_vectors: u32,
        kernel_height: u32,
        kernel_width: u32,
        stride_y: u32,
        stride_x: u32,
        pad_y: i32,
        pad_x: i32,
        dilation_y: u32,
        dilation_x: u32,
        len: u32,
        grid_width: u32,
        relu: u32,
        accumulate: u32,
        rows_per_part: u32,
        columns_per_part: u32,
        quads_per_part: u32,
        column_parts: u32,
        quad_parts: u32,
        first_part: u32,
    }
}

/// What a convolution kernel computes, forward or as the input gradient at stride 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) images: u32,
    pub(super) in_channels: u32,
    pub(super) out_channels: u32,
    pub(super) input: [u32; 2],
    pub(super) output: [u32; 2],
    pub(super) kernel: [u32; 2],
    pub(super) stride: [u32; 2],
    /// Negative when the input is cropped.
    pub(super) padding: [i32; 2],
    pub(super) dilation: [u32; 2],
}

impl Window {
    pub(super) fn forward(geometry: &Geometry) -> Self {
        Self::of_images(geometry).joined()
    }

    /// The forward pass image by image.
    pub(super) fn of_images(geometry: &Geometry) -> Self {
        Self {
            images: geometry.images,
            in_channels: geometry.in_channels,
            out_channels: geometry.out_channels,
            input: geometry.input,
            output: geometry.output(),
            kernel: geometry.kernel,
            stride: geometry.stride,
            padding: geometry.padding.map(u32::cast_signed),
            dilation: geometry.dilation,
        }
    }

    fn input_grad(geometry: &Geometry) -> Self {
        let padding =
            [0, 1].map(|axis| geometry.kernel[axis].cast_signed() - 1 - geometry.padding[axis].cast_signed());
        let window = Self {
            images: geometry.images,
            in_channels: geometry.out_channels,
            out_channels: geometry.in_channels,
            input: geometry.output(),
            output: geometry.input,
            kernel: geometry.kernel,
            stride: [1, 1],
            padding,
            dilation: [1, 1],
        };
        window.joined()
    }

    /// A 1x1 kernel over all pixels sees no rows and no images, so all are one long row.
    fn joined(self) -> Self {
        if self.kernel != [1, 1] || self.stride != [1, 1] || self.padding != [0, 0] {
            return self;
        }
        let pixels = [1, self.images * self.input[0] * self.input[1]];
        Self { images: 1, input: pixels, output: pixels, ..self }
    }
}

/// Whether a gradient kernel writes its result or adds it to what is there.
pub(super) fn flag(set: bool) -> u32 {
    u32::from(set)
}

/// Multiply-adds in the innermost block of a kernel: larger tiles share more of what is loaded, and every one of
/// these is compiled.
pub(super) const UNROLLED: u32 = 200;

/// Sums of a tile: a CPU adapter runs a store as a loop over lanes, and unrolled stores are many loops to compile.
pub(super) const SUMS: u32 = 32;

/// Parts of the sum over a window: ranges of its rows, its columns and its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tiles {
    rows: u32,
    columns: u32,
    channels: u32,
    column_parts: u32,
    channel_parts: u32,
    count: u32,
}

impl Tiles {
    /// `terms` are those of one iteration, which takes `channels` in steps; a sum that is not `long` is one part.
    fn new([rows, columns]: [u32; 2], channels: u32, terms: u32, long: bool) -> Self {
        let mut tiles = Self { rows, columns, channels, column_parts: 1, channel_parts: 1, count: 1 };
        if long {
            let most = |taken: u32| (RUN / (terms * taken)).max(1);
            tiles.channels = even_tile(channels, most(1));
            tiles.columns = even_tile(columns, most(tiles.channels));
            tiles.rows = even_tile(rows, most(tiles.channels * tiles.columns));
            tiles.column_parts = columns.div_ceil(tiles.columns);
            tiles.channel_parts = channels.div_ceil(tiles.channels);
            tiles.count = rows.div_ceil(tiles.rows) * tiles.column_parts * tiles.channel_parts;
        }
        tiles
    }

    /// Of the plain kernels: an iteration takes four channels.
    fn plain(kernel: [u32; 2], in_channels: u32) -> Self {
        let quads = in_channels.div_ceil(4);
        let [rows, columns, channels] = [kernel[0], kernel[1], quads].map(u64::from);
        let trips = rows * (1 + columns * (1 + channels));
        Self::new(kernel, quads, 4, is_long(trips, rows * columns * channels * 4))
    }

    /// Of the kernels for CPU adapters: an iteration takes a row of the kernel and two channels.
    fn broadcast(kernel: [u32; 2], in_channels: u32) -> Self {
        let pairs = in_channels.div_ceil(2);
        let terms = kernel[1] * in_channels.min(2);
        let [rows, channels] = [kernel[0], pairs].map(u64::from);
        let long = is_long(rows * (1 + channels), rows * channels * u64::from(terms));
        Self::new([kernel[0], 1], pairs, terms, long)
    }
}

/// Parts of the sum that a forward pass takes.
pub(crate) fn forward_parts(kernel: [u32; 2], in_channels: u32, class: KernelClass) -> u32 {
    match class {
        KernelClass::CpuSubgroup8 => Tiles::broadcast(kernel, in_channels).count,
        KernelClass::Plain => Tiles::plain(kernel, in_channels).count,
    }
}

/// Parts of the sum that an input gradient takes: a convolution of the output's channels.
pub(crate) fn input_grad_parts(geometry: &Geometry, class: KernelClass) -> u32 {
    forward_parts(geometry.kernel, geometry.out_channels, class)
}

/// What a kernel does with its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Store { accumulate: bool },
    Pool,
}

/// Bindings: input, packed weight, output; with a pooling, places too.
fn broadcast(window: &Window, relu: bool, first_part: u32, end: End) -> Launch<ConvShape> {
    let lanes = Lanes::of(KernelClass::CpuSubgroup8, window.out_channels);
    let channels = window.in_channels.min(2);
    let per_pixel = window.kernel[1] * channels;
    let most = (UNROLLED / per_pixel).max(1);
    // Rows and columns that become one.
    let step = if end == End::Pool { 2 } else { 1 };
    let output = window.output.map(|len| len / step);
    let pixels = even_tile(output[1], (most.min(16 * step) / (step * step)).clamp(1, 16 / step));
    let rows = even_tile(output[0], (most.min(SUMS) / (pixels * step * step)).clamp(1, 4 / step));
    let row_tiles = output[0].div_ceil(rows);
    let column_tiles = output[1].div_ceil(pixels);
    let tiles = lanes.tiles * row_tiles * column_tiles * window.images;
    let groups = fold(tiles);
    let parts = Tiles::broadcast(window.kernel, window.in_channels);
    let shape = ConvShape {
        height: window.input[0],
        width: window.input[1],
        channel_pairs: pitch(window.in_channels) / 2,
        used_pairs: window.in_channels.div_ceil(2),
        out_height: output[0],
        out_width: output[1],
        out_vectors: pitch(window.out_channels) / lanes.vector,
        packed_vectors: lanes.tiles * 8,
        kernel_height: window.kernel[0],
        stride_y: window.stride[0],
        pad_y: window.padding[0],
        pad_x: window.padding[1],
        row_tiles,
        column_tiles,
        channel_tiles: lanes.tiles,
        tiles,
        grid_width: groups[0],
        relu: flag(relu),
        rows_per_part: parts.rows,
        pairs_per_part: parts.channels,
        pair_parts: parts.channel_parts,
        first_part,
        images: window.images,
    };
    let mut constants = vec![
        ("ROWS", rows * step),
        ("PIXELS", pixels * step),
        ("KERNEL_WIDTH", window.kernel[1]),
        ("STRIDE", window.stride[1]),
        ("LOADS", loads(pixels * step, window.stride[1], window.kernel[1])),
        ("CHANNELS", channels),
        ("SPLIT", flag(parts.count > 1)),
    ];
    let mut aliases = vec![lanes.alias()];
    let (name, source) = match end {
        End::Store { accumulate } => {
            constants.push(("ACCUMULATE", flag(accumulate)));
            let source = concat!(
                include_str!("../../../../shaders/ops/conv2d.wgsl"),
                include_str!("../../../../shaders/ops/conv2d_store.wgsl")
            );
            ("conv2d", source)
        }
        End::Pool => {
            constants.extend([("POOLED_ROWS", rows), ("POOLED_PIXELS", pixels), ("WORDS", lanes.vector / 2)]);
            aliases.push(("P", if lanes.vector == 2 { "vec2u" } else { "vec4u" }));
            let source = concat!(
                include_str!("../../../../shaders/ops/conv2d.wgsl"),
                include_str!("../../../../shaders/ops/conv2d_pool.wgsl")
            );
            ("conv2d_pool", source)
        }
    };
    let template = Template { name, source, constants, aliases };
    Launch { template, shape, groups }
}

/// Forward pass on a CPU adapter. Bindings: input, weight packed [`Pack::Forward`], output.
pub(crate) fn forward(geometry: &Geometry, first_part: u32, epilogue: Epilogue) -> Launch<ConvShape> {
    let end = End::Store { accumulate: epilogue.accumulate };
    broadcast(&Window::forward(geometry), epilogue.relu, first_part, end)
}

/// Whether [`forward_pooled`] can serve: a word holds the places of two channels, so a lane needs as many, and only a
/// whole sum can be pooled.
pub(crate) fn takes_pool(kernel: [u32; 2], in_channels: u32, out_channels: u32) -> bool {
    Lanes::of(KernelClass::CpuSubgroup8, out_channels).vector > 1
        && Tiles::broadcast(kernel, in_channels).count == 1
}

/// Forward pass with a 2x2 max pooling of stride 2 on a CPU adapter. Bindings: input, weight packed
/// [`Pack::Forward`], pooled output, places.
pub(crate) fn forward_pooled(geometry: &Geometry, relu: bool) -> Launch<ConvShape> {
    broadcast(&Window::of_images(geometry), relu, 0, End::Pool)
}

/// Input gradient at stride 1 on a CPU adapter. Bindings: output's gradient, weight packed
/// [`Pack::InputGrad`], input's gradient.
///
/// # Panics
/// At another stride, which is [`input_grad_plain`]'s.
pub(crate) fn input_grad(geometry: &Geometry, first_part: u32, epilogue: Epilogue) -> Launch<ConvShape> {
    assert_eq!(geometry.stride, [1, 1], "the flipped convolution needs stride 1");
    let end = End::Store { accumulate: epilogue.accumulate };
    broadcast(&Window::input_grad(geometry), false, first_part, end)
}

fn plain_shape(window: &Window, parts: &Tiles) -> ConvPlainShape {
    ConvPlainShape {
        height: window.input[0],
        width: window.input[1],
        channel_vectors: pitch(window.in_channels) / 4,
        out_height: window.output[0],
        out_width: window.output[1],
        out_vectors: pitch(window.out_channels) / 4,
        kernel_height: window.kernel[0],
        kernel_width: window.kernel[1],
        stride_y: window.stride[0],
        stride_x: window.stride[1],
        pad_y: window.padding[0],
        pad_x: window.padding[1],
        dilation_y: window.dilation[0],
        dilation_x: window.dilation[1],
        rows_per_part: parts.rows,
        columns_per_part: parts.columns,
        quads_per_part: parts.channels,
        column_parts: parts.column_parts,
        quad_parts: parts.channel_parts,
        ..ConvPlainShape::zeroed()
    }
}

/// Forward pass anywhere. Bindings: input, weight packed [`Pack::Forward`], output.
pub(crate) fn forward_plain(
    geometry: &Geometry,
    first_part: u32,
    epilogue: Epilogue,
) -> Launch<ConvPlainShape> {
    let window = Window::forward(geometry);
    let parts = Tiles::plain(window.kernel, window.in_channels);
    let mut shape = plain_shape(&window, &parts);
    shape.len = window.images * window.output[0] * window.output[1] * shape.out_vectors;
    shape.relu = flag(epilogue.relu);
    shape.accumulate = flag(epilogue.accumulate);
    shape.first_part = first_part;
    let groups = fold(shape.len.div_ceil(64));
    shape.grid_width = groups[0];
    let template = Template {
        name: "conv2d_plain",
        source: include_str!("../../../../shaders/ops/conv2d_plain.wgsl"),
        constants: vec![("SPLIT", flag(parts.count > 1))],
        aliases: vec![],
    };
    Launch { template, shape, groups }
}

uniform! {
    pub(crate) struct InputGradPlainShape {
        height: u32,
        width: u32,
        channel_vectors: u32,
        out_height: u32,
        out_width: u32,
        out_vectors: u32,
        kernel_height: u32,
        kernel_width: u32,
        stride_y: u32,
        stride_x: u32,
        pad_y: i32,
        pad_x: i32,
        dilation_y: u32,
        dilation_x: u32,
        len: u32,
        grid_width: u32,
        accumulate: u32,
        rows_per_part: u32,
        columns_per_part: u32,
        quads_per_part: u32,
        column_parts: u32,
        quad_parts: u32,
        first_part: u32,
    }
}

/// Input gradient anywhere, at any stride and dilation. Bindings: output's gradient, weight packed [`Pack::InputGrad`],
/// input's gradient.
pub(crate) fn input_grad_plain(
    geometry: &Geometry,
    first_part: u32,
    epilogue: Epilogue,
) -> Launch<InputGradPlainShape> {
    let parts = Tiles::plain(geometry.kernel, geometry.out_channels);
    let output = geometry.output();
    let channel_vectors = pitch(geometry.in_channels) / 4;
    let len = geometry.images * geometry.input[0] * geometry.input[1] * channel_vectors;
    let groups = fold(len.div_ceil(64));
    let shape = InputGradPlainShape {
        height: geometry.input[0],
        width: geometry.input[1],
        channel_vectors,
        out_height: output[0],
        out_width: output[1],
        out_vectors: pitch(geometry.out_channels) / 4,
        kernel_height: geometry.kernel[0],
        kernel_width: geometry.kernel[1],
        stride_y: geometry.stride[0],
        stride_x: geometry.stride[1],
        pad_y: geometry.padding[0].cast_signed(),
        pad_x: geometry.padding[1].cast_signed(),
        dilation_y: geometry.dilation[0],
        dilation_x: geometry.dilation[1],
        len,
        grid_width: groups[0],
        accumulate: flag(epilogue.accumulate),
        rows_per_part: parts.rows,
        columns_per_part: parts.columns,
        quads_per_part: parts.channels,
        column_parts: parts.column_parts,
        quad_parts: parts.channel_parts,
        first_part,
    };
    let template = Template {
        name: "conv2d_input_grad_plain",
        source: include_str!("../../../../shaders/ops/conv2d_input_grad_plain.wgsl"),
        constants: vec![("SPLIT", flag(parts.count > 1))],
        aliases: vec![],
    };
    Launch { template, shape, groups }
}
