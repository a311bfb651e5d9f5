use super::pad::Pad;
use super::{Cast, Made, Op, Reads, dims, grid};
use crate::Error;
use crate::error::{closed, finite};
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::uniform;
use crate::graph::Mode;
use crate::graph::lowering::{Keep, Lowering, Operand};
use crate::graph::shape::{image, u};
use crate::graph::template::{Launch, Template};
use crate::graph::view::Order;

mod erase;

pub(crate) use erase::{Area as EraseArea, Erase};

/// A random change of each image, in plans that train.
#[derive(Clone, Debug)]
pub(crate) enum Augment {
    /// Mirrors an image with probability `p`: its columns or, with `rows`, its rows.
    Flip { p: f64, rows: bool },
    /// Takes a part of the padded image.
    Crop { size: [usize; 2], padding: [usize; 2], fill: f32 },
    /// Overwrites a rectangle.
    Erase(Erase),
}

uniform! {
    pub(crate) struct Shape { quads: u32, accumulate: u32, fill: f32 }
}

/// Probabilities are compared as multiples of 2^-24.
const CHANCES: f64 = 16_777_216.0;

/// The random words of these operations have this bit in their stream, those of a dropout do not.
const STREAM: u32 = 1 << 30;

/// One direction of the kernel.
struct Pass {
    /// Height and width of what is read.
    from: [usize; 2],
    /// Height and width of what is written.
    to: [usize; 2],
    fill: f32,
    is_backward: bool,
    adds: bool,
}

impl Augment {
    /// The number of words of 24 bits below which an image is changed.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "p is in [0, 1]")]
    fn chance(p: f64) -> u32 {
        (p * CHANCES).round() as u32
    }

    /// Whether it changes nothing: in evaluation, except for a part of another size, and never.
    fn is_identity(&self, trains: bool, input: &[usize]) -> bool {
        match self {
            Self::Flip { p, .. } | Self::Erase(Erase { p, .. }) => !trains || Self::chance(*p) == 0,
            Self::Crop { size, padding, .. } => *size == input[2..] && (!trains || *padding == [0, 0]),
        }
    }

    /// The part in the middle, for evaluation, in place of a random one.
    fn center(&self, input: &[usize]) -> Option<Pad> {
        let Self::Crop { size, fill, .. } = self else { return None };
        let pair = |axis: usize| {
            let (have, want) = (input[2 + axis], size[axis]);
            // As torchvision rounds: a half to even where it cuts, down where it pads.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
            let cut = (have.saturating_sub(want) as f64 / 2.0).round_ties_even() as usize;
            let before = (want.saturating_sub(have) / 2) as isize - cut as isize;
            [before, want as isize - have as isize - before]
        };
        Some(Pad { pad: [pair(1), pair(0)].concat(), value: *fill })
    }

    /// Number of places of a part along each axis.
    fn places(input: &[usize], size: [usize; 2], padding: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| input[2 + axis] + 2 * padding[axis] - size[axis] + 1)
    }

    fn kernel(&self, rows: bool) -> (&'static str, &'static str) {
        macro_rules! joined {
            ($kind:literal, $lanes:literal) => {
                concat!(
                    include_str!("../../../shaders/shared/augment.wgsl"),
                    include_str!(concat!("../../../shaders/shared/augment_", $lanes, ".wgsl")),
                    include_str!(concat!("../../../shaders/ops/augment_", $kind, ".wgsl")),
                    include_str!("../../../shaders/shared/random.wgsl")
                )
            };
        }
        match (self, rows) {
            (Self::Flip { .. }, false) => ("augment_flip", joined!("flip", "pixels")),
            (Self::Flip { .. }, true) => ("augment_flip_rows", joined!("flip", "rows")),
            (Self::Crop { .. }, false) => ("augment_crop", joined!("crop", "pixels")),
            (Self::Crop { .. }, true) => ("augment_crop_rows", joined!("crop", "rows")),
            (Self::Erase(_), false) => ("augment_erase", joined!("erase", "pixels")),
            (Self::Erase(_), true) => ("augment_erase_rows", joined!("erase", "rows")),
        }
    }

    /// Constants of its own `source_of`, and the number of its kind.
    fn constants(&self, input: &[usize], is_backward: bool) -> (u32, Vec<(&'static str, u32)>) {
        match self {
            Self::Flip { p, rows } => {
                (u32::from(*rows), vec![("CHANCE", Self::chance(*p)), ("ROWS", u32::from(*rows))])
            }
            Self::Crop { size, padding, .. } => {
                let [tops, lefts] = Self::places(input, *size, *padding);
                let sizes =
                    [("TOPS", tops), ("LEFTS", lefts), ("PAD_ROWS", padding[0]), ("PAD_COLUMNS", padding[1])];
                let mut constants = sizes.map(|(name, n)| (name, u(n))).to_vec();
                constants.push(("BACKWARD", u32::from(is_backward)));
                (2, constants)
            }
            Self::Erase(erase) => {
                let pairs = u(erase.sizes(input).len());
                let centred = u32::from(erase.is_centred());
                (3, vec![("CHANCE", Self::chance(erase.p)), ("PAIRS", pairs), ("CENTRED", centred)])
            }
        }
    }

    /// The sizes of what is erased. A binding needs a buffer, even if it is not read.
    fn table(&self, lowering: &mut Lowering, id: usize) -> Operand {
        let words = match self {
            Self::Erase(erase) => erase.sizes(lowering.input_shape(id, 0)).concat(),
            _ => vec![0; 4],
        };
        let bits: Vec<f32> = words.into_iter().map(|word| f32::from_bits(u(word))).collect();
        let label = format!("sizes of {}", lowering.name(id));
        Operand::Value(lowering.value_kept(label, bits.len(), Keep::Constant(bits)))
    }

    fn emit(&self, lowering: &mut Lowering, id: usize, pass: &Pass, [x, table, y]: [Operand; 3]) {
        let input = lowering.input_shape(id, 0).to_vec();
        let ([images, channels], [height, width]) = ([input[0], input[1]], pass.to);
        let rows = lowering.order(id) == Order::Natural;
        let (quads, image_quads) = match rows {
            true => (width.div_ceil(4), channels * height * width.div_ceil(4)),
            false => (channels.div_ceil(4), height * width * channels.div_ceil(4)),
        };
        let (kind, own) = self.constants(&input, pass.is_backward);
        let mut constants = [
            ("IMAGE_QUADS", image_quads),
            ("QUADS", quads),
            ("CHANNELS", channels),
            ("HEIGHT", height),
            ("WIDTH", width),
            ("FROM_HEIGHT", pass.from[0]),
            ("FROM_WIDTH", pass.from[1]),
            ("FROM_QUADS", pass.from[1].div_ceil(4)),
        ]
        .map(|(name, n)| (name, u(n)))
        .to_vec();
        constants.push(("STREAM", u(lowering.number_of_kind(id)) | STREAM | kind << 24));
        constants.extend(own);
        let (name, source) = self.kernel(rows);
        let template = Template { name, source, constants, aliases: vec![] };
        let quads = images * image_quads;
        let [grid_x, grid_y, _] = grid(quads);
        let shape = Shape { quads: u(quads), accumulate: u32::from(pass.adds), fill: pass.fill };
        let operands = [x, table, lowering.random(), y];
        let launch = Launch { template, shape, groups: [grid_x, grid_y] };
        lowering.launch(&lowering.name(id), &[Read, Read, Read, ReadWrite], &operands, launch);
    }
}

