use super::averages::buffers::{BuffersCall, buffers_source};
use super::averages::text as averages;
use super::device::kernels::{Call, RuleKernel};
use super::device::options::allowed_of;
use super::device::pick::{PickCall, pick_source};
use super::device::resets::{ResetCall, reset_source};
use super::device::stage::Stage;
use super::rule::any::AnyRule;
use super::rule::entry::Entry;
use super::rule::{Family, StatePrecision};
use super::rules::lookahead::Ahead;
use super::rules::{Lookahead, RULES};
use crate::gpu::{Binding, Block, Capabilities, KernelListing, KernelSource};
use crate::grad::FusedKernel;
use crate::params::GateValues;

/// Every kernel of every rule: with each choice of slots, with each kind of fused transforms, under a Lookahead, with
/// state in fewer bits, and with averages.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    let gate = Block::of::<GateValues>("Gate");
    let blocks = vec![Block::of::<PickCall>("Pick"), gate.clone()];
    let mut all = vec![KernelListing { source: pick_source(), blocks }];
    let blocks = vec![Block::of::<ResetCall>("Reset"), Block::of::<Ahead>("Ahead")];
    all.push(KernelListing { source: reset_source(), blocks });
    all.push(super::norms::measured::kernel_listing());
    all.push(super::optimizer::eval_params::kernel_listing());
    all.extend(crate::optim::lbfgs::kernel_listings());
    let mut buffers = Vec::new();
    for entry in RULES.iter().filter(|entry| entry.family != Family::Around) {
        let listed = Listed { entry, ahead: Lookahead::new(entry.default_rule()) };
        listed.in_f32(&mut all);
        listed.in_fewer_bits(&mut all);
        listed.with_averages(&mut all);
        let source = buffers_source(entry.shader.text, entry.hyper.bytes);
        let blocks = vec![Block::of::<BuffersCall>("Buffers"), averaged(&entry.hyper), gate.clone()];
        buffers.push(KernelListing { source, blocks });
    }
    all.extend(buffers);
    all
}

/// A rule whose kernels are listed, alone and under a Lookahead.
struct Listed {
    entry: &'static Entry,
    ahead: Lookahead,
}

impl Listed {
    /// All of the rule's slots, as a mask.
    fn mask(&self) -> u32 {
        (1 << self.entry.slots.len()) - 1
    }

    /// All slots under a Lookahead, as a mask.
    fn ahead_mask(&self) -> u32 {
        (1 << self.ahead.slots().len()) - 1
    }

    /// The block of constants under a Lookahead.
    fn ahead_hyper(&self) -> Block {
        let (bytes, fields) = self.ahead.hyper_block();
        Block { name: "Hyper", fields: fields.to_vec().into(), bytes }
    }

    /// Each choice of slots; and all slots with each kind of fused transforms and under a Lookahead.
    fn in_f32(&self, all: &mut Vec<KernelListing>) {
        let own = RuleKernel::of_entry(self.entry);
        for mask in 0..=self.mask() {
            list(all, own, &self.entry.hyper, (mask, FusedKernel::Plain));
        }
        for fused_kernel in FusedKernel::ALL {
            if fused_kernel != FusedKernel::Plain {
                list(all, own, &self.entry.hyper, (self.mask(), fused_kernel));
            }
            let ahead = RuleKernel::of(&self.ahead);
            list(all, ahead, &self.ahead_hyper(), (self.ahead_mask(), fused_kernel));
        }
    }

    /// State in each precision, with everything that binds a buffer beside it and with nothing.
    fn in_fewer_bits(&self, all: &mut Vec<KernelListing>) {
        let hyper = &self.entry.hyper;
        for precision in [StatePrecision::Bf16, StatePrecision::Int8] {
            let state = allowed_of(self.entry.family, self.entry.slots, precision);
            let ahead_state = allowed_of(self.entry.family, self.ahead.slots(), precision);
            let own = RuleKernel { state: &state, ..RuleKernel::of_entry(self.entry) };
            if state.contains(&precision) {
                list(all, own, hyper, (self.mask(), FusedKernel::Plain));
                let without_small = RuleKernel { small: false, ..own };
                list(all, without_small, hyper, (self.mask(), FusedKernel::Plain));
                let ahead = RuleKernel { state: &ahead_state, ..RuleKernel::of(&self.ahead) };
                list(all, ahead, &self.ahead_hyper(), (self.ahead_mask(), FusedKernel::Noisy));
            }
            let copying = RuleKernel { copies: true, ..own };
            list(all, copying, hyper, (self.mask(), FusedKernel::Bounded));
        }
    }

    /// With an average of the parameters.
    fn with_averages(&self, all: &mut Vec<KernelListing>) {
        let own = RuleKernel { averages: true, ..RuleKernel::of_entry(self.entry) };
        list(all, own, &averaged(&self.entry.hyper), (self.mask(), FusedKernel::Plain));
        let ahead = RuleKernel { averages: true, ..RuleKernel::of(&self.ahead) };
        list(all, ahead, &averaged(&self.ahead_hyper()), (self.ahead_mask(), FusedKernel::Noisy));
    }
}

/// A block of constants with those of an average behind them.
fn averaged(hyper: &Block) -> Block {
    averages::block(hyper.bytes, &hyper.fields)
}

/// Lists every stage of a kernel for each kind of adapter.
fn list(
    all: &mut Vec<KernelListing>,
    text: RuleKernel<'_>,
    hyper: &Block,
    (mask, fused_kernel): (u32, FusedKernel),
) {
    for stage in Stage::of(text.family) {
        let texts = [true, false].map(|general| RuleKernel { general, ..text });
        let sources = texts.map(|text| {
            Capabilities::of_each_kind().map(|offered| text.source(*stage, mask, fused_kernel, &offered))
        });
        let mut sources = sources.concat();
        sources.dedup();
        // With an average, copies or blocks some rules need more than WebGPU's least limits: they are refused where these
        // hold.
        let may_need_more = text.averages || text.copies || !text.state.is_empty();
        sources.retain(|source| !may_need_more || storage(source) <= MOST_STORAGE);
        let blocks = vec![Block::of::<Call>("Call"), hyper.clone(), Block::of::<GateValues>("Gate")];
        all.extend(sources.into_iter().map(|source| KernelListing { source, blocks: blocks.clone() }));
    }
}

/// Storage buffers of one stage that every device has.
const MOST_STORAGE: usize = 8;

fn storage(source: &KernelSource) -> usize {
    source.bindings.iter().filter(|binding| !matches!(binding, Binding::Uniform { .. })).count()
}
