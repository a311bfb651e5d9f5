//! JSON with the lines of its parts. A key that comes twice is refused: parsers silently keep one of the two.

use serde_json::Value;

use super::{Lines, Wrong, child, line_at};

pub(super) fn parse(text: &str) -> Result<(Value, Lines), Wrong> {
    let json = serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        let reason = said.rsplit_once(" at line ").map_or(&said[..], |(reason, _)| reason).to_owned();
        (error.line().max(1), reason)
    })?;
    let mut scan = Scan { text: text.as_bytes(), at: 0, lines: Lines::new() };
    scan.value("")?;
    Ok((json, scan.lines))
}

/// A walk over text that is JSON, no deeper than serde_json reads.
struct Scan<'t> {
    text: &'t [u8],
    at: usize,
    lines: Lines,
}

impl Scan<'_> {
    fn peek(&mut self) -> u8 {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied().unwrap_or(b'}')
    }

    fn value(&mut self, place: &str) -> Result<(), Wrong> {
        let first = self.peek();
        let line = line_at(self.text, self.at);
        // The line of a key has come before.
        self.lines.entry(place.into()).or_insert(line);
        match first {
            b'{' => self.object(place),
            b'[' => self.list(place),
            b'"' => {
                self.string();
                Ok(())
            }
            _ => {
                let ends = |byte: &u8| b",]}".contains(byte) || byte.is_ascii_whitespace();
                self.at += self.text[self.at..].iter().position(ends).unwrap_or(self.text.len() - self.at);
                Ok(())
            }
        }
    }

    fn object(&mut self, place: &str) -> Result<(), Wrong> {
        self.at += 1;
        while self.peek() != b'}' {
            let line = line_at(self.text, self.at);
            let key = self.string();
            let place = child(place, &key);
            if self.lines.insert(place.clone(), line).is_some() {
                return Err((line, format!("{place}: it comes twice")));
            }
            self.peek();
            self.at += 1;
            self.value(&place)?;
            self.next();
        }
        self.at += 1;
        Ok(())
    }

    fn list(&mut self, place: &str) -> Result<(), Wrong> {
        self.at += 1;
        let mut index = 0;
        while self.peek() != b']' {
            self.value(&child(place, &format!("[{index}]")))?;
            index += 1;
            self.next();
        }
        self.at += 1;
        Ok(())
    }

    /// Over a comma.
    fn next(&mut self) {
        if self.peek() == b',' {
            self.at += 1;
        }
    }

    /// Over a string, and what it says.
    fn string(&mut self) -> String {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.text.get(self.at) {
            self.at += if *byte == b'\\' { 2 } else { 1 };
            if *byte == b'"' {
                break;
            }
        }
        let end = self.at.min(self.text.len());
        serde_json::from_slice(&self.text[start..end]).unwrap_or_default()
    }
}
