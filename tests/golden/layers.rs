//! `layers/cases.json`: outputs and gradients of operations, from every kind of kernels.

use std::cell::RefCell;
use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use gradus::gpu::Recorder;
use gradus::graph::{Graph, HostData, Init, PlanOptions, Var, Workspace};
use gradus::nn::{
    AvgPool2d, BCEWithLogitsLoss, BatchNorm, Conv1d, Conv2d, ConvTranspose2d, CosineEmbeddingLoss,
    CrossEntropy, Embedding, GroupNorm, HuberLoss, KLDivLoss, LayerNorm, Linear, MaxPool2d,
    MultiheadAttention, NllLoss, PReLU, Padding, Pair, RMSNorm, Reduction, ScaledDotProductAttention,
    SmoothL1Loss, Upsample,
};
use gradus::{Gpu, GpuOptions};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::harness::{Envelope, Folder, Report, Tensor, Tensors, Tolerance};
use crate::not_yet::NotYet;
use crate::recurrent;

/// Builds the case's operation; its tensors become parameters, so that their gradients can be read. It returns the first
/// output, and tells [`Inputs::output`] the others.
type Build = fn(&Inputs<'_>) -> Result<Var>;

const OPS: &[(&str, Build)] = &[
    ("argmax", |inputs| {
        inputs.only(&["dim", "keepdim"])?;
        Ok(inputs.tensor("x")?.argmax(inputs.attribute::<isize>("dim")?, inputs.keepdim()?))
    }),
    ("avgpool2d", avg_pool2d),
    ("chunk", chunk),
    ("concat", |inputs| inputs.joined(Var::concat)),
    ("batchnorm", batch_norm),
    ("bce", |inputs| {
        inputs.only(&["reduction"])?;
        Ok(inputs.tensor("x")?.binary_cross_entropy_with(inputs.reduction()?, &inputs.tensor("target")?))
    }),
    ("bce_with_logits", bce_with_logits),
    ("adaptive_avgpool2d", adaptive_avg_pool2d),
    ("conv1d", conv1d),
    ("conv2d", conv2d),
    ("conv_transpose2d", conv_transpose2d),
    ("cosine_embedding", cosine_embedding),
    ("cross_entropy", cross_entropy),
    ("dropout", dropout),
    ("embedding", embedding),
    ("expand", |inputs| Ok(inputs.tensor("x")?.expand(&inputs.dims("size", &["size"])?))),
    ("gelu", gelu),
    ("gru", recurrent::gru),
    ("groupnorm", group_norm),
    ("huber", huber),
    ("kl_div", kl_div),
    ("l1", |inputs| {
        inputs.only(&["reduction"])?;
        Ok(inputs.tensor("x")?.l1_loss_with(inputs.reduction()?, &inputs.tensor("target")?))
    }),
    ("layernorm", layer_norm),
    ("linear", linear),
    ("log_softmax", |inputs| Ok(inputs.tensor("x")?.log_softmax(inputs.dim()?))),
    ("lstm", recurrent::lstm),
    ("max", |inputs| Ok(inputs.tensor("x")?.amax(&inputs.axes(&[])?, inputs.keepdim()?))),
    ("matmul", matmul),
    ("maxpool2d", max_pool2d),
    ("mean", |inputs| Ok(inputs.tensor("x")?.mean_dim(&inputs.axes(&[])?, inputs.keepdim()?))),
    ("mha", mha),
    ("min", |inputs| Ok(inputs.tensor("x")?.amin(&inputs.axes(&[])?, inputs.keepdim()?))),
    ("mse", mse),
    ("nll", nll),
    ("pad", pad),
    ("permute", |inputs| Ok(inputs.tensor("x")?.permute(&inputs.dims("dims", &["dims"])?))),
    ("relu", |inputs| inputs.unary(Var::relu)),
    ("rnn", recurrent::rnn),
    ("rnn_tanh", recurrent::rnn_tanh),
    ("reshape", |inputs| Ok(inputs.tensor("x")?.reshape(&inputs.dims("shape", &["shape"])?))),
    ("rmsnorm", rms_norm),
    ("scaled_dot_product_attention", scaled_dot_product_attention),
    ("sigmoid", |inputs| inputs.unary(Var::sigmoid)),
    ("slice", slice),
    ("smooth_l1", smooth_l1),
    ("softmax", |inputs| Ok(inputs.tensor("x")?.softmax(inputs.dim()?))),
    ("split", split),
    ("squeeze", |inputs| {
        inputs.only(&["dim"])?;
        Ok(inputs.tensor("x")?.squeeze(inputs.attribute::<isize>("dim")?))
    }),
    ("stack", |inputs| inputs.joined(Var::stack)),
    ("sum", |inputs| Ok(inputs.tensor("x")?.sum_dim(&inputs.axes(&[])?, inputs.keepdim()?))),
    ("tanh", |inputs| inputs.unary(Var::tanh)),
    ("transpose", transpose),
    ("unsqueeze", |inputs| Ok(inputs.tensor("x")?.unsqueeze(inputs.dim()?))),
    ("var", |inputs| {
        let correction = inputs.attribute("correction")?.unwrap_or(1);
        Ok(inputs.tensor("x")?.var_dim(&inputs.axes(&["correction"])?, correction, inputs.keepdim()?))
    }),
    ("upsample", upsample),
    ("abs", |inputs| inputs.unary(Var::abs)),
    ("exp", |inputs| inputs.unary(Var::exp)),
    ("log", |inputs| inputs.unary(Var::log)),
    ("sqrt", |inputs| inputs.unary(Var::sqrt)),
    ("rsqrt", |inputs| inputs.unary(Var::rsqrt)),
    ("selu", |inputs| inputs.unary(Var::selu)),
    ("hardswish", |inputs| inputs.unary(Var::hardswish)),
    ("mish", |inputs| inputs.unary(Var::mish)),
    ("log_sigmoid", |inputs| inputs.unary(Var::log_sigmoid)),
    ("silu", |inputs| inputs.unary(Var::silu)),
    ("add", |inputs| inputs.binary(Var::add)),
    ("sub", |inputs| inputs.binary(Var::sub)),
    ("mul", |inputs| inputs.binary(Var::mul)),
    ("div", |inputs| inputs.binary(Var::div)),
    ("maximum", |inputs| inputs.binary(Var::maximum)),
    ("minimum", |inputs| inputs.binary(Var::minimum)),
    ("clamp", |inputs| {
        inputs.only(&["min", "max"])?;
        Ok(inputs.tensor("x")?.clamp(inputs.attribute::<f64>("min")?, inputs.attribute::<f64>("max")?))
    }),
    ("elu", |inputs| Ok(inputs.tensor("x")?.elu(inputs.number("alpha", 1.0)?))),
    ("hardtanh", |inputs| {
        inputs.only(&["min_val", "max_val"])?;
        let bound = |name: &str, default: f64| anyhow::Ok(inputs.attribute(name)?.unwrap_or(default));
        anyhow::Ok(inputs.tensor("x")?.hardtanh(bound("min_val", -1.0)?, bound("max_val", 1.0)?))
    }),
    ("leaky_relu", |inputs| Ok(inputs.tensor("x")?.leaky_relu(inputs.number("negative_slope", 0.01)?))),
    ("pow", |inputs| {
        inputs.only(&["exponent"])?;
        Ok(inputs.tensor("x")?.pow(inputs.attribute("exponent")?.context("no exponent")?))
    }),
    ("prelu", |inputs| {
        inputs.only(&[])?;
        let channels = inputs.get("weight")?.shape[0];
        Ok(inputs.tensor("x")?.prelu(PReLU::new().num_parameters(channels).name("")))
    }),
    ("reg_l1", |inputs| Ok(inputs.tensor("x")?.abs().sum() * inputs.number("lam", 0.0)?)),
    ("reg_l2", |inputs| Ok(inputs.tensor("x")?.square().sum() * inputs.number("lam", 0.0)?)),
    ("softplus", |inputs| {
        inputs.only(&["beta", "threshold"])?;
        let number = |name: &str, default: f64| anyhow::Ok(inputs.attribute(name)?.unwrap_or(default));
        anyhow::Ok(inputs.tensor("x")?.softplus(number("beta", 1.0)?, number("threshold", 20.0)?))
    }),
    ("where", |inputs| {
        inputs.only(&[])?;
        let condition = inputs.tensor("condition")?.detach();
        Ok(inputs.tensor("x")?.where_(&condition, &inputs.tensor("other")?))
    }),
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
pub(crate) struct Inputs<'a> {
    pub(crate) graph: Graph,
    tensors: &'a Tensors,
    attributes: Map<String, Value>,
    asked: RefCell<BTreeSet<String>>,
    /// Outputs beside the first, by their names in the case.
    further: RefCell<Vec<(String, Var)>>,
}

impl Inputs<'_> {
    pub(crate) fn get(&self, name: &str) -> Result<&Tensor> {
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

    pub(crate) fn tensor(&self, name: &str) -> Result<Var> {
        let mut shape = self.get(name)?.shape.clone();
        if shape.is_empty() {
            // What has no axes has one of one element here.
            shape.push(1);
        }
        Ok(self.graph.parameter(name, shape, Init::Constant(0.0)))
    }

    /// The case's name of a parameter: layers put their own name, here empty, before it.
    fn golden_name<'n>(&self, parameter: &'n str) -> &'n str {
        let name = parameter.trim_start_matches('.');
        let of_attention = match name {
            "in_proj_weight" => Some("w_qkv"),
            "in_proj_bias" => Some("b_qkv"),
            "out_proj.weight" => Some("w_o"),
            "out_proj.bias" => Some("b_o"),
            _ => None,
        };
        if let Some(short) = of_attention.filter(|short| self.has(short)) {
            return short;
        }
        // One case has names without the number of a layer.
        let short = recurrent::SHORT_NAMES.iter().find(|(long, _)| *long == name && !self.has(long));
        short.map_or(name, |(_, short)| short)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.get(name).is_some()
    }

    /// Notes an output beside the first: it is compared with `y.<name>`, and `dy.<name>` is its upstream gradient.
    pub(crate) fn output(&self, name: &str, var: &Var) {
        self.further.borrow_mut().push((format!("y.{name}"), var.clone()));
    }

    /// The plan of a case. With several outputs the sum of `dy * y` over those with a `dy` is differentiated.
    fn options(&self, y: &Var) -> PlanOptions {
        let further = self.further.borrow();
        if further.is_empty() {
            return PlanOptions::train(y).upstream("dy").output("y", y);
        }
        let outputs = || std::iter::once(("y", y)).chain(further.iter().map(|(name, var)| (&name[..], var)));
        let terms = outputs().filter_map(|(name, var)| {
            let upstream = format!("d{name}");
            // A mask of any numbers, of which none are dropped: their product.
            let product = || var.dropout_mask(0.0, &self.graph.input(&upstream, var.shape())).sum();
            self.has(&upstream).then(product)
        });
        let sum = terms.reduce(|sum, term| sum.add(&term));
        let options = sum.map_or(PlanOptions::evaluate(), |sum| PlanOptions::train(&sum));
        outputs().fold(options, |options, (name, var)| options.output(name, var))
    }

    fn unary(&self, op: impl Fn(&Var) -> Var) -> Result<Var> {
        self.only(&[])?;
        Ok(op(&self.tensor("x")?))
    }

    fn binary(&self, op: impl Fn(&Var, &Var) -> Var) -> Result<Var> {
        self.only(&[])?;
        Ok(op(&self.tensor("x")?, &self.tensor("other")?))
    }

    /// The only attribute, a number.
    fn number(&self, name: &str, default: f64) -> Result<f64> {
        self.only(&[name])?;
        Ok(self.attribute(name)?.unwrap_or(default))
    }

    /// The only attribute, a dimension.
    fn dim(&self) -> Result<isize> {
        self.only(&["dim"])?;
        self.attribute("dim")?.context("no dim")
    }

    /// A list of dimensions or extents, of which a list of one may be a number.
    fn dims(&self, name: &str, known: &[&str]) -> Result<Vec<isize>> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            One(isize),
            Each(Vec<isize>),
        }
        self.only(known)?;
        Ok(match self.attribute(name)? {
            None => Vec::new(),
            Some(Either::One(one)) => vec![one],
            Some(Either::Each(each)) => each,
        })
    }

    /// The axes of a reduction: all, without `dim`.
    fn axes(&self, more: &[&str]) -> Result<Vec<isize>> {
        self.dims("dim", &[&["dim", "keepdim"], more].concat())
    }

    fn keepdim(&self) -> Result<bool> {
        Ok(self.attribute("keepdim")?.unwrap_or(false))
    }

    /// The tensors `x0`, `x1`, .. along a dimension.
    fn joined(&self, join: impl Fn(&Var, &[&Var], isize) -> Var) -> Result<Var> {
        self.only(&["dim"])?;
        let dim = self.attribute("dim")?.unwrap_or(0);
        let mut parts = vec![self.tensor("x0")?];
        while self.tensors.get(&format!("x{}", parts.len())).is_some() {
            parts.push(self.tensor(&format!("x{}", parts.len()))?);
        }
        Ok(join(&parts[0], &parts[1..].iter().collect::<Vec<_>>(), dim))
    }

    /// The first of several outputs; the others are `1`, `2`, ..
    fn first_of(&self, outputs: &[Var]) -> Result<Var> {
        let (first, rest) = outputs.split_first().context("no outputs")?;
        rest.iter().enumerate().for_each(|(at, output)| self.output(&(at + 1).to_string(), output));
        Ok(first.clone())
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
    pub(crate) fn attribute<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let value = self.attributes.get(name).cloned().unwrap_or_default();
        serde_json::from_value(value).with_context(|| name.to_owned())
    }

    /// The last extents, or the last one.
    fn normalized_shape(&self) -> Result<Vec<usize>> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Last(usize),
            Each(Vec<usize>),
        }
        Ok(match self.attribute("normalized_shape")?.context("no normalized_shape")? {
            Either::Last(last) => vec![last],
            Either::Each(each) => each,
        })
    }

    fn reduction(&self) -> Result<Reduction> {
        Ok(match self.attribute::<String>("reduction")?.as_deref() {
            None | Some("mean") => Reduction::Mean,
            Some("sum") => Reduction::Sum,
            Some("none") => Reduction::None,
            Some("batchmean") => Reduction::BatchMean,
            Some(other) => bail!("unknown reduction {other}"),
        })
    }

    /// Refuses a layout that does not name the axes of `x`, of which the classes are the second.
    fn check_layout(&self) -> Result<()> {
        let layout: Option<String> = self.attribute("layout")?;
        let fits = |layout: &String| layout.starts_with("NC") && layout.len() == self.tensors_rank("x");
        match layout.filter(|layout| !fits(layout)) {
            None => Ok(()),
            Some(layout) => bail!("layout {layout} of x"),
        }
    }

    fn tensors_rank(&self, name: &str) -> usize {
        self.tensors.get(name).map_or(0, |tensor| tensor.shape.len())
    }

    /// Refuses attributes that the op does not know.
    pub(crate) fn only(&self, known: &[&str]) -> Result<()> {
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

fn layer_norm(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["normalized_shape", "eps"])?;
    let mut layer = LayerNorm::new(inputs.normalized_shape()?)
        .eps(inputs.attribute("eps")?.unwrap_or(1e-5))
        .elementwise_affine(inputs.find("weight").is_some())
        .name("");
    if inputs.find("bias").is_none() {
        layer = layer.without_bias();
    }
    Ok(inputs.tensor("x")?.layer_norm(layer))
}

