use super::*;
use crate::grad::{FusedTransforms, PenaltyFactors};
use crate::layout::{GroupSpec, Layout, Limits};
use crate::optim::rule::Rule;
use crate::optim::rules::SGD;
use crate::optim::step::counters::StepCounter;

/// Windows of 16,384 elements: `w` lies in three.
fn layout() -> Layout {
    let groups = [
        GroupSpec::new("a").tensor("w", [40_000]).tensor("x", [70]).tensor("y", [20]),
        GroupSpec::new("b").tensor("z", [10]),
    ];
    Layout::new(&groups, Limits { binding_bytes: 65_536, buffer_bytes: 1 << 20 }).unwrap()
}

fn described(rules: [&SGD; 2], counters: &[StepCounter], may_skip: bool) -> Result<StepSpec, Error> {
    let fused = FusedTransforms { tensors: vec![PenaltyFactors::default(); 4], ..FusedTransforms::default() };
    let inputs = Inputs {
        layout: &layout(),
        rules: &rules,
        reduction_tiles: None,
        statistics: None,
        state: &[],
        blocks: None,
        counters,
        frozen: &[false, false, false, true],
        fused: &fused,
        average: None,
        buffers: None,
        noise: 0.0,
        number: 7,
        attempted: 5,
        may_skip,
    };
    let mut spec = StepSpec::default();
    describe(&inputs, &mut spec).map(|()| spec)
}

/// `keep` and `take` of SGD, of the constants at a byte.
fn constants(spec: &StepSpec, at: u32) -> [f32; 2] {
    let at = at as usize + 4;
    bytemuck::pod_read_unaligned(&spec.bytes[at..at + 8])
}

fn sgd() -> SGD {
    SGD { lr: 0.5, momentum: 0.9, dampening: 0.25, ..SGD::default() }
}

/// `y` has one step behind it, the others none.
fn counters() -> [StepCounter; 4] {
    let mut counters = [StepCounter::default(); 4];
    counters[2].begin(1, StepEffect::of(&sgd()));
    counters[2].resolve(1, true);
    counters
}

#[test]
fn a_step_is_described_without_a_device() {
    let rule = sgd();
    let spec = described([&rule, &rule], &counters(), false).unwrap();
    assert_eq!((spec.number, spec.attempted, spec.pick.is_none()), (7, 5, true));
    let tensors: Vec<_> = spec.segments.iter().map(|segment| segment.tensors.clone()).collect();
    assert_eq!(tensors, [0..2, 2..3]);
    // The buffer of momenta is first used, and then kept.
    let of_segments: Vec<_> = spec.hypers.iter().map(|at| constants(&spec, *at)).collect();
    assert_eq!(of_segments, [[0.0, 1.0], [0.9, 0.75]]);
    let covered = |dispatch: &Dispatch| {
        let at = dispatch.call as usize;
        let call: Call = bytemuck::pod_read_unaligned(&spec.bytes[at..at + size_of::<Call>()]);
        assert_eq!((call.lr, call.step_low), (0.5, 5));
        (dispatch.segment, dispatch.bind_group, call.first, call.len, dispatch.workgroups)
    };
    let all: Vec<_> = spec.dispatches.iter().map(covered).collect();
    assert_eq!(all, [(0, 0, 0, 4096, 16), (0, 1, 0, 4096, 16), (0, 2, 0, 1840, 8), (1, 2, 1840, 16, 1)]);
    assert!(spec.dispatches.iter().all(|dispatch| dispatch.hyper == spec.hypers[dispatch.segment]));
}

#[test]
fn where_a_step_may_be_skipped_there_is_a_row_for_each_count() {
    let rule = sgd();
    let mut counters = counters();
    counters[0].begin(1 << 6, StepEffect::of(&rule));
    let spec = described([&rule, &rule], &counters, true).unwrap();
    let pick = spec.pick.unwrap();
    assert_eq!((spec.segments.len(), pick.segments, pick.words), (3, 3, 5));
    // Constants are read where they are picked to.
    assert_eq!(spec.hypers, [0, 256, 512]);
    // Of w there are two rows, one behind the other: the step in flight has used the buffer, or has not.
    assert_eq!((constants(&spec, 0), constants(&spec, 20)), ([0.0, 1.0], [0.9, 0.75]));
    let block: PickCall = {
        let at = pick.call as usize;
        bytemuck::pod_read_unaligned(&spec.bytes[at..at + size_of::<PickCall>()])
    };
    let table = 4 * block.table as usize;
    let row: [u32; 2] = bytemuck::pod_read_unaligned(&spec.bytes[table..table + 8]);
    assert_eq!(row, [1 << 6, 0]);
}

#[test]
fn constants_that_32_bits_cannot_hold_are_refused_with_their_group() {
    let (good, bad) = (sgd(), SGD { weight_decay: 1e39, ..sgd() });
    assert_eq!(Rule::check(&bad), Ok(()));
    let refused = described([&bad, &good], &counters(), false).unwrap_err();
    assert!(refused.to_string().contains("weight_decay"), "{refused}");
    // A group of frozen tensors alone is not looked at.
    assert!(described([&good, &bad], &counters(), false).is_ok());
}
