//! Checks the WGSL of a custom operation, reports errors at their position in the user's text, and finds what each
//! function reads.

use std::collections::BTreeSet;

use naga::{Function, Handle, Module, Scalar, Span, TypeInner};

use super::{Declared, Read, Role, Stage, text};
use crate::error::{Error, listed, nearest_few};
use crate::wgsl::names::{did_you_mean, elsewhere, is_builtin};
use crate::wgsl::{Dialect, User, pure, validator};

/// Number of dimensions for which constants exist before shapes are known.
pub(super) const MOST_RANK: usize = 8;

/// Maximum number of values that one function can read. Every device supports eight storage buffers, and one is
/// written.
const MOST_READS: usize = 7;

/// Names that the text can use, for suggestions.
struct Words<'a> {
    declared: &'a Declared,
    /// Number of dimensions of each value; the maximum if not yet known.
    ranks: Vec<usize>,
}

impl Words<'_> {
    fn names(&self) -> impl Iterator<Item = String> + '_ {
        let values = self.declared.values.iter().zip(&self.ranks);
        values.flat_map(|(value, &rank)| {
            let gradient = matches!(value.role, Role::Output(_)).then(|| format!("grad_{}", value.name));
            text::constants(&value.name, rank).into_iter().chain([value.name.clone()]).chain(gradient)
        })
    }

    fn scalars(&self) -> Vec<&str> {
        self.declared.scalars.iter().map(|(name, _)| &**name).collect()
    }
}

impl Dialect for Words<'_> {
    fn noun(&self) -> &str {
        "an op"
    }

    fn kept(&self) -> &str {
        "a value of the forward or the backward pass"
    }

    fn number(&self) -> &str {
        "a scalar"
    }

    fn pure(&self) -> String {
        "functions of an op compute of their index and of what they read, and nothing else".into()
    }

    fn has(&self, name: &str) -> bool {
        let own = |begin: &str| name.starts_with(begin);
        own("gradus_")
            || own("GRADUS_")
            || matches!(name, "main" | "scalars")
            || self.names().any(|own| own == name)
    }

    fn refuses(&self, _: &str, _: [&str; 4]) -> Option<String> {
        None
    }

    fn returns(&self, function: &str) -> Option<&str> {
        is_stage(function).then_some("f32")
    }

    fn unknown_name(&self, name: &str, text: &str) -> String {
        if self.scalars().contains(&name) {
            return format!("unknown name `{name}`, did you mean `scalars.{name}`?");
        }
        if let Some(own) = elsewhere(name) {
            return format!("unknown name `{name}`, did you mean `{own}`?");
        }
        if is_builtin(name) {
            return format!("`{name}` is a function or a type of WGSL: expected it to be called, or a value");
        }
        for (value, rank) in self.declared.values.iter().zip(&self.ranks) {
            let rest = name.strip_prefix(&format!("{}_", value.name)[..]);
            let axis = rest.and_then(|rest| rest.strip_prefix("dim").or(rest.strip_prefix("stride")));
            if axis.is_some_and(|axis| axis.parse::<usize>().is_ok()) {
                return format!("unknown name `{name}`: {} has {rank} dimensions", value.name);
            }
        }
        // Constants such as `x_len` are similar to the name of their value, so they are suggested only for names with
        // `_`.
        let plain = |known: &String| name.contains('_') || !known.contains('_');
        let own = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|own| !own.is_empty());
        let known = self.names().filter(plain).chain(own.map(str::to_owned)).filter(|own| own != name);
        let known: Vec<String> = known.collect();
        let near = nearest_few(name, known.iter().map(String::as_str));
        format!(
            "unknown name `{name}`{}",
            did_you_mean(&near.into_iter().map(str::to_owned).collect::<Vec<_>>())
        )
    }

    fn unknown_member(&self, name: &str, of: &str, _: &str) -> Option<String> {
        let of = of.trim_end().trim_end_matches('.').trim_end();
        let rest = of.strip_suffix("scalars")?;
        if rest.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            return None;
        }
        let known = self.scalars();
        let near: Vec<String> =
            nearest_few(name, known.iter().copied()).into_iter().map(str::to_owned).collect();
        let declared = if known.is_empty() { "none".into() } else { listed(name, &known) };
        Some(format!("unknown scalar `{name}`{}; declared: {declared}", did_you_mean(&near)))
    }
}

fn is_stage(function: &str) -> bool {
    function.starts_with("forward_") || function.starts_with("backward_")
}

/// Refuses an invalid text, and finds its stages.
pub(super) fn inspect(declared: &Declared) -> Result<Vec<Stage>, Error> {
    let words = Words { declared, ranks: vec![MOST_RANK; declared.values.len()] };
    let what = declared.what();
    let user = User { what: &what, text: &declared.text, before: 0, dialect: &words };
    let (tokens, _) = user.outline()?;
    // Extents for which no valid constant expression fails.
    let shapes = vec![vec![3; MOST_RANK]; declared.values.len()];
    let prelude = text::prelude(declared, &shapes, &[]);
    let alone = User { before: prelude.len(), ..user };
    let source = prelude + &declared.text;
    let module = naga::front::wgsl::parse_str(&source).map_err(|error| {
        alone.index_error(&source, &tokens, &error).unwrap_or_else(|| alone.parse_error(&error))
    })?;
    let spanned = |(span, reason): (Span, String)| alone.refuse_span(span, reason);
    pure::check_pure(&module, &words).map_err(spanned)?;
    let stages = stages(declared, &module, &alone)?;
    let info = validator().validate(&module).map_err(|error| alone.validation_error(&error, &module))?;
    pure::check_memory(&module, &info).map_err(spanned)?;
    Ok(stages)
}

