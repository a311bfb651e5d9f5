mod dispatches;
mod links;
mod outputs;
mod record;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use self::links::Links;
pub(super) use self::links::Place;
use super::input::{HostData, Input, InputData, Upload, samples};
use super::lowering::{Keep, Lowering, Operand};
use super::shape::Planes;
use super::tune::{Choice, Tuner};
use super::view::Order;
use super::workspace::{Life, assign};
use super::{Graph, Parameter, PlanOptions, Role, Workspace, autodiff};
use crate::Error;
use crate::gpu::{Buffer, Gpu, Kernel, Region, Staging, UniformRing, Work};
use crate::params::ParamStore;

/// A graph compiled for one batch size and one store: a flat list of dispatches with everything bound.
#[derive(Debug)]
pub struct Plan {
    gpu: Gpu,
    steps: Vec<Step>,
    uniforms: Buffer<u8>,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    links: Mutex<Links>,
    /// Steps of the forward pass, which come first.
    forward: usize,
    /// The input that only the backward pass reads.
    upstream: Option<String>,
    unreached: Vec<String>,
    /// Whether its root depends on each tensor of the store's layout.
    reaches: Vec<bool>,
    /// What is frozen in the store.
    frozen: Arc<[AtomicBool]>,
    /// The tensors that its root depends on and that were frozen when it was compiled.
    left_out: Vec<(usize, String)>,
    random: Option<Arc<Buffer<f32>>>,
    /// The gate, and where its factor of the loss is copied to.
    loss_scale: Option<(wgpu::Buffer, Arc<Buffer<f32>>)>,
    /// Whether the store has other buffers than those that are bound.
    outgrown: Arc<AtomicBool>,
    // The bind groups hold the buffers too; these keep the counters honest.
    _activations: Vec<Arc<Buffer<f32>>>,
}

#[derive(Debug)]
struct Step {
    label: String,
    kernel: Arc<Kernel>,
    group: wgpu::BindGroup,
    grid: [u32; 3],
    /// What is bound, and the values that these are.
    places: Vec<Place>,
    values: Vec<Option<usize>>,
    work: Work,
    /// Bytes of what is bound behind the uniform block, also where a value lies in a larger buffer.
    bytes: Vec<u64>,
}

#[derive(Debug)]
struct Output {
    name: String,
    value: usize,
    /// Whether the backward pass makes it.
    backward: bool,
    buffer: Arc<Buffer<f32>>,
    shape: Vec<usize>,
    order: Order,
}

impl Graph {
    /// Compiles what `options` asks for over the parameters of `params`.
    ///
    /// Activations live in `workspace`, which other plans of this graph may share.
    ///
    /// # Errors
    /// As [`Graph::check`]; [`Error::UnknownName`], [`Error::Shape`] or [`Error::Mismatch`] if the store lacks a tensor
    /// that the outputs depend on, or has it in another shape or role; [`Error::Mismatch`] for a variable of another graph or a workspace of another
    /// device; [`Error::Limit`] if one tensor exceeds what the device can bind; [`Error::DeviceLimit`],
    /// [`Error::Kernel`], [`Error::DeviceLost`].
    pub fn compile(
        &self,
        params: &ParamStore,
        options: &PlanOptions,
        workspace: &mut Workspace,
    ) -> Result<Plan, Error> {
        // What the store lacks is refused below.
        let is_frozen = |parameter: &Parameter| params.is_frozen(&parameter.name).unwrap_or(false);
        let offered = params.gpu().capabilities().with(options.trial);
        let lowering = autodiff::lower_frozen(self, options, &offered, is_frozen)?;
        Plan::bind(&lowering, self, options.upstream.as_deref(), params, workspace)
    }
}

