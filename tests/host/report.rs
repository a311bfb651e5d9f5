//! The picture of a run: well-formed, complete, and all of it within its frame.

use gradus::train::{History, report};
use roxmltree::{Document, Node};

const COLUMNS: [&str; 5] = ["train_loss", "train_accuracy", "test_loss", "test_accuracy", "lr"];
const TRAIN: &str = "#0072B2";
const TEST: &str = "#D55E00";

fn history<const N: usize>(columns: [&str; N], rows: impl IntoIterator<Item = [f64; N]>) -> History {
    let mut history = History::new(columns).unwrap();
    for (row, epoch) in rows.into_iter().zip(1..) {
        history.push(epoch, 10 * epoch, &row).unwrap();
    }
    history
}

fn run(epochs: i32) -> History {
    let row = |epoch: i32| {
        let left = (-6.0 * f64::from(epoch) / f64::from(epochs)).exp();
        [2.3 * left, 1.0 - 0.9 * left, 2.0 * left + 0.1, 0.98 - 0.9 * left, 1e-3 * left]
    };
    history(COLUMNS, (1..=epochs).map(row))
}

fn texts(picture: &Document<'_>) -> Vec<String> {
    let texts = picture.descendants().filter(|node| node.has_tag_name("text"));
    texts.map(|node| node.text().unwrap().trim().to_owned()).collect()
}

/// The points of each line or dot of this colour, in the order in which they are drawn.
fn drawn(picture: &Document<'_>, tag: &str, color: &str) -> Vec<Vec<(f64, f64)>> {
    let is_colored = |node: &Node<'_, '_>| {
        node.has_tag_name(tag) && [node.attribute("stroke"), node.attribute("fill")].contains(&Some(color))
    };
    picture.descendants().filter(is_colored).map(|node| points(&node)).collect()
}

fn points(node: &Node<'_, '_>) -> Vec<(f64, f64)> {
    let number = |name: &str| node.attribute(name).map(|text| text.parse::<f64>().unwrap());
    let pairs = [("x", "y"), ("cx", "cy"), ("x1", "y1"), ("x2", "y2"), ("width", "height")];
    let single = pairs.iter().filter_map(|(x, y)| number(x).zip(number(y)));
    let list = node.attribute("points").unwrap_or_default().split_whitespace().map(|pair| {
        let (x, y) = pair.split_once(',').unwrap();
        (x.parse().unwrap(), y.parse().unwrap())
    });
    single.chain(list).collect()
}

/// Parses a picture, and checks that no number is odd and nothing lies outside.
fn checked(svg: &str) -> Document<'_> {
    let picture = Document::parse(svg).unwrap();
    let view = picture.root_element().attribute("viewBox").unwrap();
    let [0.0, 0.0, width, height] = view.split(' ').map(|n| n.parse().unwrap()).collect::<Vec<f64>>()[..]
    else {
        panic!("viewBox {view}")
    };
    assert_eq!(points(&picture.root_element()), [(width / 10.0, height / 10.0)]);
    for node in picture.root_element().children() {
        for (x, y) in points(&node) {
            assert!((0.0..=width).contains(&x) && (0.0..=height).contains(&y), "{node:?}");
        }
        let odd = |text: &str| text.contains("NaN") || text.contains("inf");
        assert!(!node.attributes().any(|attribute| odd(attribute.value())), "{node:?}");
    }
    picture
}

#[test]
fn a_picture_names_what_it_shows() {
    let svg = report::svg(&run(30), "CNN, AdamW, digits: 98.1 %").unwrap();
    let picture = checked(&svg);
    let texts = texts(&picture);
    assert_eq!(texts[0], "CNN, AdamW, digits: 98.1 %");
    for (text, times) in [
        ("Loss", 1),
        ("Accuracy (%)", 1),
        ("Learning rate, log scale", 1),
        ("train", 2),
        ("test", 2),
        ("epoch", 3),
        ("100", 1),
    ] {
        assert_eq!(texts.iter().filter(|t| *t == text).count(), times, "{text} in {texts:?}");
    }
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let svg = report::svg(&run(30), "a run").unwrap();
    assert_eq!(svg, report::svg(&run(30), "a run").unwrap());
    assert_ne!(svg, report::svg(&run(31), "a run").unwrap());
    assert!(!svg.contains(env!("CARGO_MANIFEST_DIR")));
}

