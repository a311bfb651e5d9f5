use crate::Error;
use crate::params::Tensor;

/// What a request computes: each output under its name, dense and in torch's order, the first dimension the samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    pub(super) tensors: Vec<(String, Tensor)>,
}

impl Outputs {
    /// An output.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest name.
    pub fn get(&self, name: &str) -> Result<&Tensor, Error> {
        self.place(name).map(|place| &self.tensors[place].1)
    }

    /// Takes an output out; then it is no longer there.
    ///
    /// # Errors
    /// As [`Outputs::get`].
    pub fn take(&mut self, name: &str) -> Result<Tensor, Error> {
        self.place(name).map(|place| self.tensors.remove(place).1)
    }

    /// The outputs in the order in which they were asked for.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (&name[..], tensor))
    }

    fn place(&self, name: &str) -> Result<usize, Error> {
        let names = || self.tensors.iter().map(|(name, _)| &name[..]);
        names().position(|known| known == name).ok_or_else(|| Error::unknown("output", name, names()))
    }
}
