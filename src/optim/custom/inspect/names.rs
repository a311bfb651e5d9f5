//! Names that a rule may use or may not declare, and suggestions for unknown names.

use std::sync::LazyLock;

use crate::error::{listed, nearest_few};
use crate::optim::device::kernels::frame_texts;
use crate::wgsl::loops::LOOP;
use crate::wgsl::names::{did_you_mean, elsewhere, is_builtin};
use crate::wgsl::{Dialect, Token, closing, tokens};

/// The declared names: members of `Hyper` and of `State`.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) words: Vec<String>,
    pub(crate) slots: Vec<String>,
}

/// The frame's declarations that a rule may use besides `call` and `hyper`: as in `common.wgsl`, with empty functions.
pub(crate) const PRELUDE: &str = "struct Call { lr: f32 }
@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<uniform> hyper: Hyper;
const TINY = vec4f(1.1754944e-38);
const LARGEST = vec4f(3.4028234e38);
fn averaged(average: vec4f, x: vec4f, beta: f32, one_minus_beta: f32) -> vec4f { return x; }
fn squared(x: vec4f) -> vec4f { return x; }
fn held(x: vec4f) -> vec4f { return x; }
fn sign_of(x: vec4f) -> vec4f { return x; }
fn at_least_tiny(x: vec4f) -> vec4f { return x; }
";

/// Suggestions for a typo, besides names of the text itself.
const COMMON: &str = "hyper call averaged squared sign_of at_least_tiny held TINY LARGEST vec4f f32 State abs sign min \
                      max clamp select sqrt inverseSqrt exp log pow mix fma all any bool i32 u32 array";

impl Dialect for Names {
    fn noun(&self) -> &str {
        "a rule"
    }

    fn kept(&self) -> &str {
        "a slot"
    }

    fn number(&self) -> &str {
        "a hyperparameter"
    }

    fn pure(&self) -> String {
        "a rule is a pure function of four elements".into()
    }

    fn has(&self, name: &str) -> bool {
        static FRAME: LazyLock<Vec<String>> = LazyLock::new(frame_names);
        FRAME.iter().any(|taken| taken == name) || name.starts_with("slot_")
    }

    fn refuses(&self, word: &str, before: [&str; 4]) -> Option<String> {
        match word {
            "State" if before != ["ptr", "<", "function", ","] => {
                Some("`State` may only stand in `ptr<function, State>`: change its slots, one by one".into())
            }
            "Hyper" => Some("`Hyper` cannot be named: read `hyper.<name>`".into()),
            "Call" => Some("`Call` cannot be named: read `call.lr`".into()),
            "while" | "loop" => Some(format!("`{word}` may never end: expected {LOOP}")),
            _ => None,
        }
    }

    fn returns(&self, function: &str) -> Option<&str> {
        (function == "rule").then_some("vec4f")
    }

    fn unknown_name(&self, name: &str, text: &str) -> String {
        unknown_name(name, self, text)
    }

    fn unknown_member(&self, name: &str, of: &str, text: &str) -> Option<String> {
        unknown_member(name, of, self, text)
    }
}

