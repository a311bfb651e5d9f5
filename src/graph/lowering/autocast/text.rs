//! A kernel over buffers of f16: its own text with a conversion at each load and store of these, so that it computes in
//! f32 as ever.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::wgsl::{Token, tokens};

/// Converts to f16 as IEEE 754 does: what is too large becomes infinite, never the largest number. WGSL leaves the
/// conversion of numbers beyond the range open, so these are made infinite before it: from 65,520 on, half a step beyond
/// the largest f16, where rounding to nearest goes up.
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

/// A storage buffer that a kernel declares.
#[derive(Debug)]
struct Buffer<'a> {
    name: &'a str,
    /// The token that declares its name.
    declared: usize,
    /// The bytes of the text that name the type of an element.
    element: Range<usize>,
    /// Numbers of an element; `None` for what is no vector of f32.
    width: Option<usize>,
}

/// What a place of a text does with a buffer.
enum Use {
    /// It loads an element; the byte behind that.
    Load { end: usize },
    /// It stores one, or a number of one.
    Store { target: Range<usize>, width: usize, operator: Range<usize>, end: usize },
    /// Something else, for which the type of the elements matters.
    Other,
}

/// The text of a kernel and the buffers that it binds.
#[derive(Debug)]
pub(super) struct Text<'a> {
    wgsl: &'a str,
    tokens: Vec<Token<'a>>,
    /// By the number of the binding.
    buffers: BTreeMap<usize, Buffer<'a>>,
    /// The tokens among which a name is that of an argument or a variable of a function.
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

    /// The buffer whose `@binding` begins at a token.
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

    /// Numbers of a type, or of what it is an alias of.
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

    /// The byte behind a token.
    fn end(&self, at: usize) -> usize {
        self.tokens[at].at + self.tokens[at].text.len()
    }

    /// The token that closes the bracket at another.
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

    /// Finds what functions declare: arguments, to the end of the function, and variables, from behind their statement to
    /// the end of the block.
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

    /// The token behind `<..>`.
    fn closing_type(&self, open: usize) -> Option<usize> {
        (open..self.tokens.len()).find(|&at| self.word(at) == ">").map(|at| at + 1)
    }

    /// The places that name a buffer, as tokens.
    fn places(&self, buffer: &'a Buffer<'a>) -> impl Iterator<Item = usize> + '_ {
        let is_local =
            |at: usize| self.local.iter().any(|(name, range)| *name == buffer.name && range.contains(&at));
        let named = move |at: &usize| {
            // Members of structs may have the same name.
            let is_member = *at > 0 && self.word(*at - 1) == "." || self.word(*at + 1) == ":";
            self.word(*at) == buffer.name && *at != buffer.declared && !is_member && !is_local(*at)
        };
        (0..self.tokens.len()).filter(named)
    }

    /// What a place does with the buffer of this width that it names.
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

    /// Whether the elements of a binding can be f16: they are vectors of f32, and all that is done with them is to load
    /// and to store them.
    pub(super) fn can_be_half(&self, binding: usize) -> bool {
        let Some((buffer, width)) = self.buffers.get(&binding).and_then(|b| Some((b, b.width?))) else {
            return false;
        };
        self.places(buffer)
            .all(|place| matches!(self.use_at(place, width), Some(Use::Load { .. } | Use::Store { .. })))
    }

    /// The names of buffers of f32 whose elements cannot be f16.
    #[cfg(test)]
    pub(super) fn single(&self) -> impl Iterator<Item = &'a str> + '_ {
        let single = |binding: &usize| !self.can_be_half(*binding);
        let numbers = self.buffers.iter().filter(|(_, buffer)| buffer.width.is_some());
        numbers.filter(move |(binding, _)| single(binding)).map(|(_, buffer)| buffer.name)
    }

    /// Whether elements of a binding are loaded, an element that is added to included.
    pub(super) fn loads(&self, binding: usize) -> bool {
        let Some((buffer, width)) = self.buffers.get(&binding).and_then(|b| Some((b, b.width?))) else {
            return true;
        };
        self.places(buffer).any(|place| match self.use_at(place, width) {
            Some(Use::Store { operator, .. }) => &self.wgsl[operator] != "=",
            _ => true,
        })
    }

    /// The text for buffers of f16 at these bindings, whose elements can be that.
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
        // What closes at one byte is put there in any order; a store begins before what it loads.
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
mod tests {
    use super::*;

