//! How a dashboard is drawn, at any size.

use std::rc::Rc;
use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, LineGauge, Paragraph};

use super::board::Board;
use super::trace::Trace;
use crate::train::callbacks::progress::clock;

/// Colors of training and validation, and of rates.
const COLORS: [Color; 2] = [Color::Cyan, Color::Yellow];
const RATE: Color = Color::Green;
/// The least size of a chart.
const WIDE: u16 = 28;
const HIGH: u16 = 6;
/// How much larger the largest of positive values is than the smallest on a logarithmic axis, at least.
const LOG: f64 = 20.0;

/// Draws all that there is room for.
pub(crate) fn draw(frame: &mut Frame<'_>, board: &Board, now: Instant) {
    let area = frame.area();
    if area.is_empty() {
        return;
    }
    let notes = match area.height {
        0..8 => 0,
        8..16 => u16::from(!board.notes.is_empty()) * 3,
        height => (height / 4).min(9),
    };
    let parts = [Constraint::Length(1), Constraint::Length(1), Constraint::Min(0), Constraint::Length(notes)];
    let [progress, numbers, charts, said] = Layout::vertical(parts).areas(area);
    draw_progress(frame, progress, board, now);
    frame.render_widget(Paragraph::new(in_numbers(board)), numbers);
    draw_charts(frame, charts, board);
    if notes > 0 {
        draw_notes(frame, said, board);
    }
}

fn draw_progress(frame: &mut Frame<'_>, area: Rect, board: &Board, now: Instant) {
    let (so_far, left) = board.seconds(now);
    let left = left.map_or(String::new(), |left| format!(", {} to go", clock(left)));
    let label = format!(
        "epoch {}/{}  step {}/{}  {}{left}  ",
        board.epoch,
        board.epochs,
        board.step,
        board.steps(),
        clock(so_far)
    );
    // The bar has what the label leaves.
    if usize::from(area.width) < label.len() + 8 {
        frame.render_widget(Paragraph::new(label), area);
    } else {
        let gauge =
            LineGauge::default().ratio(board.done()).label(label).filled_style(Style::new().fg(COLORS[0]));
        let gauge = gauge.filled_symbol("━").unfilled_symbol("─");
        frame.render_widget(gauge, area);
    }
}

/// The latest numbers in one line, the most important first.
fn in_numbers(board: &Board) -> Line<'static> {
    let mut parts =
        vec![Span::from(board.loss.map_or("loss -".into(), |loss| format!("loss {loss:.4}"))).bold()];
    let latest = |trace: &Trace| trace.points().last().map(|(_, value)| *value);
    if let Some(loss) = latest(&board.losses[1]) {
        parts.push(format!("  val_loss {loss:.4}").into());
    }
    if let Some(value) = latest(&board.values[1]) {
        parts.push(format!("  val_{} {value:.4}", board.metric()).into());
    }
    parts.push(format!("  lr {:.2e}", board.lr).into());
    if let Some(speed) = board.throughput() {
        parts.push(format!("  {speed:.0} samples/s").into());
    }
    if let Some(bytes) = board.bytes {
        parts.push(format!("  {:.1} MiB", bytes as f64 / f64::from(1 << 20)).into());
    }
    parts.push("  q closes this, Ctrl-C stops".dim());
    parts.into()
}

/// One chart: its title, and its curves with their names.
struct Plot<'b> {
    title: String,
    curves: Vec<(&'static str, &'b Trace, Color)>,
}

fn plots(board: &Board) -> Vec<Plot<'_>> {
    let mut plots = vec![Plot { title: "loss".into(), curves: named(&board.losses) }];
    if !board.metric().is_empty() {
        plots.push(Plot { title: board.metric().into(), curves: named(&board.values) });
    }
    plots.push(Plot { title: "learning rate".into(), curves: vec![("", &board.rates, RATE)] });
    plots
}

fn named([train, val]: &[Trace; 2]) -> Vec<(&'static str, &Trace, Color)> {
    vec![("training", train, COLORS[0]), ("validation", val, COLORS[1])]
}

