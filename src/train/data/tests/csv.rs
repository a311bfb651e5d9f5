use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::error::Error;
use crate::train::data::Csv;

fn refusal(csv: &Csv, table: &str) -> String {
    csv.parse("t", table.as_bytes()).unwrap_err().to_string()
}

#[test]
fn columns_are_found_by_name_and_by_number() {
    let table = "id,a,b,c\nx1, 1 ,2,3\n\nx2,-4e-1,\"5\",0.5\r\n";
    let all = Csv::new().features(["b", "a"]).target("c").parse("t", table.as_bytes()).unwrap();
    assert_eq!((all.shape(), all.numbers()), (&[2][..], vec![2.0, 1.0, 5.0, -0.4]));
    assert_eq!((all.y(), all.target_shape()), (&[3.0, 0.5][..], &[][..]));
    let by_number = Csv::new().features([2, 1]).target(3).parse("t", table.as_bytes()).unwrap();
    assert_eq!(by_number, all);
    let pairs = Csv::new().features([3]).targets(["b", "a"]).parse("t", table.as_bytes()).unwrap();
    assert_eq!((pairs.y(), pairs.target_shape()), (&[2.0, 1.0, 5.0, -0.4][..], &[2][..]));
    // The first line may be a row; the last column is the target; the last line needs no end.
    let rows = Csv::new().header(false).delimiter(b';').parse("t", b"\xef\xbb\xbf1;2\n3;4").unwrap();
    assert_eq!((rows.numbers(), rows.y()), (vec![1.0, 3.0], &[2.0, 4.0][..]));
    let classes = Csv::new().parse_classes("t", b"a,class\n0,2\n1,0.0\n").unwrap();
    assert_eq!((classes.y(), classes.n_classes()), (&[2, 0][..], 3));
    assert_eq!(Csv::new().n_classes(7).parse_classes("t", b"a,class\n0,2\n").unwrap().n_classes(), 7);
}

#[test]
fn numbers_are_rounded_once() {
    // Half way between two numbers of f32, and a bit more, which f64 does not tell apart.
    let table = "1.00000005960464477539062500000000001,16777217,3.4028235e38,1e-46\n";
    let data = Csv::new().header(false).parse("t", table.as_bytes()).unwrap();
    assert_eq!(data.numbers(), [1.000_000_1, 16_777_216.0, f32::MAX]);
    assert_eq!(data.y(), [0.0]);
}

