//! Generates the f16 variant of a kernel: the same WGSL with a conversion at each load and store of the f16 buffers.
//! It still computes in f32.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::wgsl::{Token, tokens};

/// Converts to f16 as IEEE 754 does: numbers that are too large become infinite. WGSL leaves the conversion of
/// out-of-range numbers undefined, so they are replaced by infinity first, from 65,520 on: half a unit in the last
/// place above the largest f16, where rounding to nearest goes up.
const TO_HALF: [(&str, &str); 3] = [
    (
        "gradus_half1",
        "fn gradus_half1(x: f32) -> f16 {
    return f16(select(x, x * 3.4e38f, abs(x) >= 65520.0f));
}
",
    ),
    (
        "gradus_half2",
        "fn gradus_half2(x: vec2f) -> vec2<f16> {
    return vec2<f16>(select(x, x * 3.4e38f, abs(x) >= vec2f(65520.0f)));
}
",
    ),
    (
        "gradus_half4",
        "fn gradus_half4(x: vec4f) -> vec4<f16> {
    return vec4<f16>(select(x, x * 3.4e38f, abs(x) >= vec4f(65520.0f)));
}
",
    ),
];

/// A storage buffer declared by a kernel.
#[derive(Debug)]
struct Buffer<'a> {
    name: &'a str,
    /// Index of the token that declares its name.
    declared: usize,
    /// Byte range of its element type in the text.
    element: Range<usize>,
    /// Number of components of an element; `None` if it is not an f32 vector.
    width: Option<usize>,
}

/// How the text uses a buffer at one position.
enum Use {
    /// Loads an element; `end` is the byte after the expression.
    Load { end: usize },
    /// Stores an element or a component of it.
    Store { target: Range<usize>, width: usize, operator: Range<usize>, end: usize },
    /// Any other use, for which the element type matters.
    Other,
}

/// The WGSL of a kernel and its storage buffers.
#[derive(Debug)]
pub(super) struct Text<'a> {
    wgsl: &'a str,
    tokens: Vec<Token<'a>>,
    /// By binding number.
    buffers: BTreeMap<usize, Buffer<'a>>,
    /// Token ranges in which a name refers to an argument or a local variable.
    local: Vec<(&'a str, Range<usize>)>,
}

impl<'a> Text<'a> {
    pub(super) fn of(wgsl: &'a str) -> Self {
        let tokens = tokens(wgsl).unwrap_or_default();
        let mut text = Self { wgsl, tokens, buffers: BTreeMap::new(), local: Vec::new() };
        text.find_local();
        text.buffers = (0..text.tokens.len()).filter_map(|at| text.declaration(at)).collect();
        text
    }

