//! Reads the WGSL of a rule of one's own, so that a mistake is named with the line of the text that was given.

use std::error::Error as _;
use std::ops::Range;

use naga::front::wgsl::ParseError;
use naga::valid::{
    Capabilities, ExpressionError, FunctionError, ValidationError, ValidationFlags, Validator,
};
use naga::{AddressSpace, Expression, Handle, Module, Scalar, Span, Type, TypeInner, VectorSize, WithSpan};

use super::custom::Declared;
use super::shader::Text;
use super::stage::Stage;
use super::{Family, Shader};
use crate::error::{Error, nearest};
use crate::gpu::KernelClass;
use crate::grad::Riding;

/// The declared names: members of `Hyper` and of `State`.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) words: Vec<String>,
    pub(super) slots: Vec<String>,
}

/// The frame's call, without which it can be read though there is no rule or another one.
const CALL: &str = "rule(p, g, s)";
const SIGNATURE: &str = "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f";
/// What a typo may have meant, beside names of the text itself.
const COMMON: &str = "hyper call averaged squared sign_of at_least_tiny held TINY LARGEST vec4f f32 State abs sign min \
                      max clamp select sqrt inverseSqrt exp log mix fma all any";

pub(super) fn is_identifier(name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first)
        && name.chars().all(part)
        && name != "_"
        && !name.starts_with("__")
        && !naga::keywords::wgsl::RESERVED.contains(&name)
}

/// Refuses WGSL that the frame could not be joined with; the user's begins at `prefix`.
pub(super) fn inspect(declared: &Declared, prefix: usize, names: &Names) -> Result<(), Error> {
    let user = prefix..declared.text.len();
    let view = View { rule: &declared.name, text: &declared.text, user, names };
    let shader = Shader { stem: &declared.name, text: &declared.text };
    let all = (1 << declared.slots.len()) - 1;
    let hyper_bytes = 4 * declared.fields.len();
    let text = Text {
        family: Family::Element,
        shader,
        hyper_bytes,
        slots: &declared.slots,
        looks_ahead: false,
        general: true,
    };
    for riding in Riding::ALL {
        let whole = text.source(Stage::Update, all, riding, KernelClass::Plain).wgsl;
        let frame = whole[view.user.end..].replacen(CALL, "p", 1);
        let module = naga::front::wgsl::parse_str(&(declared.text.clone() + &frame));
        view.check_pure(&module.map_err(|error| view.parse_error(&error))?)?;
        let module = naga::front::wgsl::parse_str(&whole).map_err(|error| view.parse_error(&error))?;
        Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .map_err(|error| view.validation_error(&error))?;
    }
    Ok(())
}

struct View<'a> {
    rule: &'a str,
    /// The generated structs and the user's text.
    text: &'a str,
    user: Range<usize>,
    names: &'a Names,
}

