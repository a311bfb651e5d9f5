//! `layers/cases.json`: outputs and gradients of operations, from every kind of kernels.

use std::cell::RefCell;
use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use gradus::gpu::Recorder;
use gradus::graph::{Graph, HostData, Init, PlanOptions, Var, Workspace};
use gradus::nn::{
    AvgPool2d, Conv1d, Conv2d, ConvTranspose2d, CrossEntropy, Linear, MaxPool2d, Padding, Pair, Reduction,
    Upsample,
};
use gradus::{Gpu, GpuOptions};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::harness::{Envelope, Folder, Report, Tensor, Tensors, Tolerance};
use crate::not_yet::NotYet;

/// Builds the case's operation; its tensors become parameters, so that their gradients can be read.
type Build = fn(&Inputs<'_>) -> Result<Var>;

const OPS: &[(&str, Build)] = &[
    ("adaptive_avgpool2d", adaptive_avg_pool2d),
    ("avgpool2d", avg_pool2d),
    ("conv1d", conv1d),
    ("conv2d", conv2d),
    ("conv_transpose2d", conv_transpose2d),
    ("cross_entropy", cross_entropy),
    ("dropout", dropout),
    ("gelu", gelu),
    ("linear", linear),
    ("log_softmax", |inputs| Ok(inputs.tensor("x")?.log_softmax(inputs.dim()?))),
    ("maxpool2d", max_pool2d),
    ("mse", mse),
    ("relu", |inputs| inputs.unary(Var::relu)),
    ("sigmoid", |inputs| inputs.unary(Var::sigmoid)),
    ("softmax", |inputs| Ok(inputs.tensor("x")?.softmax(inputs.dim()?))),
    ("tanh", |inputs| inputs.unary(Var::tanh)),
    ("upsample", upsample),
];

pub(crate) fn run(folder: &Folder, not_yet: &NotYet) -> Report {
    Report::of(|report| {
        let gpus = match Gpu::of_each_kind(&GpuOptions::default()) {
            Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
                println!("golden layers: SKIPPED, {error}");
                return Ok(());
            }
            gpus => gpus?,
        };
        if let [only] = &gpus[..] {
            println!("golden layers: {} runs one kind of kernels only", only.info().name);
        }
        let known: Vec<&str> = OPS.iter().map(|(op, _)| *op).collect();
        report.refuse_stale("op", not_yet.ops, &known);
        let file = folder.json("layers/cases.json")?;
        let cases = file.get("cases").unwrap_or(&file);
        report.check(
            cases,
            |body| waits(body, not_yet),
            |envelope, body| {
                gpus.iter().try_for_each(|gpu| {
                    check(gpu, folder, envelope, &body)
                        .with_context(|| format!("{:?} kernels", gpu.kernel_kind()))
                })
            },
        )
    })
}

/// Whether a case uses an op that is not there yet, or a listed attribute at another value than its default.
fn waits(body: &Map<String, Value>, not_yet: &NotYet) -> bool {
    let op = body.get("op").and_then(Value::as_str).unwrap_or_default();
    let differs = |attribute: &str, default: &str| {
        let value = body.get("attrs").and_then(|attrs| attrs.get(attribute));
        let default = serde_json::from_str(default).expect("NOT_YET holds JSON");
        value.is_some_and(|value| !is_default(value, &default))
    };
    not_yet.ops.contains(&op)
        || not_yet
            .attributes
            .iter()
            .filter_map(|(path, default)| Some((path.strip_prefix(op)?.strip_prefix('.')?, default)))
            .any(|(attribute, default)| differs(attribute, default))
}

/// Whether a value is the default, as another kind of number or once for each axis too.
fn is_default(value: &Value, default: &Value) -> bool {
    match value {
        Value::Array(axes) => axes.iter().all(|axis| is_default(axis, default)),
        Value::Number(number) => number.as_f64() == default.as_f64(),
        _ => value == default,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    op: String,
    attrs: Map<String, Value>,
    #[serde(rename = "tensors")]
    _shapes: Value,
}

/// A number for both axes, or one for each.
#[derive(Deserialize)]
#[serde(untagged)]
enum Either<T> {
    Both(T),
    Each([T; 2]),
}

/// What an operation is built from: every attribute must be known, and every tensor asked for.
struct Inputs<'a> {
    graph: Graph,
    tensors: &'a Tensors,
    attributes: Map<String, Value>,
    asked: RefCell<BTreeSet<String>>,
}