impl Plan {
    fn bind(
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
        // Before anything is made for it.
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
        let block = UniformRing::ALIGN;
        let len = lowering.steps.len() * block;
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniforms = Buffer::with_usage(gpu, "plan uniforms", len, usage)?;
        let mut bytes = vec![0; len];
        let mut steps = Vec::with_capacity(lowering.steps.len());
        let mut tuner = Tuner::new(gpu);
        for (number, step) in lowering.steps.iter().enumerate() {
            let at = number * block;
            let size = step.uniform.len() as u64;
            let mut regions = vec![Region { buffer: uniforms.raw(), offset: at as u64, bytes: size }];
            for operand in &step.operands {
                regions.push(region(operand)?);
            }
            let Choice { kernel, uniform, grid } = tuner.choose(step, &regions[1..])?;
            bytes[at..at + uniform.len()].copy_from_slice(uniform);
            let group = gpu.bind_group(&kernel, &regions)?;
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
        uniforms.write(gpu, 0, &bytes)?;
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

    /// Uploads an input, in torch's order; it is used by the next submit.
    ///
    /// Of [`Rows`](super::Rows) only their places are uploaded, and [`Plan::record`] records that they are
    /// gathered, until the input is written again.
    ///
    /// Of a region of a buffer of the user's own nothing is uploaded: each run reads what lies there then, until the
    /// input is written again. Kernels read it themselves if its buffer has `STORAGE`, it begins at a multiple of the
    /// device's `min_storage_buffer_offset_alignment` (256 on most), and neither the plan nor one of its outputs uses
    /// the buffer; otherwise each run begins with a copy, which needs `COPY_SRC` and a multiple of 4. The same region
    /// again costs nothing, and so do up to four sets of regions that take turns, whose buffers the plan keeps alive;
    /// another makes new bind groups of the kernels that read it.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Length`]; [`Error::Constant`] for a label that names no class or a row
    /// that the set lacks (labels in a region are not looked at: of a row whose label names no class the loss and its
    /// gradient are unspecified); [`Error::Shape`] for a set of other samples; [`Error::Mismatch`] for labels where
    /// numbers belong or the other way round, and for a set on another device; [`Error::Buffer`] for a region that can
    /// neither be bound nor copied, or in a buffer of another device of the same `wgpu::Instance` (one of another
    /// instance wgpu does not notice) or that was destroyed, which of a copy only the submit says;
    /// [`Error::DeviceLost`].
    pub fn write(&self, name: &str, data: &(impl HostData + ?Sized)) -> Result<(), Error> {
        let input = self.find_input(name)?;
        input.check(&self.gpu, data.data(), input.shape[0])?;
        self.write_checked(name, data.data(), 0, &mut |buffer, bytes| self.gpu.write(buffer, 0, bytes))
    }

    /// Gives an input samples `first` and on of data that was checked.
    fn write_checked(
        &self,
        name: &str,
        data: InputData<'_>,
        first: usize,
        upload: Upload<'_>,
    ) -> Result<(), Error> {
        let number = self.input_number(name)?;
        let input = &self.inputs[number];
        let part = data.part(first..first + input.shape[0], input.sample());
        let place = match part {
            InputData::Buffer(region) => Some(Place::of(region)),
            _ => None,
        };
        // Parts of a data set that follow each other are copied: each would need bind groups of its own.
        let bind = part.len(input.sample()) == data.len(input.sample());
        self.link_input(number, place, bind)?;
        input.write(&self.gpu, part, upload)
    }

    /// Sets the seed and the step that random numbers depend on, both 0 at first; used by the next submit.
    ///
    /// One small upload, or none where nothing is random. A plan that is recorded twice into one submit runs
    /// both times with the numbers that were set last.
    pub fn set_step(&self, seed: u64, step: u64) {
        if let Some(random) = &self.random {
            // The low word of each first. Where the device is lost, the submit that would use it says so.
            let _ =
                self.gpu.write(random.raw(), 0, bytemuck::cast_slice(&[seed, step].map(u64::to_le_bytes)));
        }
    }

    /// Samples in `data`: elements of its first input over the elements of one sample.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Config`] if there is no data; [`Error::Length`] for a part of a sample.
    pub(crate) fn samples(&self, data: &[(&str, &dyn HostData)]) -> Result<usize, Error> {
        let inputs: Vec<_> = self.inputs.iter().map(|input| (&input.name[..], &input.shape[..])).collect();
        samples(&inputs, data)
    }

    /// Refuses data for `samples` samples that [`Plan::write`] would refuse, and inputs that are missing,
    /// without writing anything.
    pub(crate) fn check_inputs(&self, data: &[(&str, &dyn HostData)], samples: usize) -> Result<(), Error> {
        for (name, data) in data {
            self.find_input(name)?.check(&self.gpu, data.data(), samples)?;
        }
        for (at, (name, _)) in data.iter().enumerate() {
            if data[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::Duplicate { kind: "input", name: (*name).into() });
            }
        }
        match self.inputs.iter().find(|input| !data.iter().any(|(name, _)| *name == input.name)) {
            None => Ok(()),
            Some(input) => {
                Err(Error::Config { what: "inputs".into(), reason: format!("{} is missing", input.name) })
            }
        }
    }

    /// Uploads all inputs through `staging`: this plan's batch, from sample `first` on, of data that was checked.
    pub(crate) fn stage(
        &self,
        data: &[(&str, &dyn HostData)],
        first: usize,
        staging: &mut Staging,
    ) -> Result<(), Error> {
        for (name, data) in data {
            let upload = &mut |buffer: &_, bytes: &_| staging.write(buffer, 0, bytes);
            self.write_checked(name, data.data(), first, upload)?;
        }
        Ok(())
    }

    /// As [`Plan::set_step`], through `staging`.
    pub(crate) fn stage_step(&self, seed: u64, step: u64, staging: &mut Staging) -> Result<(), Error> {
        let bytes = [seed, step].map(u64::to_le_bytes);
        let random = self.random.as_ref();
        random.map_or(Ok(()), |random| staging.write(random.raw(), 0, bytemuck::cast_slice(&bytes)))
    }

    /// Bytes of memory that the inputs take in `staging`, with a seed and a step.
    pub(crate) fn staged_bytes(&self, data: &[(&str, &dyn HostData)]) -> usize {
        const WORD: usize = 4;
        let words = |(name, data): &(&str, &dyn HostData)| match (self.find_input(name), data.data()) {
            (Ok(input), InputData::F32(_) | InputData::Labels(_)) => input.shape.iter().product(),
            (Ok(input), InputData::Rows(_)) => input.shape[0],
            (Ok(_), InputData::Buffer(_)) | (Err(_), _) => 0,
        };
        let random = self.random.as_ref().map_or(0, |_| Lowering::RANDOM_WORDS);
        data.iter().map(words).chain([random]).map(|words| Staging::room(WORD * words)).sum()
    }

    fn find_input(&self, name: &str) -> Result<&Input, Error> {
        self.input_number(name).map(|number| &self.inputs[number])
    }

    fn input_number(&self, name: &str) -> Result<usize, Error> {
        let names = || self.inputs.iter().map(|input| input.name.as_str());
        names().position(|known| known == name).ok_or_else(|| Error::unknown("input", name, names()))
    }

    /// Where the host's data of an input are written.
    #[cfg(test)]
    pub(super) fn input_buffer(&self, name: &str) -> &wgpu::Buffer {
        self.find_input(name).expect("it has this input").buffer.raw()
    }

    /// The names and shapes of its inputs.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.inputs.iter().map(|input| (input.name.as_str(), &input.shape[..]))
    }

