//! Tests of the JSON form and of properties of every schedule.

use super::*;

mod chain;
mod late;
mod recursion;
mod refusals;

/// One of each schedule, in the order of the table.
fn all() -> Vec<Box<dyn Schedule>> {
    vec![
        Box::new(
            ChainedScheduler::new(ExponentialLR::new(0.9))
                .and(CosineAnnealingLR { eta_min: 0.01, ..CosineAnnealingLR::new(7) }),
        ),
        Box::new(ConstantLR::default()),
        Box::new(CosineAnnealingLR::new(7)),
        Box::new(CosineAnnealingWarmRestarts { t_mult: 3, ..CosineAnnealingWarmRestarts::new(4) }),
        Box::new(CosineDecay { warmup_target: Some(0.3), warmup_steps: 6, ..CosineDecay::new(40) }),
        Box::new(CosineDecayRestarts { t_mul: 1.5, m_mul: 0.9, ..CosineDecayRestarts::new(6) }),
        Box::new(CyclicLR { step_size_up: 7, step_size_down: Some(3), ..CyclicLR::new(0.01, 0.2) }),
        Box::new(ExponentialDecay { staircase: true, ..ExponentialDecay::new(10, 0.5) }),
        Box::new(ExponentialDecayLR { end_value: Some(0.5), ..ExponentialDecayLR::new(10, 1.5) }),
        Box::new(ExponentialLR::new(0.97)),
        Box::new(InverseTimeDecay::new(10, 0.5)),
        Box::new(LinearLR::default()),
        Box::new(MultiStepLR { gamma: 0.3, ..MultiStepLR::new([3, 9, 9, 30]) }),
        Box::new(MultiplicativeLR::new([0.5, 0.9, 1.5, 0.7, 1.0, 0.3])),
        Box::new(OneCycleLR { three_phase: true, ..OneCycleLR::of_epochs(0.1, 6, 20) }),
        Box::new(PiecewiseConstantDecay::new([3, 9], [0.3, 0.2, 0.1])),
        Box::new(PiecewiseConstantSchedule::new([3, 9], [0.3, 0.2, 0.1])),
        Box::new(PolynomialDecay { cycle: true, power: 2.0, ..PolynomialDecay::new(12) }),
        Box::new(PolynomialLR { total_iters: 50, power: 0.5 }),
        Box::new(ReduceLROnPlateau { mode: MetricMode::Max, patience: 3, ..Default::default() }),
        Box::new(SWALR { anneal_strategy: Anneal::Linear, ..SWALR::new(0.04) }),
        Box::new(
            SequentialLR::new(CyclicLR { step_size_up: 3, ..CyclicLR::new(0.01, 0.2) })
                .then(5, ChainedScheduler::new(CosineAnnealingLR::new(9)).and(StepLR::new(20)))
                .then(40, ExponentialLR::new(0.9)),
        ),
        Box::new(StepLR { gamma: 0.3, ..StepLR::new(4) }),
        Box::new(WarmupCosineSchedule { warmup_steps: 10, total_steps: 60, ..Default::default() }),
        Box::new(WarmupLinearDecay::new(10, 60)),
        Box::new(WarmupScheduler::default()),
    ]
}

#[test]
fn the_table_holds_each_name_once_and_in_order() {
    assert!(SCHEDULES.is_sorted_by(|a, b| a.name < b.name));
}

#[test]
fn every_schedule_survives_its_own_json() {
    let rows = all();
    assert_eq!(rows.len(), SCHEDULES.len());
    for (schedule, entry) in rows.iter().zip(SCHEDULES) {
        schedule.check().unwrap();
        let json = schedule.to_json().unwrap();
        assert_eq!(json["name"], entry.name);
        assert_eq!(format!("{:?}", from_json(&json).unwrap()), format!("{schedule:?}"));
        let mut json = json;
        json["interval"] = "epoch".into();
        let per_epoch = from_json(&json).unwrap();
        assert_eq!((per_epoch.interval(), per_epoch.to_json()), (Interval::Epoch, Some(json)));
    }
    assert_eq!(from_fn(|_, base| base).to_json(), None);
    assert_eq!(ChainedScheduler::new(from_fn(|_, base| base)).to_json(), None);
}

#[test]
fn steps_at_the_end_of_the_numbers_do_not_panic() {
    for (schedule, entry) in all().iter().zip(SCHEDULES) {
        for step in [1 << 31, 1 << 53, u64::MAX - 1, u64::MAX] {
            match schedule.at(step, 0.1) {
                Ok(point) => {
                    assert!(point.lr.is_finite() && point.lr >= 0.0, "{schedule:?} at {step}: {point:?}")
                }
                Err(error) => assert_eq!(entry.name, "OneCycleLR", "{error}"),
            }
        }
    }
}

#[test]
fn what_was_not_checked_does_not_panic() {
    let step = || -> Box<dyn Schedule> { Box::new(StepLR::new(0)) };
    let rows: [Box<dyn Schedule>; 8] = [
        Box::new(ChainedScheduler::of(Vec::new())),
        Box::new(ChainedScheduler::of(vec![step()])),
        Box::new(SequentialLR::of(Vec::new(), Vec::new())),
        Box::new(SequentialLR::of(vec![step(), step(), step(), step()], vec![9, 2, 7])),
        Box::new(ChainedScheduler::new(CosineAnnealingLR::new(0)).and(ExponentialLR::new(0.5))),
        Box::new(CosineAnnealingWarmRestarts { t_mult: 0, ..CosineAnnealingWarmRestarts::new(0) }),
        Box::new(PiecewiseConstantDecay::new([3, 1], [])),
        Box::new(CyclicLR { step_size_down: Some(0), step_size_up: 0, ..CyclicLR::new(0.1, 0.2) }),
    ];
    for schedule in rows {
        for step in 0..12 {
            // Success or error; it must not panic.
            let _ = schedule.at(step, 0.1);
        }
        assert!(schedule.check().is_err());
    }
}