fn rms_norm(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["normalized_shape", "eps"])?;
    let layer = RMSNorm::new(inputs.normalized_shape()?)
        .eps(inputs.attribute("eps")?)
        .elementwise_affine(inputs.find("weight").is_some());
    Ok(inputs.tensor("x")?.rms_norm(layer.name("")))
}

fn group_norm(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["num_groups", "eps"])?;
    let layer = GroupNorm::new(inputs.attribute("num_groups")?.context("no num_groups")?)
        .eps(inputs.attribute("eps")?.unwrap_or(1e-5))
        .affine(inputs.find("weight").is_some());
    Ok(inputs.tensor("x")?.group_norm(layer.name("")))
}

fn batch_norm(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["training", "momentum", "eps"])?;
    let layer = BatchNorm::new()
        .eps(inputs.attribute("eps")?.unwrap_or(1e-5))
        .momentum(inputs.attribute("momentum")?.unwrap_or(0.1))
        .training(inputs.attribute("training")?.unwrap_or(true))
        .affine(inputs.find("weight").is_some())
        .track_running_stats(inputs.find("running_mean_in").is_some())
        .name("");
    let x = inputs.tensor("x")?;
    Ok(if x.shape().len() == 4 { x.batch_norm2d(layer) } else { x.batch_norm1d(layer) })
}

