//! Reads the WGSL of an objective, so that a mistake is named with its place and what passes is a pure function that ends.

use std::collections::BTreeMap;

use naga::{Module, Scalar, Span, TypeInner};

use super::Form;
use crate::error::{Error, nearest_few};
use crate::gpu::MAX_TRIPS;
use crate::wgsl::loops::{LOOP, Work};
use crate::wgsl::names::{did_you_mean, elsewhere, is_builtin};
use crate::wgsl::{Dialect, Token, User, pure, tokens, validator};

/// The most words and marks that one call may go through.
const MOST_WORK: u64 = 1 << 20;

/// Lanes of a workgroup that evaluates a member.
const LANES: usize = 64;

/// The argument of an objective for a workgroup, at which loops may begin.
const LANE: &str = "lane";

impl Form {
    fn signature(self) -> &'static str {
        match self {
            Self::Lane => "fn objective() -> f32",
            Self::Workgroup => "fn objective(lane: u32) -> f32",
        }
    }

    /// Constants of the frame that may bound loops.
    fn given(self, dimensions: usize) -> Vec<(&'static str, i64)> {
        let value = |of: usize| i64::try_from(of).unwrap_or(i64::MAX);
        let mut given = vec![("DIMENSIONS", value(dimensions))];
        given.extend((self == Self::Workgroup).then_some(("LANES", value(LANES))));
        given
    }
}

/// What a typo may have meant, beside names of the text itself.
const COMMON: &str = "x noise DIMENSIONS objective abs sign min max clamp select sqrt inverseSqrt exp log sin cos tan \
                      tanh floor ceil round fract pow mix fma f32 u32 i32 array vec2f vec3f vec4f";

/// What the objective may use of the frame, in place of which the kernel has what reads the member.
pub(crate) fn prelude(form: Form, dimensions: usize) -> String {
    let constant = |(name, value)| format!("const {name}: u32 = {value}u;\n");
    form.given(dimensions).into_iter().map(constant).collect()
}

/// The same functions as the kernel's, that do nothing.
const FUNCTIONS: &str =
    "fn x(i: u32) -> f32 { return f32(i); }\nfn noise(i: u32) -> f32 { return f32(i); }\n";

struct Words {
    form: Form,
    frame: Vec<String>,
}

impl Dialect for Words {
    fn noun(&self) -> &str {
        "an objective"
    }

    fn kept(&self) -> &str {
        "a variable inside one"
    }

    fn number(&self) -> &str {
        "a number in the text"
    }

    fn pure(&self) -> String {
        "an objective is a pure function of its member".into()
    }

    fn has(&self, name: &str) -> bool {
        self.frame.iter().any(|own| own == name)
    }

    fn refuses(&self, word: &str, _: [&str; 4]) -> Option<String> {
        matches!(word, "while" | "loop").then(|| format!("`{word}` may never end: expected {LOOP}"))
    }

    fn returns(&self, function: &str) -> Option<&str> {
        (function == "objective").then_some("f32")
    }

    fn unknown_name(&self, name: &str, text: &str) -> String {
        if let Some(own) = elsewhere(name) {
            return format!("unknown name `{name}`, did you mean `{own}`?");
        }
        if is_builtin(name) {
            return format!("`{name}` is a function or a type of WGSL: expected it to be called, or a value");
        }
        if self.has(name) {
            let allowed = match self.form {
                Form::Lane => "of the surrounding kernel, only `x`, `noise` and `DIMENSIONS`",
                Form::Workgroup => "of the surrounding kernel, only `x`, `noise`, `DIMENSIONS` and `LANES`",
            };
            return format!(
                "`{name}` cannot be used, because an objective is a function of its member: {allowed}"
            );
        }
        let own = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|own| !own.is_empty());
        let known: Vec<&str> = COMMON.split_whitespace().chain(own).filter(|own| *own != name).collect();
        let near: Vec<String> = nearest_few(name, known).into_iter().map(str::to_owned).collect();
        format!("unknown name `{name}`{}", did_you_mean(&near))
    }

    fn unknown_member(&self, _: &str, _: &str, _: &str) -> Option<String> {
        None
    }
}

