use burn::module::{Module, Param};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};
use gradus::Error;
use gradus::layout::{GroupSpec, Layout, Limits, Span};

/// Images of 8x8 in four classes: stripes across, stripes down, a ring, a cross.
pub(crate) const BATCH: usize = 64;
const SIDE: usize = 8;
const CLASSES: usize = 4;

/// Where the parameters lie in the flat tensor.
pub(crate) fn layout() -> Result<Layout, Error> {
    let all = GroupSpec::new("all")
        .tensor("conv.weight", [8, 1, 3, 3])
        .tensor("conv.bias", [8])
        .tensor("fc.weight", [8 * 16, CLASSES])
        .tensor("fc.bias", [CLASSES]);
    Layout::new(&[all], Limits::default())
}

/// A convolution, pooling and a linear layer, whose parameters are parts of one tensor.
#[derive(Module, Debug)]
pub(crate) struct Network {
    pub(crate) flat: Param<Tensor<1>>,
    #[module(skip)]
    places: Vec<[usize; 2]>,
}

impl Network {
    pub(crate) fn new(layout: &Layout, device: &Device) -> Self {
        let mut values = vec![0.0; layout.len()];
        for span in layout.spans().iter().filter(|span| span.name.ends_with("weight")) {
            fill(&mut values, span);
        }
        let flat = Tensor::from_data(TensorData::from(values.as_slice()), &device.clone().autodiff());
        let places = layout.spans().iter().map(|span| [span.first, span.first + span.len]).collect();
        Self { flat: Param::from_tensor(flat), places }
    }

    /// The flat tensor without its graph: the same buffer.
    pub(crate) fn parameters(&self) -> Tensor<1> {
        self.flat.val().inner()
    }

    fn part<const D: usize>(&self, index: usize, shape: [usize; D]) -> Tensor<D> {
        let [from, to] = self.places[index];
        self.flat.val().slice([from..to]).reshape(shape)
    }

    /// The mean cross-entropy of one-hot labels.
    pub(crate) fn loss(&self, x: Tensor<4>, labels: Tensor<2>) -> Tensor<1> {
        let (weight, bias) = (self.part(0, [8, 1, 3, 3]), self.part(1, [8]));
        let h = relu(conv2d(x, weight, Some(bias), ConvOptions::new([1, 1], [1, 1], [1, 1], 1)));
        let h = max_pool2d(h, MaxPoolOptions::new([2, 2])).reshape([BATCH, 8 * 16]);
        let logits = h.matmul(self.part(2, [8 * 16, CLASSES])) + self.part::<2>(3, [1, CLASSES]);
        (log_softmax(logits, 1) * labels).sum() / -(BATCH as f32)
    }
}

/// Values within the root of the inputs, the same in each run.
fn fill(values: &mut [f32], span: &Span) {
    let inputs = if span.shape.len() == 4 { 9.0_f32 } else { 128.0 };
    for (i, value) in values[span.first..][..span.len].iter_mut().enumerate() {
        *value = (((span.first + i) * 2_654_435_761 % 4093) as f32 / 2046.5 - 1.0) / inputs.sqrt();
    }
}

/// Images with noise, and their classes, one-hot.
pub(crate) fn batch(device: &Device) -> (Tensor<4>, Tensor<2>) {
    let device = device.clone().autodiff();
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for image in 0..BATCH {
        let class = image % CLASSES;
        for place in 0..SIDE * SIDE {
            let (row, column) = (place / SIDE, place % SIDE);
            let edge = |i: usize| i == 0 || i == SIDE - 1;
            let bright = match class {
                0 => row % 2 == 0,
                1 => column % 2 == 0,
                2 => edge(row) || edge(column),
                _ => row == column || row + column == SIDE - 1,
            };
            let noise = ((image * 64 + place) * 2_654_435_761 % 4093) as f32 / 4093.0;
            pixels.push(f32::from(u8::from(bright)) + 0.5 * noise);
        }
        labels.extend((0..CLASSES).map(|other| f32::from(u8::from(other == class))));
    }
    let x = Tensor::from_data(TensorData::new(pixels, [BATCH, 1, SIDE, SIDE]), &device);
    let labels = Tensor::from_data(TensorData::new(labels, [BATCH, CLASSES]), &device);
    (x, labels)
}