fn matmul(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["transpose_x", "transpose_other"])?;
    let factor = |name: &str, transpose: &str| -> Result<Var> {
        let factor = inputs.tensor(name)?;
        let transposed = inputs.attribute(transpose)?.unwrap_or(false);
        Ok(if transposed { factor.transpose(-2, -1) } else { factor })
    };
    Ok(factor("x", "transpose_x")?.matmul(&factor("other", "transpose_other")?))
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

fn chunk(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["chunks", "dim"])?;
    let chunks = inputs.attribute("chunks")?.context("no chunks")?;
    inputs.first_of(&inputs.tensor("x")?.chunk(chunks, inputs.attribute("dim")?.unwrap_or(0)))
}

fn split(inputs: &Inputs<'_>) -> Result<Var> {
    let name = "split_size_or_sections";
    inputs.only(&[name, "dim"])?;
    let (x, dim) = (inputs.tensor("x")?, inputs.attribute("dim")?.unwrap_or(0));
    let parts = match inputs.attributes.get(name) {
        Some(Value::Array(_)) => x.split(inputs.attribute::<Vec<usize>>(name)?.context("no sections")?, dim),
        _ => x.split(inputs.attribute::<usize>(name)?.context("no size")?, dim),
    };
    inputs.first_of(&parts)
}