#[test]
fn holes_and_other_faults_say_row_and_column() {
    let csv = Csv::new();
    let plain = csv.clone().header(false);
    let long = format!("a,b\n{},1\n", "1".repeat(5000));
    let rows = [
        (refusal(&csv, "a,b\n1,2\n3,\n"), "t: row 2 (line 3): column \"b\": is empty"),
        (refusal(&csv, "a,b\n1,2\n\n\n ,4\n"), "t: row 2 (line 5): column \"a\": is empty"),
        (
            refusal(&csv, "\"a\nb\",c\r\n1,2\r\n3,x\r\n"),
            "t: row 2 (line 4): column \"c\": must be a finite number, got \"x\"",
        ),
        (refusal(&plain, "1,2\n3,NaN"), "t: row 2 (line 2): column 1: must be a finite number, got \"NaN\""),
        (refusal(&plain, "1,-inf\n"), "t: row 1 (line 1): column 1: must be a finite number, got \"-inf\""),
        (refusal(&plain, "1,2\n1e39,2\n"), "t: row 2 (line 2): column 0: is too large for f32: \"1e39\""),
        (refusal(&csv, &long), "t: row 1 (line 2): column \"a\": is longer than 4096 bytes"),
        (refusal(&csv, "a,b\n1,2\n3\n"), "t: row 2 (line 3): has 1 fields, but the header has 2"),
        (refusal(&csv, "a,b\n1,2,3\n"), "t: row 1 (line 2): has 3 fields, but the header has 2"),
        (
            refusal(&plain, "1,2\n1,2,3,4\n"),
            "t: row 2 (line 2): has 3 or more fields, but the first row has 2",
        ),
        (refusal(&csv, ""), "t: has no rows"),
        (refusal(&csv, "a,b\n"), "t: has no rows"),
        (refusal(&csv, "a\n1\n"), "columns of t: no columns are left for the features, of 1"),
        (refusal(&csv.clone().target("c"), "a,b\n1,2\n"), "unknown column of t \"c\"; known: a, b"),
        (
            refusal(&csv.clone().target("wight"), "height,weight\n1,2\n"),
            "unknown column of t \"wight\", did you mean \"weight\"?; known: height, weight",
        ),
        (refusal(&csv.clone().target(2), "a,b\n1,2\n"), "column of t must be below the 2 columns, got 2"),
        (refusal(&csv.clone().features(["a", "a"]), "a,b\n1,2\n"), "columns of t: column 0 is chosen twice"),
        (refusal(&csv.clone().features(["b"]), "a,b\n1,2\n"), "columns of t: column 1 is chosen twice"),
        (
            refusal(&csv.clone().target("a"), "a,a,b\n1,2,3\n"),
            "t: header: columns 0 and 1 have the name \"a\": choose them by number",
        ),
        (
            refusal(&plain.clone().target("a"), "1,2\n"),
            "t: column \"a\": without a header, columns have numbers only",
        ),
        (
            refusal(&csv.clone().delimiter(b'"'), "a,b\n1,2\n"),
            "delimiter must be neither a quote nor the end of a line, got '\"'",
        ),
    ];
    for (message, expected) in rows {
        assert_eq!(message, expected);
    }
    let refused = |csv: &Csv, table: &[u8]| csv.parse_classes("t", table).unwrap_err().to_string();
    for (label, below) in
        [("-1", 4_294_967_295_u32), ("0.5", 4_294_967_295), ("1e10", 4_294_967_295), ("3", 3)]
    {
        let csv = if below == 3 { csv.clone().n_classes(3) } else { csv.clone() };
        let message = format!(
            "t: row 1 (line 2): column \"b\": must be a whole number from 0 and below {below}, got {label:?}"
        );
        assert_eq!(refused(&csv, format!("a,b\n1,{label}\n").as_bytes()), message);
    }
    let several = refused(&csv.clone().targets([0, 1]), b"1,2\n");
    assert_eq!(several, "targets of classes: must be one column of labels, got 2");
    assert_eq!(refused(&csv, b"a,b\n1,\xff\n"), "t: row 1 (line 2): column \"b\": is not UTF-8");
    let wide = format!("{}1\n", "1,".repeat(65_536));
    assert_eq!(refusal(&plain, &wide), "t: row 1 (line 1): has more than 65536 fields");
    assert!(matches!(Csv::new().read("no such file"), Err(Error::File { .. })));
}

#[test]
fn columns_that_are_not_chosen_may_hold_anything() {
    let text = "x".repeat(100_000);
    let table = format!("note,a,b\n\"{text}, \"\"{text}\n\",1,2\n\u{fe}\u{ff},3,4\n");
    let data = Csv::new().features(["a"]).target("b").parse("t", table.as_bytes()).unwrap();
    assert_eq!((data.numbers(), data.y()), (vec![1.0, 3.0], &[2.0, 4.0][..]));
}

fn config() -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_text_is_read_or_refused(
        table in "([0-9a-z.,;\"\n\r -]|\u{fe}){0,80}", header: bool, semicolons: bool
    ) {
        let delimiter = if semicolons { b';' } else { b',' };
        let csv = Csv::new().header(header).delimiter(delimiter);
        for result in [csv.parse("t", table.as_bytes()).map(|data| data.len()),
            csv.parse_classes("t", table.as_bytes()).map(|data| data.len())] {
            match result {
                Ok(rows) => prop_assert!(rows <= table.len()),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(table in prop::collection::vec(any::<u8>(), 0..200), delimiter: u8) {
        let _ = Csv::new().delimiter(delimiter).parse("t", &table);
        let _ = Csv::new().header(false).delimiter(delimiter).parse_classes("t", &table);
    }

    #[test]
    fn numbers_come_back(rows in prop::collection::vec(any::<[f32; 3]>(), 1..20)) {
        let finite = |x: f32| if x.is_finite() { x } else { 0.0 };
        let rows: Vec<[f32; 3]> = rows.into_iter().map(|row| row.map(finite)).collect();
        let table: String = rows.iter().map(|[a, b, c]| format!("{a},{b:e},{c}\n")).collect();
        let data = Csv::new().header(false).parse("t", table.as_bytes()).unwrap();
        prop_assert_eq!(data.numbers(), rows.iter().flat_map(|row| row[..2].to_vec()).collect::<Vec<_>>());
        prop_assert_eq!(data.y(), rows.iter().map(|row| row[2]).collect::<Vec<_>>());
    }
}
