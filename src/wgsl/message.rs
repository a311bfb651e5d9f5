//! Translates messages of the parser and validator to positions and wording that fit the user's text.

use std::error::Error as _;

use naga::front::wgsl::ParseError;
use naga::valid::{ExpressionError, FunctionError, ValidationError};
use naga::{Module, Scalar, TypeInner, WithSpan};

use super::User;
use super::bounds::closing;
use super::outline::MOST_ELEMENTS;
use super::tokens::Token;
use crate::error::Error;

impl User<'_> {
    pub(crate) fn parse_error(&self, error: &ParseError) -> Error {
        let message = error.message();
        let Some((at, span)) = error.labels().find_map(|(span, _)| Some((self.place(span)?, span))) else {
            return self.refuse(0, without_handles(message));
        };
        let end = span.to_range().map_or(at, |range| range.end.saturating_sub(self.before));
        let named = self.text.get(at..end).unwrap_or_default();
        if message.starts_with("no definition in scope") {
            return self.refuse(at, self.dialect.unknown_name(named, self.text));
        }
        let told = if message.starts_with("invalid field accessor") {
            self.dialect.unknown_member(named, &self.text[..at], self.text)
        } else {
            None
        };
        let told = told.unwrap_or_else(|| match message {
            "Cannot access at the index" => format!("`{}`: the index is out of range", named.trim_end()),
            _ => message.into(),
        });
        self.refuse(at, told)
    }

    /// An error about an index that the parser reports without a position. Finds the index by removing each one in
    /// turn and checking whether the message changes. `source` ends with the text.
    pub(crate) fn index_error(
        &self,
        source: &str,
        tokens: &[Token<'_>],
        error: &ParseError,
    ) -> Option<Error> {
        const MOST_TRIED: usize = 64;
        if error.labels().next().is_some() {
            return None;
        }
        let said = without_handles(error.message());
        let out_of_range =
            said.strip_prefix("Index ").map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        let before = &source[..self.before];
        let opening = (1..tokens.len()).filter(|at| tokens[*at].text == "[");
        opening.take(MOST_TRIED).find_map(|open| {
            let (from, to) = (tokens[open].at, tokens[closing(tokens, open)].at);
            let ends = |with: &str| {
                let other = format!("{before}{}{with}{}", &self.text[..from], &self.text[to + 1..]);
                naga::front::wgsl::parse_str(&other).map_err(|error| without_handles(error.message())).err()
            };
            let Some(place) = out_of_range else {
                let fits = ends("").is_none_or(|other| other != said);
                return fits.then(|| self.refuse(from, "the value before this cannot be indexed"));
            };
            let fits = |index: u32| {
                ends(&format!("[{index}]"))
                    .is_none_or(|other| other != said && other != format!("Index {index}{place}"))
            };
            if !fits(0) {
                return None;
            }
            let most = (1..MOST_ELEMENTS).take_while(|index| fits(*index)).last().unwrap_or(0);
            let index = self.text[from + 1..to].trim();
            Some(self.refuse(from + 1, format!("the index {index} is out of range, expected 0 to {most}")))
        })
    }

    pub(crate) fn validation_error(&self, error: &WithSpan<ValidationError>, module: &Module) -> Error {
        let culprit = match error.as_inner() {
            ValidationError::Function {
                handle,
                source: FunctionError::Expression { handle: expression, .. },
                ..
            } => Some(module.functions[*handle].expressions.get_span(*expression)),
            _ => None,
        };
        // The smallest span that contains the position.
        let spans = error.spans().map(|(span, _)| *span).chain(culprit);
        let spans = spans.filter_map(|span| Some((span.to_range()?.len(), self.place(span)?)));
        let at = spans.min().map_or(0, |(_, at)| at);
        match error.as_inner() {
            ValidationError::Function { name, source: FunctionError::InvalidReturnType { .. }, .. } => {
                let expected =
                    self.dialect.returns(name).map(|ty| format!(", expected {ty}")).unwrap_or_default();
                let reason = format!("`{name}` returns a value of another type than it declares{expected}");
                return self.refuse(at, reason);
            }
            ValidationError::Function {
                source: FunctionError::Expression { source: ExpressionError::IndexOutOfBounds(_, index), .. },
                ..
            } => return self.refuse(at, format!("the index {index} is out of range")),
            ValidationError::Function {
                source:
                    FunctionError::Expression {
                        source: ExpressionError::InvalidBinaryOperandTypes { op, lhs_type, rhs_type, .. },
                        ..
                    },
                ..
            } => {
                let (left, right) = (type_name(lhs_type), type_name(rhs_type));
                return self.refuse(at, format!("{op:?}: expected types that fit, got {left} and {right}"));
            }
            _ => {}
        }
        // Outer messages name internal handles; the innermost ones say what is wrong.
        let mut reason = error.as_inner().to_string();
        let mut cause = error.as_inner().source();
        while let Some(inner) = cause {
            reason = inner.to_string();
            cause = inner.source();
        }
        if reason.contains("apabilit") {
            reason = "this needs what not every device has".into();
        }
        self.refuse(at, without_handles(&reason))
    }
}

/// The message without numbers that only the parser can interpret, such as `expression [3]`.
fn without_handles(message: &str) -> String {
    let mut parts = message.split(" [");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut whole, part| {
        match part.split_once(']') {
            Some((digits, rest)) if digits.parse::<u32>().is_ok() => whole.push_str(rest),
            _ => whole.extend([" [", part]),
        }
        whole
    })
}

fn type_name(ty: &TypeInner) -> String {
    let scalar = |scalar: Scalar| match scalar {
        Scalar::BOOL => "bool",
        Scalar::F32 => "f32",
        Scalar::I32 => "i32",
        Scalar::U32 => "u32",
        _ => "another scalar",
    };
    match *ty {
        TypeInner::Scalar(kind) => scalar(kind).into(),
        TypeInner::Vector { size, scalar: kind } => format!("vec{}<{}>", size as u8, scalar(kind)),
        TypeInner::Pointer { .. } | TypeInner::ValuePointer { .. } => "a pointer".into(),
        _ => "another type".into(),
    }
}