fn slice(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["dim", "start", "end", "step"])?;
    let dim = inputs.attribute("dim")?.unwrap_or(0);
    let start = inputs.attribute("start")?.unwrap_or(0);
    let end = inputs.attribute("end")?.unwrap_or(isize::MAX);
    Ok(inputs.tensor("x")?.slice(dim, start, end, inputs.attribute("step")?.unwrap_or(1)))
}

fn transpose(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["dim0", "dim1"])?;
    let dim = |name| inputs.attribute::<isize>(name)?.with_context(|| format!("no {name}"));
    Ok(inputs.tensor("x")?.transpose(dim("dim0")?, dim("dim1")?))
}

fn pad(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["pad", "mode", "value"])?;
    match inputs.attribute::<String>("mode")?.as_deref() {
        None | Some("constant") => {}
        Some(other) => bail!("unknown mode {other}"),
    }
    let pad: Vec<isize> = inputs.attribute("pad")?.context("no pad")?;
    Ok(inputs.tensor("x")?.pad(&pad, inputs.attribute("value")?.unwrap_or(0.0)))
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
    inputs.check_layout()?;
    let target = match inputs.attribute::<String>("target")?.as_deref() {
        None | Some("indices") => inputs.graph.labels("target", &inputs.get("target")?.shape[..]),
        Some("probabilities") => inputs.tensor("target")?,
        Some(other) => bail!("unknown target {other}"),
    };
    let mut options = CrossEntropy::new()
        .label_smoothing(inputs.attribute("label_smoothing")?.unwrap_or(0.0))
        .ignore_index(inputs.attribute("ignore_index")?.map(to_class))
        .reduction(inputs.reduction()?);
    if let Some(weight) = inputs.find("class_weight") {
        options = options.weight(&narrow(weight));
    }
    Ok(inputs.tensor("x")?.cross_entropy_with(options, &target))
}

