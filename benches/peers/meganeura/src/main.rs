//! The reference network and the perceptron in meganeura on Vulkan.

use anyhow::{Result, bail, ensure};
use meganeura::{Graph, NodeId, Session, SessionConfig, build};
use protocol::{Tensors, Training};

fn main() -> Result<()> {
    protocol::serve(|model, weights, batch| {
        let (shape, x) = batch.get("x")?;
        let samples = shape[0];
        let mut graph = Graph::new();
        let input = match model {
            "reference-cnn" => graph.input("x", &[x.len()]),
            "mlp" => graph.input("x", &[samples, x.len() / samples]),
            _ => bail!("meganeura: no model {model}"),
        };
        let labels = graph.input("labels", &[samples, 10]);
        let mut parameters = Vec::new();
        let mut layers = Layers { graph: &mut graph, weights, parameters: &mut parameters };
        let logits = match model {
            "mlp" => layers.perceptron(input)?,
            _ => layers.cnn(input, samples)?,
        };
        let loss = graph.cross_entropy_loss(logits, labels);
        graph.set_outputs(vec![loss]);
        let (mut session, _) = build(&graph, SessionConfig::default());
        for (name, values) in &parameters {
            session.set_parameter(name, values);
        }
        // torch's defaults.
        session.set_adam(1e-3, 0.9, 0.999, 1e-8);
        session.set_weight_decay(0.01);
        let mut one_hot = vec![0.0; samples * 10];
        for (sample, label) in batch.get("y")?.1.iter().enumerate() {
            one_hot[sample * 10 + *label as usize] = 1.0;
        }
        Ok(Box::new(Model { session, x: x.to_vec(), labels: one_hot }))
    })
}

struct Layers<'a> {
    graph: &'a mut Graph,
    weights: &'a Tensors,
    parameters: &'a mut Vec<(String, Vec<f32>)>,
}

impl Layers<'_> {
    fn parameter(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> NodeId {
        self.parameters.push((name.to_owned(), values));
        self.graph.parameter(name, shape)
    }

    fn linear(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        let (shape, values) = self.weights.transposed(&format!("{name}.weight"))?;
        let weight = self.parameter(&format!("{name}.weight"), &shape, values);
        let bias = self.weights.get(&format!("{name}.bias"))?.1.to_vec();
        let bias = self.parameter(&format!("{name}.bias"), &[shape[1]], bias);
        let y = self.graph.matmul(x, weight);
        Ok(self.graph.bias_add(y, bias))
    }

    /// A 3x3 convolution of images of so many samples and such a side, a relu and a pooling.
    fn conv(&mut self, name: &str, x: NodeId, samples: u32, side: u32) -> Result<NodeId> {
        let (shape, values) = self.weights.get(&format!("{name}.weight"))?;
        let &[out, channels, 3, 3] = shape else { bail!("{name}: {shape:?}") };
        let (out, channels) = (u32::try_from(out)?, u32::try_from(channels)?);
        let weight = self.parameter(&format!("{name}.weight"), &[values.len()], values.to_vec());
        let bias = self.weights.get(&format!("{name}.bias"))?.1.to_vec();
        let bias = self.parameter(&format!("{name}.bias"), &[bias.len()], bias);
        let y = self.graph.conv2d(x, weight, samples, channels, side, side, out, 3, 3, 1, 1);
        let y = self.graph.add_per_channel(y, bias, out, side * side);
        let y = self.graph.relu(y);
        Ok(self.pool(y, samples * out, side))
    }

    /// The largest of each 2x2 window as `max(a, b) = relu(a - b) + b` of four convolutions that pick an element each:
    /// the gradient of its own `max_pool_2d` is wrong in 0.3.0.
    fn pool(&mut self, x: NodeId, planes: u32, side: u32) -> NodeId {
        let x = self.graph.reshape(x, &[(planes * side * side) as usize]);
        let pick = |graph: &mut Graph, at: usize| {
            let mut kernel = vec![0.0; 4];
            kernel[at] = 1.0;
            let kernel = graph.constant(kernel, &[4]);
            graph.conv2d(x, kernel, planes, 1, side, side, 1, 2, 2, 2, 0)
        };
        let first = pick(self.graph, 0);
        (1..4).fold(first, |largest, at| {
            let other = pick(self.graph, at);
            let negative = self.graph.neg(largest);
            let difference = self.graph.add(other, negative);
            let above = self.graph.relu(difference);
            self.graph.add(above, largest)
        })
    }

    fn cnn(&mut self, x: NodeId, samples: usize) -> Result<NodeId> {
        ensure!(samples > 0, "no samples");
        let count = u32::try_from(samples)?;
        let h = self.conv("conv1", x, count, 28)?;
        let h = self.conv("conv2", h, count, 14)?;
        let h = self.graph.reshape(h, &[samples, 32 * 7 * 7]);
        self.perceptron(h)
    }

    fn perceptron(&mut self, x: NodeId) -> Result<NodeId> {
        let h = self.linear("fc1", x)?;
        let h = self.graph.relu(h);
        self.linear("fc2", h)
    }
}

struct Model {
    session: Session,
    x: Vec<f32>,
    labels: Vec<f32>,
}

impl Training for Model {
    fn step(&mut self) -> Result<()> {
        self.session.set_input("x", &self.x);
        self.session.set_input("labels", &self.labels);
        self.session.step();
        self.session.wait();
        Ok(())
    }

    fn loss(&mut self) -> Result<f32> {
        Ok(self.session.read_loss())
    }
}
