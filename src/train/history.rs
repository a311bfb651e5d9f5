//! The history of a run: metrics by epoch.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A table with a row per epoch and named columns of f64.
///
/// The caller chooses the columns. Usual ones are `train_loss`, `train_accuracy`, `test_loss`, `test_accuracy` and
/// `lr`, the learning rate of the epoch's last step. Accuracies are fractions of 1.
///
/// It serializes to strict JSON, and every number is read back with the same bits. Numbers that are not finite, which
/// JSON lacks, are written as the strings `"NaN"`, `"inf"` and `"-inf"`; all NaNs become the same NaN. A history that
/// holds a NaN does not equal itself.
///
/// ```
/// use gradus::train::History;
///
/// let mut history = History::new(["train_loss", "test_loss"])?;
/// history.push(1, 45, &[0.7, 0.9])?;
/// history.push(2, 90, &[1e-7, f64::NAN])?;
/// assert_eq!(history.to_csv(), "epoch,steps,train_loss,test_loss\n1,45,0.7,0.9\n2,90,1e-7,NaN\n");
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct History {
    columns: Vec<String>,
    rows: Vec<EpochRecord>,
}

/// One row of a [`History`].
///
/// ```
/// use gradus::train::History;
///
/// let mut history = History::new(["loss"])?;
/// history.push(1, 100, &[0.5])?;
/// assert_eq!((history.rows()[0].epoch, &*history.rows()[0].values), (1, &[0.5][..]));
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRecord {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Steps taken since the start of the run, at the end of this epoch.
    pub steps: u64,
    /// One value per column.
    #[serde(with = "any_number")]
    pub values: Vec<f64>,
}

/// The deserialized form before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "History")]
struct Parts {
    columns: Vec<String>,
    rows: Vec<EpochRecord>,
}

impl TryFrom<Parts> for History {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self, Error> {
        let mut history = Self::new(parts.columns)?;
        for row in parts.rows {
            history.push(row.epoch, row.steps, &row.values)?;
        }
        Ok(history)
    }
}