fn nll(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["reduction", "ignore_index", "layout"])?;
    inputs.check_layout()?;
    let labels = inputs.graph.labels("target", &inputs.get("target")?.shape[..]);
    let ignored = inputs.attribute("ignore_index")?.map(to_class);
    let mut options = NllLoss::new().ignore_index(ignored).reduction(inputs.reduction()?);
    if let Some(weight) = inputs.find("class_weight") {
        options = options.weight(&narrow(weight));
    }
    Ok(inputs.tensor("x")?.nll_loss_with(options, &labels))
}

fn bce_with_logits(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["reduction"])?;
    let mut options = BCEWithLogitsLoss::new().reduction(inputs.reduction()?);
    if inputs.find("pos_weight").is_some() {
        options = options.pos_weight(&inputs.tensor("pos_weight")?);
    }
    let target = inputs.tensor("target")?;
    Ok(inputs.tensor("x")?.binary_cross_entropy_with_logits_with(options, &target))
}

fn cosine_embedding(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["margin", "reduction"])?;
    let options = CosineEmbeddingLoss::new()
        .margin(inputs.attribute("margin")?.unwrap_or(0.0))
        .reduction(inputs.reduction()?);
    let (other, target) = (inputs.tensor("other")?, inputs.tensor("target")?);
    Ok(inputs.tensor("x")?.cosine_embedding_loss_with(options, &other, &target))
}

fn huber(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["delta", "reduction"])?;
    let options = HuberLoss::new().delta(inputs.attribute("delta")?.unwrap_or(1.0));
    let options = options.reduction(inputs.reduction()?);
    Ok(inputs.tensor("x")?.huber_loss_with(options, &inputs.tensor("target")?))
}

