//! A bridge from graphs to searches.

use crate::Error;
use crate::gpu::Recorder;
use crate::graph::{Graph, HostData, Plan, PlanOptions, Var, Workspace};
use crate::layout::Span;
use crate::params::ParamStore;
use crate::search::{DeviceObjective, Population, Space};

/// The loss of a graph over data that do not change, as a function of its parameters: a network learns without gradients.
///
/// Each member of a population is copied into the store, the forward pass runs, and its loss stays on the device. Frozen
/// tensors keep their values. Afterwards the store holds whatever was evaluated last: [`GraphLoss::set`] puts the best back.
///
/// ```no_run
/// use gradus::graph::Graph;
/// use gradus::search::{Objective, SNES, Search};
/// use gradus::train::GraphLoss;
///
/// # fn main() -> Result<(), gradus::Error> {
/// # let (gpu, x, y) = (gradus::Gpu::new(Default::default())?, vec![0.0_f32; 64], vec![0.0_f32; 16]);
/// let graph = Graph::new();
/// let (input, target) = (graph.input("x", [16, 4]), graph.input("y", [16, 1]));
/// let loss = input.linear(8).tanh().linear(1).mse_loss(&target);
/// let mut params = graph.store(&gpu, 1)?;
/// let mut own = GraphLoss::new(&graph, &loss, &mut params, &[("x", &x), ("y", &y)])?;
/// let builder = Search::builder(own.space(), SNES { sigma: 0.1, ..Default::default() });
/// let mut search = builder.members(32).budget(32_000).start(&own.get()?).build(&gpu)?;
/// let found = search.minimize(&mut Objective::device(&mut own))?;
/// own.set(&found.x)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct GraphLoss<'p> {
    params: &'p mut ParamStore,
    plan: Plan,
    /// Tensors that a member has values of, one after the other.
    spans: Vec<Span>,
    // The plan's values lie in it.
    _workspace: Workspace,
}

/// The name of the loss in the plan.
const LOSS: &str = "loss";

impl<'p> GraphLoss<'p> {
    /// The loss of `graph` over `data`, all in one batch of the size that the inputs were declared with.
    ///
    /// # Errors
    /// As [`Graph::compile`] and [`Plan::write`]; [`Error::Config`] if no tensor of the store may change.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(
        graph: &Graph,
        loss: &Var,
        params: &'p mut ParamStore,
        data: &[(&str, &dyn HostData)],
    ) -> Result<Self, Error> {
        params.gpu().clone().block_on(Self::new_async(graph, loss, params, data))
    }

    /// As [`GraphLoss::new`], without blocking.
    ///
    /// # Errors
    /// As [`GraphLoss::new`].
    pub async fn new_async(
        graph: &Graph,
        loss: &Var,
        params: &'p mut ParamStore,
        data: &[(&str, &dyn HostData)],
    ) -> Result<Self, Error> {
        if loss.shape().iter().product::<usize>() != 1 {
            let (layer, expected) = (loss.name(), "a scalar as the loss of a search".into());
            return Err(Error::Shape { layer, expected, got: loss.shape() });
        }
        let mut spans = Vec::new();
        for span in params.layout().spans() {
            if !params.is_frozen(&span.name)? {
                spans.push(span.clone());
            }
        }
        if spans.is_empty() {
            let reason = "all tensors are frozen: there is nothing to search".into();
            return Err(Error::Config { what: "graph loss".into(), reason });
        }
        let mut workspace = Workspace::new();
        let options = PlanOptions::evaluate().output(LOSS, loss);
        let plan = graph.compile_async(params, &options, &mut workspace).await?;
        for (name, data) in data {
            plan.write(name, *data)?;
        }
        Ok(Self { params, plan, spans, _workspace: workspace })
    }

    /// How many numbers a member has: all elements of the tensors that are not frozen.
    pub fn dimensions(&self) -> usize {
        self.spans.iter().map(|span| span.len).sum()
    }

    /// The space of the parameters, without bounds.
    pub fn space(&self) -> Space {
        Space::unbounded(self.dimensions())
    }

    /// The parameters as they are in the store, as a point to start from.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn get(&self) -> Result<Vec<f32>, Error> {
        self.params.gpu().block_on(self.get_async())
    }

    /// As [`GraphLoss::get`], without blocking.
    ///
    /// # Errors
    /// As [`GraphLoss::get`].
    pub async fn get_async(&self) -> Result<Vec<f32>, Error> {
        let mut all = Vec::with_capacity(self.dimensions());
        for span in &self.spans {
            all.extend(self.params.read_async(&span.name).await?);
        }
        Ok(all)
    }

    /// Writes a point into the store.
    ///
    /// # Errors
    /// [`Error::Length`] for other than [`GraphLoss::dimensions`] numbers; [`Error::DeviceLost`].
    pub fn set(&mut self, x: &[f32]) -> Result<(), Error> {
        if x.len() != self.dimensions() {
            let what = "parameters of a graph".into();
            return Err(Error::Length { what, expected: self.dimensions(), got: x.len() });
        }
        let mut first = 0;
        for span in &self.spans {
            self.params.write(&span.name, &x[first..first + span.len])?;
            first += span.len;
        }
        Ok(())
    }
}

impl DeviceObjective for GraphLoss<'_> {
    fn record(&mut self, recorder: &mut Recorder<'_>, population: &Population<'_>) -> Result<(), Error> {
        if !recorder.gpu().is_same(self.params.gpu()) {
            return Err(Error::Mismatch("the graph's store and the search are on different devices".into()));
        }
        if population.dimensions != self.dimensions() {
            let what = "dimensions of a search over this graph's parameters".into();
            return Err(Error::Length { what, expected: self.dimensions(), got: population.dimensions });
        }
        let word = size_of::<f32>();
        let flat = self.params.params();
        for member in 0..population.members {
            let mut first = member * population.dimensions;
            for span in &self.spans {
                for piece in self.params.layout().pieces(span.first, span.len) {
                    let bytes = |elements: usize| (elements * word) as u64;
                    let from = bytes(first + piece.part.start);
                    let to = flat.buffers()[piece.buffer].raw();
                    recorder.copy(
                        population.rows.raw(),
                        from,
                        to,
                        bytes(piece.offset),
                        bytes(piece.part.len()),
                    );
                }
                first += span.len;
            }
            self.plan.record(recorder)?;
            let (loss, to) = (self.plan.output(LOSS)?, population.losses.raw());
            recorder.copy(loss, 0, to, (member * word) as u64, word as u64);
        }
        Ok(())
    }

    fn generations_per_submit(&self) -> usize {
        4
    }
}