    const DECLARED: &str = "alias V = vec4f;
@group(0) @binding(1) var<storage, read> x: array<V>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read_write> z: array<f32>;
";

    fn half(body: &str, bindings: &[usize]) -> String {
        let wgsl = format!("{DECLARED}@compute @workgroup_size(1) fn main() {{\n{body}\n}}\n");
        let text = Text::of(&wgsl).with_half(bindings);
        let module = naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{e:?}: {text}"));
        let capabilities = naga::valid::Capabilities::SHADER_FLOAT16;
        let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities);
        validator.validate(&module).unwrap_or_else(|e| panic!("{e:?}: {text}"));
        let main = text.split("fn main() {\n").nth(1).expect("it is there");
        main.split("\n}\n").next().expect("it ends").to_owned()
    }

    #[test]
    fn loads_and_stores_are_converted() {
        let cases = [
            ("y[1] = x[labels[2]] + x[0];", "y[1] = gradus_half4( vec4f(x[labels[2]]) + vec4f(x[0]));"),
            ("y[0]=x[0];", "y[0]= gradus_half4(vec4f(x[0]));"),
            ("y[1] += x[0] - y[2];", "y[1] = gradus_half4(vec4f(y[1]) + ( vec4f(x[0]) - vec4f(y[2])));"),
            ("y[1].z *= x[0][2];", "y[1].z = gradus_half1(f32(y[1].z) * ( vec4f(x[0])[2]));"),
            ("y[1][3] = x[u32(x[0].x)].w;", "y[1][3] = gradus_half1( vec4f(x[u32(vec4f(x[0]).x)]).w);"),
            (
                "if x[0].x == 1.0 { y[0] = vec4f(); }",
                "if vec4f(x[0]).x == 1.0 { y[0] = gradus_half4( vec4f()); }",
            ),
            ("z[3] = 1.0; // x[0]", "z[3] = 1.0; // x[0]"),
        ];
        for (body, expected) in cases {
            assert_eq!(half(body, &[1, 2]), expected);
        }
        // Variables and arguments of the same names are others.
        let named = [
            ("var x = array<f32, 2>(); x[0] = 1.0;", "var x = array<f32, 2>(); x[0] = 1.0;"),
            ("let x = x[0]; y[0] = x * x[1];", "let x = vec4f(x[0]); y[0] = gradus_half4( x * x[1]);"),
            ("{ let x = y[0]; } let z = x[0];", "{ let x = vec4f(y[0]); } let z = vec4f(x[0]);"),
            ("} fn f(x: vec4f) { y[0] = x * x[1];", "} fn f(x: vec4f) { y[0] = gradus_half4( x * x[1]);"),
            (
                "} struct S { x: f32 } fn f(s: S) { let a = s.x;",
                "} struct S { x: f32 } fn f(s: S) { let a = s.x;",
            ),
        ];
        for (body, expected) in named {
            assert_eq!(half(body, &[1, 2]), expected);
        }
        assert_eq!(half("z[3] = x[0].x;", &[4]), "z[3] = gradus_half1( x[0].x);");
        assert_eq!(half("y[3] = vec4f(z[1]);", &[4]), "y[3] = vec4f(f32(z[1]));");
    }

    #[test]
    fn what_is_more_than_loads_and_stores_stays() {
        let can = |body: &str| {
            let wgsl = format!("{DECLARED}@compute @workgroup_size(1) fn main() {{\n{body}\n}}\n");
            let text = Text::of(&wgsl);
            [1, 2, 3, 4].map(|binding| text.can_be_half(binding))
        };
        assert_eq!(can("y[0] = x[0];"), [true, true, false, true]);
        assert_eq!(can("let n = arrayLength(&x);"), [false, true, false, true]);
        assert_eq!(can("let p = &y[0]; *p = x[0];"), [true, false, false, true]);
        assert_eq!(can("let y = x;"), [false, true, false, true]);
        assert_eq!(can("let s = shape.x;"), [true, true, false, true]);
        assert!(!Text::of(&format!("{DECLARED}fn f() {{ let é = 1; }}")).can_be_half(1));
    }

    #[test]
    fn what_is_only_stored_is_not_loaded() {
        let loads = |body: &str| Text::of(&format!("{DECLARED}fn f() {{ {body} }}")).loads(2);
        assert!(!loads("y[0] = x[0];"));
        assert!(loads("y[0] += x[0];"));
        assert!(loads("y[0] = x[0] + y[0];"));
    }
}
