use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::optim::averages::options::Averages;
use crate::optim::rule::SlotBits;
use crate::{Error, config};

/// All that an optimizer remembers, in the shape of torch's `state_dict`, with names in place of indices.
///
/// As text, JSON for one, it holds finite numbers alone: its `Serialize` refuses others, and names their place.
///
/// ```
/// use gradus::optim::{AdamW, Optimizer, StateDict};
///
/// # fn keep(optimizer: &mut Optimizer<AdamW>) -> Result<(), Box<dyn std::error::Error>> {
/// let json = gradus::serde_json::to_string(&optimizer.read_state_dict()?)?;
/// let read: StateDict = gradus::serde_json::from_str(&json)?;
/// optimizer.load_state_dict(&read)?; // every later step has the same bits
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StateDict {
    /// Name of the optimizer.
    pub optimizer: String,
    /// Steps recorded.
    pub attempted: u64,
    /// State by the tensor's name; tensors that no step has changed have none.
    pub state: BTreeMap<String, TensorState>,
    /// The groups in order.
    pub param_groups: Vec<GroupState>,
    /// The averages of the weights, if some are kept.
    #[serde(default)]
    pub averages: Option<AveragesState>,
}

impl Serialize for StateDict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "StateDict")]
        struct Form<'a> {
            optimizer: &'a str,
            attempted: u64,
            state: &'a BTreeMap<String, TensorState>,
            param_groups: &'a [GroupState],
            #[serde(skip_serializing_if = "Option::is_none")]
            averages: Option<&'a AveragesState>,
        }
        let Self { optimizer, attempted, state, param_groups, averages } = self;
        let averages = averages.as_ref();
        let form = Form { optimizer, attempted: *attempted, state, param_groups, averages };
        config::serialize_finite(&form, serializer)
    }
}

/// The state of one tensor.
///
/// ```
/// # fn print(dict: &gradus::optim::StateDict) {
/// for (name, state) in &dict.state {
///     println!("{name}: {} steps of {:?}", state.step, state.slots.keys());
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "super::deserialize::Read")]
pub struct TensorState {
    /// Steps that have changed the tensor.
    pub step: u64,
    /// The tensor's shape.
    pub shape: Vec<usize>,
    /// Of NAdam, the product of the momenta of these steps. Where it is left out, that with today's options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mu_product: Option<f64>,
    /// Of a [`Lookahead`](crate::optim::Lookahead) with `reset_state`, those of these steps that followed its latest look ahead. Where it is left
    /// out, what follows from today's options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner_step: Option<u64>,
    /// The exact bits of values that are not stored as f32, by the slot's name: of other slots there is none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stored: BTreeMap<String, SlotBits>,
    /// Numbers that the rule has computed from all these steps, by torch's keys or optax's: of ASGD the `eta` and the `mu`
    /// of the next step, of ScheduleFreeAdamW `weight_sum` and `max_lr`.
    #[serde(flatten)]
    pub scalars: BTreeMap<String, f64>,
    /// Values by the slot's name (`exp_avg`, `momentum_buffer`, …); `None` for a slot that the options use
    /// and no step has used yet.
    #[serde(flatten)]
    pub slots: BTreeMap<String, Option<Vec<f32>>>,
}

/// One group.
///
/// ```
/// # fn print(dict: &gradus::optim::StateDict) {
/// for group in &dict.param_groups {
///     println!("{}: {} with lr {}", group.name, group.params.join(", "), group.options["lr"]);
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupState {
    /// Its name.
    pub name: String,
    /// Its tensors.
    pub params: Vec<String>,
    /// The rate that schedules start from; that of the options where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_lr: Option<f64>,
    /// The rule's options.
    #[serde(flatten)]
    pub options: Map<String, Value>,
}

/// The averages of a [`StateDict`].
///
/// ```
/// # fn print(dict: &gradus::optim::StateDict) {
/// if let Some(averages) = &dict.averages {
///     println!("{:?} over {:?} updates", averages.options, averages.updates);
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AveragesState {
    /// Kind and options of the average.
    pub options: Averages,
    /// Number of updates counted for each parameter's average; parameters without updates are left out.
    pub updates: BTreeMap<String, u64>,
    /// The averages by name: of these parameters, and of buffers if they are averaged and an update has entered.
    pub averages: BTreeMap<String, Vec<f32>>,
}

impl AveragesState {
    /// Whether the average of a tensor has updates.
    pub(super) fn has_updates(&self, name: &str) -> bool {
        self.updates.get(name).is_some_and(|&updates| updates > 0)
    }
}

pub(crate) fn refuse<T>(reason: String) -> Result<T, Error> {
    Err(Error::StateDict(reason))
}
