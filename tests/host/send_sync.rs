//! Every public type may go to another thread, and be shared between threads.

use std::fs;
use std::path::{Path, PathBuf};

use gradus::error::{Error, ShapeMismatch, WeightsMismatch};
use gradus::gpu::*;
use gradus::graph::{
    CustomOp, CustomOpBuilder, Dtype, Fan, Graph, HostData, Init, InputData, LabelShape, Nonlinearity,
    Parameter, Plan, PlanOptions, Resident, Role, Rows, SplitSizes, Spread, Var, Workspace,
};
use gradus::layout::{GroupSpec, Layout, Limits, Piece, Span, Window};
use gradus::optim::*;
use gradus::params::*;
use gradus::predict::{Outputs, Predictor};
use gradus::search::*;
use gradus::train::callbacks::{
    BatchEnd, CSVLogger, Callbacks, Control, Dashboard, Diagnosis, EpochEnd, GradientMonitor,
    LearningRateMonitor, ModelCheckpoint, Note, Problem, Progress, ProgressStyle, Reads, RunInfo, Stopped,
    TensorBoard, TerminateOnNaN, TrainEnd,
};
use gradus::train::data::idx::{Images, Part};
use gradus::train::data::npy::{Array, Opened};
use gradus::train::data::npz::Npz;
use gradus::train::data::{
    Batch, Batches, Column, Csv, DataLoader, Dataset, EpochSource, FnSource, KFold, Normalization, Position,
    Prefetch, Random, RandomSampler, ResidentBatch, ResidentDataset, ResidentLoader, SequentialSampler,
    Shuffled, Split, StratifiedKFold, SubsetRandomSampler, TestSize, TrainTestSplit, Values,
    WeightedRandomSampler,
};
use gradus::train::files::FolderLock;
use gradus::train::*;
use gradus::{grad, graph, nn, schedule};

/// A closure as schedules take it.
type F = fn(u64) -> f64;

const fn is_send_and_sync<T: Send + Sync + ?Sized>() {}

macro_rules! types {
    ($($of:ty),+ $(,)?) => {
        const _: () = {
            $(is_send_and_sync::<$of>();)+
        };
        /// As they are written below.
        const WRITTEN: &str = concat!($(stringify!($of), " "),+);
    };
}

