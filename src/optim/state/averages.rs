use std::collections::BTreeMap;

use super::dict::{AveragesState, StateDict, refuse};
use crate::Error;
use crate::error::countable;
use crate::layout::Span;
use crate::optim::averages::average::Average;
use crate::optim::averages::options::Averages;
use crate::optim::optimizer::Optimizer;
use crate::optim::rule::any::AnyRule;
use crate::params::GateValues;

/// The averages read from the device: of parameters, and of buffers if averaged, including padding.
pub(super) type Values = Vec<Vec<f32>>;

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Waits for the device and reads all averages.
    pub(super) async fn read_average_values(&self) -> Result<Values, Error> {
        self.check_places()?;
        let mut values = Values::new();
        for flat in self.average.iter().flat_map(Average::flats) {
            values.push(flat.read_all_async(&self.gpu).await?);
        }
        Ok(values)
    }

    /// The averages for a state dict, from the values that were read.
    pub(super) fn averages_state(&self, values: &Values, gate: Option<GateValues>) -> Option<AveragesState> {
        let average = self.average.as_ref()?;
        let of_tensors = self.updates_after(gate);
        let tensors = || self.layout.spans().iter().zip(&of_tensors).filter(|(_, updates)| **updates > 0);
        let updates = tensors().map(|(span, updates)| (span.name.clone(), *updates)).collect();
        let part =
            |span: &Span, all: &[f32]| (span.name.clone(), all[span.first..span.first + span.len].to_vec());
        let mut averages: BTreeMap<_, _> = tensors().map(|(span, _)| part(span, &values[0])).collect();
        if let (Some(buffers), true) = (&average.buffers, average.counts.has_entered(of_tensors.iter())) {
            averages.extend(buffers.flat.layout().spans().iter().map(|span| part(span, &values[1])));
        }
        Some(AveragesState { options: average.counts.options.clone(), updates, averages })
    }

    /// Refuses averages of a state dict that do not match this optimizer's.
    pub(super) fn check_averages(&self, dict: &StateDict) -> Result<(), Error> {
        let (theirs, ours) = match (&dict.averages, &self.average) {
            (None, None) => return Ok(()),
            (None, Some(_)) => {
                return refuse(
                    "it has no averages, which this optimizer keeps: set them after loading".into(),
                );
            }
            (Some(theirs), None) => {
                let kind = theirs.options.kind();
                return refuse(format!(
                    "it has averages ({kind}), and this optimizer keeps none: set them first"
                ));
            }
            (Some(theirs), Some(ours)) => (theirs, ours),
        };
        theirs.options.check().map_err(|error| Error::StateDict(format!("averages: {error}")))?;
        let form = |options: &Averages| {
            let buffers =
                if options.uses_buffers() { " of parameters and buffers" } else { " of parameters" };
            format!("{}{buffers}", options.kind())
        };
        let (got, expected) = (form(&theirs.options), form(&ours.counts.options));
        if got != expected {
            return refuse(format!("its averages are {got}, those of this optimizer {expected}"));
        }
        for (name, updates) in &theirs.updates {
            countable(&format!("updates of {name}"), *updates)
                .map_err(|error| Error::StateDict(format!("averages: {error}")))?;
            if !self.layout.spans().iter().any(|span| span.name == *name) {
                return refuse(format!("averages: it has updates of {name:?}, which is no parameter"));
            }
        }
        let of_buffers = ours.buffers.iter().flat_map(|buffers| buffers.flat.layout().spans());
        let entered = theirs.updates.values().any(|&updates| theirs.options.counted(updates) > 0);
        let of_buffers = of_buffers.filter(|_| entered);
        let of_params = self.layout.spans().iter().filter(|span| theirs.has_updates(&span.name));
        let expected: BTreeMap<&str, usize> =
            of_params.chain(of_buffers).map(|span| (span.name.as_str(), span.len)).collect();
        for (name, len) in &expected {
            match theirs.averages.get(*name) {
                None => return refuse(format!("averages: that of {name} is missing")),
                Some(values) if values.len() != *len => {
                    let got = values.len();
                    return refuse(format!("averages: that of {name} has {got} elements, expected {len}"));
                }
                Some(_) => {}
            }
        }
        match theirs.averages.keys().find(|name| !expected.contains_key(name.as_str())) {
            None => Ok(()),
            Some(name) => refuse(format!("averages: there is one of {name:?}, which has no updates here")),
        }
    }

    /// Loads averages that were checked.
    pub(super) fn load_averages_state(&mut self, state: &AveragesState) -> Result<(), Error> {
        let Some(average) = &mut self.average else { return Ok(()) };
        let values = |span: &Span| state.averages.get(&span.name).map(|values| &values[..]);
        let spans = self.layout.spans();
        average.params.write_all(&self.gpu, |tensor| values(&spans[tensor]))?;
        if let Some(buffers) = &average.buffers {
            let spans = buffers.flat.layout().spans();
            buffers.flat.write_all(&self.gpu, |tensor| values(&spans[tensor]))?;
        }
        average.counts.options = state.options.clone();
        for (tensor, (span, counter)) in spans.iter().zip(&self.steps.counters).enumerate() {
            let updates = state.updates.get(&span.name).copied().unwrap_or(0);
            average.counts.set_updates(tensor, counter.applied, updates);
        }
        Ok(())
    }
}
