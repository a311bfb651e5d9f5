//! Which steps report, what that costs, and what becomes of reports on their way.

use gradus::graph::Graph;
use gradus::optim::{self, AdamW, AnyRule, NormReport, Optimizer};
use gradus::train::Trainer;
use gradus::{Error, Gpu, ParamStore};
use serde_json::json;

use super::{check, odd_store};
use crate::common::{bits, gpu, noises, read_all};

fn built(gpu: &Gpu) -> (ParamStore, Optimizer<Box<dyn AnyRule>>) {
    let params = odd_store(gpu);
    let optimizer = optim::from_json(&json!({"name": "AdamW", "lr": 0.01})).unwrap().build(&params).unwrap();
    (params, optimizer)
}

fn step((params, optimizer): &mut (ParamStore, Optimizer<Box<dyn AnyRule>>), number: u64) {
    params.write_grads(&noises(number, params.layout().parameters())).unwrap();
    optimizer.step(params).unwrap();
}

#[test]
fn only_steps_that_report_cost_anything_and_none_waits() {
    let Some(gpu) = gpu() else { return };
    let mut run = built(&gpu);
    run.1.report_norms(3, &run.0).unwrap();
    (0..3).for_each(|number| step(&mut run, number));
    let first = run.1.read_norm_reports().unwrap();
    assert_eq!(first.iter().map(|report| report.step).collect::<Vec<_>>(), [0]);
    // One dispatch for each group.
    for number in 3..10 {
        let before = gpu.counters();
        step(&mut run, number);
        let counts = gpu.counters().since(&before);
        let reports = number % 3 == 0;
        assert_eq!((counts.dispatches, counts.submits), (2 + u64::from(reports), 1), "step {number}");
        assert_eq!((counts.allocations, counts.bind_groups, counts.read_backs), (0, 0, 0), "step {number}");
    }
    gpu.wait().unwrap();
    let mut arrived = Vec::new();
    while let Some(report) = run.1.poll_norm_report().unwrap() {
        arrived.push(report.step);
    }
    assert_eq!(arrived, [3, 6, 9]);
    // Another interval from now on, and none.
    run.1.report_norms(5, &run.0).unwrap();
    (10..12).for_each(|number| step(&mut run, number));
    let reports = pollster::block_on(run.1.read_norm_reports_async()).unwrap();
    assert_eq!(reports.iter().map(|report| report.step).collect::<Vec<_>>(), [10]);
    let live = gpu.counters().live_bytes;
    run.1.report_norms(0, &run.0).unwrap();
    let freed = live - gpu.counters().live_bytes;
    assert!(freed >= run.0.layout().len() as u64 * 4, "{freed} bytes");
    (12..16).for_each(|number| step(&mut run, number));
    assert!(run.1.read_norm_reports().unwrap().is_empty());
    let other = odd_store(&gpu);
    assert!(matches!(run.1.report_norms(1, &other), Err(Error::Mismatch(_))));
}

#[test]
fn a_step_that_is_abandoned_reports_when_it_is_taken() {
    let Some(gpu) = gpu() else { return };
    let mut run = built(&gpu);
    run.1.report_norms(2, &run.0).unwrap();
    for abandons in [true, false] {
        let number = run.1.attempted();
        run.0.write_grads(&noises(number, run.0.layout().parameters())).unwrap();
        for _ in 0..20 {
            let mut encoder = gpu.encoder("never submitted");
            let ticket = run.1.record(&mut encoder, &mut run.0).unwrap();
            if abandons {
                run.1.abandoned(ticket).unwrap();
            }
        }
        assert!(run.1.read_norm_reports().unwrap().is_empty());
        let before = read_all(&run.0);
        step(&mut run, number);
        let reports = run.1.read_norm_reports().unwrap();
        let grads = noises(number, run.0.layout().parameters());
        assert_eq!((reports.len(), reports[0].step), (1, number));
        check(&run.0, &reports[0], [&grads, &before, &read_all(&run.0)], 1.0, "taken");
        step(&mut run, number + 1);
    }
}