types!(
    Error,
    ShapeMismatch,
    WeightsMismatch,
    // gpu
    Autotune,
    Binding,
    Block,
    Buffer<f32>,
    Capabilities,
    Counters,
    Dispatch,
    Field,
    Gpu,
    GpuOptions,
    Kept,
    Kernel,
    KernelChoice,
    KernelKind,
    KernelListing,
    KernelSource,
    Phase,
    ReadRing,
    Recorder<'static>,
    Region<'static>,
    Ticket,
    TileSize,
    Timestamps,
    Trial,
    UniformRing,
    // params and layout
    Flat,
    Gate,
    GateValues,
    GroupBuilder<'static>,
    LoadReport,
    ParamStore,
    ParamStoreBuilder<'static>,
    Tensor,
    Weights,
    GroupSpec,
    Layout,
    Limits,
    Piece,
    Span,
    Window,
    // grad
    grad::Accumulate,
    grad::Centralize,
    grad::ClipGradNorm,
    grad::GradScaler,
    grad::Noise,
    grad::NormType,
    grad::Penalty,
    grad::GradReduction,
    grad::Skip,
    grad::Transforms,
    dyn grad::Transform,
    // optim
    ASGD,
    AdaBelief,
    Adadelta,
    Adafactor,
    AdafactorEps,
    Adagrad,
    Adam,
    AdamW,
    Adamax,
    Adan,
    AdjustLr,
    Averages,
    AveragesState,
    CustomRule,
    CustomRuleBuilder,
    Decay,
    Ema,
    Entry,
    EvalParams,
    Family,
    Fromage,
    Granularity,
    GroupState,
    Hypers<'static>,
    LBFGS,
    Lamb,
    Lars,
    LbfgsOptimizer,
    LbfgsState,
    LbfgsStep,
    LbfgsStop,
    LbfgsTensorState,
    LineSearch,
    Lion,
    Lookahead,
    Lookahead<SGD>,
    Mu,
    Muon,
    MuonAdamW,
    NAdam,
    NewtonSchulz,
    NormReport,
    Norms,
    Novograd,
    OptimizerOptions,
    Precisions,
    SlotBits,
    StatePrecision,
    Optimizer<AdamW>,
    Optimizer<Box<dyn AnyRule>>,
    Optimizer<CustomRule>,
    RAdam,
    RMSprop,
    Recurrence,
    Reduced,
    Reset,
    Rprop,
    SGD,
    SM3,
    ScheduleFreeAdamW,
    Shader<'static>,
    Slot,
    StateDict,
    Statistic,
    StepInfo,
    StepResult,
    Swa,
    TensorNorms,
    TensorState,
    Variant,
    Weight,
    Yogi,
    // graph
    CustomOp,
    CustomOpBuilder,
    Dtype,
    Fan,
    Graph,
    Init,
    InputData<'static>,
    LabelShape,
    graph::Mode,
    Nonlinearity,
    Parameter,
    Plan,
    PlanOptions,
    Resident,
    Role,
    Rows<'static>,
    SplitSizes,
    Spread,
    Var,
    Workspace,
    &'static dyn HostData,
    // nn
    nn::AvgPool2d,
    nn::BCEWithLogitsLoss,
    nn::BatchNorm,
    nn::Conv1d,
    nn::Conv2d,
    nn::ConvTranspose2d,
    nn::CosineEmbeddingLoss,
    nn::CrossEntropy,
    nn::Embedding,
    nn::GRU,
    nn::GroupNorm,
    nn::HuberLoss,
    nn::KLDivLoss,
    nn::LSTM,
    nn::LayerNorm,
    nn::Linear,
    nn::MaxPool2d,
    nn::MultiheadAttention,
    nn::NllLoss,
    nn::NormalizedShape,
    nn::OutputSize,
    nn::PReLU,
    nn::Padding,
    nn::Pair,
    nn::RMSNorm,
    nn::RNN,
    nn::Reduction,
    nn::RnnNonlinearity,
    nn::Scale,
    nn::ScaledDotProductAttention,
    nn::Sequential,
    nn::SmoothL1Loss,
    nn::RandomCrop,
    nn::RandomErasing,
    nn::Upsample,
    // predict and train
    Outputs,
    Predictor,
    Checkpoint,
    Confusion,
    EarlyStopping,
    EarlyStoppingState,
    EpochRecord,
    Evaluation,
    FolderLock,
    GateState,
    History,
    StepReport,
    StopRule,
    Trainer<AdamW>,
    Trainer<Box<dyn AnyRule>>,
    TrainerBuilder<AdamW>,
    FitOptions<'static>,
    FitReport,
    Validation<'static>,
    BatchEnd<'static>,
    CSVLogger,
    Callbacks<'static>,
    Control,
    Dashboard,
    Diagnosis,
    EpochEnd<'static>,
    GradientMonitor,
    LearningRateMonitor,
    ModelCheckpoint,
    Note,
    Problem,
    Progress,
    ProgressStyle,
    Reads,
    callbacks::ReduceLROnPlateauCallback,
    RunInfo,
    Stopped,
    TensorBoard,
    TerminateOnNaN,
    TrainEnd<'static>,
    Array,
    Batch,
    Batches<'static>,
    Column,
    Csv,
    DataLoader<Dataset>,
    Dataset,
    Dataset<f32>,
    EpochSource<std::vec::IntoIter<Batch>, F>,
    FnSource<Batch, F>,
    KFold,
    Npz,
    Position,
    Prefetch<DataLoader<Dataset>>,
    Random,
    RandomSampler,
    ResidentBatch<'static>,
    ResidentLoader<'static>,
    SequentialSampler,
    Split,
    StratifiedKFold,
    SubsetRandomSampler,
    TestSize,
    TrainTestSplit,
    WeightedRandomSampler,
    Images,
    Normalization,
    Opened,
    Part,
    ResidentDataset,
    Shuffled<'static>,
    Values,
    // schedule
    Box<dyn schedule::Schedule>,
    schedule::Anneal,
    schedule::Best,
    schedule::ChainedScheduler,
    schedule::ConstantLR,
    schedule::CosineAnnealingLR,
    schedule::CosineAnnealingWarmRestarts,
    schedule::CosineDecay,
    schedule::CosineDecayRestarts,
    schedule::Course,
    schedule::CyclicLR,
    schedule::CyclicMode,
    schedule::ExponentialDecay,
    schedule::ExponentialDecayLR,
    schedule::ExponentialLR,
    schedule::FromFn<F>,
    schedule::Interval,
    schedule::InverseTimeDecay,
    schedule::LambdaLR<F>,
    schedule::LinearLR,
    schedule::Link,
    schedule::MetricMode,
    schedule::MultiStepLR,
    schedule::MultiplicativeFn<F>,
    schedule::MultiplicativeLR,
    schedule::OneCycleLR,
    schedule::PerEpoch<schedule::StepLR>,
    schedule::PiecewiseConstantDecay,
    schedule::PiecewiseConstantSchedule,
    schedule::PlateauState,
    schedule::Point,
    schedule::PolynomialDecay,
    schedule::PolynomialLR,
    schedule::ReduceLROnPlateau,
    schedule::SWALR,
    schedule::ScheduleEntry,
    schedule::SequentialLR,
    schedule::StepLR,
    schedule::ThresholdMode,
    schedule::WarmupCosineSchedule,
    schedule::WarmupLinearDecay,
    schedule::WarmupScheduler,
    // search
    Advice,
    Approach,
    Constraint<'static>,
    Differences,
    HistoryPoint,
    MinimizeOptions<'static>,
    MinimizeProgress<'static>,
    MinimizeStatus,
    Minimizer,
    OptimizationAdvisor,
    OptimizeResult,
    ProblemDescription,
    Property,
    Reason,
    TestFunction,
    TestProblem,
    CMA,
    DE,
    DECrossover,
    DEStrategy,
    DiagonalCMA,
    Dimension,
    ElitistES,
    GA,
    GraphLoss<'static>,
    HaltonSearch,
    LHSSearch,
    Method,
    OnePlusOne,
    OpenAIES,
    PSO,
    Population<'static>,
    RandomSearch,
    RankWeights,
    SNES,
    SavedSearch,
    Search,
    SearchBuilder,
    SearchResult,
    SimulatedAnnealing,
    SobolSearch,
    Space,
);

