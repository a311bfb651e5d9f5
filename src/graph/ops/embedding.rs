use super::{Cast, Op, grid};
use crate::Error;
use crate::gpu::Binding::{self, Read, ReadWrite};
use crate::gpu::{MAX_TRIPS, Uniform, Work, uniform};
use crate::graph::lowering::{Lowering, Operand, source};
use crate::graph::shape::u;
use crate::graph::template::expand;

/// Looks up rows of a table by index.
///
/// The gradient of a row sums over the positions with its index, in order. With a small table, each row searches all
/// indices. Otherwise positions are sorted by index: blocks are sorted, runs are merged, and the first position of
/// each row is found. With many positions, whole pieces of them are summed first.
/// row. Where there are many places, whole pieces of them are summed before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Embedding {
    pub(crate) weight: [usize; 2],
    pub(crate) padding_idx: Option<usize>,
}

uniform! {
    pub(crate) struct Shape { quads: u32 }
}
uniform! {
    pub(crate) struct GradShape { quads: u32, accumulate: u32 }
}
uniform! {
    pub(crate) struct SortShape { places: u32 }
}
uniform! {
    pub(crate) struct StartsShape { rows: u32, places: u32 }
}

/// Maximum number of positions that each row of a small table searches, and of comparisons (with four positions each)
/// that all rows make.
const SCANNED: usize = 2_048;
const SCANS: usize = 1 << 21;

/// Number of positions in a block sorted by counting, and number of runs that a merge combines.
const BLOCK: usize = 256;
const WAYS: usize = 16;

/// Number of positions summed separately before being added to the total.
const RUN: usize = 128;

/// Maximum number of positions that a row sums one by one. More are summed in pieces of at most `LARGEST_PIECE`.
const SINGLY: usize = 4_096;
const LARGEST_PIECE: usize = 4_096;

/// Maximum number of indices for which no invocation makes too many iterations.
const MOST: usize = 1 << 24;

const _: () = assert!(2 * (LARGEST_PIECE + LARGEST_PIECE / RUN) + MOST / LARGEST_PIECE <= MAX_TRIPS);

const SUM: &str = include_str!("../../../shaders/shared/sorted_sum.wgsl");

/// The operands of a backward pass.
#[derive(Clone, Copy, Debug)]
struct Pass {
    places: usize,
    indices: Operand,
    dy: Operand,
    table: Operand,
    accumulate: bool,
}

impl Embedding {
    fn constants(&self) -> Vec<(&'static str, u32)> {
        let [rows, columns] = self.weight.map(u);
        let padding = self.padding_idx.map_or(u32::MAX, u);
        let sizes = [("ROWS", rows), ("COLUMNS", columns), ("QUADS", columns.div_ceil(4))];
        sizes.into_iter().chain([("PADDING", padding), ("NO_ROW", rows)]).collect()
    }

