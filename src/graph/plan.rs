mod allocate;
mod dispatches;
mod inputs;
mod links;
mod outputs;
mod record;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use self::allocate::allocate;
use self::links::Links;
pub(super) use self::links::Place;
use super::input::Input;
use super::lowering::{Keep, Lowering, Operand};
use super::shape::Planes;
use super::tune::{Choice, Tuner};
use super::view::Order;
use super::{Graph, Parameter, PlanOptions, Role, Workspace, autodiff};
use crate::Error;
use crate::gpu::{Buffer, Gpu, Kernel, Region, UniformRing, Work};
use crate::params::ParamStore;

/// A graph compiled for one batch size and one store: a flat list of dispatches with all resources bound.
///
/// ```no_run
/// // Needs a device.
/// use gradus::gpu::Recorder;
/// use gradus::graph::{Graph, PlanOptions, Workspace};
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let graph = Graph::new();
/// let y = graph.input("x", [1, 3]).sum_dim(&[1], false);
/// # let y = y + graph.input("x2", [1, 1]).linear(1).flatten_dims(0, 1);
/// let params = graph.store(&gpu, 1)?;
/// let plan = graph.compile(&params, &PlanOptions::evaluate().output("y", &y), &mut Workspace::new())?;
/// plan.write("x", &[1.0, 2.0, 3.0])?;
/// let mut encoder = gpu.encoder("plan");
/// plan.record(&mut Recorder::new(&gpu, &mut encoder))?;
/// gpu.submit(encoder)?;
/// println!("{:?}", plan.read("y")?);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct Plan {
    gpu: Gpu,
    steps: Vec<Step>,
    uniforms: Buffer<u8>,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    links: Mutex<Links>,
    /// Number of steps of the forward pass, which come first.
    forward: usize,
    /// The input that only the backward pass reads.
    upstream: Option<String>,
    unreached: Vec<String>,
    /// For each tensor of the store's layout, whether the root depends on it.
    reaches: Vec<bool>,
    /// The frozen flags of the store.
    frozen: Arc<[AtomicBool]>,
    /// The tensors that the root depends on and that were frozen when the plan was compiled.
    left_out: Vec<(usize, String)>,
    random: Option<Arc<Buffer<f32>>>,
    /// The gate, and the buffer that its loss scale is copied to.
    loss_scale: Option<(wgpu::Buffer, Arc<Buffer<f32>>)>,
    /// Whether the store has replaced the buffers that are bound.
    outgrown: Arc<AtomicBool>,
    // Bind groups keep the buffers alive too, but the counters need these.
    _activations: Vec<Arc<Buffer<f32>>>,
}

#[derive(Debug)]
struct Step {
    label: String,
    kernel: Arc<Kernel>,
    group: wgpu::BindGroup,
    grid: [u32; 3],
    /// The regions that are bound, and the values they hold.
    places: Vec<Place>,
    values: Vec<Option<usize>>,
    work: Work,
    /// Sizes in bytes of the bindings after the uniform block, even if a value is in a larger buffer.
    bytes: Vec<u64>,
}

#[derive(Debug)]
struct Output {
    name: String,
    value: usize,
    /// Whether it belongs to the backward pass.
    backward: bool,
    buffer: Arc<Buffer<f32>>,
    shape: Vec<usize>,
    order: Order,
}

impl Graph {
    /// Compiles what `options` requests, with the parameters in `params`.
    ///
    /// Activations are allocated in `workspace`, which other plans of this graph can share.
    ///
    /// On a CPU adapter, each new kernel is dispatched once over no workgroups, so that the driver compiles it on its
    /// own thread while the next kernel is made. With [`GpuOptions::autotune`](crate::GpuOptions::autotune), waits for the
    /// kernels that are timed.
    ///
    /// # Errors
    /// As [`Graph::check`]; [`Error::UnknownName`], [`Error::Shape`] or [`Error::Mismatch`] if the store lacks a
    /// tensor that the outputs depend on, or has it with another shape or role; [`Error::Mismatch`] for a variable of
    /// another graph, or a workspace of another device; [`Error::Limit`] if a tensor exceeds what the device can
    /// bind; [`Error::DeviceLimit`], [`Error::Kernel`], [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn compile(
        &self,
        params: &ParamStore,
        options: &PlanOptions,
        workspace: &mut Workspace,
    ) -> Result<Plan, Error> {
        params.gpu().block_on(self.compile_async(params, options, workspace))
    }

    /// As [`Graph::compile`], without blocking.
    ///
    /// # Errors
    /// As [`Graph::compile`].
    pub async fn compile_async(
        &self,
        params: &ParamStore,
        options: &PlanOptions,
        workspace: &mut Workspace,
    ) -> Result<Plan, Error> {
        // Tensors that the store lacks are refused below.
        let is_frozen = |parameter: &Parameter| params.is_frozen(&parameter.name).unwrap_or(false);
        let offered = params.gpu().capabilities().with(options.trial);
        let lowering = autodiff::lower_frozen(self, options, &offered, is_frozen)?;
        Plan::bind(&lowering, self, options.upstream.as_deref(), params, workspace).await
    }
}

