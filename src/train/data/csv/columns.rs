use super::names::Names;
use super::scan::Text;
use crate::error::Error;

/// A column of a table: its name in the header, or its number, counted from 0.
///
/// ```
/// use gradus::train::data::{Column, Csv};
///
/// assert_eq!(Column::from("height"), Column::Name("height".into()));
/// let by_number = Csv::new().features(0..4).target(4);
/// # let _ = by_number;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// By name.
    Name(String),
    /// By number.
    Number(usize),
}

impl From<&str> for Column {
    fn from(name: &str) -> Self {
        Self::Name(name.into())
    }
}

impl From<String> for Column {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<usize> for Column {
    fn from(number: usize) -> Self {
        Self::Number(number)
    }
}

/// Where a column's numbers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Unused,
    /// The feature with this number.
    Feature(u32),
    /// The target with this number.
    Target(u32),
}

/// What becomes of each column of a file.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) places: Vec<Place>,
    pub(super) features: usize,
    pub(super) targets: usize,
}

impl Columns {
    /// Finds the chosen features and targets among `width` columns.
    pub(super) fn new(
        text: &Text<'_>,
        (features, targets): (Option<&[Column]>, Option<&[Column]>),
        names: Option<&Names>,
        width: usize,
    ) -> Result<Self, Error> {
        let mut columns = Self { places: vec![Place::Unused; width], features: 0, targets: 0 };
        let last = [Column::Number(width.saturating_sub(1))];
        for column in targets.unwrap_or(&last) {
            let place = Place::Target(number(columns.targets));
            columns.choose(text, column, names, place)?;
            columns.targets += 1;
        }
        match features {
            Some(features) => {
                for column in features {
                    let place = Place::Feature(number(columns.features));
                    columns.choose(text, column, names, place)?;
                    columns.features += 1;
                }
            }
            None => {
                for place in columns.places.iter_mut().filter(|place| **place == Place::Unused) {
                    *place = Place::Feature(number(columns.features));
                    columns.features += 1;
                }
            }
        }
        for (what, chosen) in [("features", columns.features), ("targets", columns.targets)] {
            if chosen == 0 {
                let reason = format!("no columns are left for the {what}, of {width}");
                return Err(Error::Config { what: format!("columns of {}", text.name()), reason });
            }
        }
        Ok(columns)
    }

    fn choose(
        &mut self,
        text: &Text<'_>,
        column: &Column,
        names: Option<&Names>,
        place: Place,
    ) -> Result<(), Error> {
        let width = self.places.len();
        let at = match (column, names) {
            (Column::Number(at), _) if *at < width => *at,
            (Column::Number(at), _) => {
                let allowed = format!("below the {width} columns");
                return Err(Error::constant(format!("column of {}", text.name()), allowed, at));
            }
            (Column::Name(name), None) => {
                return Err(
                    text.refuse(format!("column {name:?}: without a header, columns have numbers only"))
                );
            }
            (Column::Name(name), Some(names)) => {
                let mut found = names.iter().enumerate().filter(|(_, known)| known == name);
                match (found.next(), found.next()) {
                    (Some((at, _)), None) => at,
                    (Some((first, _)), Some((second, _))) => {
                        let columns = format!("columns {first} and {second} have the name {name:?}");
                        return Err(text.refuse(format!("header: {columns}: choose them by number")));
                    }
                    _ => {
                        let kind = format!("column of {}", text.name());
                        return Err(Error::unknown(kind, name, names.iter()));
                    }
                }
            }
        };
        if self.places[at] != Place::Unused {
            let reason = format!("column {at} is chosen twice");
            return Err(Error::Config { what: format!("columns of {}", text.name()), reason });
        }
        self.places[at] = place;
        Ok(())
    }
}

/// A number of a column, of which there are at most 65,536.
fn number(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}
