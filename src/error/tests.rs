use super::*;

#[test]
fn values_are_printed_short() {
    let rows: [(String, &str); 14] = [
        (short(-1e-30), "-1e-30"),
        (short(1e-6), "1e-6"),
        (short(1e-5), "0.00001"),
        (short(1.25e-7_f32), "1.25e-7"),
        (short(0.0), "0"),
        (short(-0.0), "-0"),
        (short(0.1 + 0.2), "0.30000000000000004"),
        (short(1e20), "1e20"),
        (short(f64::MAX), "1.7976931348623157e308"),
        (short(f32::MAX), "3.4028235e38"),
        (short(5e-324), "5e-324"),
        (short(u64::MAX), "18446744073709551615"),
        (short(f64::NEG_INFINITY), "-inf"),
        (short("no number, however long it may be"), "no number, however long it may be"),
    ];
    for (got, want) in rows {
        assert_eq!(got, want);
    }
    assert_eq!(
        half_open("beta", -1e-30, 1e-12, 1.0).unwrap_err().to_string(),
        "beta must be in [1e-12, 1), got -1e-30"
    );
    assert_eq!(
        at_least("lr", f64::MIN, 0.0).unwrap_err().to_string(),
        "lr must be finite and at least 0, got -1.7976931348623157e308"
    );
}

#[test]
fn a_long_list_of_names_is_cut_to_the_nearest() {
    let names: Vec<String> = (0..50).map(|i| format!("layer{i}.weight")).collect();
    let known = |len: usize| names[..len].iter().map(String::as_str);
    let message = Error::unknown("tensor", "layer7.wieght", known(50)).to_string();
    assert_eq!(
        message,
        "unknown tensor \"layer7.wieght\", did you mean \"layer7.weight\"?; known: layer7.weight, layer17.weight, \
         layer27.weight, layer37.weight, layer47.weight, layer0.weight, layer1.weight, layer2.weight and 42 more"
    );
    assert!(Error::unknown("tensor", "x", known(32)).to_string().ends_with("layer31.weight"));
    assert!(Error::unknown("tensor", "x", known(33)).to_string().ends_with(" and 25 more"));
    assert_eq!(nearest_few("beta", ["beta2", "eps", "beta1", "beta1"]), ["beta1", "beta2"]);
    assert!(nearest_few("qqq", ["beta1"]).is_empty());
}