impl History {
    /// A history without rows. `epoch` and `steps` are columns of every history and are not listed.
    ///
    /// # Errors
    /// [`Error::Duplicate`] for a repeated name, or for `epoch` or `steps`; [`Error::Constant`] for a name that is
    /// empty or has a control character.
    pub fn new(columns: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, Error> {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        for (index, name) in columns.iter().enumerate() {
            if ["epoch", "steps"].contains(&&name[..]) || columns[..index].contains(name) {
                return Err(Error::Duplicate { kind: "column", name: name.clone() });
            }
            if name.is_empty() || name.contains(char::is_control) {
                let allowed = "a name without control characters";
                return Err(Error::constant(format!("column {index}"), allowed, format!("{name:?}")));
            }
        }
        Ok(Self { columns, rows: Vec::new() })
    }

    /// Adds a row with one value per column, in their order. Use NaN for a value that was not measured.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of values; [`Error::Constant`] unless `epoch` is above and `steps` at least
    /// that of the row before.
    pub fn push(&mut self, epoch: u64, steps: u64, values: &[f64]) -> Result<(), Error> {
        if values.len() != self.columns.len() {
            let what = format!("history of {}", self.columns.join(", "));
            return Err(Error::Length { what, expected: self.columns.len(), got: values.len() });
        }
        let before = self.rows.last().map_or((0, 0), |row| (row.epoch, row.steps));
        if epoch <= before.0 {
            return Err(Error::constant("epoch", format!("above {}", before.0), epoch));
        }
        if steps < before.1 {
            return Err(Error::constant("steps", format!("at least {}", before.1), steps));
        }
        self.rows.push(EpochRecord { epoch, steps, values: values.to_vec() });
        Ok(())
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows, in order of epochs.
    pub fn rows(&self) -> &[EpochRecord] {
        &self.rows
    }

    /// The values of one column, in order of epochs.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if there is no such column.
    pub fn column(&self, name: &str) -> Result<Vec<f64>, Error> {
        let index = (self.columns.iter().position(|column| column == name))
            .ok_or_else(|| Error::unknown("column", name, self.columns.iter().map(|name| &name[..])))?;
        Ok(self.rows.iter().map(|row| row.values[index]).collect())
    }

    /// The table as CSV (RFC 4180, with LF at line ends): `epoch`, `steps` and the columns.
    ///
    /// Finite numbers are the shortest decimals that parse to the same f64; others are `NaN`, `inf` and `-inf`.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut csv = String::from("epoch,steps");
        for name in &self.columns {
            csv.push(',');
            csv += &field(name);
        }
        csv.push('\n');
        for row in &self.rows {
            write!(csv, "{},{}", row.epoch, row.steps).expect("a string takes all");
            for value in &row.values {
                write!(csv, ",{value:?}").expect("a string takes all");
            }
            csv.push('\n');
        }
        csv
    }
}

/// The name of a column as a CSV field.
pub(super) fn field(name: &str) -> String {
    if name.contains([',', '"']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.into() }
}

/// Finite numbers as JSON numbers, others as strings.
pub(super) mod any_number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged, expecting = "expected a number, \"NaN\", \"inf\" or \"-inf\"")]
    enum Number {
        Finite(f64),
        Other(Word),
    }

    #[derive(Serialize, Deserialize)]
    enum Word {
        NaN,
        #[serde(rename = "inf")]
        Infinity,
        #[serde(rename = "-inf")]
        MinusInfinity,
    }

    pub(crate) fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|&value| match value {
            f64::INFINITY => Number::Other(Word::Infinity),
            f64::NEG_INFINITY => Number::Other(Word::MinusInfinity),
            value if value.is_nan() => Number::Other(Word::NaN),
            value => Number::Finite(value),
        }))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let numbers = Vec::<Number>::deserialize(deserializer)?;
        Ok(numbers
            .into_iter()
            .map(|number| match number {
                Number::Finite(value) => value,
                Number::Other(Word::NaN) => f64::NAN,
                Number::Other(Word::Infinity) => f64::INFINITY,
                Number::Other(Word::MinusInfinity) => f64::NEG_INFINITY,
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;
    use serde_json::json;

    /// Reads RFC 4180: quoted fields, doubled quotes, LF or CRLF.
    fn parse(csv: &str) -> Vec<Vec<String>> {
        let (mut rows, mut row, mut field, mut quoted) = (vec![], vec![], String::new(), false);
        let mut chars = csv.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
                '"' => quoted = !quoted,
                ',' if !quoted => row.push(std::mem::take(&mut field)),
                '\n' if !quoted => {
                    row.push(std::mem::take(&mut field));
                    rows.push(std::mem::take(&mut row));
                }
                c => field.push(c),
            }
        }
        assert!(field.is_empty() && row.is_empty() && !quoted, "the last line does not end");
        rows
    }

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| if value.is_nan() { f64::NAN } else { *value }.to_bits()).collect()
    }

    proptest! {
        #[test]
        fn every_number_survives_csv_and_json(values in prop::collection::vec(any::<u64>(), 3)) {
            let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX, 0.1, 3.0];
            let values: Vec<f64> = values.into_iter().map(f64::from_bits).chain(special).collect();
            let names: Vec<String> = (0..values.len()).map(|index| format!("c{index}")).collect();
            let mut history = History::new(names).unwrap();
            history.push(3, u64::MAX, &values).unwrap();

            let json = serde_json::to_string(&history).unwrap();
            let read: History = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(bits(&read.rows()[0].values), bits(&values));
            prop_assert_eq!(serde_json::to_string(&read).unwrap(), json);

            let rows = parse(&history.to_csv());
            let read: Vec<f64> = rows[1][2..].iter().map(|field| field.parse().unwrap()).collect();
            prop_assert_eq!(bits(&read), bits(&values));
            prop_assert_eq!(&rows[1][..2], ["3", "18446744073709551615"]);
        }
    }

    #[test]
    fn names_that_need_quotes_get_them() {
        let names = ["top-5, %", "the \"best\"", "größte", "plain_name"];
        let history = History::new(names).unwrap();
        assert_eq!(history.to_csv(), "epoch,steps,\"top-5, %\",\"the \"\"best\"\"\",größte,plain_name\n");
        assert_eq!(parse(&history.to_csv())[0][2..], names);
    }

    #[test]
    fn json_has_words_for_what_is_not_finite() {
        let mut history = History::new(["loss"]).unwrap();
        history.push(1, 10, &[f64::INFINITY]).unwrap();
        let json = json!({"columns": ["loss"], "rows": [{"epoch": 1, "steps": 10, "values": ["inf"]}]});
        assert_eq!(serde_json::to_value(&history).unwrap(), json);
        assert_eq!(serde_json::from_value::<History>(json).unwrap(), history);
    }

    #[test]
    fn what_is_read_is_checked() {
        let row = |epoch, steps, values| json!({"epoch": epoch, "steps": steps, "values": values});
        let rows = [
            (json!({"columns": ["a"], "rows": [], "more": 1}), "unknown field `more`"),
            (json!({"columns": ["a"]}), "missing field `rows`"),
            (json!({"columns": ["a", "a"], "rows": []}), "duplicate column \"a\""),
            (json!({"columns": ["steps"], "rows": []}), "duplicate column \"steps\""),
            (json!({"columns": ["a"], "rows": [row(1, 5, json!([]))]}), "expected 1 elements, got 0"),
            (json!({"columns": ["a"], "rows": [row(1, 5, json!(["nan"]))]}), "expected a number, \"NaN\""),
            (json!({"columns": ["a"], "rows": [row(1, 5, json!([null]))]}), "expected a number, \"NaN\""),
            (json!({"columns": ["a"], "rows": [row(0, 5, json!([1]))]}), "epoch must be above 0, got 0"),
            (
                json!({"columns": ["a"], "rows": [row(1, 5, json!([1])), row(2, 4, json!([1]))]}),
                "steps must be at least 5, got 4",
            ),
            (
                json!({"columns": ["a"], "rows": [{"epoch": 1, "steps": 1, "values": [1], "t": 0}]}),
                "field `t`",
            ),
        ];
        for (json, message) in rows {
            let error = serde_json::from_value::<History>(json).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        for (names, message) in [
            (vec!["a", "b", "a"], "duplicate column \"a\""),
            (vec![""], "column 0 must be a name without control characters, got \"\""),
            (vec!["a", "b\n"], "column 1 must be a name without control characters, got \"b\\n\""),
        ] {
            assert_eq!(History::new(names).unwrap_err().to_string(), message);
        }
        let mut history = History::new(["loss", "lr"]).unwrap();
        history.push(4, 40, &[1.0, 2.0]).unwrap();
        let before = history.clone();
        for (epoch, steps, values, message) in [
            (5, 50, &[1.0][..], "history of loss, lr: expected 2 elements, got 1"),
            (4, 50, &[1.0, 2.0], "epoch must be above 4, got 4"),
            (5, 39, &[1.0, 2.0], "steps must be at least 40, got 39"),
        ] {
            assert_eq!(history.push(epoch, steps, values).unwrap_err().to_string(), message);
        }
        assert_eq!(history, before);
        assert_eq!(history.column("lr"), Ok(vec![2.0]));
        let error = history.column("los").unwrap_err().to_string();
        assert_eq!(error, "unknown column \"los\", did you mean \"loss\"?; known: loss, lr");
    }
}
