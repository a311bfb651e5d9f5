use std::path::Path;

use super::{Dataset, Target};
use crate::error::Error;

mod columns;
mod names;
mod scan;

pub use columns::Column;
use columns::{Columns, Place};
use names::Names;
use scan::{Field, Format, Text};

/// Reads tables of numbers as data sets: CSV files with a header, or whatever else is set.
///
/// Columns are chosen by the names in the header or by number, counted from 0; without a choice, the last column is
/// the target and all others are features. Other columns may hold anything. Spaces around a number do not count, and
/// empty lines are left out. Files whose names end in `.gz` are unpacked. A file is read twice, and memory is taken
/// for the chosen numbers only.
///
/// ```
/// use gradus::train::data::Csv;
///
/// let table = "name,height,width,price\na,1.5,2,10\nb,0.5,4,12.5\n";
/// let data = Csv::new().features(["height", "width"]).target("price").parse("houses", table.as_bytes())?;
/// assert_eq!((data.numbers(), data.y()), (vec![1.5, 2.0, 0.5, 4.0], &[10.0, 12.5][..]));
///
/// let iris = "5.1,3.5,0\n6.2,2.9,1\n";
/// let data = Csv::new().header(false).parse_classes("iris", iris.as_bytes())?;
/// assert_eq!((data.shape(), data.y(), data.n_classes()), (&[2][..], &[0, 1][..], 2));
///
/// let hole = Csv::new().parse("houses", b"height,price\n1.5,10\n,12\n").unwrap_err();
/// assert_eq!(hole.to_string(), "houses: row 2 (line 3): column \"height\": is empty");
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Csv {
    header: bool,
    delimiter: u8,
    features: Option<Vec<Column>>,
    targets: Option<Vec<Column>>,
    n_classes: Option<u32>,
}

impl Default for Csv {
    fn default() -> Self {
        Self { header: true, delimiter: b',', features: None, targets: None, n_classes: None }
    }
}

impl Csv {
    /// Files with a header, separated by commas.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the first line holds the names of the columns. Default true.
    #[must_use]
    pub fn header(self, header: bool) -> Self {
        Self { header, ..self }
    }

    /// The character between fields, such as `b'\t'` or `b';'`. Default a comma.
    #[must_use]
    pub fn delimiter(self, delimiter: u8) -> Self {
        Self { delimiter, ..self }
    }

    /// The columns of a sample, in this order. Default: all that are no target.
    #[must_use]
    pub fn features(self, columns: impl IntoIterator<Item = impl Into<Column>>) -> Self {
        Self { features: Some(columns.into_iter().map(Into::into).collect()), ..self }
    }

    /// The column of the target. Default: the last one.
    #[must_use]
    pub fn target(self, column: impl Into<Column>) -> Self {
        self.targets([column])
    }

    /// The columns of a target of several numbers.
    #[must_use]
    pub fn targets(self, columns: impl IntoIterator<Item = impl Into<Column>>) -> Self {
        Self { targets: Some(columns.into_iter().map(Into::into).collect()), ..self }
    }

    /// The number of classes. Default: one more than the largest label.
    #[must_use]
    pub fn n_classes(self, n_classes: u32) -> Self {
        Self { n_classes: Some(n_classes), ..self }
    }