    fn emit<S: Uniform>(
        &self,
        lowering: &mut Lowering,
        id: usize,
        kernel: (&str, &[&str], &[(&'static str, usize)]),
        bound: (&[Binding], &[Operand]),
        (work, shape): (usize, S),
    ) {
        let (name, texts, more) = kernel;
        let mut constants = self.constants();
        constants.extend(more.iter().map(|&(name, value)| (name, u(value))));
        let kernel = source::<S>(name, expand(&texts.concat(), &constants, &[]), bound.0);
        lowering.emit(&lowering.name(id), kernel, grid(work), bound.1, shape);
    }

    /// WGSL to load and store a quad of a row. The store keeps the table without padding.
    fn table_texts(&self) -> [&'static str; 2] {
        if self.weight[1].is_multiple_of(4) {
            return [
                include_str!("../../../shaders/shared/table_load_quads.wgsl"),
                include_str!("../../../shaders/shared/table_store_quads.wgsl"),
            ];
        }
        [
            include_str!("../../../shaders/shared/table_load_elements.wgsl"),
            include_str!("../../../shaders/shared/table_store_elements.wgsl"),
        ]
    }

    /// Number of quads of the table, with padded rows.
    fn quads(&self) -> usize {
        self.weight[0] * self.weight[1].div_ceil(4)
    }

    /// Whether each row searches all positions.
    fn scans(&self, places: usize) -> bool {
        places <= SCANNED && self.quads().saturating_mul(places.div_ceil(4)) <= SCANS
    }

    fn scan(&self, lowering: &mut Lowering, id: usize, pass: Pass) {
        let texts = [include_str!("../../../shaders/ops/embedding_scan.wgsl"), self.table_texts()[1]];
        let shape = GradShape { quads: u(self.quads()), accumulate: u32::from(pass.accumulate) };
        let kernel = ("embedding_scan", &texts[..], &[("PLACES", pass.places)][..]);
        let operands = [pass.indices, pass.dy, pass.table];
        self.emit(lowering, id, kernel, (&[Read, Read, ReadWrite], &operands), (self.quads(), shape));
    }

    /// Emits the sort of all positions by index. Returns the index and the position of each.
    fn sort(&self, lowering: &mut Lowering, id: usize, pass: Pass) -> Operand {
        let (places, shape) = (pass.places, SortShape { places: u(pass.places) });
        let entries = |lowering: &mut Lowering| lowering.scratch("sorted indices", 2 * places);
        let mut sorted = entries(lowering);
        let text = include_str!("../../../shaders/ops/embedding_sort.wgsl");
        let kernel = ("embedding_sort", &[text][..], &[("BLOCK", BLOCK)][..]);
        self.emit(lowering, id, kernel, (&[Read, ReadWrite], &[pass.indices, sorted]), (places, shape));
        let mut run = BLOCK;
        while run < places {
            let merged = entries(lowering);
            let text = include_str!("../../../shaders/ops/embedding_merge.wgsl");
            let kernel = ("embedding_merge", &[text][..], &[("WAYS", WAYS), ("RUN", run)][..]);
            self.emit(lowering, id, kernel, (&[Read, ReadWrite], &[sorted, merged]), (places, shape));
            (sorted, run) = (merged, run * WAYS);
        }
        sorted
    }

    /// Emits the first entry of each row, followed by the end of the last row.
    fn starts(&self, lowering: &mut Lowering, id: usize, sorted: Operand, places: usize) -> Operand {
        let starts = lowering.scratch("first places of rows", self.weight[0] + 1);
        let text = include_str!("../../../shaders/ops/embedding_starts.wgsl");
        let shape = StartsShape { rows: u(self.weight[0]), places: u(places) };
        let kernel = ("embedding_starts", &[text][..], &[][..]);
        let work = (self.weight[0] + 1, shape);
        self.emit(lowering, id, kernel, (&[Read, ReadWrite], &[sorted, starts]), work);
        starts
    }

    fn gather(&self, lowering: &mut Lowering, id: usize, pass: Pass) {
        let sorted = self.sort(lowering, id, pass);
        let starts = self.starts(lowering, id, sorted, pass.places);
        let (piece, pieces) = match pass.places {
            0..=SINGLY => (1, 0),
            places => (piece_of(places), places / piece_of(places)),
        };
        let constants = [("RUN", RUN), ("PIECE", piece)];
        let mut sums = pass.dy;
        if pieces > 0 {
            let quads = pieces * self.weight[1].div_ceil(4);
            sums = lowering.scratch("sums of pieces", 4 * quads);
            let texts = [include_str!("../../../shaders/ops/embedding_pieces.wgsl"), SUM];
            let kernel = ("embedding_pieces", &texts[..], &constants[..]);
            let operands = [sorted, pass.dy, sums];
            let work = (quads, Shape { quads: u(quads) });
            self.emit(lowering, id, kernel, (&[Read, Read, ReadWrite], &operands), work);
        }
        let texts = [include_str!("../../../shaders/ops/embedding_grad.wgsl"), SUM, self.table_texts()[1]];
        let shape = GradShape { quads: u(self.quads()), accumulate: u32::from(pass.accumulate) };
        let mut constants = constants.to_vec();
        constants.extend([("PIECES", pieces), ("PLACES", pass.places)]);
        let kernel = ("embedding_grad", &texts[..], &constants[..]);
        let operands = [sorted, pass.dy, starts, sums, pass.table];
        let storage = [Read, Read, Read, Read, ReadWrite];
        self.emit(lowering, id, kernel, (&storage, &operands), (self.quads(), shape));
    }
}

/// Number of positions per piece, such that a row with all positions has about as many pieces as a piece has
/// positions.
fn piece_of(places: usize) -> usize {
    let mut piece = 64;
    while piece < LARGEST_PIECE && piece * piece < places {
        piece *= 2;
    }
    piece
}

impl Op for Embedding {
    fn kind(&self) -> &'static str {
        "embedding"
    }

    fn cast(&self) -> Cast {
        Cast::Half
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let [rows, columns] = self.weight;
        if let Some(row) = self.padding_idx.filter(|row| *row >= rows) {
            let allowed = format!("below num_embeddings {rows}");
            return Err(Error::constant(format!("{layer}: padding_idx"), allowed, row));
        }
        if inputs[0].iter().product::<usize>() > MOST {
            let expected = format!("at most {MOST} indices");
            return Err(Error::Shape { layer: layer.into(), expected, got: inputs[0].to_vec() });
        }
        Ok([inputs[0], &[columns]].concat())
    }

    fn takes_labels(&self, _: usize) -> bool {
        true
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        lowering.limit_labels(id, 0, self.weight[0]);
        // An index that a loss over the same labels ignores has no row either.
        lowering.ignore_label(id, 0, None);
        let table = Operand::Parameter(lowering.parameters(id)[0]);
        let operands = [lowering.argument(id, 0), table, lowering.define(id)];
        let quads = lowering.matrix(id).quads();
        let texts = [include_str!("../../../shaders/ops/embedding.wgsl"), self.table_texts()[0]];
        let bound = (&[Read, Read, ReadWrite][..], &operands[..]);
        let work = (quads, Shape { quads: u(quads) });
        lowering.next_does(Work::of_quads(quads).touching([None, Some(4 * quads)]));
        self.emit(lowering, id, ("embedding", &texts, &[]), bound, work);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let places = lowering.matrix(id).rows;
        let (indices, dy) = (lowering.argument(id, 0), lowering.gradient(id));
        let Some((table, accumulate)) = lowering.parameter_gradient(lowering.parameters(id)[0]) else {
            return Ok(());
        };
        let pass = Pass { places, indices, dy, table, accumulate };
        if self.scans(places) {
            self.scan(lowering, id, pass);
        } else {
            self.gather(lowering, id, pass);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Embedding;
    use crate::gpu::{Gpu, GpuOptions, Recorder};
    use crate::graph::{Graph, Init, PlanOptions, Workspace};

    /// Indices from a buffer on the device were not checked by the host.
    #[test]
    fn an_index_beyond_the_table_is_nan_and_has_no_gradient() {
        let gpu = match Gpu::new(GpuOptions::default()) {
            Ok(gpu) => gpu,
            Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
                return eprintln!("SKIPPED: {error}");
            }
            Err(error) => panic!("{error}; GRADUS_ALLOW_NO_GPU=1 skips this test"),
        };
        // A table that is searched, and one whose positions are sorted.
        for rows in [5, 400_000] {
            let graph = Graph::new();
            let weight = graph.declare("e.weight", vec![rows, 6], Init::Normal { std: 1.0 });
            let op = Embedding { weight: [rows, 6], padding_idx: None };
            let y = graph.push(op, Some("e"), &[&graph.labels("i", [2, 3])], &[weight], None);
            let params = graph.store(&gpu, 0).unwrap();
            let options = PlanOptions::train(&y).upstream("dy");
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            plan.write("dy", &[1.0_f32; 36]).unwrap();
            let beyond = u32::try_from(rows).unwrap();
            let indices = [1, beyond, 4, u32::MAX, 4, beyond + 7];
            gpu.write(plan.input_buffer("i"), 0, bytemuck::cast_slice(&indices)).unwrap();
            let mut encoder = gpu.encoder("embedding");
            plan.record(&mut Recorder::new(&gpu, &mut encoder)).unwrap();
            gpu.submit(encoder).unwrap();
            let (y, table) = (plan.read("loss").unwrap(), params.read("e.weight").unwrap());
            let gradient = params.read_grad("e.weight").unwrap();
            for (row, &index) in y.chunks(6).zip(&indices) {
                match index {
                    1 | 4 => assert_eq!(row, &table[index as usize * 6..][..6]),
                    _ => assert!(row.iter().all(|x| x.is_nan()), "{index}: {row:?}"),
                }
            }
            for (row, gradient) in gradient.chunks(6).enumerate() {
                let want = [0.0, 1.0, 0.0, 0.0, 2.0].get(row).copied().unwrap_or(0.0);
                assert_eq!(gradient, [want; 6], "row {row}");
            }
        }
    }
}