/// Refuses a text that does not match the shapes, for example by using a dimension that a value does not have.
pub(super) fn inspect_at(declared: &Declared, layer: &str, shapes: &[Vec<usize>]) -> Result<(), Error> {
    let words = Words { declared, ranks: shapes.iter().map(Vec::len).collect() };
    let what = format!("{} in {layer}", declared.what());
    for stage in &declared.stages {
        let (source, before) = text::whole(declared, stage, shapes, &stage.reads);
        let user = User { what: &what, text: &declared.text, before, dialect: &words };
        let module = naga::front::wgsl::parse_str(&source).map_err(|error| user.parse_error(&error))?;
        validator().validate(&module).map_err(|error| user.validation_error(&error, &module))?;
    }
    Ok(())
}

/// The functions of all values, and of all inputs that have a gradient.
fn stages(declared: &Declared, module: &Module, user: &User<'_>) -> Result<Vec<Stage>, Error> {
    let name_of = |(number, value): (usize, &super::Value)| {
        let pass = match value.role {
            Role::Forward | Role::Output(_) => "forward",
            Role::Input | Role::Backward => "backward",
            Role::Labels => return None,
        };
        Some((number, value.role, format!("{pass}_{}", value.name)))
    };
    let all: Vec<(usize, Role, String)> = declared.values.iter().enumerate().filter_map(name_of).collect();
    for (handle, function) in module.functions.iter() {
        let name = function.name.as_deref().unwrap_or_default();
        if is_stage(name) && !all.iter().any(|(_, _, known)| known == name) {
            let known: Vec<&str> = all.iter().map(|(_, _, known)| &**known).collect();
            let near: Vec<String> =
                nearest_few(name, known.iter().copied()).into_iter().map(str::to_owned).collect();
            let reason =
                format!("`{name}` is of no value{}; declared: {}", did_you_mean(&near), listed(name, &known));
            return Err(user.refuse_span(module.functions.get_span(handle), reason));
        }
    }
    // Execution order: the forward pass, the backward pass, then the gradients of inputs.
    let rank = |role: Role| match role {
        Role::Forward | Role::Output(_) => 0,
        Role::Backward => 1,
        Role::Input | Role::Labels => 2,
    };
    let mut ordered = all;
    ordered.sort_by_key(|(number, role, _)| (rank(*role), *number));
    let mut found: Vec<Stage> = Vec::new();
    for (value, role, function) in ordered {
        let mut functions = module.functions.iter();
        let Some((handle, own)) = functions.find(|(_, own)| own.name.as_deref() == Some(&function)) else {
            if role == Role::Input {
                continue;
            }
            let reason = format!("there is no `fn {function}(i: u32) -> f32`");
            return Err(Error::Config { what: declared.what(), reason });
        };
        let refuse = |reason| user.refuse_span(module.functions.get_span(handle), reason);
        if !has_signature(module, own) {
            return Err(refuse(format!(
                "`{function}` has another signature, expected `fn {function}(i: u32) -> f32`"
            )));
        }
        let reads: Vec<Read> = reads(declared, module, handle).into_iter().collect();
        for read in &reads {
            check_order(declared, &found, *read, role)
                .map_err(|why| refuse(format!("`{function}` {why}")))?;
        }
        if reads.len() > MOST_READS {
            let reason = format!("`{function}` reads {} values, expected at most {MOST_READS}", reads.len());
            return Err(refuse(reason));
        }
        found.push(Stage { function, value, reads });
    }
    Ok(found)
}

fn has_signature(module: &Module, function: &Function) -> bool {
    let is = |ty, scalar| module.types[ty].inner == TypeInner::Scalar(scalar);
    let takes = matches!(&function.arguments[..], [index] if is(index.ty, Scalar::U32));
    takes && function.result.as_ref().is_some_and(|result| is(result.ty, Scalar::F32))
}

/// Why a value is not available yet after the stages in `before`, if it is not.
fn check_order(declared: &Declared, before: &[Stage], read: Read, role: Role) -> Result<(), String> {
    let is_forward = matches!(role, Role::Forward | Role::Output(_));
    match read {
        Read::Gradient(value) if is_forward => {
            let name = &declared.values[value].name;
            Err(format!("reads `grad_{name}`, which only the backward pass has"))
        }
        Read::Gradient(_) => Ok(()),
        Read::Value(value) => match declared.values[value].role {
            Role::Input | Role::Labels => Ok(()),
            _ if before.iter().any(|stage| stage.value == value) => Ok(()),
            _ => {
                let name = &declared.values[value].name;
                Err(format!("reads `{name}`, which is not computed before: declare it first"))
            }
        },
    }
}

/// What a function and the functions it calls read.
fn reads(declared: &Declared, module: &Module, function: Handle<Function>) -> BTreeSet<Read> {
    let (mut open, mut seen, mut found) = (vec![function], BTreeSet::new(), BTreeSet::new());
    while let Some(next) = open.pop() {
        if !seen.insert(next) {
            continue;
        }
        let own = &module.functions[next];
        let name = own.name.as_deref().unwrap_or_default();
        for (number, value) in declared.values.iter().enumerate() {
            if value.name == name {
                found.insert(Read::Value(number));
            }
            if matches!(value.role, Role::Output(_)) && name.strip_prefix("grad_") == Some(&value.name) {
                found.insert(Read::Gradient(number));
            }
        }
        open.extend(pure::called(own));
    }
    found
}
