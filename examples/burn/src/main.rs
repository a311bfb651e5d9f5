//! A convolutional network in Burn, on Burn's wgpu device, trained by an optimizer that Burn lacks: Adamax.
//!
//! The module's parameters are one flat tensor, laid out as Gradus lays them out. Its store adopts that tensor's buffer, so a
//! step changes the module in place: nothing goes through the host, and no parameter is copied. The gradient, which Burn
//! allocates anew in each backward pass, is copied once, on the device. Beside it the same rule runs by Burn's own tensor
//! operations on the same gradients, and both must agree.
//!
//! `cargo run --release --manifest-path examples/burn/Cargo.toml`

mod network;

use anyhow::{Context, Result, ensure};
use burn::tensor::wgpu::{MemoryConfiguration, WgpuSetup};
use burn::tensor::{Device, Tensor, TensorData};
use burn_wgpu::{AutoCompiler, CubeBackend, Wgpu, WgpuResource};
use cubecl::wgpu::WgpuServer;
use gradus::layout::Layout;
use gradus::optim::{Adamax, Optimizer, Rule};
use gradus::{Gpu, ParamStore, wgpu};

use network::{Network, batch};

const STEPS: i32 = 60;

fn main() -> Result<()> {
    // Pages of their own for large tensors, so that a parameter begins its buffer.
    let options = Device::wgpu_options().memory_config(MemoryConfiguration::ExclusivePages);
    let (device, setup) = options.init_with_setup()?;
    let gpu = Gpu::from_wgpu(&setup.adapter, setup.device.clone(), setup.queue.clone());

    let layout = network::layout()?;
    let parameters = layout.parameters();
    let network = Network::new(&layout, &device);
    let rule = Adamax { lr: 1e-2, ..Adamax::default() };
    let mut exact = ByTensors::new(rule.clone(), network.parameters());
    let mut shared = Shared::new(&gpu, &setup, layout, rule, network.parameters())?;

    let (x, labels) = batch(&device);
    let (mut first, mut last) = (0.0, 0.0);
    for step in 1..=STEPS {
        let loss = network.loss(x.clone(), labels.clone());
        let mut gradients = loss.backward();
        let gradient = network.flat.val().grad_remove(&mut gradients).context("no gradient")?;
        exact.step(step, gradient.clone());
        shared.step(gradient)?;
        if step == 1 || step == STEPS {
            last = loss.into_scalar::<f32>();
            first = if step == 1 { last } else { first };
        }
    }
    let trained = values(network.parameters())?;
    let expected = values(exact.parameters)?;
    let error = trained.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!(
        "{parameters} parameters, {STEPS} steps on {}: loss {first:.4} to {last:.4}; largest difference from Burn's operations {error:.1e}",
        gpu.info().name,
    );
    ensure!(last < first / 4.0, "it does not learn");
    ensure!(error < 1e-6, "Adamax by Burn's tensors ends elsewhere");
    Ok(())
}

fn values(tensor: Tensor<1>) -> Result<Vec<f32>> {
    tensor.into_data().try_to_vec().map_err(|error| anyhow::anyhow!("{error:?}"))
}

/// The buffer of a tensor, with what keeps it allocated, after all that Burn has recorded was submitted.
fn resource(tensor: Tensor<1>) -> Result<WgpuResource> {
    let fused = tensor.try_into_primitive::<Wgpu>().map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let tensor = fused.client.clone().resolve_tensor_float::<CubeBackend>(fused);
    tensor.client.flush()?;
    let managed = tensor.client.get_resource::<WgpuServer<AutoCompiler>>(tensor.handle.clone())?;
    Ok(managed.resource().clone())
}

/// A store over a tensor of Burn's, and its optimizer.
struct Shared {
    gpu: Gpu,
    queue: wgpu::Queue,
    params: ParamStore,
    optimizer: Optimizer<Adamax>,
    /// The parameter, which keeps the buffer allocated.
    _parameters: Tensor<1>,
}

impl Shared {
    fn new(
        gpu: &Gpu,
        setup: &WgpuSetup,
        layout: Layout,
        rule: Adamax,
        parameters: Tensor<1>,
    ) -> Result<Self> {
        let bytes = 4 * layout.len() as u64;
        let found = resource(parameters.clone())?;
        ensure!(found.offset == 0 && found.buffer.size() >= bytes, "the parameter does not begin its buffer");
        let gradient = setup.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("gradient"),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let params = ParamStore::adopt(gpu, layout, vec![found.buffer], vec![gradient])?;
        let optimizer = rule.build(&params)?;
        Ok(Self { gpu: gpu.clone(), queue: setup.queue.clone(), params, optimizer, _parameters: parameters })
    }

    /// The gradient's copy and the update, in one submit behind Burn's.
    fn step(&mut self, gradient: Tensor<1>) -> Result<()> {
        let found = resource(gradient)?;
        let mut encoder = self.gpu.encoder("step");
        let ours = self.params.grads().buffers()[0].raw();
        encoder.copy_buffer_to_buffer(&found.buffer, found.offset, ours, 0, ours.size());
        let ticket = self.optimizer.record(&mut encoder, &mut self.params)?;
        self.queue.submit([encoder.finish()]);
        self.optimizer.submitted(ticket)?;
        Ok(())
    }
}

/// Adamax by Burn's tensor operations.
struct ByTensors {
    rule: Adamax,
    parameters: Tensor<1>,
    average: Tensor<1>,
    largest: Tensor<1>,
}

impl ByTensors {
    fn new(rule: Adamax, parameters: Tensor<1>) -> Self {
        // A copy with a buffer of its own.
        let parameters =
            Tensor::from_data(TensorData::from(parameters.clone().into_data()), &parameters.device());
        let zeros = parameters.zeros_like();
        Self { rule, parameters, average: zeros.clone(), largest: zeros }
    }

    fn step(&mut self, step: i32, gradient: Tensor<1>) {
        let Adamax { lr, betas: (beta1, beta2), eps, .. } = self.rule;
        self.average = self.average.clone() * beta1 + gradient.clone() * (1.0 - beta1);
        self.largest = (self.largest.clone() * beta2).max_pair(gradient.abs() + eps);
        let step = self.average.clone() / self.largest.clone() * (lr / (1.0 - beta1.powi(step)));
        self.parameters = self.parameters.clone() - step;
    }
}