    /// The buffer of an output: for a scalar its first element is the value.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Mismatch`] for one that is written to a region of the user's.
    pub fn output(&self, name: &str) -> Result<&wgpu::Buffer, Error> {
        let number = self.output_number(name)?;
        if self.target(number).is_some() {
            let reason =
                format!("output {name}: it is bound to a region of a buffer of yours and lies there");
            return Err(Error::Mismatch(reason));
        }
        Ok(self.outputs[number].buffer.raw())
    }

    /// Waits for the device and reads an output, in torch's order.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Buffer`] for one that is bound to a buffer without `COPY_SRC`;
    /// [`Error::DeviceLost`].
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let number = self.output_number(name)?;
        if let Some((buffer, first, len)) = self.dense_target(number) {
            return buffer.read(&self.gpu, first, len);
        }
        let output = &self.outputs[number];
        let data = output.buffer.read(&self.gpu, 0, output.buffer.len())?;
        Ok(Planes::of(&output.shape, output.order).dense(&data))
    }

    /// As [`Plan::read`], without blocking.
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

    /// Whether its root depends on each tensor of the store's layout, frozen or not.
    pub(crate) fn reaches(&self) -> &[bool] {
        &self.reaches
    }

    /// The parameters whose gradients it does not write, because its root does not depend on them; those that were
    /// frozen when it was compiled are not among them.
    pub fn unreached(&self) -> impl Iterator<Item = &str> {
        self.unreached.iter().map(String::as_str)
    }

    /// What it dispatches, in order: the layer and its kernel.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|step| step.label.as_str())
    }

    /// Workgroups of what it dispatches, in order.
    #[cfg(test)]
    pub(crate) fn grids(&self) -> impl Iterator<Item = [u32; 3]> {
        self.steps.iter().map(|step| step.grid)
    }

    /// Bytes of the uniform blocks that it keeps.
    pub fn uniform_bytes(&self) -> usize {
        self.uniforms.len()
    }
}