#[test]
fn any_run_fits_its_frame() {
    let odd = [0.0, -1.0, 1e-320, 1e300, f64::MAX, f64::MIN, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let mut runs: Vec<History> = [1, 2, 3, 30, 1000].map(run).into();
    runs.push(history(["loss"], odd.map(|value| [value])));
    runs.push(history(["train_loss", "test_loss"], odd.map(|value| [value, 0.5])));
    runs.push(history(["a", "b", "train_c", "lr"], [[f64::NAN, 0.0, 1.0, 1e-3]; 7]));
    for run in runs {
        checked(&report::svg(&run, "a run").unwrap());
    }
}

#[test]
fn lines_follow_the_values() {
    let values = [[0.5, 0.5], [0.9, 0.1], [0.7, 0.3]];
    let svg = report::svg(&history(["train_loss", "test_loss"], values), "").unwrap();
    let picture = checked(&svg);
    let [lines, others] = [TRAIN, TEST].map(|color| drawn(&picture, "polyline", color));
    // The last one is the curve; the first is in the legend.
    let (line, other) = (lines.last().unwrap(), others.last().unwrap());
    assert_eq!(drawn(&picture, "circle", TRAIN).concat(), *line);
    let at = |value: f64| line[0].1 + (0.5 - value) * (line[1].1 - line[0].1) / (0.5 - 0.9);
    for (index, [value, below]) in values.into_iter().enumerate() {
        assert!((line[index].1 - at(value)).abs() <= 1.0, "{line:?}");
        assert!((other[index].1 - at(below)).abs() <= 1.0, "{other:?}");
        assert!((line[index].0 - (line[0].0 + (line[2].0 - line[0].0) * index as f64 / 2.0)).abs() <= 1.0);
    }
    assert!(line[1].1 < line[0].1, "larger values lie higher");
}

#[test]
fn a_logarithmic_axis_has_equal_steps_for_equal_factors() {
    let svg = report::svg(&history(["train_loss"], [[1.0], [0.1], [0.01], [1e-3]]), "").unwrap();
    let picture = checked(&svg);
    assert!(texts(&picture).contains(&"Loss, log scale".to_owned()));
    let line = drawn(&picture, "polyline", TRAIN).pop().unwrap();
    for pair in line.windows(2) {
        assert!((pair[1].1 - pair[0].1 - (line[3].1 - line[0].1) / 3.0).abs() <= 1.0, "{line:?}");
    }
}

#[test]
fn what_is_not_finite_is_a_gap() {
    let values = [1.0, 2.0, f64::NAN, 3.0, f64::INFINITY, 2.0, 3.0, 1.0];
    let svg = report::svg(&history(["test_loss"], values.map(|value| [value])), "").unwrap();
    let picture = checked(&svg);
    let lines: Vec<usize> = drawn(&picture, "polyline", TEST).iter().map(Vec::len).collect();
    assert_eq!(lines, [2, 2, 3], "the legend, and two runs");
    assert_eq!(drawn(&picture, "circle", TEST).len(), 6);

    // Dots of a long run are left out, but for a value between two gaps.
    let long = (0..100).map(|index| [if [50, 52].contains(&index) { f64::NAN } else { 1.0 }]);
    let svg = report::svg(&history(["test_loss"], long), "").unwrap();
    let picture = checked(&svg);
    assert_eq!(drawn(&picture, "circle", TEST).len(), 1);
    assert_eq!(drawn(&picture, "polyline", TEST).iter().map(Vec::len).collect::<Vec<_>>(), [2, 50, 47]);
}

#[test]
fn titles_are_text() {
    let title = "a <b> & \"c\" 'd' é\u{1}\u{FFFE}e";
    let svg = report::svg(&run(3), title).unwrap();
    assert_eq!(texts(&checked(&svg))[0], "a <b> & \"c\" 'd' é  e");
    for (length, kept) in [(0, 0), (151, 151), (152, 151), (5000, 151)] {
        let svg = report::svg(&run(3), &"W".repeat(length)).unwrap();
        let picture = checked(&svg);
        let title = picture.descendants().find(|node| node.has_tag_name("text")).unwrap();
        assert_eq!(title.text().unwrap().trim().chars().count(), kept);
        let size: f64 = title.attribute("font-size").unwrap().parse().unwrap();
        assert!(size * 0.64 * kept as f64 <= 8480.1 && (80.0..=170.1).contains(&size), "{size} for {kept}");
    }
}

#[test]
fn a_history_without_curves_is_refused() {
    let columns: [&str; 0] = [];
    for history in [history(["loss"], []), history(columns, [[]])] {
        assert_eq!(
            report::svg(&history, "").unwrap_err().to_string(),
            "report: a history without rows or columns has no curves"
        );
    }
}

#[test]
fn overlaid_curves_keep_their_values_and_colours() {
    let curves = [
        ("rising".to_owned(), (0..9).map(f64::from).collect::<Vec<_>>()),
        (format!("<{}>", "long ".repeat(90)), vec![8.0, f64::NAN, 0.0]),
        ("one".into(), vec![4.0]),
        ("none".into(), Vec::new()),
    ];
    let svg = report::overlay("Title", "step", "lr", &curves).unwrap();
    let picture = checked(&svg);
    let rising = &drawn(&picture, "polyline", "#0072B2")[0];
    let slopes = rising.windows(2).map(|pair| (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0));
    assert!(
        rising.len() == 9
            && slopes.clone().all(|slope| (slope / slopes.clone().next().unwrap() - 1.0).abs() < 0.02)
    );
    // A gap leaves two dots, and a single value is one.
    assert_eq!(drawn(&picture, "circle", "#D55E00").len(), 2);
    assert_eq!(drawn(&picture, "circle", "#009E73").len(), 1);
    let texts = texts(&picture);
    for text in ["Title", "Learning rate", "step", "rising", "one", "none"] {
        assert!(texts.iter().any(|found| found == text), "{text} in {texts:?}");
    }
    let none = report::overlay("Title", "step", "lr", &curves[3..]).unwrap_err().to_string();
    assert_eq!(none, "report: there are no curves");
}