fn smooth_l1(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["beta", "reduction"])?;
    let options = SmoothL1Loss::new().beta(inputs.attribute("beta")?.unwrap_or(1.0));
    let options = options.reduction(inputs.reduction()?);
    Ok(inputs.tensor("x")?.smooth_l1_loss_with(options, &inputs.tensor("target")?))
}

fn kl_div(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["log_target", "reduction"])?;
    let options = KLDivLoss::new().log_target(inputs.attribute("log_target")?.unwrap_or(false));
    let options = options.reduction(inputs.reduction()?);
    Ok(inputs.tensor("x")?.kl_div_with(options, &inputs.tensor("target")?))
}

fn embedding(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["padding_idx"])?;
    let [rows, columns] = inputs.get("weight")?.shape[..] else { bail!("the weight is no matrix") };
    let indices = inputs.graph.labels("index", &inputs.get("index")?.shape[..]);
    let layer = Embedding::new(rows, columns).padding_idx(inputs.attribute::<usize>("padding_idx")?);
    Ok(indices.embedding(layer.name("")))
}

fn scaled_dot_product_attention(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["is_causal", "scale"])?;
    let [query, key, value] = ["query", "key", "value"].map(|name| inputs.tensor(name));
    let mut options = ScaledDotProductAttention::new()
        .is_causal(inputs.attribute("is_causal")?.unwrap_or(false))
        .scale(inputs.attribute::<f64>("scale")?);
    if inputs.find("attn_mask").is_some() {
        options = options.attn_mask(&inputs.tensor("attn_mask")?);
    }
    Ok(query?.scaled_dot_product_attention(&key?, &value?, options))
}

/// With the batch first. The weights `attn` are not part of what is computed.
fn mha(inputs: &Inputs<'_>) -> Result<Var> {
    inputs.only(&["causal", "heads"])?;
    inputs.get("attn")?;
    let x = inputs.tensor("x")?;
    let width = *inputs.get("x")?.shape.last().context("x has no dimensions")?;
    let layer = MultiheadAttention::new(width, inputs.attribute("heads")?.context("no heads")?)
        .batch_first(true)
        .is_causal(inputs.attribute("causal")?.unwrap_or(false));
    Ok(x.multihead_attention(&x, &x, layer.name("")))
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
    let (graph, asked, further) = Default::default();
    let inputs = Inputs { graph, tensors: &tensors, attributes: case.attrs, asked, further };
    let y = build(&inputs)?;
    let mut params = inputs.graph.store(gpu, 0)?;
    let names: Vec<String> = inputs.graph.parameters().into_iter().map(|p| p.name).collect();
    for name in &names {
        params.write(name, &narrow(inputs.get(inputs.golden_name(name))?))?;
    }
    let buffers = inputs.graph.buffers().into_iter().map(|buffer| buffer.name);
    // A case may leave the count of batches out, which begins at 0 then.
    let is_recorded = |name: &String| name != "num_batches_tracked" || inputs.has("num_batches_tracked_in");
    let buffers: Vec<String> = buffers.filter(is_recorded).collect();
    for name in &buffers {
        params.write(name, &narrow(inputs.get(&format!("{}_in", inputs.golden_name(name)))?))?;
    }
    let options = inputs.options(&y);
    let plan = inputs.graph.compile(&params, &options, &mut Workspace::new())?;
    for (input, shape) in plan.inputs() {
        let labels: Vec<u32>;
        let numbers: Vec<f32>;
        let data: &dyn HostData = match (input, inputs.find(input)) {
            ("dy", None) => {
                numbers = vec![1.0; shape.iter().product()];
                &numbers
            }
            (upstream, Some(data)) if upstream.starts_with("dy") => {
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
    let further = inputs.further.borrow();
    for name in std::iter::once("y").chain(further.iter().map(|(name, _)| &name[..])) {
        compare(name, &plan.read(name)?, inputs.get(name)?)?;
    }
    for name in &names {
        let golden = format!("grad.{}", inputs.golden_name(name));
        if let Some(want) = inputs.find(&golden) {
            compare(&golden, &params.read_grad(name)?, want)?;
        }
    }
    for name in &buffers {
        let (golden, before) =
            (format!("{}_out", inputs.golden_name(name)), format!("{}_in", inputs.golden_name(name)));
        // What is not recorded has not changed.
        let want = inputs.find(&golden).map_or_else(|| inputs.get(&before), Ok)?;
        compare(&golden, &params.read(name)?, want)?;
    }
    inputs.refuse_unused()
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
