use std::sync::Arc;

use super::inspect::inspect;
use super::{CustomOp, Declared, Role, ShapeRule, Value, text};
use crate::error::{Error, finite};
use crate::wgsl::names::{is_builtin, is_identifier};

/// Builds a [`CustomOp`].
///
/// ```
/// use gradus::graph::CustomOp;
///
/// let square = CustomOp::builder("square", "fn forward_y(i: u32) -> f32 { return x(i) * x(i); }")
///     .input("x")
///     .output("y", |shapes| Ok(shapes[0].to_vec()))
///     .build()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct CustomOpBuilder {
    name: String,
    wgsl: String,
    inputs: Vec<Value>,
    values: Vec<Value>,
    scalars: Vec<(String, f64)>,
}

/// Words of the uniform block available for scalars. A block has 256 bytes, and the kernel needs two words.
const MOST_SCALARS: usize = 62;

/// Maximum number of inputs and values. Each adds functions and constants to the generated WGSL.
const MOST_VALUES: usize = 64;

impl CustomOpBuilder {
    pub(super) fn new(name: String, wgsl: String) -> Self {
        Self { name, wgsl, inputs: vec![], values: vec![], scalars: vec![] }
    }

    /// Adds an input of f32 numbers, of any shape: `<name>(i)`.
    pub fn input(mut self, name: impl Into<String>) -> Self {
        self.inputs.push(Value { name: name.into(), role: Role::Input, shape: None });
        self
    }

    /// Adds an input of class labels (one `u32` per sample): `<name>(i)`.
    pub fn labels(mut self, name: impl Into<String>) -> Self {
        self.inputs.push(Value { name: name.into(), role: Role::Labels, shape: None });
        self
    }

    /// Adds an output, computed by `forward_<name>`. `shape` computes its shape from those of the inputs, or returns
    /// why it cannot. Default: one output, `y`, with the shape of the first input.
    ///
    /// ```
    /// # use gradus::graph::CustomOp;
    /// # let builder = CustomOp::builder("mine", "");
    /// builder.output("y", |shapes| match shapes[0] {
    ///     [rows, columns] if columns % 2 == 0 => Ok(vec![*rows, columns / 2]),
    ///     other => Err(format!("expected rows of an even length, got {other:?}")),
    /// });
    /// ```
    pub fn output(
        self,
        name: impl Into<String>,
        shape: impl Fn(&[&[usize]]) -> Result<Vec<usize>, String> + Send + Sync + 'static,
    ) -> Self {
        let outputs = self.values.iter().filter(|value| matches!(value.role, Role::Output(_))).count();
        self.value(name.into(), Role::Output(outputs), Box::new(shape))
    }

    /// Adds an intermediate value of the forward pass, computed by `forward_<name>`. Later functions and the backward
    /// pass can read it. See [`CustomOpBuilder::output`].
    pub fn forward(
        self,
        name: impl Into<String>,
        shape: impl Fn(&[&[usize]]) -> Result<Vec<usize>, String> + Send + Sync + 'static,
    ) -> Self {
        self.value(name.into(), Role::Forward, Box::new(shape))
    }

    /// Adds an intermediate value of the backward pass, computed by `backward_<name>` before the gradients of the
    /// inputs. See [`CustomOpBuilder::output`].
    pub fn backward(
        self,
        name: impl Into<String>,
        shape: impl Fn(&[&[usize]]) -> Result<Vec<usize>, String> + Send + Sync + 'static,
    ) -> Self {
        self.value(name.into(), Role::Backward, Box::new(shape))
    }

    /// Adds a number that all functions can read as `scalars.<name>`, with its default value, which must be finite as
    /// f32.
    pub fn scalar(mut self, name: impl Into<String>, default: f64) -> Self {
        self.scalars.push((name.into(), default));
        self
    }

    fn value(mut self, name: String, role: Role, shape: Box<ShapeRule>) -> Self {
        self.values.push(Value { name, role, shape: Some(shape) });
        self
    }