/// The constants of a step, which have no name outside.
fn hypers<R: Rule>()
where
    R::Hyper: Send + Sync,
{
}

#[test]
fn constants_of_each_kind_of_rule_may_be_shared() {
    hypers::<SGD>();
    hypers::<AdamW>();
    hypers::<Lamb>();
    hypers::<Adafactor>();
    hypers::<SM3>();
    hypers::<Muon>();
    hypers::<ASGD>();
}

pub(crate) fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false if path.extension().is_some_and(|ending| ending == "rs") => found.push(path),
            false => {}
        }
    }
}

/// The names of public structs and enums; that the word `pub` means public is a lint of the crate.
fn public_types(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix("pub ")?;
        let rest = rest.strip_prefix("struct ").or_else(|| rest.strip_prefix("enum "))?;
        rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next()
    })
}

#[test]
fn the_list_has_every_public_type() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let listed: Vec<&str> = WRITTEN.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    let mut seen = 0;
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        for name in public_types(&text) {
            // The constants of a rule's step are plain numbers, and are seen above. An objective is the user's own closure,
            // which stays on its thread.
            let exempt = name.ends_with("Hyper") || name == "Objective";
            assert!(exempt || listed.contains(&name), "{name} of {} is missing", file.display());
            seen += 1;
        }
    }
    assert!(seen > 200, "{seen}");
}
