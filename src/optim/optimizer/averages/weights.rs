use crate::Error;
use crate::error::countable;
use crate::optim::optimizer::Optimizer;
use crate::optim::rule::any::AnyRule;
use crate::params::{GateValues, ParamStore, Weights};

/// torch's names in `AveragedModel`: of the model and of the count.
const MODULE: &str = "module";
const N_AVERAGED: &str = "n_averaged";

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Waits for the device and reads the averages under the names of the parameters, as [`ParamStore::read_weights`]
    /// reads parameters. Includes the buffers: their averages if they are averaged, and otherwise their current values.
    /// Tensors without an update are included with their current values.
    ///
    /// # Errors
    /// [`Error::Config`] if no average is kept, and in [`Optimizer::with_averages`], where the store holds the
    /// averages; [`Error::Mismatch`] for another store; [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_averages(&self, params: &ParamStore) -> Result<Weights, Error> {
        self.gpu.block_on(self.read_averages_async(params))
    }

    /// As [`Optimizer::read_averages`], without blocking.
    ///
    /// # Errors
    /// As [`Optimizer::read_averages`].
    pub async fn read_averages_async(&self, params: &ParamStore) -> Result<Weights, Error> {
        self.check_reads_averages(params)?;
        let gate = self.read_unresolved_gate().await?;
        let mut weights = Vec::new();
        for flat in params.flats() {
            weights.push(flat.read_all_async(&self.gpu).await?);
        }
        let mut averages = Vec::new();
        for flat in self.kept_average()?.flats() {
            averages.push(flat.read_all_async(&self.gpu).await?);
        }
        self.named_averages(params, weights, averages, gate)
    }

    /// As [`Optimizer::read_averages`], in the form of torch's `AveragedModel.state_dict()`: names are prefixed with
    /// `module.`, and `n_averaged` is the largest number of updates that have entered the average of a tensor.
    ///
    /// In torch: `averaged.load_state_dict(safetensors.torch.load_file(path))`.
    ///
    /// # Errors
    /// As [`Optimizer::read_averages`].
    ///
    /// Source: <https://docs.pytorch.org/docs/2.15/optim.html#torch.optim.swa_utils.AveragedModel>.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_averaged_model(&self, params: &ParamStore) -> Result<Weights, Error> {
        self.gpu.block_on(self.read_averaged_model_async(params))
    }

    /// As [`Optimizer::read_averaged_model`], without blocking.
    ///
    /// # Errors
    /// As [`Optimizer::read_averages`].
    pub async fn read_averaged_model_async(&self, params: &ParamStore) -> Result<Weights, Error> {
        let mut weights = self.read_averages_async(params).await?.within(MODULE);
        let gate = self.read_unresolved_gate().await?;
        let options = &self.kept_average()?.counts.options;
        let n = self.updates_after(gate).into_iter().map(|updates| options.counted(updates)).max();
        weights.insert(N_AVERAGED, [], [n.unwrap_or(0) as f32])?;
        Ok(weights)
    }

    /// Loads averages read by [`Optimizer::read_averaged_model`], or from torch's `AveragedModel.state_dict()`. All
    /// tensors get the count `n_averaged`, as if the latest update had entered. Buffers are loaded if this optimizer
    /// averages them.
    ///
    /// # Errors
    /// [`Error::Weights`] with all names and shapes that differ from the store's; [`Error::UnknownName`] without an
    /// `n_averaged` or a `module.`; [`Error::Constant`] for an `n_averaged` that is not a whole number of at least 0;
    /// [`Error::Config`] if no average is kept, while steps are in flight as for [`Optimizer::set_averages`], and in
    /// [`Optimizer::with_averages`]; [`Error::Mismatch`] for another store; [`Error::DeviceLost`]. Then nothing was
    /// changed.
    pub fn load_averages(&mut self, params: &ParamStore, weights: &Weights) -> Result<(), Error> {
        self.gpu.check()?;
        self.check_reads_averages(params)?;
        self.check_idle("averages")?;
        let count = weights.get(N_AVERAGED)?;
        let n = match count.values[..] {
            [n] if n >= 0.0 && n.fract() == 0.0 && n.is_finite() => n,
            ref other => {
                let got = format!("{other:?} of shape {:?}", count.shape);
                return Err(Error::constant(N_AVERAGED, "one whole number of at least 0", got));
            }
        };
        let given = weights.clone().part(MODULE)?;
        let [values, buffers] = params.by_place(&given)?;
        let Some(average) = &mut self.average else { return Ok(()) };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
        let updates = average.counts.options.updates(n as u64);
        countable(N_AVERAGED, updates)?;
        average.params.write_all(&self.gpu, |tensor| values[tensor])?;
        if let Some(averages) = &average.buffers {
            averages.flat.write_all(&self.gpu, |tensor| buffers[tensor])?;
        }
        for (tensor, counter) in self.steps.counters.iter().enumerate() {
            average.counts.set_updates(tensor, counter.applied, updates);
        }
        Ok(())
    }

    fn check_reads_averages(&self, params: &ParamStore) -> Result<(), Error> {
        self.check_store(params)?;
        self.kept_average()?;
        self.check_places()
    }

    /// Averages by name; for tensors without an average, the weights.
    fn named_averages(
        &self,
        params: &ParamStore,
        mut weights: Vec<Vec<f32>>,
        averages: Vec<Vec<f32>>,
        gate: Option<GateValues>,
    ) -> Result<Weights, Error> {
        let updates = self.updates_after(gate);
        for (span, _) in self.layout.spans().iter().zip(&updates).filter(|(_, updates)| **updates > 0) {
            let place = span.first..span.first + span.len;
            weights[0][place.clone()].copy_from_slice(&averages[0][place]);
        }
        if let ([_, buffers], [_, averages]) = (&mut weights[..], &averages[..])
            && self.kept_average()?.counts.has_entered(updates.iter())
        {
            buffers.copy_from_slice(averages);
        }
        params.named(weights)
    }
}