    fn word(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    /// The buffer whose `@binding` attribute is at this token.
    fn declaration(&self, at: usize) -> Option<(usize, Buffer<'a>)> {
        let opens = ["@", "binding", "("].iter().enumerate().all(|(n, word)| self.word(at + n) == *word);
        let is_storage =
            ["var", "<", "storage"].iter().enumerate().all(|(n, word)| self.word(at + 5 + n) == *word);
        if !opens || !is_storage {
            return None;
        }
        let binding = self.word(at + 3).parse().ok()?;
        let declared = (at + 8..).take_while(|&n| n < self.tokens.len()).find(|&n| self.word(n) == ">")? + 1;
        if [":", "array", "<"].iter().enumerate().any(|(n, word)| self.word(declared + 1 + n) != *word) {
            return None;
        }
        let first = declared + 4;
        let last = (first..self.tokens.len()).find(|&n| self.word(n) == ";")?.checked_sub(2)?;
        let element = self.tokens[first].at..self.end(last);
        let width = self.width(&self.words(first..last + 1));
        Some((binding, Buffer { name: self.word(declared), declared, element, width }))
    }

    fn words(&self, range: Range<usize>) -> String {
        range.map(|at| self.word(at)).collect()
    }

    /// Number of components of a type or alias.
    fn width(&self, of: &str) -> Option<usize> {
        match of {
            "f32" => Some(1),
            "vec2f" | "vec2<f32>" => Some(2),
            "vec4f" | "vec4<f32>" => Some(4),
            alias => {
                let is_it = |&at: &usize| self.word(at) == "alias" && self.word(at + 1) == alias;
                let at = (0..self.tokens.len()).find(is_it)? + 3;
                let end = (at..self.tokens.len()).find(|&at| self.word(at) == ";")?;
                self.width(&self.words(at..end))
            }
        }
    }

    /// The byte after a token.
    fn end(&self, at: usize) -> usize {
        self.tokens[at].at + self.tokens[at].text.len()
    }

    /// The token that closes the bracket at token `open`.
    fn closing(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        (open..self.tokens.len()).find(|&at| {
            match self.word(at) {
                "[" | "(" | "{" => depth += 1,
                "]" | ")" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        })
    }

    /// Finds the scopes of local names: arguments until the end of their function, variables from after their
    /// declaration until the end of their block.
    fn find_local(&mut self) {
        let mut local = Vec::new();
        let mut blocks = Vec::new();
        for at in 0..self.tokens.len() {
            match self.word(at) {
                "{" => blocks.push(self.closing(at).unwrap_or(self.tokens.len())),
                "}" => drop(blocks.pop()),
                "fn" if blocks.is_empty() => {
                    let Some(close) = self.closing(at + 2) else { continue };
                    let body = (close..self.tokens.len()).find(|&at| self.word(at) == "{");
                    let Some(end) = body.and_then(|body| self.closing(body)) else { continue };
                    let arguments = (at + 3..close).filter(|&n| self.word(n + 1) == ":");
                    local.extend(arguments.map(|n| (self.word(n), n..end)));
                }
                "let" | "var" | "const" => {
                    let Some(&end) = blocks.last() else { continue };
                    let typed = self.word(at + 1) == "<";
                    let name = if typed { self.closing_type(at + 1) } else { Some(at + 1) };
                    let Some(name) = name else { continue };
                    let behind = (name..end).find(|&at| self.word(at) == ";").unwrap_or(end);
                    local.extend([(self.word(name), name..name + 1), (self.word(name), behind..end)]);
                }
                _ => {}
            }
        }
        self.local = local;
    }

    /// The token after `<..>`.
    fn closing_type(&self, open: usize) -> Option<usize> {
        (open..self.tokens.len()).find(|&at| self.word(at) == ">").map(|at| at + 1)
    }

    /// The tokens that refer to a buffer.
    fn places(&self, buffer: &'a Buffer<'a>) -> impl Iterator<Item = usize> + '_ {
        let is_local =
            |at: usize| self.local.iter().any(|(name, range)| *name == buffer.name && range.contains(&at));
        let named = move |at: &usize| {
            // Struct members can have the same name.
            let is_member = *at > 0 && self.word(*at - 1) == "." || self.word(*at + 1) == ":";
            self.word(*at) == buffer.name && *at != buffer.declared && !is_member && !is_local(*at)
        };
        (0..self.tokens.len()).filter(named)
    }

    /// How the text uses the buffer with elements of this width at token `place`.
    fn use_at(&self, place: usize, width: usize) -> Option<Use> {
        let before = self.word(place.checked_sub(1)?);
        if before == "&" || self.word(place + 1) != "[" {
            return Some(Use::Other);
        }
        let element = self.closing(place + 1)?;
        let mut next = element + 1;
        let mut stored = width;
        loop {
            next = match self.word(next) {
                "." => next + 2,
                "[" => self.closing(next)? + 1,
                _ => break,
            };
            stored = 1;
        }
        let operator = self.word(next);
        if !["=", "+=", "-=", "*=", "/="].contains(&operator) {
            return Some(Use::Load { end: self.end(element) });
        }
        if ![";", "{", "}"].contains(&before) {
            return Some(Use::Other);
        }
        let end = (next..self.tokens.len()).find(|&at| self.word(at) == ";")?;
        let target = self.tokens[place].at..self.end(next - 1);
        let operator = self.tokens[next].at..self.end(next);
        Some(Use::Store { target, width: stored, operator, end: self.tokens[end].at })
    }

    /// Whether the elements of a binding can be f16: they are f32 vectors and are only loaded and stored.
    pub(super) fn can_be_half(&self, binding: usize) -> bool {
        let Some((buffer, width)) = self.buffers.get(&binding).and_then(|b| Some((b, b.width?))) else {
            return false;
        };
        self.places(buffer)
            .all(|place| matches!(self.use_at(place, width), Some(Use::Load { .. } | Use::Store { .. })))
    }

    /// The names of f32 buffers whose elements cannot be f16.
    #[cfg(test)]
    pub(super) fn single(&self) -> impl Iterator<Item = &'a str> + '_ {
        let single = |binding: &usize| !self.can_be_half(*binding);
        let numbers = self.buffers.iter().filter(|(_, buffer)| buffer.width.is_some());
        numbers.filter(move |(binding, _)| single(binding)).map(|(_, buffer)| buffer.name)
    }

    /// Whether the text loads elements of a binding, including by `+=`.
    pub(super) fn loads(&self, binding: usize) -> bool {
        let Some((buffer, width)) = self.buffers.get(&binding).and_then(|b| Some((b, b.width?))) else {
            return true;
        };
        self.places(buffer).any(|place| match self.use_at(place, width) {
            Some(Use::Store { operator, .. }) => &self.wgsl[operator] != "=",
            _ => true,
        })
    }

    /// The WGSL with f16 elements for these bindings, which must support it.
    pub(super) fn with_half(&self, bindings: &[usize]) -> String {
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        let mut called = [false; TO_HALF.len()];
        for buffer in bindings.iter().map(|binding| &self.buffers[binding]) {
            let width = buffer.width.expect("it is a vector of f32");
            let single = ["f32", "vec2f", "vec4f"][width / 2];
            edits.push((buffer.element.clone(), ["f16", "vec2<f16>", "vec4<f16>"][width / 2].into()));
            for place in self.places(buffer) {
                match self.use_at(place, width) {
                    Some(Use::Load { end }) => {
                        let at = self.tokens[place].at;
                        edits.push((at..at, format!("{single}(")));
                        edits.push((end..end, ")".into()));
                    }
                    Some(Use::Store { target, width, operator, end }) => {
                        called[width / 2] = true;
                        let (to_half, _) = TO_HALF[width / 2];
                        let single = ["f32", "vec2f", "vec4f"][width / 2];
                        let (sum, closed) = match &self.wgsl[operator.clone()] {
                            "=" => (String::new(), ")"),
                            sign => (format!("{single}({}) {} (", &self.wgsl[target], &sign[..1]), "))"),
                        };
                        edits.push((operator, format!("= {to_half}({sum}")));
                        edits.push((end..end, closed.into()));
                    }
                    _ => unreachable!("{}: its elements cannot be f16", buffer.name),
                }
            }
        }
        // Insertions that close at the same byte are interchangeable; a store starts before the load inside it.
        edits.sort_by_key(|(range, _)| range.start);
        let (mut text, mut done) = ("enable f16;\n".to_owned(), 0);
        for (range, put) in edits {
            text += &self.wgsl[done..range.start];
            text += &put;
            done = range.end;
        }
        text += &self.wgsl[done..];
        let functions = TO_HALF.iter().zip(called).filter(|(_, called)| *called);
        functions.for_each(|((_, function), _)| text += function);
        text
    }
}

#[cfg(test)]
mod tests;
