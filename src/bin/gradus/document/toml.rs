//! TOML, whose tables are the objects of JSON.

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Lines, Wrong, child, line_at};

pub(super) fn parse(text: &str) -> Result<(Value, Lines), Wrong> {
    let root = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(text.as_bytes(), span.start));
        (line, error.message().trim().replace('\n', ", "))
    })?;
    let mut reader = Reader { text, lines: Lines::from([(String::new(), 1)]) };
    let json = reader.table(root.get_ref(), "")?;
    Ok((json, reader.lines))
}

struct Reader<'t> {
    text: &'t str,
    lines: Lines,
}

impl Reader<'_> {
    fn line<T>(&self, spanned: &Spanned<T>) -> usize {
        line_at(self.text.as_bytes(), spanned.span().start)
    }

    fn table(&mut self, table: &DeTable<'_>, place: &str) -> Result<Value, Wrong> {
        let mut json = Map::new();
        for (key, value) in table {
            let place = child(place, key.get_ref());
            self.lines.insert(place.clone(), self.line(key));
            json.insert(key.get_ref().to_string(), self.value(value, &place)?);
        }
        Ok(json.into())
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, place: &str) -> Result<Value, Wrong> {
        let refuse = |reason: String| Err((self.line(value), format!("{place}: {reason}")));
        Ok(match value.get_ref() {
            DeValue::String(text) => text.to_string().into(),
            DeValue::Integer(whole) => {
                let (digits, radix) = (whole.as_str(), whole.radix());
                match (i64::from_str_radix(digits, radix), u64::from_str_radix(digits, radix)) {
                    (Ok(number), _) => number.into(),
                    (_, Ok(number)) => number.into(),
                    _ => return refuse(format!("must be a whole number of 64 bits, got {whole}")),
                }
            }
            DeValue::Float(float) => match float.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => number.into(),
                _ => {
                    let allowed = "must be a finite number (where infinity is allowed it is \"inf\")";
                    return refuse(format!("{allowed}, got {float}"));
                }
            },
            DeValue::Boolean(flag) => (*flag).into(),
            DeValue::Datetime(time) => {
                return refuse(format!(
                    "must be a number, a text, true, false, a list or a table, got the time {time}"
                ));
            }
            DeValue::Array(list) => {
                let mut json = Vec::new();
                for (index, value) in list.iter().enumerate() {
                    let place = child(place, &format!("[{index}]"));
                    self.lines.insert(place.clone(), self.line(value));
                    json.push(self.value(value, &place)?);
                }
                json.into()
            }
            DeValue::Table(table) => return self.table(table, place),
        })
    }
}