impl Plan {
    async fn bind(
        lowering: &Lowering,
        graph: &Graph,
        upstream: Option<&str>,
        params: &ParamStore,
        workspace: &mut Workspace,
    ) -> Result<Self, Error> {
        let gpu = params.gpu();
        let parameters = graph.declared();
        let own = |(index, parameter): &(usize, &Parameter)| {
            let written = lowering.gradients.parameter_written[*index];
            lowering.trained[*index] && !written && !graph.is_tied(&parameter.name)
        };
        let unreached = parameters.iter().enumerate().filter(own);
        let unreached = unreached.map(|(_, parameter)| parameter.name.clone()).collect();
        graph.check_store(params, &lowering.parameters_read())?;
        // Checked before anything is created.
        for operand in lowering.steps.iter().flat_map(|step| &step.operands) {
            if let Operand::Parameter(p) | Operand::Gradient(p) = *operand {
                let (flat, span) = params.find(&parameters[p].name)?;
                flat.layout().whole(span)?;
            }
        }
        let (inputs, outputs, activations) = allocate(gpu, lowering, workspace)?;
        let region = |operand: &Operand| -> Result<Region<'_>, Error> {
            match *operand {
                Operand::Value(value) => Ok(activations[value].region()),
                Operand::Part { value, first, len } => Ok(activations[value].region_of(first, len)),
                Operand::Parameter(p) => {
                    let (flat, span) = params.find(&parameters[p].name)?;
                    flat.region_of(span)
                }
                Operand::Gradient(p) => params.grads().region_of(params.layout().span(&parameters[p].name)?),
            }
        };
        let (steps, uniforms) = bind_steps(gpu, lowering, region).await?;
        let mut reaches = vec![false; params.layout().spans().len()];
        let reached = parameters.iter().zip(&lowering.reached).filter(|(_, reached)| **reached);
        for (parameter, _) in reached.filter(|(parameter, _)| parameter.role == Role::Trained) {
            reaches[params.layout().index(&parameter.name)?] = true;
        }
        let left_out = (0..reaches.len()).filter(|&index| reaches[index] && params.frozen()[index]);
        let left_out: Vec<_> =
            left_out.map(|index| (index, params.layout().spans()[index].name.clone())).collect();
        let random = lowering.random.map(|value| activations[value].clone());
        let scaled = lowering.values.iter().position(|value| value.keep == Keep::LossScale);
        let loss_scale = scaled.map(|value| (params.gate().raw().clone(), activations[value].clone()));
        Ok(Self {
            gpu: gpu.clone(),
            steps,
            uniforms,
            inputs,
            outputs,
            links: Mutex::default(),
            forward: lowering.forward_steps,
            upstream: upstream.map(str::to_owned),
            unreached,
            reaches,
            frozen: params.shared_frozen().clone(),
            left_out,
            random,
            loss_scale,
            outgrown: params.outgrown().clone(),
            _activations: activations,
        })
    }

    /// The names and shapes of its inputs.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.inputs.iter().map(|input| (input.name.as_str(), &input.shape[..]))
    }

    /// The buffer of an output. The value of a scalar is its first element.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Mismatch`] for an output bound to a caller's region.
    pub fn output(&self, name: &str) -> Result<&wgpu::Buffer, Error> {
        let number = self.output_number(name)?;
        if self.target(number).is_some() {
            let reason =
                format!("output {name}: it is bound to a region of a buffer of yours and lies there");
            return Err(Error::Mismatch(reason));
        }
        Ok(self.outputs[number].buffer.raw())
    }

    /// Waits for the device and reads an output, in row-major order.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Buffer`] for an output bound to a buffer without `COPY_SRC`;
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        self.gpu.block_on(self.read_async(name))
    }

    /// Like [`Plan::read`], without blocking.
    ///
    /// # Errors
    /// As [`Plan::read`].
    pub async fn read_async(&self, name: &str) -> Result<Vec<f32>, Error> {
        let number = self.output_number(name)?;
        if let Some((buffer, first, len)) = self.dense_target(number) {
            return buffer.read_async(&self.gpu, first, len).await;
        }
        let output = &self.outputs[number];
        let data = output.buffer.read_async(&self.gpu, 0, output.buffer.len()).await?;
        Ok(Planes::of(&output.shape, output.order).dense(&data))
    }

    fn output_number(&self, name: &str) -> Result<usize, Error> {
        let names = || self.outputs.iter().map(|output| output.name.as_str());
        names().position(|known| known == name).ok_or_else(|| Error::unknown("output", name, names()))
    }

    /// For each tensor of the store's layout, whether the root depends on it, frozen or not.
    pub(crate) fn reaches(&self) -> &[bool] {
        &self.reaches
    }

    /// The parameters whose gradients it does not write because the root does not depend on them. Parameters that
    /// were frozen when it was compiled are not included.
    pub fn unreached(&self) -> impl Iterator<Item = &str> {
        self.unreached.iter().map(String::as_str)
    }

    /// The layer and the kernel of each dispatch, in order.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|step| step.label.as_str())
    }

    /// The workgroups of each dispatch, in order.
    #[cfg(test)]
    pub(crate) fn grids(&self) -> impl Iterator<Item = [u32; 3]> {
        self.steps.iter().map(|step| step.grid)
    }

    /// Size of its uniform blocks in bytes.
    pub fn uniform_bytes(&self) -> usize {
        self.uniforms.len()
    }
}