type Allocated = (Vec<Input>, Vec<Output>, Vec<Arc<Buffer<f32>>>);

/// Gives every value its buffer: one of its own for what the host writes or reads, a shared one for the rest.
fn allocate(gpu: &Gpu, lowering: &Lowering, workspace: &mut Workspace) -> Result<Allocated, Error> {
    let limit = gpu.device().limits().max_storage_buffer_binding_size;
    for value in &lowering.values {
        let bytes = (value.words() * size_of::<f32>()) as u64;
        if bytes > limit {
            let (tensor, limit_name) = (value.label.clone(), "max_storage_buffer_binding_size");
            return Err(Error::Limit { tensor, bytes, limit_name, limit });
        }
    }
    let mut lives: Vec<Option<Life>> = vec![None; lowering.values.len()];
    for (number, step) in lowering.steps.iter().enumerate() {
        for operand in &step.operands {
            if let Operand::Value(value) | Operand::Part { value, .. } = *operand
                && lowering.values[value].keep == Keep::Pooled
            {
                let len = lowering.values[value].words();
                lives[value].get_or_insert(Life { len, first: number, last: number }).last = number;
            }
        }
    }
    let pooled: Vec<usize> = (0..lives.len()).filter(|&value| lives[value].is_some()).collect();
    let (slot_of, lens) = assign(&lives.iter().flatten().copied().collect::<Vec<_>>());
    let slots = workspace.take(gpu, &lens)?;
    let mut buffers: Vec<Option<Arc<Buffer<f32>>>> = vec![None; lowering.values.len()];
    for (&value, slot) in pooled.iter().zip(slot_of) {
        buffers[value] = Some(slots[slot].clone());
    }
    let (mut inputs, mut outputs): (Vec<Input>, Vec<Output>) = (Vec::new(), Vec::new());
    for (number, (value, buffer)) in lowering.values.iter().zip(&mut buffers).enumerate() {
        if buffer.is_some() {
            continue;
        }
        let made = Arc::new(Buffer::storage(gpu, &value.label, value.words())?);
        match value.keep.clone() {
            Keep::Input { name, labels, shape, classes, ignored } => {
                if inputs.iter().any(|input| input.name == name) {
                    return Err(Error::Duplicate { kind: "input", name });
                }
                let (buffer, gather) = (made.clone(), Mutex::default());
                inputs.push(Input { name, value: number, buffer, labels, shape, classes, ignored, gather });
            }
            Keep::Output(names) => {
                for (name, shape, order) in names {
                    if outputs.iter().any(|output| output.name == name) {
                        return Err(Error::Duplicate { kind: "output", name });
                    }
                    let backward = lowering.wanted_gradients.iter().any(|(gradient, _)| *gradient == name);
                    outputs.push(Output {
                        name,
                        value: number,
                        backward,
                        buffer: made.clone(),
                        shape,
                        order,
                    });
                }
            }
            Keep::Constant(data) => made.write(gpu, 0, &data)?,
            Keep::Pooled | Keep::Random | Keep::LossScale => {}
        }
        *buffer = Some(made);
    }
    Ok((inputs, outputs, buffers.into_iter().flatten().collect()))
}
