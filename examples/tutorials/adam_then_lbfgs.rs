//! Adam first, then L-BFGS: each where it is good.

use anyhow::{Result, ensure};
use gradus::gpu::Recorder;
use gradus::graph::{Graph, Plan, PlanOptions, Workspace};
use gradus::optim::{Adam, LBFGS, LineSearch, Rule};
use gradus::{Error, Gpu, ParamStore};

use crate::curves::{self, Curve};
use crate::sheet::{COLORS, Scale, cells, panel, sheet};
use crate::{Picture, Stage};

const POINTS: usize = 128;
/// Evaluations before the change, and all of them.
const FIRST: usize = 200;
const ALL: usize = 600;

/// A network that fits a curve on all of its points at once.
struct Fit {
    gpu: Gpu,
    params: ParamStore,
    plan: Plan,
    // The plan's values lie in it.
    _workspace: Workspace,
}

impl Fit {
    fn new(gpu: &Gpu) -> Result<Self, Error> {
        let graph = Graph::new();
        let (x, y) = (graph.input("x", [POINTS, 4]), graph.input("y", [POINTS, 1]));
        let loss = x.linear(16).tanh().linear(1).mse_loss(&y);
        let (params, mut workspace) = (graph.store(gpu, 1)?, Workspace::new());
        let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut workspace)?;
        let at = |point: usize| 2.0 * point as f32 / POINTS as f32 - 1.0;
        let inputs: Vec<f32> =
            (0..POINTS).flat_map(|point| (1..=4).map(move |n| at(point).powi(n))).collect();
        let curve: Vec<f32> = (0..POINTS).map(|point| (5.0 * at(point)).sin()).collect();
        plan.write("x", &inputs[..])?;
        plan.write("y", &curve[..])?;
        Ok(Self { gpu: gpu.clone(), params, plan, _workspace: workspace })
    }

    /// The loss; the gradients stay in the store.
    fn evaluate(gpu: &Gpu, plan: &Plan) -> Result<f64, Error> {
        let mut encoder = gpu.encoder("closure");
        plan.record(&mut Recorder::new(gpu, &mut encoder))?;
        gpu.submit(encoder)?;
        Ok(f64::from(plan.read("loss")?[0]))
    }

    /// The loss at each of so many evaluations of Adam.
    fn adam(&mut self, evaluations: usize) -> Result<Vec<f64>, Error> {
        let mut adam = Adam { lr: 0.01, ..Default::default() }.build(&self.params)?;
        let mut losses = Vec::new();
        for _ in 0..evaluations {
            losses.push(Self::evaluate(&self.gpu, &self.plan)?);
            adam.step(&mut self.params)?;
        }
        Ok(losses)
    }

    /// The loss at each evaluation of L-BFGS, until there are so many or it has converged.
    fn lbfgs(&mut self, evaluations: usize) -> Result<Vec<f64>, Error> {
        let options = LBFGS { line_search_fn: Some(LineSearch::StrongWolfe), ..Default::default() };
        let mut lbfgs = options.build(&self.params)?;
        let mut losses = Vec::new();
        while losses.len() < evaluations {
            let done = lbfgs.step(&mut self.params, |_| {
                let loss = Self::evaluate(&self.gpu, &self.plan)?;
                losses.push(loss);
                Ok::<f64, Error>(loss)
            })?;
            if done.evaluations <= 1 {
                break;
            }
        }
        losses.truncate(evaluations);
        Ok(losses)
    }
}

/// The lowest so far: a line search evaluates far off as well.
fn curve(name: &str, color: usize, losses: &[f64]) -> Curve {
    let lowest = losses.iter().scan(f64::INFINITY, |lowest, loss| {
        *lowest = lowest.min(*loss);
        Some(*lowest)
    });
    let x = (1..=losses.len()).map(|at| at as f64).collect();
    Curve { name: name.to_owned(), color: COLORS[color], x, y: lowest.collect(), band: Vec::new() }
}

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let adam = Fit::new(&stage.gpu)?.adam(ALL)?;
    let mut both = Fit::new(&stage.gpu)?;
    let warm = both.adam(FIRST)?;
    let tuned = both.lbfgs(ALL - FIRST)?;
    let cold = Fit::new(&stage.gpu)?.lbfgs(ALL)?;
    let curves = [
        curve("Adam", 0, &adam),
        curve("Adam, then L-BFGS", 1, &[warm, tuned].concat()),
        curve("L-BFGS", 2, &cold),
    ];
    let [plain, tuned, cold] = [0, 1, 2].map(|at| curves[at].end());
    let lines = [
        "A network of 97 parameters fits sin 5x on all of 128 points at once. An evaluation: the loss and its gradient.",
    ];
    let title = "L-BFGS finishes what Adam has begun";
    let svg = sheet((880, 420), title, &lines, |body| {
        let area = &cells(body, 1, 1, 0)?[0];
        let x = Scale::linear(0.0..ALL as f64, "evaluations");
        let y = Scale::log(1e-7..1.0, "lowest loss so far");
        let heading = format!("L-BFGS takes over after {FIRST} evaluations");
        let mut plot = panel(area, &heading, (&x, &y), 136)?;
        curves::draw(area, &mut plot, &curves)
    })?;
    ensure!(tuned < 0.05 * plain, "L-BFGS ends at {tuned}, Adam alone at {plain}");
    let shows = format!(
        "After {ALL} evaluations Adam alone has a loss of {plain:.1e}; Adam for {FIRST} and then L-BFGS {tuned:.1e}; L-BFGS \
         from the beginning {cold:.1e}."
    );
    Ok(Picture { svg, shows })
}
