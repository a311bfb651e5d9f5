//! Embeddings: rows by index, and gradients that are the same sums each run.

use gradus::Error;
use gradus::graph::{Graph, PlanOptions, Resident, Workspace};
use gradus::nn::{Embedding, Init};

use crate::common::{bits, noise, noises};
use crate::network::{gpus, outcome, run, submit};

/// Small whole numbers, whose sums are exact.
fn whole(stream: u64, len: usize) -> Vec<f32> {
    noises(stream, len).into_iter().map(|x| (x * 8.0).round()).collect()
}

/// Indices below `rows`; one in `often` is `common`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "they are small and not negative"
)]
fn indices(len: usize, rows: usize, (often, common): (usize, u32)) -> Vec<u32> {
    let draw = |at: usize| ((noise(5, at) + 1.0) / 2.0 * rows as f32) as u32;
    (0..len).map(|at| if at % often == 0 { common } else { draw(at).min(rows as u32 - 1) }).collect()
}

struct Case {
    shape: Vec<usize>,
    table: [usize; 2],
    padding: Option<usize>,
    indices: Vec<u32>,
}

impl Case {
    fn new(shape: &[usize], table: [usize; 2], padding: Option<usize>, common: (usize, u32)) -> Self {
        let indices = indices(shape.iter().product(), table[0], common);
        Self { shape: shape.to_vec(), table, padding, indices }
    }

    fn check(&self) {
        let [rows, columns] = self.table;
        let (weight, dy) = (whole(1, rows * columns), whole(2, self.indices.len() * columns));
        let mut gradient = vec![0.0_f32; rows * columns];
        let mut y = Vec::new();
        for (place, &index) in self.indices.iter().enumerate() {
            let row = index as usize * columns;
            y.extend_from_slice(&weight[row..row + columns]);
            if self.padding != Some(index as usize) {
                (0..columns).for_each(|c| gradient[row + c] += dy[place * columns + c]);
            }
        }
        for gpu in gpus() {
            let graph = Graph::new();
            let layer = Embedding::new(rows, columns).padding_idx(self.padding).name("e");
            let out = graph.labels("i", self.shape.clone()).embedding(layer);
            assert_eq!(out.shape(), [&self.shape[..], &[columns]].concat());
            let options = PlanOptions::train(&out).upstream("dy");
            let inputs: [(&str, &dyn gradus::graph::HostData); 2] = [("i", &self.indices), ("dy", &dy)];
            let got = run(&gpu, &graph, &options, &[("e.weight", &weight)], &inputs, &["loss"]);
            let what = format!("{:?} of {:?} with {:?}", self.shape, self.table, gpu.kernel_kind());
            assert_eq!(bits(&got.outputs["loss"]), bits(&y), "{what}");
            let same = got.gradients["e.weight"].iter().zip(&gradient).position(|(got, want)| got != want);
            assert_eq!(same, None, "{what}: place of the first gradient that differs");
        }
    }
}

#[test]
fn rows_and_sums_are_exact_on_both_sides_of_each_size() {
    let never = (usize::MAX, 0);
    for case in [
        Case::new(&[1], [1, 1], None, never),
        Case::new(&[5], [3, 4], None, never),
        Case::new(&[2, 3], [1, 5], None, never),
        Case::new(&[3, 7], [13, 6], Some(2), (3, 2)),
        Case::new(&[2, 3, 5], [9, 8], None, never),
        // The scan and the sort, by the number of places and by the size of the table.
        Case::new(&[8, 256], [7, 4], None, never),
        Case::new(&[2_049], [7, 4], Some(6), (2, 6)),
        Case::new(&[256], [50_000, 33], None, (7, 49_999)),
        Case::new(&[257], [50_000, 33], Some(0), (7, 0)),
        Case::new(&[4, 1024], [3_001, 3], None, (2, 3_000)),
        // Pieces of many places, of which one row, the last or the first, has most or all.
        Case::new(&[4_097], [3_001, 3], None, (2, 3_000)),
        Case::new(&[4_097], [4, 5], None, (1, 0)),
        Case::new(&[5_000], [40, 4], Some(7), (1, 7)),
        Case::new(&[16, 1024], [1_000, 5], None, (3, 500)),
        Case::new(&[65_537], [3, 1], None, (4, 1)),
    ] {
        case.check();
    }
}

#[test]
fn gradients_are_the_same_bits_each_run_and_add_up() {
    for (places, rows) in [(500, 60), (6_000, 3_000)] {
        for gpu in gpus() {
            let graph = Graph::new();
            let index = graph.labels("i", places);
            // One table by two names: the second kernel adds.
            let [a, b] = ["a", "b"].map(|name| index.embedding(Embedding::new(rows, 6).name(name)));
            graph.tie("b.weight", "a.weight");
            let y = a.add(&b);
            let params = graph.store(&gpu, 3).unwrap();
            let options = PlanOptions::train(&y).upstream("dy");
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            let dy = noises(4, places * 6);
            let named = indices(places, rows, (5, 1));
            plan.write("i", &named).unwrap();
            plan.write("dy", &dy).unwrap();
            let gradients: Vec<Vec<f32>> = (0..2)
                .map(|_| {
                    submit(&gpu, &[&plan]);
                    outcome(&plan, &params, &[]).gradients["a.weight"].clone()
                })
                .collect();
            assert_eq!(bits(&gradients[0]), bits(&gradients[1]));
            let mut exact = vec![0.0_f64; rows * 6];
            for (place, &row) in named.iter().enumerate() {
                (0..6).for_each(|c| exact[row as usize * 6 + c] += 2.0 * f64::from(dy[place * 6 + c]));
            }
            crate::reference::assert_close("gradient of both", &gradients[0], &exact);
        }
    }
}

