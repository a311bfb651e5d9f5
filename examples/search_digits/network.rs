//! The network, and what it is judged by.

use anyhow::Result;
use gradus::gpu::Recorder;
use gradus::graph::{Graph, Plan, PlanOptions, Var, Workspace};
use gradus::{Gpu, ParamStore};

use crate::digits::{Digits, SIDE};

/// Images with pixels from 0 to 1, and their digits.
pub(crate) struct Images {
    pub(crate) pixels: Vec<f32>,
    pub(crate) labels: Vec<u32>,
}

impl Images {
    pub(crate) fn of(digits: Digits) -> Self {
        Self {
            pixels: digits.pixels.iter().map(|pixel| pixel / 16.0).collect(),
            labels: digits.labels.iter().map(|&label| label.into()).collect(),
        }
    }
}

/// The graph over so many images, its loss and its accuracy.
pub(crate) fn network(images: usize) -> (Graph, Var, Var) {
    let graph = Graph::new();
    let labels = graph.labels("labels", images);
    let logits = graph.input("images", [images, SIDE * SIDE]).linear(32).tanh().linear(10);
    let (loss, accuracy) = (logits.cross_entropy(&labels), logits.accuracy(&labels));
    (graph, loss, accuracy)
}

/// The network over images that it does not learn, with a store of its own.
pub(crate) struct Judge {
    gpu: Gpu,
    params: ParamStore,
    plan: Plan,
    // The plan's values lie in it.
    _workspace: Workspace,
}

impl Judge {
    pub(crate) fn new(gpu: &Gpu, unseen: &Images) -> Result<Self> {
        let (graph, _, accuracy) = network(unseen.labels.len());
        let (params, mut workspace) = (graph.store(gpu, 1)?, Workspace::new());
        let options = PlanOptions::evaluate().output("accuracy", &accuracy);
        let plan = graph.compile(&params, &options, &mut workspace)?;
        plan.write("images", &unseen.pixels)?;
        plan.write("labels", &unseen.labels)?;
        Ok(Self { gpu: gpu.clone(), params, plan, _workspace: workspace })
    }

    /// The accuracy with these parameters.
    pub(crate) fn accuracy(&mut self, x: &[f32]) -> Result<f64> {
        let spans = self.params.layout().spans().to_vec();
        let mut rest = x;
        for span in spans {
            let (values, others) = rest.split_at(span.len);
            self.params.write(&span.name, values)?;
            rest = others;
        }
        let mut encoder = self.gpu.encoder("judge");
        self.plan.record(&mut Recorder::new(&self.gpu, &mut encoder))?;
        self.gpu.submit(encoder)?;
        Ok(self.plan.read("accuracy")?[0].into())
    }
}
