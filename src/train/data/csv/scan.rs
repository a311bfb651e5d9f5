use std::borrow::Cow;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::str;

use csv_core::{ReadFieldResult, ReaderBuilder};

use super::names::Names;
use crate::error::Error;
use crate::train::data::file::{self, refuse};

/// Number of columns that a table may have.
const MAX_COLUMNS: usize = 65_536;
/// Size in bytes of a number or a name in a header. Other fields may be longer.
const MAX_FIELD: usize = 4096;
/// Size in bytes of the reads of a file.
const AT_A_TIME: usize = 1 << 16;
/// Number of characters of a refused field that a message shows.
const SHOWN: usize = 40;

/// How a table is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    pub(super) delimiter: u8,
    pub(super) header: bool,
}

/// The text of a table, which can be read again.
pub(super) struct Text<'a> {
    path: PathBuf,
    /// The text, unless it is read from the file each time.
    bytes: Option<Cow<'a, [u8]>>,
}

impl<'a> Text<'a> {
    pub(super) fn of_bytes(name: &str, bytes: &'a [u8]) -> Self {
        Self { path: name.into(), bytes: Some(bytes.into()) }
    }

    /// A file, or whatever can be read once.
    pub(super) fn of_file(path: &Path) -> Result<Self, Error> {
        let metadata = path.metadata().map_err(|e| refuse(path, e.to_string()))?;
        let mut bytes = None;
        if !metadata.is_file() {
            let mut all = Vec::new();
            let read = file::unpacked(path)?.read_to_end(&mut all);
            read.map_err(|e| refuse(path, e.to_string()))?;
            bytes = Some(all.into());
        }
        Ok(Self { path: path.to_owned(), bytes })
    }

    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn refuse(&self, reason: impl Into<String>) -> Error {
        refuse(&self.path, reason)
    }

    pub(super) fn changed(&self) -> Error {
        self.refuse("has changed while it was read")
    }

    /// Calls `on` with each field, in order. Empty lines have no fields.
    ///
    /// Errors of fields call a column by its name in `names`, if they are known.
    pub(super) fn scan(
        &self,
        Format { delimiter, header }: Format,
        names: Option<&Names>,
        mut on: impl FnMut(&Field<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut source: Box<dyn Read + '_> = match &self.bytes {
            Some(bytes) => Box::new(&bytes[..]),
            None => file::unpacked(&self.path)?,
        };
        let mut reader = ReaderBuilder::new().delimiter(delimiter).build();
        let (mut input, mut output) = (vec![0; AT_A_TIME], vec![0; MAX_FIELD]);
        let (mut filled, mut is_long) = (0, false);
        let (mut record, mut column) = (0, 0);
        loop {
            let read = match source.read(&mut input) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                read => read.map_err(|e| self.refuse(e.to_string()))?,
            };
            let mut rest = &input[..read];
            // The reader takes an empty input for the end.
            while !rest.is_empty() || read == 0 {
                let (result, taken, written) = reader.read_field(rest, &mut output[filled..]);
                let ended_line = taken > 0 && rest[taken - 1] == b'\n';
                rest = &rest[taken..];
                filled += written;
                match result {
                    ReadFieldResult::InputEmpty if read > 0 => (),
                    ReadFieldResult::InputEmpty | ReadFieldResult::End => return Ok(()),
                    ReadFieldResult::OutputFull => (filled, is_long) = (0, true),
                    ReadFieldResult::Field { record_end } => {
                        let bytes = (!is_long).then_some(&output[..filled]);
                        let line = reader.line() - u64::from(record_end && ended_line);
                        let ends = record_end;
                        let field = Field { text: self, names, header, record, line, column, bytes, ends };
                        if column == MAX_COLUMNS {
                            return Err(field.in_row(format!("has more than {MAX_COLUMNS} fields")));
                        }
                        on(&field)?;
                        (filled, is_long) = (0, false);
                        column += 1;
                        if record_end {
                            (record, column) = (record + 1, 0);
                        }
                    }
                }
            }
        }
    }
}

/// One field of a table.
pub(super) struct Field<'a> {
    text: &'a Text<'a>,
    names: Option<&'a Names>,
    header: bool,
    /// Number of its record, counted from 0. The header is a record.
    pub(super) record: u64,
    /// Line on which it ends, counted from 1.
    line: u64,
    /// Number of its column, counted from 0.
    pub(super) column: usize,
    /// `None` if it is too long.
    bytes: Option<&'a [u8]>,
    /// Whether it is the last one of its record.
    pub(super) ends: bool,
}

impl Field<'_> {
    /// An error about its row.
    pub(super) fn in_row(&self, reason: impl AsRef<str>) -> Error {
        let (line, reason) = (self.line, reason.as_ref());
        let row = match (self.header, self.record) {
            (true, 0) => return self.text.refuse(format!("header (line {line}): {reason}")),
            (true, row) => row,
            (false, record) => record + 1,
        };
        self.text.refuse(format!("row {row} (line {line}): {reason}"))
    }

    fn refuse(&self, reason: impl AsRef<str>) -> Error {
        let reason = reason.as_ref();
        self.in_row(match self.names.and_then(|names| names.get(self.column)) {
            Some(name) => format!("column {}: {reason}", shown(name)),
            None => format!("column {}: {reason}", self.column),
        })
    }

    fn str(&self) -> Result<&str, Error> {
        let bytes = self.bytes.ok_or_else(|| self.refuse(format!("is longer than {MAX_FIELD} bytes")))?;
        let text = str::from_utf8(bytes).map_err(|_| self.refuse("is not UTF-8"))?;
        Ok(text.trim())
    }

    /// A name in a header.
    pub(super) fn name(&self) -> Result<&str, Error> {
        self.str()
    }

    /// The field, if it is not empty.
    fn filled(&self) -> Result<&str, Error> {
        match self.str()? {
            "" => Err(self.refuse("is empty")),
            text => Ok(text),
        }
    }

    pub(super) fn number(&self) -> Result<f32, Error> {
        let text = self.filled()?;
        match text.parse::<f32>() {
            Ok(number) if number.is_finite() => Ok(number),
            Ok(_) if text.parse::<f64>().is_ok_and(f64::is_finite) => {
                Err(self.refuse(format!("is too large for f32: {}", shown(text))))
            }
            _ => Err(self.refuse(format!("must be a finite number, got {}", shown(text)))),
        }
    }

    /// A class label below `below`.
    pub(super) fn label(&self, below: u32) -> Result<u32, Error> {
        let text = self.filled()?;
        let whole = |text: &str| {
            let number = text.parse::<f64>().ok()?;
            // Exact: the bound is far below 2^53.
            (number.fract() == 0.0 && (0.0..f64::from(below)).contains(&number)).then_some(number)
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number below")]
        let label = whole(text).map(|number| number as u32);
        label.ok_or_else(|| {
            self.refuse(format!("must be a whole number from 0 and below {below}, got {}", shown(text)))
        })
    }
}

/// A refused field in quotes, cut if it is long.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}
