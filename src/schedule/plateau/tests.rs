use serde_json::json;

use super::*;

/// The rate before each metric and after the last, by PyTorch's own loop over one group.
fn rates(schedule: &mut ReduceLROnPlateau, metrics: &[f64]) -> Vec<f64> {
    let mut rates = vec![schedule.at(0, 1.0).unwrap().lr];
    for metric in metrics {
        schedule.observe(*metric).unwrap();
        rates.push(schedule.at(0, 1.0).unwrap().lr);
    }
    rates
}

#[test]
fn a_maximum_is_waited_for_and_thresholds_are_strict() {
    let of = |mode, threshold_mode, threshold| ReduceLROnPlateau {
        mode,
        threshold_mode,
        threshold,
        factor: 0.5,
        patience: 0,
        ..Default::default()
    };
    let rows = [
        // 0.75 is just 0.25 above 0.5, and so is 0.625 a quarter above.
        (of(MetricMode::Max, ThresholdMode::Abs, 0.25), [0.5, 0.75, 0.875], [1.0, 1.0, 0.5, 0.5]),
        (of(MetricMode::Max, ThresholdMode::Rel, 0.25), [0.5, 0.625, 0.75], [1.0, 1.0, 0.5, 0.5]),
        (of(MetricMode::Min, ThresholdMode::Abs, 0.25), [0.5, 0.25, 0.125], [1.0, 1.0, 0.5, 0.5]),
        (of(MetricMode::Min, ThresholdMode::Rel, 0.25), [0.5, 0.375, 0.25], [1.0, 1.0, 0.5, 0.5]),
        (of(MetricMode::Max, ThresholdMode::Rel, 0.25), [-0.5, -0.5, -0.7], [1.0, 1.0, 1.0, 0.5]),
    ];
    for (mut schedule, metrics, expected) in rows {
        assert_eq!(rates(&mut schedule, &metrics), expected, "{schedule:?}");
    }
}

#[test]
fn reductions_end_at_the_floor_and_wait_for_the_cooldown() {
    let mut schedule =
        ReduceLROnPlateau { factor: 0.25, patience: 0, min_lr: 0.1, cooldown: 1, ..Default::default() };
    assert_eq!(rates(&mut schedule, &[1.0; 6]), [1.0, 1.0, 0.25, 0.25, 0.1, 0.1, 0.1]);
    let mut coarse = ReduceLROnPlateau { factor: 0.5, patience: 0, eps: 0.25, ..Default::default() };
    assert_eq!(rates(&mut coarse, &[1.0; 4]), [1.0, 1.0, 0.5, 0.5, 0.5]);
}

#[test]
fn many_reductions_are_one_power() {
    let of = |factor, min_lr, eps, num_reductions| ReduceLROnPlateau {
        factor,
        min_lr,
        eps,
        state: PlateauState { num_reductions, ..Default::default() },
        ..Default::default()
    };
    let one_by_one = |schedule: &ReduceLROnPlateau| {
        (0..schedule.state.num_reductions).fold(0.5, |lr, _| schedule.reduced(lr))
    };
    for (factor, min_lr, eps) in [
        (0.99999, 0.0, 0.0),
        (0.99999, 0.3, 0.0),
        (0.99999, 0.0, 1e-6),
        (0.9999, 1e-3, 1e-9),
        (0.5, 0.0, 0.0),
    ] {
        for count in [4095, 4096, 4097, 8192, 8193, 8194, 8200, 50_000, 400_000] {
            let schedule = of(factor, min_lr, eps, count);
            let (got, want) = (schedule.at(0, 0.5).unwrap().lr, one_by_one(&schedule));
            assert!((got - want).abs() <= 2e-11 * want, "{factor} {min_lr} {eps} {count}: {got} {want}");
        }
    }
    let near = of(1.0 - f64::EPSILON, 0.0, 0.0, u64::MAX);
    let got = near.at(0, 1.0).unwrap().lr;
    assert!((0.0..1e-300).contains(&got), "{got}");
}

#[test]
fn a_metric_that_is_no_number_changes_nothing_and_infinity_is_no_better() {
    let mut schedule = ReduceLROnPlateau { patience: 0, ..Default::default() };
    schedule.observe(2.0).unwrap();
    let before = schedule.clone();
    let error = schedule.observe(f64::NAN).unwrap_err().to_string();
    assert_eq!(error, "metric must be a number, got NaN");
    assert_eq!(schedule, before);
    schedule.observe(f64::INFINITY).unwrap();
    assert_eq!(schedule.state.num_reductions, 1);
}

#[test]
fn the_state_goes_through_json() {
    let mut first =
        ReduceLROnPlateau { patience: 1, cooldown: 2, mode: MetricMode::Max, ..Default::default() };
    for metric in [0.1 + 0.2, 0.1, 0.2, f64::INFINITY, 0.5] {
        let text = serde_json::to_string(&first.state().unwrap()).unwrap();
        let mut second = ReduceLROnPlateau { state: PlateauState::default(), ..first.clone() };
        second.load_state(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(second, first);
        first.observe(metric).unwrap();
    }
    let before = first.clone();
    let mut late = first.state().unwrap();
    late["last_epoch"] = u64::MAX.into();
    let said = "state dict: ReduceLROnPlateau: last_epoch must be at most 9223372036854775807, got 18446744073709551615";
    assert_eq!(first.load_state(&late).unwrap_err().to_string(), said);
    for (state, said) in [
        (json!({"best": 1}), "state dict: ReduceLROnPlateau: missing field `cooldown_counter`"),
        (json!(7), "state dict: ReduceLROnPlateau: invalid type: integer `7`, expected struct PlateauState"),
    ] {
        assert_eq!(first.load_state(&state).unwrap_err().to_string(), said);
    }
    assert_eq!(first, before);
}