/// As many charts as there is room for, beside one another or else below.
fn draw_charts(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let plots = plots(board);
    let (beside, below) = (usize::from(area.width / WIDE), usize::from(area.height / HIGH));
    if beside == 0 || below == 0 {
        return;
    }
    let (count, areas): (usize, Rc<[Rect]>) = if beside >= plots.len() || beside >= below {
        let count = beside.min(plots.len());
        (count, Layout::horizontal(vec![Constraint::Fill(1); count]).split(area))
    } else {
        let count = below.min(plots.len());
        (count, Layout::vertical(vec![Constraint::Fill(1); count]).split(area))
    };
    for (plot, area) in plots.iter().take(count).zip(areas.iter()) {
        draw_plot(frame, *area, plot, board.step);
    }
}

fn draw_plot(frame: &mut Frame<'_>, area: Rect, plot: &Plot<'_>, steps: u64) {
    let values = || plot.curves.iter().flat_map(|(_, trace, _)| trace.points()).map(|(_, value)| *value);
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let block = |log: bool| {
        let mut title = vec![format!(" {}{} ", plot.title, if log { ", log scale" } else { "" }).into()];
        let drawn =
            plot.curves.iter().filter(|(name, trace, _)| !name.is_empty() && !trace.points().is_empty());
        title.extend(drawn.map(|(name, _, color)| Span::from(format!("{name} ")).fg(*color)));
        Block::bordered().title(Line::from(title)).border_style(Style::new().dim())
    };
    if least > most {
        frame.render_widget(block(false), area);
        return;
    }
    let log = least > 0.0 && most > LOG * least;
    let place = |value: f64| if log { value.log10() } else { value };
    let (low, high) = (place(least), place(most));
    let pad = if high > low { 0.04 * (high - low) } else { 0.1 * high.abs().max(1e-3) };
    let bounds = [low - pad, high + pad];
    let points: Vec<Vec<(f64, f64)>> = plot
        .curves
        .iter()
        .map(|(_, trace, _)| trace.points().iter().map(|(x, y)| (*x, place(*y))).collect())
        .collect();
    let shown = plot.curves.iter().zip(&points).filter(|(_, points)| !points.is_empty());
    let sets: Vec<Dataset<'_>> = shown
        .map(|((_, _, color), points)| {
            let set = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line);
            set.style(Style::new().fg(*color)).data(points)
        })
        .collect();
    let end = (steps as f64).max(1.0);
    let label = |value: f64| short(if log { 10_f64.powf(value) } else { value });
    let labels = [bounds[0], f64::midpoint(bounds[0], bounds[1]), bounds[1]].map(label);
    let chart = Chart::new(sets)
        .block(block(log))
        .x_axis(Axis::default().bounds([0.0, end]).labels(["0".to_owned(), format!("step {steps}")]))
        .y_axis(Axis::default().bounds(bounds).labels(labels));
    frame.render_widget(chart, area);
}

/// A number in a few characters.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if (0.01..1000.0).contains(&size) => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

/// The latest lines of what was said.
fn draw_notes(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let room = usize::from(area.height.saturating_sub(2));
    let lines: Vec<&str> = board.notes.iter().flat_map(|note| note.lines()).collect();
    let width = usize::from(area.width.saturating_sub(2)).max(1);
    let wrapped: Vec<String> = lines.iter().flat_map(|line| wrap(line, width)).collect();
    let latest = wrapped.len().saturating_sub(room);
    let shown: Vec<Line<'_>> = wrapped[latest..].iter().map(|line| Line::from(&line[..])).collect();
    let block = Block::bordered().title(" notes ").border_style(Style::new().dim());
    frame.render_widget(Paragraph::new(shown).block(block), area);
}