    /// Reads a file for regression: samples of shape `[features]`, with one number as target, or with several if
    /// several columns were chosen.
    ///
    /// # Errors
    /// [`Error::File`] with the row, counted from 1 without the header, the line, and the column if the file cannot be
    /// read, a field is empty, no number, or not finite in f32, or a row has more or fewer fields than the first;
    /// [`Error::UnknownName`] for a column that the header does not have; [`Error::Config`] if columns are chosen
    /// twice, or none are left.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Dataset<f32>, Error> {
        self.numbers(&Text::of_file(path.as_ref())?)
    }

    /// Reads a file for classification: its target is a column of labels, whole numbers from 0.
    ///
    /// # Errors
    /// As of [`read`](Self::read); [`Error::File`] for a label that is no whole number below
    /// [`n_classes`](Self::n_classes); [`Error::Config`] if several columns are targets.
    pub fn read_classes(&self, path: impl AsRef<Path>) -> Result<Dataset, Error> {
        self.labels(&Text::of_file(path.as_ref())?)
    }

    /// As [`read`](Self::read), for a table in memory. Errors call it `name`.
    ///
    /// # Errors
    /// As of [`read`](Self::read).
    pub fn parse(&self, name: &str, table: &[u8]) -> Result<Dataset<f32>, Error> {
        self.numbers(&Text::of_bytes(name, table))
    }

    /// As [`read_classes`](Self::read_classes), for a table in memory. Errors call it `name`.
    ///
    /// # Errors
    /// As of [`read_classes`](Self::read_classes).
    pub fn parse_classes(&self, name: &str, table: &[u8]) -> Result<Dataset, Error> {
        self.labels(&Text::of_bytes(name, table))
    }

    fn numbers(&self, text: &Text<'_>) -> Result<Dataset<f32>, Error> {
        let table = self.table(text)?;
        let (x, y) = self.fill(text, &table, |field| field.number())?;
        let several = [table.columns.targets];
        let shape = if table.columns.targets == 1 { &[][..] } else { &several };
        Dataset::regression(x, &[table.columns.features], y, shape)
    }

    fn labels(&self, text: &Text<'_>) -> Result<Dataset, Error> {
        if let Some(targets) = self.targets.as_ref().filter(|targets| targets.len() != 1) {
            let reason = format!("must be one column of labels, got {}", targets.len());
            return Err(Error::Config { what: "targets of classes".into(), reason });
        }
        let table = self.table(text)?;
        let below = self.n_classes.unwrap_or(u32::MAX);
        let (x, y) = self.fill(text, &table, |field| field.label(below))?;
        let n_classes = self.n_classes.unwrap_or_else(|| y.iter().max().map_or(0, |most| most + 1));
        Dataset::new(x, &[table.columns.features], y, n_classes)
    }

    fn format(&self) -> Format {
        Format { delimiter: self.delimiter, header: self.header }
    }

    /// Reads the header, finds the columns, and counts the rows, which must all have as many fields.
    fn table(&self, text: &Text<'_>) -> Result<Table, Error> {
        if matches!(self.delimiter, b'"' | b'\r' | b'\n') {
            let allowed = "neither a quote nor the end of a line";
            return Err(Error::constant("delimiter", allowed, format!("{:?}", char::from(self.delimiter))));
        }
        let mut names = Names::default();
        let (mut rows, mut width) = (0, 0);
        text.scan(self.format(), None, |field| {
            let in_header = self.header && field.record == 0;
            if in_header {
                names.push(field.name()?);
            }
            if field.record == 0 {
                width = field.column + 1;
            }
            let fields = field.column + 1;
            if fields > width || field.ends && fields < width {
                let (fields, first) = (fields.to_string(), if self.header { "header" } else { "first row" });
                let more = if field.ends { "" } else { " or more" };
                return Err(field.in_row(format!("has {fields}{more} fields, but the {first} has {width}")));
            }
            rows += usize::from(field.ends && !in_header);
            Ok(())
        })?;
        let names = self.header.then_some(names);
        let chosen = (self.features.as_deref(), self.targets.as_deref());
        if width == 0 || rows == 0 {
            return Err(text.refuse("has no rows"));
        }
        let columns = Columns::new(text, chosen, names.as_ref(), width)?;
        Ok(Table { names, columns, rows })
    }

    /// The numbers of the features and of the targets of all rows.
    fn fill<Y: Target>(
        &self,
        text: &Text<'_>,
        Table { names, columns, rows }: &Table,
        target: impl Fn(&Field<'_>) -> Result<Y, Error>,
    ) -> Result<(Vec<f32>, Vec<Y>), Error> {
        let (mut x, mut y) = (zeros(text, *rows, columns.features)?, zeros(text, *rows, columns.targets)?);
        let mut seen = 0;
        text.scan(self.format(), names.as_ref(), |field| {
            let Some(row) = field.record.checked_sub(u64::from(self.header)) else { return Ok(()) };
            // The file may have changed since the rows were counted.
            let row = usize::try_from(row).ok().filter(|row| row < rows).ok_or_else(|| text.changed())?;
            seen = row + 1;
            match columns.places.get(field.column).ok_or_else(|| text.changed())? {
                Place::Unused => (),
                Place::Feature(at) => x[row * columns.features + *at as usize] = field.number()?,
                Place::Target(at) => y[row * columns.targets + *at as usize] = target(field)?,
            }
            Ok(())
        })?;
        if seen == *rows { Ok((x, y)) } else { Err(text.changed()) }
    }
}

/// What is known of a table before its numbers are read.
struct Table {
    names: Option<Names>,
    columns: Columns,
    rows: usize,
}

/// Zeros for `columns` of each row.
fn zeros<T: Default + Clone>(text: &Text<'_>, rows: usize, columns: usize) -> Result<Vec<T>, Error> {
    let mut zeros = Vec::new();
    let size = rows.checked_mul(columns).filter(|&size| zeros.try_reserve_exact(size).is_ok());
    let size =
        size.ok_or_else(|| text.refuse(format!("there is no memory for {rows} rows of {columns} numbers")))?;
    zeros.resize(size, T::default());
    Ok(zeros)
}