    /// Creates the operation. Checks the names and the WGSL as far as possible without shapes. Needs no device.
    ///
    /// # Errors
    /// [`Error::Wgsl`] with the position of an error in the text; [`Error::Config`] for a name that cannot be used, a
    /// missing function, or an operation without inputs; [`Error::Duplicate`]; [`Error::Constant`] for too many
    /// values or scalars, or a scalar that is not finite.
    pub fn build(self) -> Result<CustomOp, Error> {
        let Self { name, wgsl, inputs, values, scalars } = self;
        let mut values: Vec<Value> = inputs.into_iter().chain(values).collect();
        if !values.iter().any(|value| matches!(value.role, Role::Output(_))) {
            let shape = Box::new(|shapes: &[&[usize]]| Ok(shapes[0].to_vec()));
            values.push(Value { name: "y".into(), role: Role::Output(0), shape: Some(shape) });
        }
        let scalars = scalars
            .into_iter()
            .map(|(name, value)| Ok((name.clone(), finite_f32(&name, value)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let mut declared = Declared { name, text: wgsl, values, scalars, stages: vec![] };
        check(&declared)?;
        declared.stages = inspect(&declared)?;
        let scalars = declared.scalars.iter().map(|(_, value)| *value).collect();
        Ok(CustomOp { declared: Arc::new(declared), scalars })
    }
}

/// The value as f32. Refuses a value that is not finite as f32.
pub(super) fn finite_f32(name: &str, value: f64) -> Result<f32, Error> {
    finite(name, value)?;
    #[expect(clippy::cast_possible_truncation, reason = "what becomes infinite is refused")]
    let short = value as f32;
    if short.is_finite() { Ok(short) } else { Err(Error::constant(name, "finite in 32 bits", value)) }
}

fn check(declared: &Declared) -> Result<(), Error> {
    let refuse = |reason: String| Err(Error::Config { what: declared.what(), reason });
    if declared.name.is_empty() {
        return refuse("the name is empty".into());
    }
    if declared.inputs() == 0 {
        return refuse("it has no input: declare one with `input` or `labels`".into());
    }
    for (what, most, got) in [
        ("inputs and values", MOST_VALUES, declared.values.len()),
        ("scalars", MOST_SCALARS, declared.scalars.len()),
    ] {
        if got > most {
            return Err(Error::constant(what, format!("at most {most}"), got));
        }
    }
    let mut taken: Vec<String> = Vec::new();
    let all = declared.values.iter().map(|value| ("value", &value.name));
    for (kind, name) in all.chain(declared.scalars.iter().map(|(name, _)| ("scalar", name))) {
        if !is_identifier(name) {
            return refuse(format!(
                "{kind} {name:?}: expected a name of WGSL: letters, digits and underscores, no digit first, no two \
                 underscores first, no keyword or reserved word"
            ));
        }
        let begins =
            ["gradus_", "grad_", "forward_", "backward_"].iter().find(|begin| name.starts_with(**begin));
        let why = match begins {
            Some(begin) => format!("names that begin with {begin} are reserved"),
            None if kind == "value" && is_builtin(name) => "it is a built-in of WGSL".into(),
            None if kind == "value" && matches!(&name[..], "main" | "scalars") => {
                "the surrounding kernel uses it".into()
            }
            None => continue,
        };
        return refuse(format!("{kind} {name:?}: {why}, choose another name"));
    }
    for (number, (name, _)) in declared.scalars.iter().enumerate() {
        if declared.scalars[..number].iter().any(|(earlier, _)| earlier == name) {
            return Err(Error::Duplicate { kind: "scalar", name: name.clone() });
        }
    }
    for value in &declared.values {
        for name in
            text::constants(&value.name, super::inspect::MOST_RANK).into_iter().chain([value.name.clone()])
        {
            if taken.contains(&name) {
                return Err(Error::Duplicate { kind: "name in an op", name });
            }
            taken.push(name);
        }
    }
    Ok(())
}
