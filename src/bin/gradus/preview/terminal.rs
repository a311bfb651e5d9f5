//! Curves drawn with letters.

const WIDTH: usize = 84;
const HEIGHT: usize = 20;

/// Draws each curve with its own letter, and a legend below. Where curves coincide, the last one is shown.
pub(crate) fn plot(curves: &[(String, Vec<f64>)]) -> String {
    let rates = || curves.iter().flat_map(|(_, rates)| rates).copied();
    let (low, high) = (rates().fold(0.0, f64::min), rates().fold(0.0, f64::max));
    let span = if high > low { high - low } else { 1.0 };
    let mut grid = vec![[' '; WIDTH]; HEIGHT];
    let letters: Vec<char> = ('a'..='z').cycle().take(curves.len()).collect();
    for ((_, rates), letter) in curves.iter().zip(&letters) {
        let places = (0..WIDTH).map(|column| column * (rates.len() - 1) / (WIDTH - 1));
        for (column, place) in places.enumerate() {
            grid[HEIGHT - 1 - row((rates[place] - low) / span)][column] = *letter;
        }
    }
    let mut text = String::new();
    for (number, line) in grid.iter().enumerate() {
        let part = (HEIGHT - 1 - number) as f64 / (HEIGHT - 1) as f64;
        let label =
            if number % 5 == 4 || number == 0 { format!("{:.2e}", low + part * span) } else { String::new() };
        text += format!("{label:>9} |{}", line.iter().collect::<String>()).trim_end();
        text.push('\n');
    }
    let last = curves.iter().map(|(_, rates)| rates.len()).max().unwrap_or(1) - 1;
    let axis = "-".repeat(WIDTH);
    text += &format!("{:>9} +{axis}\n{:>11}0{last:>width$}\n", "", "", width = WIDTH - 1);
    for ((label, _), letter) in curves.iter().zip(&letters) {
        text += &format!("{letter}  {label}\n");
    }
    text
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of the height, and it saturates"
)]
fn row(part: f64) -> usize {
    ((part * (HEIGHT - 1) as f64).round() as usize).min(HEIGHT - 1)
}