impl Op for Augment {
    fn kind(&self) -> &'static str {
        match self {
            Self::Flip { rows: false, .. } => "random_horizontal_flip",
            Self::Flip { rows: true, .. } => "random_vertical_flip",
            Self::Crop { .. } => "random_crop",
            Self::Erase(_) => "random_erasing",
        }
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let [n, c, height, width] = image(layer, inputs[0])?;
        match self {
            Self::Flip { p, .. } => closed(&format!("{layer}: p"), *p, 0.0, 1.0)?,
            Self::Erase(erase) => erase.check(layer, inputs[0])?,
            Self::Crop { size, padding, fill } => {
                finite(&format!("{layer}: fill"), (*fill).into())?;
                super::check_window(layer, "padding", *padding, 0)?;
                super::check_window(layer, "size", *size, 1)?;
                let most = [height + 2 * padding[0], width + 2 * padding[1]];
                if let Some(axis) = (0..2).find(|&axis| size[axis] > most[axis]) {
                    let allowed = format!("at most {most:?}, the size of the padded image");
                    return Err(Error::constant(format!("{layer}: size[{axis}]"), allowed, size[axis]));
                }
                return Ok(vec![n, c, size[0], size[1]]);
            }
        }
        Ok(inputs[0].to_vec())
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::AsMade
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let input = lowering.input_shape(id, 0).to_vec();
        let trains = lowering.mode == Mode::Train;
        if self.is_identity(trains, &input) {
            let is_view = dims::define_moved(lowering, id, |from| Some(from.clone()));
            debug_assert!(is_view, "what is left as it is lies where it lay");
            return Ok(());
        }
        if let (false, Some(center)) = (trains, self.center(&input)) {
            return center.forward(lowering, id);
        }
        let (table, x) = (self.table(lowering, id), lowering.argument(id, 0));
        lowering.save_as(id, table);
        let y = lowering.define(id);
        let shape = lowering.shape(id);
        let fill = match self {
            Self::Flip { .. } => 0.0,
            Self::Crop { fill, .. } | Self::Erase(Erase { value: fill, .. }) => *fill,
        };
        let (from, to) = ([input[2], input[3]], [shape[2], shape[3]]);
        let pass = Pass { from, to, fill, is_backward: false, adds: false };
        self.emit(lowering, id, &pass, [x, table, y]);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let input = lowering.input_shape(id, 0).to_vec();
        let trains = lowering.mode == Mode::Train;
        if self.is_identity(trains, &input) {
            return Ok(());
        }
        if let (false, Some(center)) = (trains, self.center(&input)) {
            return center.backward(lowering, id);
        }
        let Some((dx, adds)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let shape = lowering.shape(id);
        let (from, to) = ([shape[2], shape[3]], [input[2], input[3]]);
        let operands = [lowering.gradient(id), lowering.saved(id), dx];
        let pass = Pass { from, to, fill: 0.0, is_backward: true, adds };
        self.emit(lowering, id, &pass, operands);
        Ok(())
    }
}