/// Refuses a text that is no objective of so many dimensions, or takes too long for so many samples. `frame` is the kernel
/// without it.
pub(crate) fn check(
    text: &str,
    form: Form,
    dimensions: usize,
    samples: u32,
    frame: &str,
) -> Result<(), Error> {
    let words = Words { form, frame: declared_names(frame) };
    let user = User { what: "objective", text, before: 0, dialect: &words };
    let (tokens, outline) = user.outline()?;
    let before = prelude(form, dimensions) + FUNCTIONS;
    let alone = User { before: before.len(), ..user };
    let source = before + text;
    let module = naga::front::wgsl::parse_str(&source).map_err(|error| {
        alone.index_error(&source, &tokens, &error).unwrap_or_else(|| alone.parse_error(&error))
    })?;
    check_signature(&module, form).map_err(|(span, reason)| match span {
        Some(span) => alone.refuse_span(span, reason),
        None => Error::Config { what: "objective".into(), reason },
    })?;
    let spanned = |(span, reason): (Span, String)| alone.refuse_span(span, reason);
    pure::check_pure(&module, &words).map_err(spanned)?;
    let given = form.given(dimensions);
    let mut work = Work {
        tokens: &tokens,
        declared: &outline,
        entry: "objective",
        most_work: MOST_WORK,
        // One invocation takes all samples of its member.
        most_rounds: MAX_TRIPS as u64 / u64::from(samples),
        given: &given,
        start: (form == Form::Workgroup && is_lane_alone(&tokens)).then_some(LANE),
        known: BTreeMap::new(),
    };
    work.check().map_err(|(at, reason)| user.refuse(at, reason))?;
    let info = validator().validate(&module).map_err(|error| alone.validation_error(&error, &module))?;
    pure::check_memory(&module, &info).map_err(spanned)
}

fn check_signature(module: &Module, form: Form) -> Result<(), (Option<Span>, String)> {
    let signature = form.signature();
    let mut functions = module.functions.iter();
    let Some((handle, own)) = functions.find(|(_, own)| own.name.as_deref() == Some("objective")) else {
        return Err((None, format!("there is no function `objective`, expected `{signature}`")));
    };
    let is = |ty, scalar| module.types[ty].inner == TypeInner::Scalar(scalar);
    let takes_its_own = match (form, &own.arguments[..]) {
        (Form::Lane, []) => true,
        (Form::Workgroup, [lane]) => is(lane.ty, Scalar::U32) && lane.name.as_deref() == Some(LANE),
        _ => false,
    };
    if takes_its_own && own.result.as_ref().is_some_and(|result| is(result.ty, Scalar::F32)) {
        return Ok(());
    }
    let span = module.functions.get_span(handle);
    Err((Some(span), format!("`objective` has another signature, expected `{signature}`")))
}

/// Whether all that is called as the lane is a `u32` argument, which is at least 0 and never changes.
fn is_lane_alone(tokens: &[Token<'_>]) -> bool {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    (0..tokens.len()).filter(|at| text(*at) == LANE).all(|at| {
        let before = at.checked_sub(1).map_or("", text);
        let is_named = matches!(before, "let" | "var" | "const" | ">");
        let is_typed = text(at + 1) == ":";
        !is_named && (!is_typed || text(at + 2) == "u32")
    })
}

/// Names that a text of ours declares outside functions.
fn declared_names(text: &str) -> Vec<String> {
    let all = tokens(text).expect("the frame's own text can be read");
    let mut names = vec!["main".to_owned()];
    for pair in all.windows(2) {
        if matches!(pair[0].text, "fn" | "const" | "struct") || matches!(pair[0].text, ">" | "var") {
            names.push(pair[1].text.to_owned());
        }
    }
    names
}
