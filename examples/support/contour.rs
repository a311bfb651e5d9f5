//! Level lines of a function of two variables, by marching squares.

use std::collections::BTreeMap;

use anyhow::Result;
use plotters::prelude::*;

use crate::sheet::{Panel, units};

/// A grid of values over a box, row by row from the lower left corner.
pub(crate) struct Grid {
    cells: usize,
    x: (f64, f64),
    y: (f64, f64),
    values: Vec<f64>,
}

impl Grid {
    /// The values of `function` at the corners of `cells` by `cells` squares.
    pub(crate) fn new(
        cells: usize,
        (x, y): ((f64, f64), (f64, f64)),
        function: impl Fn(f64, f64) -> f64,
    ) -> Self {
        let mut grid = Self { cells, x, y, values: Vec::new() };
        let corners = (cells + 1) * (cells + 1);
        grid.values = (0..corners).map(|corner| grid.place(corner)).map(|(x, y)| function(x, y)).collect();
        grid
    }

    fn place(&self, corner: usize) -> (f64, f64) {
        let (row, column) = (corner / (self.cells + 1), corner % (self.cells + 1));
        let between = |(low, high): (f64, f64), at: usize| low + (high - low) * at as f64 / self.cells as f64;
        (between(self.x, column), between(self.y, row))
    }

    /// Where the function has the value `level`: lines, closed ones with their first point again at the end.
    pub(crate) fn lines(&self, level: f64) -> Vec<Vec<(f64, f64)>> {
        let mut neighbours: BTreeMap<Edge, Vec<Edge>> = BTreeMap::new();
        for cell in (0..self.values.len()).filter(|cell| self.is_cell(*cell)) {
            for (from, to) in self.crossings(cell, level) {
                neighbours.entry(from).or_default().push(to);
                neighbours.entry(to).or_default().push(from);
            }
        }
        let mut lines = Vec::new();
        // Lines that end at the border have to begin there.
        let ends: Vec<Edge> =
            neighbours.iter().filter(|(_, of)| of.len() == 1).map(|(edge, _)| *edge).collect();
        let all: Vec<Edge> = neighbours.keys().copied().collect();
        for first in ends.into_iter().chain(all) {
            let line = follow(&mut neighbours, first);
            if line.len() > 1 {
                lines.push(line.into_iter().map(|edge| self.crossing(edge, level)).collect());
            }
        }
        lines
    }

    /// Whether a corner is the lower left one of a square.
    fn is_cell(&self, corner: usize) -> bool {
        corner % (self.cells + 1) < self.cells && corner / (self.cells + 1) < self.cells
    }

    /// Pairs of edges of a square between which the level runs.
    fn crossings(&self, cell: usize, level: f64) -> Vec<(Edge, Edge)> {
        let row = self.cells + 1;
        let corners = [cell, cell + 1, cell + row + 1, cell + row];
        let edges =
            [(cell, cell + 1), (cell + 1, cell + row + 1), (cell + row, cell + row + 1), (cell, cell + row)];
        let above = corners.map(|corner| self.values[corner] >= level);
        let crossed: Vec<Edge> =
            (0..4).filter(|&at| above[at] != above[(at + 1) % 4]).map(|at| edges[at]).collect();
        match crossed[..] {
            [from, to] => vec![(from, to)],
            [a, b, c, d] => {
                // A saddle: the middle says which corners belong together.
                let middle = corners.map(|corner| self.values[corner]).iter().sum::<f64>() / 4.0;
                if (middle >= level) == above[0] { vec![(a, b), (c, d)] } else { vec![(d, a), (b, c)] }
            }
            _ => Vec::new(),
        }
    }

    fn crossing(&self, (from, to): Edge, level: f64) -> (f64, f64) {
        let part = (level - self.values[from]) / (self.values[to] - self.values[from]);
        let (start, end) = (self.place(from), self.place(to));
        (start.0 + (end.0 - start.0) * part, start.1 + (end.1 - start.1) * part)
    }
}

/// The corners at its ends.
type Edge = (usize, usize);

/// Takes a line out of the map, from one edge to where it ends or comes back.
fn follow(neighbours: &mut BTreeMap<Edge, Vec<Edge>>, first: Edge) -> Vec<Edge> {
    let mut line = vec![first];
    let mut at = first;
    while let Some(next) = neighbours.get_mut(&at).and_then(Vec::pop) {
        if let Some(back) = neighbours.get_mut(&next) {
            let own = back.iter().position(|edge| *edge == at);
            own.map(|own| back.swap_remove(own));
        }
        line.push(next);
        at = next;
    }
    line
}

/// Draws the lines of each level in its colour.
pub(crate) fn draw(panel: &mut Panel<'_>, grid: &Grid, levels: &[(f64, RGBColor)]) -> Result<()> {
    for (level, color) in levels {
        for line in grid.lines(*level) {
            panel.draw_series([PathElement::new(line, color.stroke_width(units(1)))])?;
        }
    }
    Ok(())
}
