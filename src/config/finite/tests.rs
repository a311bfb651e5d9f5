use std::collections::BTreeMap;

use serde_json::json;

use super::*;

#[derive(Serialize)]
enum Kind {
    Unit,
    One(f32),
    Two(f64, f64),
    Named { rate: Option<f64> },
}

#[derive(Serialize)]
struct Sample {
    plain: (f64, f64),
    #[serde(flatten)]
    slots: BTreeMap<String, Option<Vec<f32>>>,
    by_number: BTreeMap<u32, Kind>,
}

fn sample() -> Sample {
    let slots = [("exp_avg".to_owned(), Some(vec![f32::MAX, -0.0])), ("other".to_owned(), None)];
    let kinds = [Kind::Unit, Kind::One(1.0), Kind::Two(5e-324, f64::MIN), Kind::Named { rate: None }];
    Sample { plain: (0.0, 1.0), slots: slots.into(), by_number: (0..).zip(kinds).collect() }
}

#[test]
fn a_number_that_is_not_finite_is_named_with_its_place() {
    assert_eq!(not_finite(&sample()), None);
    assert_eq!(not_finite(&json!({"a": [1, 0.5, null, {"b": "x"}]})), None);
    let of = |change: fn(&mut Sample)| {
        let mut sample = sample();
        change(&mut sample);
        let refused = serialize_finite(&sample, serde_json::value::Serializer).unwrap_err().to_string();
        let found = not_finite(&sample).unwrap();
        assert_eq!(refused, format!("{found}: JSON holds finite numbers alone"));
        found
    };
    assert_eq!(of(|sample| sample.plain.1 = f64::NAN), "plain[1] is NaN");
    let infinite = |sample: &mut Sample| {
        sample.slots.insert("exp_avg".into(), Some(vec![0.0, f32::NEG_INFINITY]));
    };
    assert_eq!(of(infinite), "exp_avg[1] is -inf");
    let kind = |number, kind| {
        let mut sample = sample();
        sample.by_number.insert(number, kind);
        not_finite(&sample).unwrap()
    };
    assert_eq!(kind(1, Kind::One(f32::INFINITY)), "by_number.1.One is inf");
    assert_eq!(kind(2, Kind::Two(0.0, f64::INFINITY)), "by_number.2[1] is inf");
    assert_eq!(kind(9, Kind::Named { rate: Some(f64::NAN) }), "by_number.9.rate is NaN");
    assert_eq!(not_finite(&f64::NAN).unwrap(), "it is NaN");
}