impl Inputs<'_> {
    fn get(&self, name: &str) -> Result<&Tensor> {
        self.find(name).with_context(|| format!("no tensor {name}"))
    }

    fn find(&self, name: &str) -> Option<&Tensor> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.tensors.get(name)
    }

    /// Refuses a case with tensors that nothing has asked for.
    fn refuse_unused(&self) -> Result<()> {
        let asked = self.asked.borrow();
        match self.tensors.names().find(|name| !asked.contains(*name)) {
            None => Ok(()),
            Some(name) => bail!("tensor {name} was not used"),
        }
    }

    fn tensor(&self, name: &str) -> Result<Var> {
        let shape = self.get(name)?.shape.clone();
        Ok(self.graph.parameter(name, shape, Init::Constant(0.0)))
    }

    fn unary(&self, op: impl Fn(&Var) -> Var) -> Result<Var> {
        self.only(&[])?;
        Ok(op(&self.tensor("x")?))
    }

    /// The only attribute, a dimension.
    fn dim(&self) -> Result<isize> {
        self.only(&["dim"])?;
        self.attribute("dim")?.context("no dim")
    }

    /// A number for both axes, or one for each.
    fn pair(&self, name: &str, default: usize) -> Result<Pair> {
        Ok(match self.attribute(name)? {
            None => default.into(),
            Some(Either::Both::<usize>(both)) => both.into(),
            Some(Either::Each(each)) => each.into(),
        })
    }

    /// Zeros around the input of a convolution, or torch's name for them.
    fn padding(&self) -> Result<Padding> {
        match self.attributes.get("padding").and_then(Value::as_str) {
            None => Ok(self.pair("padding", 0)?.into()),
            Some("same") => Ok(Padding::SAME),
            Some("valid") => Ok(Padding::VALID),
            Some(other) => bail!("unknown padding {other}"),
        }
    }

    /// An attribute, unless it is absent or null.
    fn attribute<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let value = self.attributes.get(name).cloned().unwrap_or_default();
        serde_json::from_value(value).with_context(|| name.to_owned())
    }

    fn reduction(&self) -> Result<Reduction> {
        Ok(match self.attribute::<String>("reduction")?.as_deref() {
            None | Some("mean") => Reduction::Mean,
            Some("sum") => Reduction::Sum,
            Some("none") => Reduction::None,
            Some(other) => bail!("unknown reduction {other}"),
        })
    }

    /// Refuses attributes that the op does not know.
    fn only(&self, known: &[&str]) -> Result<()> {
        match self.attributes.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => bail!("unknown attribute {key}"),
        }
    }
}

fn conv2d(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["layout", "stride", "padding", "dilation", "groups"])?;
    let [out, _, height, width] = inputs.get("weight")?.shape[..] else { bail!("the weight is not OIHW") };
    let mut layer = Conv2d::new(out, [height, width])
        .stride(inputs.pair("stride", 1)?)
        .padding(inputs.padding()?)
        .dilation(inputs.pair("dilation", 1)?)
        .groups(inputs.attribute("groups")?.unwrap_or(1))
        .name("");
    if inputs.get("bias").is_err() {
        layer = layer.without_bias();
    }
    Ok(inputs.tensor("x")?.conv2d(layer))
}

fn conv1d(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["layout", "stride", "padding", "dilation", "groups"])?;
    let [out, _, kernel] = inputs.get("weight")?.shape[..] else { bail!("the weight is not OIL") };
    let mut layer = Conv1d::new(out, kernel)
        .stride(inputs.attribute("stride")?.unwrap_or(1))
        .padding(inputs.padding()?)
        .dilation(inputs.attribute("dilation")?.unwrap_or(1))
        .groups(inputs.attribute("groups")?.unwrap_or(1))
        .name("");
    if inputs.get("bias").is_err() {
        layer = layer.without_bias();
    }
    Ok(inputs.tensor("x")?.conv1d(layer))
}

