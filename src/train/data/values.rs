/// Stored values: f32 or bytes.
///
/// ```
/// use gradus::train::data::Values;
///
/// let pixels = Values::U8(vec![0, 128, 255]);
/// assert_eq!(pixels.len(), 3);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Single precision.
    F32(Vec<f32>),
    /// Bytes, such as pixels.
    U8(Vec<u8>),
}

impl Values {
    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::U8(values) => values.len(),
        }
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn at(&self, index: usize) -> f64 {
        match self {
            Self::F32(values) => values[index].into(),
            Self::U8(values) => values[index].into(),
        }
    }

    /// The runs of `size` values with these indices.
    pub(super) fn runs(&self, size: usize, numbers: &[usize]) -> Self {
        fn copy<T: Copy>(values: &[T], size: usize, numbers: &[usize]) -> Vec<T> {
            numbers.iter().flat_map(|number| &values[number * size..][..size]).copied().collect()
        }
        match self {
            Self::F32(values) => Self::F32(copy(values, size, numbers)),
            Self::U8(values) => Self::U8(copy(values, size, numbers)),
        }
    }
}

impl From<Vec<f32>> for Values {
    fn from(values: Vec<f32>) -> Self {
        Self::F32(values)
    }
}

impl From<Vec<u8>> for Values {
    fn from(values: Vec<u8>) -> Self {
        Self::U8(values)
    }
}