#[test]
fn where_eight_reports_are_on_their_way_there_is_no_ninth() {
    let Some(gpu) = gpu() else { return };
    let (mut params, mut optimizer) = built(&gpu);
    optimizer.report_norms(1, &params).unwrap();
    let mut take = |steps: usize| {
        let mut encoder = gpu.encoder("steps");
        let record = |_| optimizer.record(&mut encoder, &mut params).unwrap();
        let tickets: Vec<_> = (0..steps).map(record).collect();
        gpu.submit(encoder).unwrap();
        tickets.into_iter().for_each(|ticket| optimizer.submitted(ticket).unwrap());
    };
    // Nothing polls the device between the submit of these and the record of the next.
    take(8);
    take(1);
    let steps = |reports: Vec<NormReport>| reports.iter().map(|report| report.step).collect::<Vec<_>>();
    assert_eq!(steps(optimizer.read_norm_reports().unwrap()), (0..8).collect::<Vec<_>>());
    let mut encoder = gpu.encoder("step");
    let ticket = optimizer.record(&mut encoder, &mut params).unwrap();
    gpu.submit(encoder).unwrap();
    optimizer.submitted(ticket).unwrap();
    assert_eq!(steps(optimizer.read_norm_reports().unwrap()), [9]);
}

#[test]
fn a_store_may_grow_while_reports_are_on_their_way() {
    let Some(gpu) = gpu() else { return };
    let mut run = built(&gpu);
    run.1.report_norms(1, &run.0).unwrap();
    let states = [0, 1].map(|number| {
        let before = read_all(&run.0);
        let grads = noises(number, run.0.layout().parameters());
        run.0.write_grads(&grads).unwrap();
        let mut encoder = gpu.encoder("step");
        let ticket = run.1.record(&mut encoder, &mut run.0).unwrap();
        gpu.submit(encoder).unwrap();
        run.1.submitted(ticket).unwrap();
        (grads, before, read_all(&run.0))
    });
    let small = odd_store(&gpu);
    let data = noises(9, 70_000);
    run.1.add_param_group(&mut run.0, "new", &json!({}), |g| g.tensor("new", [70_000], &data)).unwrap();
    let before = read_all(&run.0);
    step(&mut run, 2);
    let grads = noises(2, run.0.layout().parameters());
    let reports = run.1.read_norm_reports().unwrap();
    assert_eq!(reports.iter().map(|report| report.step).collect::<Vec<_>>(), [0, 1, 2]);
    for ((grads, before, after), report) in states.iter().zip(&reports) {
        check(&small, report, [grads, before, after], 1.0, "before it grew");
    }
    check(&run.0, &reports[2], [&grads, &before, &read_all(&run.0)], 1.0, "after it grew");
}

fn trainer(gpu: &Gpu, steps_per_submit: usize) -> Trainer<AdamW> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [8, 12]), graph.labels("y", 8));
    let loss = x.linear(20).relu().linear(4).cross_entropy(&y);
    graph.trainer(&loss, AdamW::default()).seed(3).steps_per_submit(steps_per_submit).build(gpu).unwrap()
}

#[test]
fn trainers_report_too_and_go_on_after_a_checkpoint() {
    let Some(gpu) = gpu() else { return };
    let run = |trainer: &mut Trainer<AdamW>, steps: std::ops::Range<u64>| {
        let mut reports = Vec::new();
        for number in steps {
            trainer.step(&[("x", &noises(number, 96)), ("y", &vec![1; 8])]).unwrap();
            while let Some(report) = trainer.poll_norm_report().unwrap() {
                reports.push(report);
            }
        }
        reports
    };
    let mut quiet = trainer(&gpu, 1);
    run(&mut quiet, 0..10);
    let want = bits(&read_all(quiet.params()));
    let mut all = Vec::new();
    for steps_per_submit in [1, 4] {
        let mut trainer = trainer(&gpu, steps_per_submit);
        trainer.report_norms(2).unwrap();
        let mut reports = run(&mut trainer, 0..5);
        reports.extend(trainer.read_norm_reports().unwrap());
        let checkpoint = trainer.read_checkpoint().unwrap();
        run(&mut trainer, 5..8);
        // Reports of steps that were taken back are not given out.
        trainer.load_checkpoint(&checkpoint).unwrap();
        reports.extend(run(&mut trainer, 5..10));
        reports.extend(pollster::block_on(trainer.read_norm_reports_async()).unwrap());
        let steps: Vec<u64> = reports.iter().map(|report| report.step).collect();
        assert_eq!(steps, [0, 2, 4, 6, 8]);
        assert!(want == bits(&read_all(trainer.params())));
        assert!(reports.iter().all(|report| report.total.update > 0.0 && report.tensors.len() == 4));
        all.push(reports);
    }
    assert_eq!(all[0], all[1]);
}
