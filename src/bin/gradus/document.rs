//! A TOML or JSON file as a JSON value that knows the line of each part.

mod json;
mod toml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gradus::Error;
use serde_json::Value;

/// Lines from 1 by place, such as `callbacks[1].patience`; the whole document has the empty place.
type Lines = BTreeMap<String, usize>;

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Document {
    path: PathBuf,
    json: Value,
    lines: Lines,
}

/// What is wrong, and in which line.
type Wrong = (usize, String);

impl Document {
    /// Reads a file whose name ends in `.toml` or `.json`.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let refuse = |reason: String| Error::File { path: path.display().to_string(), reason };
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let parse = match ending {
            "toml" => toml::parse,
            "json" => json::parse,
            _ => return Err(refuse("a run file's name must end in .toml or .json".into())),
        };
        let bytes = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            refuse(format!("line {}: it is not UTF-8", line_at(before, before.len())))
        })?;
        let (json, lines) =
            parse(&text).map_err(|(line, reason)| refuse(format!("line {line}: {reason}")))?;
        Ok(Self { path: path.into(), json, lines })
    }

    /// All of it.
    pub(crate) fn json(&self) -> &Value {
        &self.json
    }

    /// The name of the file.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The folder that files are named relative to.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// The error with the file, the line and the key that it is about: within `section`, as far as its text tells.
    pub(crate) fn refuse(&self, section: &str, error: &Error) -> Error {
        let mut inner = error;
        while let Error::Callback { error, .. } = inner {
            inner = error;
        }
        let place = self.place(section, inner);
        self.wrong(&place, &inner.to_string())
    }

    /// Whether the error names a key of `section`.
    pub(crate) fn names(&self, section: &str, error: &Error) -> bool {
        self.place(section, error) != section
    }

    /// An error about one place.
    pub(crate) fn wrong(&self, place: &str, reason: &str) -> Error {
        let line = self.line(place);
        let section = place.split(['.', '[']).next().unwrap_or_default();
        let reason = reason.strip_prefix(&format!("{section}: ")).unwrap_or(reason);
        let of = if place.is_empty() { String::new() } else { format!("{place}: ") };
        Error::File { path: self.path.display().to_string(), reason: format!("line {line}: {of}{reason}") }
    }

    /// The line of a place, or of the nearest table around it.
    pub(crate) fn line(&self, place: &str) -> usize {
        let mut place = place;
        loop {
            match (self.lines.get(place), place.rfind(['.', '['])) {
                (Some(line), _) => return *line,
                (None, Some(end)) => place = &place[..end],
                (None, None) => return self.lines.get("").copied().unwrap_or(1),
            }
        }
    }

    /// What an error of a section is about: the key that it names, such as `betas[0]` or the one that is missing.
    fn place(&self, section: &str, error: &Error) -> String {
        let (text, mut place) = (error.to_string(), section.to_owned());
        let end = text.find("; known: ").unwrap_or(text.len());
        let missing = text.split_once("missing field `").and_then(|(_, rest)| rest.split_once('`'));
        for word in text[..end].split([' ', ',', ':', ';', '`', '(', ')', '=']) {
            let quoted = word.strip_prefix('"').and_then(|rest| rest.split('"').next());
            let below = child(&place, quoted.unwrap_or(word));
            if self.lines.contains_key(&below) {
                place = below;
            } else if let Some(found) = quoted.and_then(|text| self.saying(&place, text)) {
                place = found;
            }
        }
        match missing {
            Some((field, _)) => child(&place, field),
            None => place,
        }
    }

    /// The first place below another whose key or whose value is this text.
    fn saying(&self, place: &str, text: &str) -> Option<String> {
        let within =
            |below: &&String| below.starts_with(place) && below[place.len()..].starts_with(['.', '[']);
        let says = |below: &&String| {
            below.ends_with(&format!(".{text}"))
                || at(&self.json, below).and_then(Value::as_str) == Some(text)
        };
        self.lines.keys().filter(within).find(says).cloned()
    }
}

/// The value at a place.
pub(crate) fn at<'j>(json: &'j Value, place: &str) -> Option<&'j Value> {
    place.split(['.', '[']).filter(|step| !step.is_empty()).try_fold(json, |json, step| {
        match step.strip_suffix(']') {
            Some(index) => json.get(index.parse::<usize>().ok()?),
            None => json.get(step),
        }
    })
}

/// The place of a key, or of an index with its brackets, in a table or a list.
pub(crate) fn child(place: &str, key: &str) -> String {
    if place.is_empty() || key.starts_with('[') { format!("{place}{key}") } else { format!("{place}.{key}") }
}

/// The line, from 1, of a byte.
fn line_at(text: &[u8], byte: usize) -> usize {
    1 + text.iter().take(byte).filter(|byte| **byte == b'\n').count()
}
