use super::averages::buffers::{BuffersCall, buffers_source};
use super::averages::text as averages;
use super::device::kernels::{Call, PickCall, RuleKernel, pick_source};
use super::device::options::allowed_of;
use super::device::resets::{ResetCall, reset_source};
use super::device::stage::Stage;
use super::rule::any::AnyRule;
use super::rule::{Family, StatePrecision};
use super::rules::lookahead::Ahead;
use super::rules::{Lookahead, RULES};
use crate::gpu::{Binding, Block, Capabilities, KernelListing, KernelSource};
use crate::grad::FusedKernel;
use crate::params::GateValues;

/// Every kernel of every rule, with every choice of slots, and everything that can ride in it and follow it where all
/// slots are in use.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    let gate = Block::of::<GateValues>("Gate");
    let blocks = vec![Block::of::<PickCall>("Pick"), gate.clone()];
    let mut listings = vec![KernelListing { source: pick_source(), blocks }];
    let blocks = vec![Block::of::<ResetCall>("Reset"), Block::of::<Ahead>("Ahead")];
    listings.push(KernelListing { source: reset_source(), blocks });
    listings.push(super::norms::measured::kernel_listing());
    listings.push(super::optimizer::eval_params::kernel_listing());
    listings.extend(crate::optim::lbfgs::kernel_listings());
    let mut list = |text: RuleKernel<'_>, hyper: Block, mask: u32, fused_kernel: FusedKernel| {
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
            let blocks = vec![Block::of::<Call>("Call"), hyper.clone(), gate.clone()];
            listings
                .extend(sources.into_iter().map(|source| KernelListing { source, blocks: blocks.clone() }));
        }
    };
    let mut buffers = Vec::new();
    for entry in RULES.iter().filter(|entry| entry.family != Family::Around) {
        let all = (1 << entry.slots.len()) - 1;
        for mask in 0..=all {
            list(RuleKernel::of_entry(entry), entry.hyper.clone(), mask, FusedKernel::Plain);
        }
        let ahead = Lookahead::new(entry.default_rule());
        let (bytes, fields) = ahead.hyper_block();
        let hyper = Block { name: "Hyper", fields: fields.to_vec().into(), bytes };
        let all_of_it = (1 << ahead.slots().len()) - 1;
        for fused_kernel in FusedKernel::ALL {
            if fused_kernel != FusedKernel::Plain {
                list(RuleKernel::of_entry(entry), entry.hyper.clone(), all, fused_kernel);
            }
            list(RuleKernel::of(&ahead), hyper.clone(), all_of_it, fused_kernel);
        }
        // What is stored in fewer bits, with everything that binds a buffer beside it and with nothing.
        for precision in [StatePrecision::Bf16, StatePrecision::Int8] {
            let state = allowed_of(entry.family, entry.slots, precision);
            let ahead_state = allowed_of(entry.family, ahead.slots(), precision);
            if state.contains(&precision) {
                let text = RuleKernel { state: &state, ..RuleKernel::of_entry(entry) };
                list(text, entry.hyper.clone(), all, FusedKernel::Plain);
                let text = RuleKernel { small: false, ..text };
                list(text, entry.hyper.clone(), all, FusedKernel::Plain);
                let text = RuleKernel { state: &ahead_state, ..RuleKernel::of(&ahead) };
                list(text, hyper.clone(), all_of_it, FusedKernel::Noisy);
            }
            let text = RuleKernel { state: &state, copies: true, ..RuleKernel::of_entry(entry) };
            list(text, entry.hyper.clone(), all, FusedKernel::Bounded);
        }
        let averaged = |hyper: &Block| averages::block(hyper.bytes, &hyper.fields);
        let text = RuleKernel { averages: true, ..RuleKernel::of_entry(entry) };
        list(text, averaged(&entry.hyper), all, FusedKernel::Plain);
        let text = RuleKernel { averages: true, ..RuleKernel::of(&ahead) };
        list(text, averaged(&hyper), all_of_it, FusedKernel::Noisy);
        let source = buffers_source(entry.shader.text, entry.hyper.bytes);
        let blocks = vec![Block::of::<BuffersCall>("Buffers"), averaged(&entry.hyper), gate.clone()];
        buffers.push(KernelListing { source, blocks });
    }
    listings.extend(buffers);
    listings
}

/// Storage buffers of one stage that every device has.
const MOST_STORAGE: usize = 8;

fn storage(source: &KernelSource) -> usize {
    source.bindings.iter().filter(|binding| !matches!(binding, Binding::Uniform { .. })).count()
}
