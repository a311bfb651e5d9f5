//! Compares the gradients of an operation with finite differences.

use super::{CustomOp, Role};
use crate::Error;
use crate::gpu::{Gpu, Recorder};
use crate::graph::{Graph, HostData, Init, Plan, PlanOptions, Var, Workspace};

/// Step of a difference, relative to the larger of the element's magnitude and [`LEAST`].
const STEP: f32 = 1.0 / 64.0;
const LEAST: f32 = 0.25;
/// Rounding error of an output, relative to its magnitude.
const ROUNDING: f64 = 1.0 / (1 << 20) as f64;
/// Relative tolerance of a gradient.
const TOLERANCE: f64 = 2e-3;

/// The operation in a graph of its own, with the weights of the sum over all elements of its outputs.
struct Probe<'a> {
    gpu: &'a Gpu,
    evaluate: Plan,
    weights: Vec<(String, Vec<f32>)>,
}

impl CustomOp {
    /// Compares the gradients of all inputs that have one with central differences of the forward pass, at the given
    /// inputs: a shape and data for each, in order; `u32` for labels.
    ///
    /// The outputs are summed in f64 with fixed random weights between 0.25 and 1 in magnitude. Each element is
    /// changed by 1/64 and by 1/128 of its magnitude (of at least 0.25). Choose inputs at least that far from kinks
    /// and from the ends of the domain. Gradients must agree within 1/500, or within the rounding of f32. This runs
    /// the forward pass four times per element and waits for the device, so choose small inputs.
    ///
    /// # Errors
    /// [`Error::Gradient`] with the first input and element that disagree; [`Error::Config`] if no input has a
    /// gradient; [`Error::Length`] for a wrong number of inputs; the errors of [`Graph::compile`] and
    /// [`Plan::write`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn check_gradient(&self, gpu: &Gpu, inputs: &[(&[usize], &dyn HostData)]) -> Result<(), Error> {
        gpu.block_on(self.check_gradient_async(gpu, inputs))
    }

    /// As [`CustomOp::check_gradient`], without blocking.
    ///
    /// # Errors
    /// As [`CustomOp::check_gradient`].
    pub async fn check_gradient_async(
        &self,
        gpu: &Gpu,
        inputs: &[(&[usize], &dyn HostData)],
    ) -> Result<(), Error> {
        let names: Vec<String> = self.declared.values.iter().map(|value| value.name.clone()).collect();
        if inputs.len() != self.declared.inputs() {
            let what = format!("inputs of {}", self.declared.what());
            return Err(Error::Length { what, expected: self.declared.inputs(), got: inputs.len() });
        }
        let checked: Vec<usize> = (0..inputs.len())
            .filter(|&input| {
                let own = format!("backward_{}", names[input]);
                self.declared.stages.iter().any(|stage| stage.function == own)
            })
            .collect();
        if checked.is_empty() {
            let reason = "none of its inputs has a gradient to check: there is no `backward_<input>`".into();
            return Err(Error::Config { what: self.declared.what(), reason });
        }
        let (probe, gradients) = self.probe(gpu, inputs, &checked).await?;
        for (&input, gradient) in checked.iter().zip(&gradients) {
            let (_, data) = inputs[input];
            let crate::graph::InputData::F32(numbers) = data.data() else {
                let reason = "expected numbers on the host, because they are changed one by one".into();
                return Err(Error::Config { what: format!("input {}", names[input]), reason });
            };
            for (element, &gives) in gradient.iter().enumerate() {
                let difference = probe.difference(&names[input], numbers, element).await?;
                let (gives, slope) = (f64::from(gives), difference.slope);
                let allowed = TOLERANCE * slope.abs().max(gives.abs()) + difference.doubt;
                let are_numbers = gives.is_finite() && slope.is_finite();
                if !are_numbers || (gives - slope).abs() > allowed {
                    let (op, input) = (self.name().to_owned(), names[input].clone());
                    return Err(Error::Gradient { op, input, element, gives, difference: slope });
                }
            }
            probe.evaluate.write(&names[input], data)?;
        }
        Ok(())
    }

    /// The operation at these inputs: its forward pass, and the gradients of some inputs.
    async fn probe<'a>(
        &self,
        gpu: &'a Gpu,
        inputs: &[(&[usize], &dyn HostData)],
        checked: &[usize],
    ) -> Result<(Probe<'a>, Vec<Vec<f32>>), Error> {
        let values = &self.declared.values;
        let graph = Graph::new();
        let vars: Vec<Var> = values
            .iter()
            .zip(inputs)
            .map(|(value, (shape, _))| match value.role {
                Role::Labels => graph.labels(&value.name, *shape),
                _ => graph.input(&value.name, *shape),
            })
            .collect();
        let outputs = graph.custom_all(self, &vars.iter().collect::<Vec<_>>());
        // A store needs at least one parameter.
        graph.declare("gradus_none", vec![1], Init::Constant(0.0));
        graph.check()?;
        let mut weights = Vec::new();
        let mut evaluate = PlanOptions::evaluate();
        let (store, mut workspace) = (graph.store(gpu, 0)?, Workspace::new());
        let mut gradients: Vec<Vec<f64>> = checked.iter().map(|_| Vec::new()).collect();
        let numbers: Vec<usize> = self.declared.outputs().collect();
        for (stream, (&value, output)) in (0..).zip(numbers.iter().zip(&outputs)) {
            let (name, len) = (&values[value].name, output.shape().iter().product());
            let weight: Vec<f32> = (0..len).map(|element| weight(stream, element)).collect();
            evaluate = evaluate.output(name, output);
            // For each output in turn, because gradients are linear in the upstream gradients.
            let mut train = PlanOptions::train(output).upstream("gradus_upstream");
            for &input in checked {
                train = train.gradient(&format!("grad {}", values[input].name), &vars[input]);
            }
            let plan = graph.compile_async(&store, &train, &mut workspace).await?;
            let needed: Vec<String> = plan.inputs().map(|(name, _)| name.to_owned()).collect();
            for (value, (_, data)) in values.iter().zip(inputs) {
                if needed.contains(&value.name) {
                    plan.write(&value.name, *data)?;
                }
            }
            plan.write("gradus_upstream", &weight)?;
            run(gpu, &plan)?;
            for (sum, &input) in gradients.iter_mut().zip(checked) {
                let part = plan.read_async(&format!("grad {}", values[input].name)).await?;
                sum.resize(part.len(), 0.0);
                sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += f64::from(part));
            }
            weights.push((name.clone(), weight));
        }
        let evaluate = graph.compile_async(&store, &evaluate, &mut workspace).await?;
        for (value, (_, data)) in values.iter().zip(inputs) {
            evaluate.write(&value.name, *data)?;
        }
        #[expect(clippy::cast_possible_truncation, reason = "sums of few numbers of 32 bits")]
        let gradients =
            gradients.into_iter().map(|sum| sum.into_iter().map(|x| x as f32).collect()).collect();
        Ok((Probe { gpu, evaluate, weights }, gradients))
    }
}