/// Every name that the frame declares, with any fused transforms.
pub(crate) fn frame_names() -> Vec<String> {
    let mut names: Vec<String> = ["Hyper", "State", "load", "store", "keep_inside"].map(String::from).into();
    for text in frame_texts() {
        let all = tokens(&text).expect("the frame's own text can be read");
        names.extend(declared(&all));
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn declared(all: &[Token<'_>]) -> Vec<String> {
    let mut names = Vec::new();
    let mut index = 0;
    while let Some(token) = all.get(index) {
        match token.text {
            "(" | "{" | "[" => index = closing(all, index),
            "fn" | "const" | "struct" => names.push(all[index + 1].text.to_owned()),
            "var" => {
                let after = (index..all.len()).find(|at| all[*at].text == ":").unwrap_or(index + 2);
                names.push(all[after - 1].text.to_owned());
            }
            _ => {}
        }
        index += 1;
    }
    names
}

/// The error for an undeclared name.
pub(crate) fn unknown_name(name: &str, names: &Names, text: &str) -> String {
    let pointer = pointer(text);
    let has = |list: &[String]| list.iter().any(|declared| declared == name);
    let meant = if name == "lr" {
        Some("call.lr".to_owned())
    } else if has(&names.words) {
        Some(format!("hyper.{name}"))
    } else if has(&names.slots) {
        Some(format!("(*{pointer}).{name}"))
    } else {
        elsewhere(name).map(str::to_owned)
    };
    if let Some(meant) = meant {
        return format!("unknown name `{name}`, did you mean `{meant}`?");
    }
    if is_builtin(name) {
        return format!("`{name}` is a function or a type of WGSL: expected it to be called, or a value");
    }
    if frame_names().iter().any(|taken| taken == name) || name.starts_with("slot_") {
        let allowed = "of the frame's, only `call.lr`, `hyper` and the functions of `CustomRule`";
        return format!("`{name}` cannot be used: {allowed}");
    }
    let qualified = (names.words.iter().map(|word| (&**word, format!("hyper.{word}"))))
        .chain(names.slots.iter().map(|slot| (&**slot, format!("(*{pointer}).{slot}"))));
    let own = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|own| !own.is_empty());
    let plain = COMMON.split(' ').chain(own).map(|name| (name, name.to_owned()));
    let all: Vec<(&str, String)> = plain.chain(qualified).filter(|(other, _)| *other != name).collect();
    let mut like: Vec<String> = Vec::new();
    for near in nearest_few(name, all.iter().map(|(name, _)| *name)) {
        // A member's name alone is in the text too.
        let meant = all.iter().rev().find(|(other, _)| *other == near).map(|(_, meant)| meant.clone());
        like.extend(meant);
    }
    format!("unknown name `{name}`{}", did_you_mean(&like))
}

/// The error for an undeclared member; `of` is the expression before the dot.
pub(crate) fn unknown_member(name: &str, of: &str, names: &Names, text: &str) -> Option<String> {
    let pointer = pointer(text);
    let last = of.trim_end().trim_end_matches('.').trim_end();
    let is = |name: &str| {
        let rest = last.strip_suffix(name);
        rest.is_some_and(|rest| !rest.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let (kind, known): (_, Vec<&str>) = if is("hyper") {
        ("hyperparameter", names.words.iter().map(|name| &**name).collect())
    } else if is("call") {
        ("constant of the call", vec!["lr"])
    } else if is(pointer) || is(&format!("*{pointer})")) || is("State") {
        ("slot", names.slots.iter().map(|name| &**name).collect())
    } else {
        return None;
    };
    let has = |list: &[String]| list.iter().any(|declared| declared == name);
    let like = if name == "lr" {
        vec!["call.lr".to_owned()]
    } else if has(&names.words) {
        vec![format!("hyper.{name}")]
    } else if has(&names.slots) {
        vec![format!("(*{pointer}).{name}")]
    } else {
        nearest_few(name, known.iter().copied()).into_iter().map(str::to_owned).collect()
    };
    let declared = if known.is_empty() { "none".into() } else { listed(name, &known) };
    Some(format!("unknown {kind} `{name}`{}; declared: {declared}", did_you_mean(&like)))
}

/// The name of `rule`'s state parameter.
fn pointer(text: &str) -> &str {
    let after = text.split("fn rule").nth(1).unwrap_or_default();
    let arguments = after.split(')').next().unwrap_or_default();
    let before = arguments.split("ptr").next().unwrap_or_default();
    let name = before.trim_end().trim_end_matches(':').trim_end();
    let begin = name.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
    if arguments.contains("ptr") && begin < name.len() { &name[begin..] } else { "s" }
}