fn conv_transpose2d(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["layout", "stride", "padding", "output_padding", "dilation", "groups"])?;
    let groups = inputs.attribute("groups")?.unwrap_or(1);
    let [_, out, height, width] = inputs.get("weight")?.shape[..] else { bail!("the weight is not IOHW") };
    let mut layer = ConvTranspose2d::new(out * groups, [height, width])
        .stride(inputs.pair("stride", 1)?)
        .padding(inputs.pair("padding", 0)?)
        .output_padding(inputs.pair("output_padding", 0)?)
        .dilation(inputs.pair("dilation", 1)?)
        .groups(groups)
        .name("");
    if inputs.get("bias").is_err() {
        layer = layer.without_bias();
    }
    Ok(inputs.tensor("x")?.conv_transpose2d(layer))
}

fn linear(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&[])?;
    let mut layer = Linear::new(inputs.get("weight")?.shape[0]).name("");
    if inputs.get("bias").is_err() {
        layer = layer.without_bias();
    }
    Ok(inputs.tensor("x")?.linear(layer))
}

fn max_pool2d(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["kernel", "stride", "padding", "dilation", "ceil_mode"])?;
    let mut pool = MaxPool2d::new(inputs.pair("kernel", 0)?)
        .padding(inputs.pair("padding", 0)?)
        .dilation(inputs.pair("dilation", 1)?)
        .ceil_mode(inputs.attribute("ceil_mode")?.unwrap_or(false));
    if inputs.attributes.get("stride").is_some_and(|stride| !stride.is_null()) {
        pool = pool.stride(inputs.pair("stride", 0)?);
    }
    Ok(inputs.tensor("x")?.max_pool2d(pool))
}

fn gelu(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["approximate"])?;
    let x = inputs.tensor("x")?;
    match inputs.attribute("approximate")?.unwrap_or("none".to_owned()).as_str() {
        "none" => Ok(x.gelu()),
        "tanh" => Ok(x.gelu_tanh()),
        other => bail!("unknown approximation {other}"),
    }
}

/// With the recorded mask; its absence leaves what does not depend on one.
fn dropout(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["p", "training"])?;
    let (x, p) = (inputs.tensor("x")?, inputs.attribute("p")?.unwrap_or(0.5));
    if !inputs.attribute("training")?.unwrap_or(true) {
        return Ok(x.dropout(0.0));
    }
    match inputs.get("mask") {
        Ok(_) => Ok(x.dropout_mask(p, &inputs.tensor("mask")?)),
        Err(_) => Ok(x.dropout(p)),
    }
}

fn avg_pool2d(inputs: &Inputs<'_>) -> Result<Var> {
    let known = ["kernel", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"];
    inputs.only(&known)?;
    let mut pool = AvgPool2d::new(inputs.pair("kernel", 0)?)
        .padding(inputs.pair("padding", 0)?)
        .ceil_mode(inputs.attribute("ceil_mode")?.unwrap_or(false))
        .count_include_pad(inputs.attribute("count_include_pad")?.unwrap_or(true))
        .divisor_override(inputs.attribute("divisor_override")?);
    if inputs.attributes.get("stride").is_some_and(|stride| !stride.is_null()) {
        pool = pool.stride(inputs.pair("stride", 0)?);
    }
    Ok(inputs.tensor("x")?.avg_pool2d(pool))
}

fn adaptive_avg_pool2d(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["output_size"])?;
    let axes: [Option<usize>; 2] = match inputs.attribute("output_size")?.context("no output_size")? {
        Either::Both(both) => [both; 2],
        Either::Each(each) => each,
    };
    Ok(inputs.tensor("x")?.adaptive_avg_pool2d(axes))
}

fn upsample(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["size", "scale_factor", "mode"])?;
    match inputs.attribute::<String>("mode")?.as_deref() {
        None | Some("nearest") => {}
        Some(other) => bail!("unknown mode {other}"),
    }
    let x = inputs.tensor("x")?;
    let layer = match (inputs.attribute("size")?, inputs.attribute("scale_factor")?) {
        (Some(Either::Both(size)), None) => Upsample::to_size(size),
        (Some(Either::Each(size)), None) => Upsample::to_size(size),
        (None, Some(Either::Both::<f64>(scale))) => Upsample::new(scale),
        (None, Some(Either::Each(scale))) => Upsample::new(scale),
        _ => bail!("either a size or a scale factor"),
    };
    Ok(x.upsample(layer))
}

