//! Layers with torch's weights, by torch's names.

use anyhow::{Result, ensure};
use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, GateController, LayerNorm, LayerNormConfig, Linear, LinearConfig,
    PaddingConfig2d,
};
use burn::tensor::{Device, Tensor, TensorData};
use protocol::Tensors;

pub fn tensor<const D: usize>(weights: &Tensors, name: &str, device: &Device) -> Result<Tensor<D>> {
    let (shape, values) = weights.get(name)?;
    ensure!(shape.len() == D, "{name} should have {D} dimensions, it has {shape:?}");
    Ok(Tensor::from_data(TensorData::new(values.to_vec(), shape.to_vec()), device))
}

pub fn param<const D: usize>(weights: &Tensors, name: &str, device: &Device) -> Result<Param<Tensor<D>>> {
    Ok(Param::from_tensor(tensor(weights, name, device)?))
}

pub fn linear(weights: &Tensors, name: &str, device: &Device) -> Result<Linear> {
    linear_of(weights, [&format!("{name}.weight"), &format!("{name}.bias")], 0..1, device)
}

/// Of the rows `part` of 1 in so many equal ones that a weight and a bias are made of.
fn linear_of(
    weights: &Tensors,
    [weight, bias]: [&str; 2],
    part: std::ops::Range<usize>,
    device: &Device,
) -> Result<Linear> {
    let (at, parts) = (part.start, part.end);
    let weight: Tensor<2> = tensor(weights, weight, device)?;
    let bias: Tensor<1> = tensor(weights, bias, device)?;
    let [rows, inputs] = weight.dims();
    let outputs = rows / parts;
    let rows = at * outputs..(at + 1) * outputs;
    let mut layer = LinearConfig::new(inputs, outputs).init(device);
    layer.weight = Param::from_tensor(weight.slice([rows.clone(), 0..inputs]).transpose());
    layer.bias = Some(Param::from_tensor(bias.slice([rows])));
    Ok(layer)
}

/// The `at`th of so many projections that torch keeps in one weight.
pub fn projection(weights: &Tensors, name: &str, at: usize, parts: usize, device: &Device) -> Result<Linear> {
    linear_of(weights, [&format!("{name}_weight"), &format!("{name}_bias")], at..parts, device)
}

/// The gate `at` of a layer of an LSTM.
pub fn gate(
    weights: &Tensors,
    name: &str,
    layer: usize,
    at: usize,
    gate: &mut GateController,
    device: &Device,
) -> Result<()> {
    let names = |of: &str| [format!("{name}.weight_{of}_l{layer}"), format!("{name}.bias_{of}_l{layer}")];
    let [weight, bias] = names("ih");
    gate.input_transform = linear_of(weights, [&weight, &bias], at..4, device)?;
    let [weight, bias] = names("hh");
    gate.hidden_transform = linear_of(weights, [&weight, &bias], at..4, device)?;
    Ok(())
}

pub fn conv(weights: &Tensors, name: &str, stride: usize, bias: bool, device: &Device) -> Result<Conv2d> {
    let weight: Tensor<4> = tensor(weights, &format!("{name}.weight"), device)?;
    let [outputs, inputs, height, width] = weight.dims();
    let (rows, columns) = (height / 2, width / 2);
    let mut layer = Conv2dConfig::new([inputs, outputs], [height, width])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(rows, columns, rows, columns))
        .with_bias(bias)
        .init(device);
    layer.weight = Param::from_tensor(weight);
    if bias {
        layer.bias = Some(param(weights, &format!("{name}.bias"), device)?);
    }
    Ok(layer)
}

pub fn batch_norm(weights: &Tensors, name: &str, device: &Device) -> Result<BatchNorm> {
    let gamma: Param<Tensor<1>> = param(weights, &format!("{name}.weight"), device)?;
    let mut layer = BatchNormConfig::new(gamma.dims()[0]).init(device);
    layer.gamma = gamma;
    layer.beta = param(weights, &format!("{name}.bias"), device)?;
    Ok(layer)
}

pub fn layer_norm(weights: &Tensors, name: &str, device: &Device) -> Result<LayerNorm> {
    let gamma: Param<Tensor<1>> = param(weights, &format!("{name}.weight"), device)?;
    let mut layer = LayerNormConfig::new(gamma.dims()[0]).init(device);
    layer.gamma = gamma;
    layer.beta = Some(param(weights, &format!("{name}.bias"), device)?);
    Ok(layer)
}