impl View<'_> {
    /// Where a span begins, if that is in the user's text.
    fn place(&self, span: Span) -> Option<usize> {
        // At the end of the text the parser may stand on what follows.
        span.to_range().map(|range| range.start).filter(|start| self.user.contains(start))
    }

    fn refuse(&self, at: usize, reason: impl Into<String>) -> Error {
        let line = self.text[self.user.start..at].matches('\n').count() + 1;
        Error::Wgsl { rule: self.rule.into(), line, reason: reason.into() }
    }

    fn config(&self, reason: String) -> Error {
        Error::Config { what: format!("rule {}", self.rule), reason }
    }

    fn parse_error(&self, error: &ParseError) -> Error {
        let message = error.message();
        let Some((at, span)) = error.labels().find_map(|(span, _)| Some((self.place(span)?, span))) else {
            // What is not closed is noticed behind the text.
            let last = self.text.trim_end().len().max(self.user.start);
            return self.refuse(last, format!("not closed before the end of the text: {message}"));
        };
        let named = &self.text[span.to_range().map_or(at..at, |range| at..range.end.min(self.user.end))];
        if message.starts_with("redefinition") && error.labels().any(|(span, _)| self.place(span).is_none()) {
            return self.refuse(at, format!("`{named}` is reserved: the frame has it, choose another name"));
        }
        if message.starts_with("no definition in scope") {
            let own = self.text[self.user.clone()].split(|c: char| !(c.is_alphanumeric() || c == '_'));
            let like = nearest(named, COMMON.split(' ').chain(own).filter(|name| *name != named));
            return self.refuse(at, format!("unknown name `{named}`{}", did_you_mean(like)));
        }
        if message.starts_with("invalid field accessor") {
            let before = self.text[..at].trim_end().trim_end_matches('.').trim_end();
            let is = |name: &str| {
                before
                    .strip_suffix(name)
                    .is_some_and(|rest| !rest.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            };
            let (kind, known): (_, Vec<&str>) = if is("hyper") {
                ("hyperparameter", self.names.words.iter().map(|name| &**name).collect())
            } else if is("call") {
                ("constant of the call", vec!["lr"])
            } else if is("s") || before.ends_with("*s)") {
                ("slot", self.names.slots.iter().map(|name| &**name).collect())
            } else {
                return self.refuse(at, message);
            };
            let like = did_you_mean(nearest(named, known.iter().copied()));
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            return self.refuse(at, format!("unknown {kind} `{named}`{like}; declared: {known}"));
        }
        self.refuse(at, message)
    }

    fn validation_error(&self, error: &WithSpan<ValidationError>) -> Error {
        // The narrowest of those that hold the place.
        let spans = error.spans().filter_map(|(span, _)| Some((span.to_range()?.len(), self.place(*span)?)));
        let at = spans.min().map_or(self.user.start, |(_, at)| at);
        match error.as_inner() {
            ValidationError::Function { name, source: FunctionError::InvalidReturnType { .. }, .. } => {
                let expected = if name == "rule" { ", expected vec4f" } else { "" };
                let reason = format!("`{name}` returns a value of another type than it declares{expected}");
                return self.refuse(at, reason);
            }
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
        // The outermost words name handles; the innermost say what is wrong.
        let mut reason = error.as_inner().to_string();
        let mut cause = error.as_inner().source();
        while let Some(inner) = cause {
            reason = inner.to_string();
            cause = inner.source();
        }
        self.refuse(at, reason)
    }

    /// Refuses what is not there or is no pure function.
    fn check_pure(&self, module: &Module) -> Result<(), Error> {
        for (handle, _) in module.global_variables.iter() {
            if let Some(at) = self.place(module.global_variables.get_span(handle)) {
                return Err(
                    self.refuse(at, "no variable may stand outside functions: declare a slot instead")
                );
            }
        }
        for (handle, _) in module.overrides.iter() {
            if let Some(at) = self.place(module.overrides.get_span(handle)) {
                return Err(self.refuse(at, "expected `const` or a hyperparameter instead of `override`"));
            }
        }
        if let Some(entry) = module.entry_points.iter().find(|entry| entry.name != "main") {
            return Err(
                self.config(format!("`{}`: no entry points are allowed, the frame has one", entry.name))
            );
        }
        for (_, function) in module.functions.iter() {
            for (handle, expression) in function.expressions.iter() {
                let Expression::GlobalVariable(global) = *expression else { continue };
                let name = module.global_variables[global].name.as_deref().unwrap_or_default();
                if let (Some(at), false) =
                    (self.place(function.expressions.get_span(handle)), ["hyper", "call"].contains(&name))
                {
                    let reason = format!("`{name}` cannot be used: of the frame's, only `call` and `hyper`");
                    return Err(self.refuse(at, reason));
                }
            }
        }
        self.check_signature(module)
    }

    fn check_signature(&self, module: &Module) -> Result<(), Error> {
        let Some((handle, rule)) =
            module.functions.iter().find(|(_, function)| function.name.as_deref() == Some("rule"))
        else {
            return Err(self.config(format!("there is no function `rule`, expected `{SIGNATURE}`")));
        };
        let vec4f = TypeInner::Vector { size: VectorSize::Quad, scalar: Scalar::F32 };
        let is_vec4f = |ty: Handle<Type>| module.types[ty].inner == vec4f;
        let is_state = |ty: Handle<Type>| match module.types[ty].inner {
            TypeInner::Pointer { base, space: AddressSpace::Function } => {
                module.types[base].name.as_deref() == Some("State")
            }
            _ => false,
        };
        let types: Vec<Handle<Type>> = rule.arguments.iter().map(|argument| argument.ty).collect();
        let fits = matches!(types[..], [p, g, s] if is_vec4f(p) && is_vec4f(g) && is_state(s))
            && rule.result.as_ref().is_some_and(|result| is_vec4f(result.ty));
        if fits {
            return Ok(());
        }
        let at = self.place(module.functions.get_span(handle)).unwrap_or(self.user.start);
        Err(self.refuse(at, format!("`rule` has another signature, expected `{SIGNATURE}`")))
    }
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

fn did_you_mean(name: Option<&str>) -> String {
    name.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}