/// Binds all steps, whose operands are in `region`, and uploads their uniform blocks.
async fn bind_steps<'r>(
    gpu: &Gpu,
    lowering: &Lowering,
    region: impl Fn(&Operand) -> Result<Region<'r>, Error>,
) -> Result<(Vec<Step>, Buffer<u8>), Error> {
    let block = UniformRing::ALIGN;
    let len = lowering.steps.len() * block;
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let uniforms = Buffer::with_usage(gpu, "plan uniforms", len, usage)?;
    let mut bytes = vec![0; len];
    for (step, bytes) in lowering.steps.iter().zip(bytes.chunks_mut(block)) {
        bytes[..step.uniform.len()].copy_from_slice(&step.uniform);
    }
    // Before the kernels are made, because a warm-up reads it.
    uniforms.write(gpu, 0, &bytes)?;
    let mut is_written = true;
    let mut steps = Vec::with_capacity(lowering.steps.len());
    let mut tuner = Tuner::new(gpu);
    for (number, step) in lowering.steps.iter().enumerate() {
        let at = number * block;
        let size = step.uniform.len() as u64;
        let mut regions = vec![Region { buffer: uniforms.raw(), offset: at as u64, bytes: size }];
        for operand in &step.operands {
            regions.push(region(operand)?);
        }
        let Choice { kernel, uniform, grid } = tuner.choose(step, &regions[1..]).await?;
        if uniform != step.uniform {
            bytes[at..at + uniform.len()].copy_from_slice(uniform);
            is_written = false;
        }
        let group = gpu.bind_group(&kernel, &regions)?;
        if !lowering.capabilities.trial.is_cold {
            gpu.warm_up(&kernel, &group);
        }
        let places = regions.iter().map(Place::kept).collect();
        let values = step.operands.iter().map(|operand| match *operand {
            Operand::Value(value) => Some(value),
            Operand::Part { .. } | Operand::Parameter(_) | Operand::Gradient(_) => None,
        });
        let values = [None].into_iter().chain(values).collect();
        let bytes = step.operands.iter().zip(&regions[1..]).map(|(operand, region)| match *operand {
            Operand::Value(value) => (lowering.values[value].len * size_of::<f32>()) as u64,
            Operand::Part { len, .. } => (len * size_of::<f32>()) as u64,
            Operand::Parameter(_) | Operand::Gradient(_) => region.bytes,
        });
        let (bytes, label, work) = (bytes.collect(), step.label.clone(), step.work.clone());
        steps.push(Step { label, kernel, group, grid, places, values, work, bytes });
    }
    tuner.keep();
    if !is_written {
        uniforms.write(gpu, 0, &bytes)?;
    }
    Ok((steps, uniforms))
}