/// A derivative estimated by differences, and its possible error.
struct Difference {
    slope: f64,
    doubt: f64,
}

impl Probe<'_> {
    /// Richardson extrapolation of two central differences.
    async fn difference(&self, input: &str, numbers: &[f32], element: usize) -> Result<Difference, Error> {
        let step = STEP * numbers[element].abs().max(LEAST);
        let (wide, _) = self.central(input, numbers, element, step).await?;
        let (narrow, rounding) = self.central(input, numbers, element, step / 2.0).await?;
        let slope = (4.0 * narrow - wide) / 3.0;
        Ok(Difference { slope, doubt: 2.0 * rounding + (wide - narrow).abs() / 8.0 })
    }

    /// A central difference, and its rounding error.
    async fn central(
        &self,
        input: &str,
        numbers: &[f32],
        element: usize,
        step: f32,
    ) -> Result<(f64, f64), Error> {
        let (high, above) = self.outputs_at(input, numbers, element, step).await?;
        let (low, below) = self.outputs_at(input, numbers, element, -step).await?;
        let weights = self.weights.iter().flat_map(|(_, weights)| weights);
        let (mut sum, mut rounding) = (0.0, 0.0);
        for (weight, (above, below)) in weights.zip(above.iter().zip(&below)) {
            let (weight, above, below) = (f64::from(*weight), f64::from(*above), f64::from(*below));
            // An output that does not change with this element has no rounding error either.
            if above != below {
                sum += weight * (above - below);
                rounding += weight.abs() * above.abs().max(below.abs());
            }
        }
        Ok((sum / (high - low), rounding * ROUNDING / (high - low)))
    }

    /// An element moved by so much, and all outputs there.
    async fn outputs_at(
        &self,
        input: &str,
        numbers: &[f32],
        element: usize,
        by: f32,
    ) -> Result<(f64, Vec<f32>), Error> {
        let mut moved = numbers.to_vec();
        moved[element] += by;
        self.evaluate.write(input, &moved)?;
        run(self.gpu, &self.evaluate)?;
        let mut all = Vec::new();
        for (name, _) in &self.weights {
            all.extend(self.evaluate.read_async(name).await?);
        }
        Ok((f64::from(moved[element]), all))
    }
}

fn run(gpu: &Gpu, plan: &Plan) -> Result<(), Error> {
    let mut encoder = gpu.encoder("gradient check");
    plan.record(&mut Recorder::new(gpu, &mut encoder))?;
    gpu.submit(encoder)?;
    Ok(())
}

/// A pseudo-random number between 0.25 and 1 in magnitude that depends only on the arguments.
fn weight(stream: u64, element: usize) -> f32 {
    let mut x = (stream << 32 | element as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let unit = ((x >> 44) as f32) / (1 << 20) as f32;
    if unit < 0.5 { 0.25 + 1.5 * unit } else { 0.5 - 1.5 * unit }
}
