use crate::Error;
use crate::error::{above, at_least, closed, finite};

/// A rectangle that is overwritten with a value.
#[derive(Clone, Debug)]
pub(crate) struct Erase {
    /// The probability that an image is changed.
    pub(crate) p: f64,
    pub(crate) value: f32,
    pub(crate) area: Area,
}

/// The rectangle of an [`Erase`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Area {
    /// Of a random share of the image and a random ratio of height to width, within these bounds; inside of the image.
    Random { scale: [f64; 2], ratio: [f64; 2] },
    /// A square around a random pixel, as far as it is in the image.
    Square { length: usize },
}

/// Number of sizes that are drawn of all sizes.
const DRAWN: u32 = 4096;

impl Erase {
    /// Whether the rectangle may be cut by the edges.
    pub(super) fn is_centred(&self) -> bool {
        matches!(self.area, Area::Square { .. })
    }

    /// Sizes that are equally likely, of images of this shape. They are spread evenly over areas and ratios, and do not
    /// come from the device, whose roots and exponentials differ.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes are not negative")]
    pub(super) fn sizes(&self, input: &[usize]) -> Vec<[usize; 2]> {
        let (scale, ratio) = match self.area {
            Area::Square { length } => return vec![[length; 2]],
            Area::Random { scale, ratio } => (scale, ratio.map(f64::ln)),
        };
        let [height, width] = [input[2], input[3]];
        let between = |[low, high]: [f64; 2], share: f64| low + (high - low) * share;
        let size = |number: u32| {
            // A lattice of two dimensions: places along one, and places with reversed bits along the other.
            let along = (f64::from(number) + 0.5) / f64::from(DRAWN);
            let across = (f64::from(number.reverse_bits()) + 0.5) / 2.0_f64.powi(32);
            let area = (height * width) as f64 * between(scale, along);
            let ratio = between(ratio, across).exp();
            [(area * ratio).sqrt(), (area / ratio).sqrt()].map(|side| side.round_ties_even() as usize)
        };
        // As in torchvision, a size that is that of the image is drawn again.
        (0..DRAWN).map(size).filter(|size| size[0] < height && size[1] < width).collect()
    }

    pub(super) fn check(&self, layer: &str, input: &[usize]) -> Result<(), Error> {
        closed(&format!("{layer}: p"), self.p, 0.0, 1.0)?;
        finite(&format!("{layer}: value"), self.value.into())?;
        match self.area {
            Area::Square { length } => super::super::check_window(layer, "length", [length; 2], 1),
            Area::Random { scale, ratio } => {
                at_least(&format!("{layer}: scale[0]"), scale[0], 0.0)?;
                closed(&format!("{layer}: scale[1]"), scale[1], scale[0], 1.0)?;
                above(&format!("{layer}: ratio[0]"), ratio[0], 0.0)?;
                at_least(&format!("{layer}: ratio[1]"), ratio[1], ratio[0])?;
                if self.sizes(input).is_empty() {
                    let reason =
                        format!("no rectangle of scale {scale:?} and ratio {ratio:?} fits {:?}", &input[2..]);
                    return Err(Error::Config { what: layer.into(), reason });
                }
                Ok(())
            }
        }
    }
}
