use crate::Error;
use crate::params::Tensor;

/// The outputs of a request by name, dense and row-major as in torch. The first dimension is the samples.
///
/// ```
/// # fn predict(predictor: &mut gradus::predict::Predictor, x: &[f32]) -> Result<(), gradus::Error> {
/// # let x = x.to_vec();
/// let outputs = predictor.predict(&[("x", &x)])?;
/// println!("{:?}", outputs.get("logits")?.shape);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    pub(super) tensors: Vec<(String, Tensor)>,
}

impl Outputs {
    /// The output `name`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the most similar name.
    pub fn get(&self, name: &str) -> Result<&Tensor, Error> {
        self.place(name).map(|place| &self.tensors[place].1)
    }

    /// Removes and returns the output `name`.
    ///
    /// # Errors
    /// As [`Outputs::get`].
    pub fn take(&mut self, name: &str) -> Result<Tensor, Error> {
        self.place(name).map(|place| self.tensors.remove(place).1)
    }

    /// The outputs in the order of the list given to the predictor.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (&name[..], tensor))
    }

    fn place(&self, name: &str) -> Result<usize, Error> {
        let names = || self.tensors.iter().map(|(name, _)| &name[..]);
        names().position(|known| known == name).ok_or_else(|| Error::unknown("output", name, names()))
    }
}
