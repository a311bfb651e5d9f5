//! Reads the WGSL of an objective, so that a mistake is named with its place and what passes is a pure function that ends.

use std::collections::BTreeMap;

use naga::{Module, Scalar, Span, TypeInner};

use crate::error::{Error, nearest_few};
use crate::gpu::MAX_TRIPS;
use crate::wgsl::loops::{LOOP, Work};
use crate::wgsl::names::{did_you_mean, elsewhere, is_builtin};
use crate::wgsl::{Dialect, User, pure, tokens, validator};

/// The most words and marks that one call may go through.
const MOST_WORK: u64 = 1 << 20;

const SIGNATURE: &str = "fn objective() -> f32";

/// What a typo may have meant, beside names of the text itself.
const COMMON: &str = "x noise DIMENSIONS objective abs sign min max clamp select sqrt inverseSqrt exp log sin cos tan \
                      tanh floor ceil round fract pow mix fma f32 u32 i32 array vec2f vec3f vec4f";

/// What the objective may use of the frame, in place of which the kernel has what reads the member.
pub(crate) fn prelude(dimensions: usize) -> String {
    format!("const DIMENSIONS: u32 = {dimensions}u;\n")
}

/// The same functions as the kernel's, that do nothing.
const FUNCTIONS: &str =
    "fn x(i: u32) -> f32 { return f32(i); }\nfn noise(i: u32) -> f32 { return f32(i); }\n";

struct Words {
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
            let allowed = "of the surrounding kernel, only `x`, `noise` and `DIMENSIONS`";
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
pub(crate) fn check(text: &str, dimensions: usize, samples: u32, frame: &str) -> Result<(), Error> {
    let words = Words { frame: declared_names(frame) };
    let user = User { what: "objective", text, before: 0, dialect: &words };
    let (tokens, outline) = user.outline()?;
    let before = prelude(dimensions) + FUNCTIONS;
    let alone = User { before: before.len(), ..user };
    let source = before + text;
    let module = naga::front::wgsl::parse_str(&source).map_err(|error| {
        alone.index_error(&source, &tokens, &error).unwrap_or_else(|| alone.parse_error(&error))
    })?;
    check_signature(&module).map_err(|(span, reason)| match span {
        Some(span) => alone.refuse_span(span, reason),
        None => Error::Config { what: "objective".into(), reason },
    })?;
    let spanned = |(span, reason): (Span, String)| alone.refuse_span(span, reason);
    pure::check_pure(&module, &words).map_err(spanned)?;
    let mut work = Work {
        tokens: &tokens,
        declared: &outline,
        entry: "objective",
        most_work: MOST_WORK,
        // One invocation takes all samples of its member.
        most_rounds: MAX_TRIPS as u64 / u64::from(samples),
        given: Some(("DIMENSIONS", i64::try_from(dimensions).unwrap_or(i64::MAX))),
        known: BTreeMap::new(),
    };
    work.check().map_err(|(at, reason)| user.refuse(at, reason))?;
    let info = validator().validate(&module).map_err(|error| alone.validation_error(&error, &module))?;
    pure::check_memory(&module, &info).map_err(spanned)
}

fn check_signature(module: &Module) -> Result<(), (Option<Span>, String)> {
    let mut functions = module.functions.iter();
    let Some((handle, own)) = functions.find(|(_, own)| own.name.as_deref() == Some("objective")) else {
        return Err((None, format!("there is no function `objective`, expected `{SIGNATURE}`")));
    };
    let is_f32 = |ty| module.types[ty].inner == TypeInner::Scalar(Scalar::F32);
    if own.arguments.is_empty() && own.result.as_ref().is_some_and(|result| is_f32(result.ty)) {
        return Ok(());
    }
    let span = module.functions.get_span(handle);
    Err((Some(span), format!("`objective` has another signature, expected `{SIGNATURE}`")))
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