fn cross_entropy(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["reduction", "label_smoothing", "ignore_index", "layout", "target"])?;
    let labels = inputs.graph.labels("target", inputs.get("target")?.shape[0]);
    let mut options = CrossEntropy::new()
        .label_smoothing(inputs.attribute("label_smoothing")?.unwrap_or(0.0))
        .ignore_index(inputs.attribute("ignore_index")?.map(to_class))
        .reduction(inputs.reduction()?);
    if let Some(weight) = inputs.find("class_weight") {
        options = options.weight(&narrow(weight));
    }
    Ok(inputs.tensor("x")?.cross_entropy_with(options, &labels))
}

fn mse(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["reduction"])?;
    Ok(inputs.tensor("x")?.mse_loss_with(inputs.reduction()?, &inputs.tensor("target")?))
}

fn check(gpu: &Gpu, folder: &Folder, envelope: &Envelope, body: &Map<String, Value>) -> Result<()> {
    let case: Case = serde_json::from_value(Value::Object(body.clone()))?;
    let (_, build) =
        OPS.iter().find(|(op, _)| *op == case.op).with_context(|| format!("no op {}", case.op))?;
    let tensors = folder.tensors(&format!("layers/{}", envelope.file.as_ref().context("no file")?))?;
    let (graph, asked) = Default::default();
    let inputs = Inputs { graph, tensors: &tensors, attributes: case.attrs, asked };
    let y = build(&inputs)?;
    let mut params = inputs.graph.store(gpu, 0)?;
    let names: Vec<String> = inputs.graph.parameters().into_iter().map(|p| p.name).collect();
    for name in &names {
        params.write(name, &narrow(inputs.get(golden_name(name))?))?;
    }
    let options = PlanOptions::train(&y).upstream("dy");
    let plan = inputs.graph.compile(&params, &options, &mut Workspace::new())?;
    for (input, shape) in plan.inputs() {
        let labels: Vec<u32>;
        let numbers: Vec<f32>;
        let data: &dyn HostData = match (input, inputs.find(input)) {
            ("dy", None) => {
                numbers = vec![1.0; shape.iter().product()];
                &numbers
            }
            ("dy", Some(data)) => {
                numbers = narrow(data);
                &numbers
            }
            (labelled, _) => {
                labels = inputs.get(labelled)?.data.iter().map(|label| to_class(*label)).collect();
                &labels
            }
        };
        plan.write(input, data)?;
    }
    let mut encoder = gpu.encoder("layer");
    plan.record(&mut Recorder::new(gpu, &mut encoder)).unwrap();
    gpu.submit(encoder)?;
    compare("y", &plan.read("loss")?, inputs.get("y")?)?;
    for name in &names {
        let golden = format!("grad.{}", golden_name(name));
        if let Some(want) = inputs.find(&golden) {
            compare(&golden, &params.read_grad(name)?, want)?;
        }
    }
    inputs.refuse_unused()
}

/// Layers put their own name, here empty, before their parameters'.
fn golden_name(parameter: &str) -> &str {
    parameter.trim_start_matches('.')
}

/// Labels were integers; a negative one, which only `ignore_index` may be, becomes a class that does not exist.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "labels were integers")]
fn to_class(label: f64) -> u32 {
    label as i64 as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the library computes in f32")]
fn narrow(tensor: &Tensor) -> Vec<f32> {
    tensor.data.iter().map(|x| *x as f32).collect()
}

fn compare(place: &str, got: &[f32], want: &Tensor) -> Result<()> {
    let largest = want.data.iter().fold(1.0_f64, |largest, x| largest.max(x.abs()));
    let tolerance = Tolerance { rtol: 1e-4, atol: 1e-5 * largest };
    let got: Vec<f64> = got.iter().copied().map(f64::from).collect();
    tolerance.compare(place, &got, &want.data)
}