/// Cuts a line at spaces, or within a word that is longer than a line, without what terminals would obey.
fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    for word in clean.split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        while !rest.is_empty() {
            let last = lines.last_mut().expect("there is a line");
            let space = usize::from(!last.is_empty());
            let room = width.saturating_sub(last.chars().count() + space);
            if rest.len() <= room || last.is_empty() {
                let kept = rest.split_off(rest.len().min(room));
                if space == 1 {
                    last.push(' ');
                }
                last.extend(std::mem::replace(&mut rest, kept));
            } else {
                lines.push(String::new());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::board::Latest;
    use super::*;
    use crate::train::callbacks::RunInfo;

    fn board(steps: u64) -> Board {
        let run = RunInfo {
            epochs: 4,
            steps_per_epoch: 50,
            first_step: 10,
            step: 10,
            metrics: vec!["loss".into(), "accuracy".into()],
            ..RunInfo::default()
        };
        let mut board = Board::new(&run);
        let began = Instant::now();
        for step in 1..=steps {
            let part = step as f64 / 200.0;
            board.step(&Latest {
                step: 10 + step,
                epoch: 1 + (step - 1) / 50,
                lr: 1e-3 * (1.0 - part / 2.0),
                loss: 2.3 * (-6.0 * part).exp(),
                metric: Some(1.0 - 0.9 * (-6.0 * part).exp()),
                samples: 32,
                bytes: Some(5 << 20),
                at: began + Duration::from_millis(10 * step),
            });
            if step % 50 == 0 {
                board.epoch(10 + step, Some(2.0 * (-5.0 * part).exp()), Some(0.9));
            }
        }
        board
    }

    fn drawn(board: &Board, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, board, board.began() + Duration::from_secs(90))).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_large_terminal_shows_everything() {
        let mut board = board(120);
        board.notes.push("GradientMonitor: exploding: the norm of the gradient grew".into());
        let text = drawn(&board, 120, 30);
        for part in [
            "epoch 3/4  step 120/200",
            "  1:30, 1:00 to go",
            "loss 0.0628",
            "val_loss 0.1642",
            "val_accuracy 0.9000",
            "lr 7.00e-4",
            "3200 samples/s",
            "5.0 MiB",
            "━━━━",
            " loss, log scale training validation ",
            " accuracy training validation ",
            " learning rate ",
            "step 120",
            " notes ",
            "GradientMonitor: exploding: the norm",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(text.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count() > 60, "{text}");
    }

    #[test]
    fn there_is_something_at_every_size() {
        let mut full = board(200);
        full.notes
            .extend((0..40).map(|note| format!("EarlyStopping: note {note}\nwith \u{1b}[31m a second line")));
        let odd = RunInfo { epochs: 0, steps_per_epoch: 0, ..RunInfo::default() };
        for board in [board(0), board(1), full, Board::new(&odd), Board::default()] {
            for width in [1, 2, 3, 5, 8, 13, 21, 27, 28, 34, 55, 56, 89, 144] {
                for height in [1, 2, 3, 5, 7, 8, 13, 15, 16, 21, 34, 55] {
                    let text = drawn(&board, width, height);
                    assert!(!text.contains('\u{1b}'));
                    let wants = if width >= 13 && height > 1 { "loss" } else { "" };
                    assert!(text.contains(wants), "{width} by {height}:\n{text}");
                }
            }
        }
    }

    #[test]
    fn a_terminal_without_room_is_left_alone() {
        for (width, height) in [(0, 0), (0, 9), (9, 0)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, &board(120), Instant::now())).unwrap();
        }
    }

    #[test]
    fn a_size_that_changes_is_followed() {
        let board = board(120);
        let mut terminal = Terminal::new(TestBackend::new(100, 24)).unwrap();
        for (width, height) in [(100, 24), (30, 8), (9, 2), (1, 1), (160, 50), (100, 24)] {
            terminal.backend_mut().resize(width, height);
            terminal.draw(|frame| draw(frame, &board, board.began() + Duration::from_secs(90))).unwrap();
            assert_eq!(terminal.backend().to_string(), drawn(&board, width, height));
        }
    }

    #[test]
    fn losses_that_are_not_numbers_draw_no_curve() {
        let mut board = board(3);
        let step = Latest {
            step: 14,
            epoch: 1,
            lr: f64::INFINITY,
            loss: f64::NAN,
            metric: Some(f64::NAN),
            samples: 0,
            bytes: None,
            at: Instant::now(),
        };
        board.step(&step);
        board.epoch(14, Some(f64::NAN), None);
        let text = drawn(&board, 100, 24);
        assert!(text.contains("loss NaN") && !text.contains("val_loss"), "{text}");
    }

    #[test]
    fn notes_are_wrapped_at_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("a\tb", 80), ["a b"]);
        assert_eq!(wrap("", 3), [""]);
    }
}
