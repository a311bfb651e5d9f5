//! Archives of arrays in numpy's [NPZ format](https://numpy.org/doc/stable/reference/generated/numpy.savez.html): what
//! `numpy.savez` and `numpy.savez_compressed` write.
//!
//! ```no_run
//! // Reads a file.
//! use gradus::train::data::{Dataset, npz};
//!
//! let mut file = npz::open("mnist.npz")?;
//! let (x, y) = (file.read("x_train")?, file.read("y_train")?); // [samples, height, width] and [samples]
//! let data = Dataset::from_values(x.values, &[1, x.shape[1], x.shape[2]], y.labels()?, 10)?;
//! # Ok::<(), gradus::Error>(())
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use super::npy::{self, Array, Opened};
use super::zip::Archive;
use crate::error::Error;

/// An archive whose list of arrays was read, but not the arrays.
///
/// ```no_run
/// // Reads a file.
/// use gradus::train::data::npz;
///
/// let mut file = npz::open("digits.npz")?;
/// for name in file.names() {
///     println!("{name}");
/// }
/// let images = file.open("images")?;
/// assert_eq!(images.shape()[1..], [8, 8]);
/// let images = images.read()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct Npz {
    archive: Archive,
}

/// Reads the list of arrays of a file.
///
/// # Errors
/// [`Error::File`] if the file cannot be read or is not a zip archive.
pub fn open(path: impl AsRef<Path>) -> Result<Npz, Error> {
    Ok(Npz { archive: Archive::open(path.as_ref())? })
}

/// Reads all arrays of a file, by name.
///
/// # Errors
/// Those of [`open`] and of [`Npz::read`].
pub fn read(path: impl AsRef<Path>) -> Result<BTreeMap<String, Array>, Error> {
    let Npz { archive } = open(path)?;
    // Each name once: of two with one name the last, as in numpy.
    let mut numbers = BTreeMap::new();
    for (number, name) in archive.names().enumerate() {
        if let Some(name) = name.strip_suffix(ENDING) {
            numbers.insert(name.to_owned(), number);
        }
    }
    let array = |number| npy::open_in(archive.reader(number)?)?.read();
    numbers.into_iter().map(|(name, number)| Ok((name, array(number)?))).collect()
}

impl Npz {
    /// The names of the arrays, as numpy has them: without `.npy`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.archive.names().filter_map(|name| name.strip_suffix(ENDING))
    }

    /// Reads the header of an array, so that an array of the wrong shape can be refused at once.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if the archive does not have it; [`Error::File`] if it is encrypted, packed by another
    /// method than deflate, or refused by [`npy::open`].
    pub fn open(&mut self, name: &str) -> Result<Opened, Error> {
        let named = |(number, of): (usize, &str)| (of.strip_suffix(ENDING) == Some(name)).then_some(number);
        // Of two with one name the last, as in numpy.
        let Some(number) = self.archive.names().enumerate().filter_map(named).last() else {
            let kind = format!("array of {}", self.archive.name());
            return Err(Error::unknown(kind, name, self.names()));
        };
        npy::open_in(self.archive.reader(number)?)
    }

    /// Reads an array, as [`npy::read`] does.
    ///
    /// # Errors
    /// Those of [`Npz::open`] and of [`Opened::read`]; [`Error::File`] if its checksum differs.
    pub fn read(&mut self, name: &str) -> Result<Array, Error> {
        self.open(name)?.read()
    }
}

/// What numpy appends to the name of an array.
const ENDING: &str = ".npy";