#[test]
fn an_ordinary_table_takes_two_dispatches_and_a_large_one_five() {
    for (places, rows, want) in [(512, 65, 2), (512, 30_000, 5), (16_384, 30_000, 7)] {
        for gpu in gpus() {
            let graph = Graph::new();
            let y = graph.labels("i", [8, places / 8]).embedding(Embedding::new(rows, 32));
            let params = graph.store(&gpu, 3).unwrap();
            let options = PlanOptions::train(&y).upstream("dy");
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            let labels: Vec<&str> = plan.labels().collect();
            assert_eq!(labels.len(), want, "{places} places: {labels:?}");
        }
    }
}

#[test]
fn an_index_beyond_the_table_is_refused_where_the_host_has_it() {
    for gpu in gpus() {
        let graph = Graph::new();
        let y = graph.labels("tokens", [2, 3]).embedding(Embedding::new(10, 4));
        let params = graph.store(&gpu, 0).unwrap();
        let options = PlanOptions::evaluate().output("y", &y);
        let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
        let beyond = plan.write("tokens", &[1_u32, 2, 9, 0, 10, 3]).unwrap_err();
        assert_eq!(beyond.to_string(), "label 4 of input tokens must be below 10, got 10");
        let set = Resident::labels_of(&gpu, &[1, 2, 3, 4, 5, 10], &[3]).unwrap();
        let beyond = plan.write("tokens", &set.rows(&[0, 0])).unwrap_err();
        assert_eq!(beyond.to_string(), "a label of the set for input tokens must be below 10, got 10");
        // Rows of a set come from the device.
        let set = Resident::labels_of(&gpu, &[1, 2, 3, 9, 8, 7, 0, 0, 4], &[3]).unwrap();
        plan.write("tokens", &set.rows(&[2, 1])).unwrap();
        submit(&gpu, &[&plan]);
        let table = params.read("embedding1.weight").unwrap();
        let want: Vec<f32> =
            [0, 0, 4, 9, 8, 7].iter().flat_map(|row| table[row * 4..row * 4 + 4].to_vec()).collect();
        assert_eq!(plan.read("y").unwrap(), want);
        let wrong = Resident::labels(&gpu, &[1, 2]).unwrap();
        let error = plan.write("tokens", &wrong.rows(&[0, 1])).unwrap_err();
        assert_eq!(error.to_string(), "input tokens: expected samples of [3], got []");
        assert!(matches!(Resident::labels_of(&gpu, &[1, 2, 3, 4], &[3]), Err(Error::Length { .. })));
    }
}

#[test]
fn what_cannot_be_an_embedding_is_refused() {
    let refused = |build: &dyn Fn(&Graph)| {
        let graph = Graph::new();
        build(&graph);
        graph.check().unwrap_err().to_string()
    };
    assert_eq!(
        refused(&|g| drop(g.labels("i", 4).embedding(Embedding::new(3, 2).padding_idx(3)))),
        "embedding1: padding_idx must be below num_embeddings 3, got 3"
    );
    assert_eq!(
        refused(&|g| drop(g.input("x", [4, 2]).embedding(Embedding::new(3, 2)))),
        "embedding1: expected labels, x are numbers"
    );
    assert_eq!(
        refused(&|g| drop(g.labels("i", [1 << 12, (1 << 12) + 1]).embedding(Embedding::new(3, 2)))),
        "embedding1: expected at most 16777216 indices, got [4096, 4097]"
    );
    let empty = "expected at least one dimension, none of them 0, got [0, 2]";
    let error = refused(&|g| drop(g.labels("i", 4).embedding(Embedding::new(0, 2))));
    assert_eq!(error, format!("embedding1.weight: {empty}"));
}

#[test]
fn tables_start_normal_with_a_padding_row_of_zeros() {
    for gpu in gpus() {
        let graph = Graph::new();
        let index = graph.labels("i", [2, 2]);
        let _ = index.embedding(Embedding::new(200, 50).padding_idx(3).name("padded"));
        let _ = index.embedding(Embedding::new(5, 2).init(Init::Constant(0.5)).padding_idx(1).name("given"));
        let params = graph.store(&gpu, 1).unwrap();
        let table = params.read("padded.weight").unwrap();
        let variance = table.iter().map(|x| x * x).sum::<f32>() / (199.0 * 50.0);
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
        let zeros: Vec<usize> =
            (0..200).filter(|row| table[row * 50..][..50].iter().all(|x| *x == 0.0)).collect();
        assert_eq!(zeros, [3]);
        assert_eq!(params.read("given.weight").unwrap(), [0.5; 10]);
    }
}
