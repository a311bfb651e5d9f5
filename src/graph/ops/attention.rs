//! Scaled dot-product attention. The attention weights are not stored but recomputed for the gradients.

mod kernels;
mod launch;
mod rows;

use kernels::{FORWARD, GRADIENTS};
use launch::{Common, Dropout, GradShape, Outputs, RowsShape, Shape, Side, Sizes, Text, Walk, Way};
use rows::Rows;

use super::{Cast, Op, Reads, grid};
use crate::Error;
use crate::error::closed;
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::Work;
use crate::graph::Mode;
use crate::graph::lowering::elementwise::{Program, Target};
use crate::graph::lowering::{Lowering, Operand};
use crate::graph::shape::{Matrix, u};
use crate::graph::view::{Order, View};

/// For a query `[.., T, D]`, a key `[.., S, D]`, a value `[.., S, E]`, and masks that broadcast to `[.., T, S]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention {
    pub(crate) is_causal: bool,
    pub(crate) scale: Option<f64>,
    pub(crate) dropout_p: f64,
}

const QUERY: usize = 0;
const KEY: usize = 1;
const VALUE: usize = 2;
const MASK: usize = 3;

/// Maximum number of elements of a row that one invocation processes for a block of others.
const MOST_FEATURES: usize = 16_384;

/// Storage buffers that a kernel can bind on any device.
const MOST_BUFFERS: usize = 8;

impl Attention {
    fn sizes(lowering: &Lowering, id: usize) -> Sizes {
        let (query, value) = (lowering.input_shape(id, QUERY), lowering.input_shape(id, VALUE));
        let [leading @ .., queries, features] = query else { unreachable!("the rank was checked") };
        let [.., keys, value_features] = value else { unreachable!("the rank was checked") };
        Sizes {
            planes: leading.iter().product(),
            heads: leading.last().copied().unwrap_or(1),
            queries: *queries,
            keys: *keys,
            features: [*features, *value_features],
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
    fn common(&self, lowering: &mut Lowering, id: usize, made: Option<Operand>) -> Common {
        let sizes = Self::sizes(lowering, id);
        let drops = self.dropout_p > 0.0 && lowering.mode == Mode::Train;
        Common {
            way: Way::of(&sizes, &lowering.capabilities),
            sizes,
            is_causal: self.is_causal,
            scale: self.scale.unwrap_or_else(|| 1.0 / (sizes.features[0] as f64).sqrt()) as f32,
            mask: (lowering.inputs(id) > MASK).then(|| mask_rows(lowering, id, sizes, made)),
            dropout: drops.then(|| Dropout {
                random: lowering.random(),
                // Different from the streams of dropout layers.
                stream: u(lowering.number_of_kind(id)) | 1 << 31,
                p: self.dropout_p as f32,
                keep: if self.dropout_p < 1.0 { (1.0 / (1.0 - self.dropout_p)) as f32 } else { 0.0 },
            }),
        }
    }
}

/// An input as rows that the kernels can read. Other layouts are copied once.
fn input_rows(lowering: &mut Lowering, id: usize, input: usize) -> Rows {
    let view = lowering.argument_view(id, input);
    Rows::of_quads(&view).unwrap_or_else(|| {
        let copy = lowering.argument_copy(id, input, Order::Natural);
        Rows::of_quads(&copy).expect("packed rows")
    })
}

/// The mask as the kernels read it: the mask itself, or a combined copy (`made`, if it exists) if its layout is not
/// supported or there are several masks.
fn mask_rows(lowering: &mut Lowering, id: usize, sizes: Sizes, made: Option<Operand>) -> Rows {
    let query = lowering.input_shape(id, QUERY);
    let scores = [&query[..query.len() - 1], &[sizes.keys]].concat();
    let views: Vec<View> =
        (MASK..lowering.inputs(id)).map(|input| lowering.argument_view(id, input)).collect();
    if let ([_], Some(rows)) = (&views[..], Rows::of_elements(&views[0], &scores)) {
        return rows;
    }
    // Uses all axes, so that the leading ones can be merged into two.
    let len = Matrix::of(&scores, Order::Natural).len();
    let full = made.unwrap_or_else(|| lowering.scratch("mask", len));
    let full = View::packed(full, &scores, Order::Natural);
    if made.is_none() {
        let all = (1..views.len())
            .fold("x0".to_owned(), |all, at| format!("select(vec4f(), x{at}, {all} != vec4f())"));
        let program = Program { name: "attention_mask".into(), results: vec![all], ..Program::default() };
        let target = Target { view: full.clone(), adds: false };
        lowering.emit_elementwise(&lowering.name(id), &program, &views, &[target]);
    }
    Rows::of_elements(&full, &scores).expect("packed rows")
}

impl Attention {
    /// The view of the result. Its leading axes have the memory order of the query's, so that heads that were split
    /// without a copy can be merged without one.
    fn output(lowering: &mut Lowering, id: usize) -> Rows {
        let shape = lowering.shape(id).to_vec();
        let label = lowering.name(id);
        let of = lowering.value_as(id, &label, lowering.matrix(id).len());
        let mut view = View::packed(of, &shape, Order::Natural);
        let query = lowering.argument_view(id, QUERY);
        let last = shape.len() - 1;
        let mut axes: Vec<usize> = (0..last).filter(|&axis| shape[axis] > 1).collect();
        axes.sort_by_key(|&axis| std::cmp::Reverse(query.strides[axis]));
        let mut laid = view.clone();
        let mut stride = shape[last].next_multiple_of(4);
        for &axis in axes.iter().rev() {
            laid.strides[axis] = stride;
            stride *= shape[axis];
        }
        if query.lanes == last && Rows::of_quads(&laid).is_some() {
            view = laid;
        }
        lowering.define_laid(id, view.clone());
        Rows::of_quads(&view).expect("rows of whole quads")
    }

    fn emit_rows(lowering: &mut Lowering, id: usize, common: &Common, slope: &Rows) -> Operand {
        let Sizes { planes, queries, .. } = common.sizes;
        let quads = planes * queries.div_ceil(4);
        let rows = lowering.scratch("rows of attention", 12 * quads);
        let output = lowering.forward[id].clone().expect("the forward pass came first");
        let mut text = Text::default();
        text.bind("stats", Read, "vec2f", lowering.saved(id));
        text.bind_rows("output", Read, &Rows::of_quads(&output).expect("its own rows"));
        text.bind_rows("slope", Read, slope);
        text.bind("rows", ReadWrite, "vec4f", rows);
        let kernel = include_str!("../../../shaders/ops/attention_rows.wgsl");
        let walk = Walk { own_is_query: true, takes_products: false, tiles: [0, 0] };
        let (constants, shape) = (common.constants(walk), RowsShape { quads: u(quads) });
        let groups = grid(quads);
        let groups = groups[0] as usize * groups[1] as usize;
        let layer = lowering.name(id);
        text.emit(lowering, &layer, ("attention_rows", &[kernel, kernels::AT]), &constants, groups, shape);
        rows
    }
}

/// The destination of a gradient as rows, and whether it must be copied afterwards.
fn gradient_rows(lowering: &mut Lowering, id: usize, input: usize) -> Option<(Rows, bool)> {
    let (region, adds) = lowering.gradient_view_into(id, input)?;
    if let Some(rows) = Rows::of_quads(&region) {
        return Some((rows, adds));
    }
    let label = format!("gradient of an input of {}", lowering.name(id));
    let len = Matrix::of(&region.shape, Order::Natural).len();
    let scratch = lowering.value_as_input(id, input, &label, len);
    let packed = View::packed(scratch, &region.shape, Order::Natural);
    let rows = Rows::of_quads(&packed).expect("packed rows");
    lowering.gradients.pending.push((packed, region, adds));
    Some((rows, false))
}

/// Emits the gradients of one side, in as many dispatches as its loops need.
fn emit_gradients(
    lowering: &mut Lowering,
    layer: &str,
    common: &Common,
    (walk, [own, other]): (Walk, [Side; 2]),
    rows: Operand,
    outputs: Outputs,
) {
    let mut text = Text::default();
    text.bind_rows("own_scores", Read, &own.scores);
    text.bind_rows("own_values", Read, &own.values);
    text.bind_rows("other_scores", Read, &other.scores);
    text.bind_rows("other_values", Read, &other.values);
    text.bind("rows", Read, "vec4f", rows);
    common.bind(&mut text);
    outputs.bind(&mut text);
    let (name, kernel) = common.texts(&GRADIENTS);
    let (constants, (stream, p, keep)) = (common.constants(walk), common.drops());
    let (_, work, groups) = common.work(walk);
    for [first, end] in common.runs(walk) {
        let adds =
            |output: Option<(Rows, bool)>| u32::from(output.is_some_and(|(_, adds)| adds || first > 0));
        let (adds_scores, adds_values) = (adds(outputs.scores), adds(outputs.values));
        let sums = [outputs.scores, outputs.values].map(|output| u64::from(output.is_some()));
        let products = [sums[0], sums[1] + u64::from(walk.takes_products)];
        lowering.next_does(Work::of_flops(common.flops([first, end], walk, products)));
        let (work, scale) = (u(work), common.scale);
        let shape = GradShape { work, first, end, stream, scale, p, keep, adds_scores, adds_values };
        text.emit(lowering, layer, (&name, &[&kernel]), &constants, groups, shape);
    }
}

impl Op for Attention {
    fn kind(&self) -> &'static str {
        "scaled_dot_product_attention"
    }

    fn cast(&self) -> Cast {
        Cast::Half
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        closed(&format!("{layer}: dropout_p"), self.dropout_p, 0.0, 1.0)?;
        if let Some(scale) = self.scale.filter(|scale| !scale.is_finite()) {
            return Err(Error::constant(format!("{layer}: scale"), "finite", scale));
        }
        let refuse = |expected: String, got: &[usize]| {
            Err(Error::Shape { layer: layer.into(), expected, got: got.to_vec() })
        };
        let (query, key, value) = (inputs[QUERY], inputs[KEY], inputs[VALUE]);
        let [leading @ .., queries, features] = query else {
            return refuse("a query [.., T, D]".into(), query);
        };
        let keys = match key {
            [others @ .., keys, of_key] if others == leading && of_key == features => *keys,
            _ => {
                let text =
                    |axes: &[usize]| axes.iter().map(|extent| format!("{extent}, ")).collect::<String>();
                let wanted = format!("[{}S, {features}]", text(leading));
                return refuse(format!("a key {wanted} for the query {query:?}"), key);
            }
        };
        let of_value = match value {
            [others @ .., rows, of_value] if others == leading && *rows == keys => *of_value,
            _ => return refuse(format!("a value [.., {keys}, E] for the key {key:?}"), value),
        };
        if let Some(shape) = [query, value].into_iter().find(|shape| shape[shape.len() - 1] > MOST_FEATURES) {
            return refuse(format!("at most {MOST_FEATURES} features"), shape);
        }
        let scores = [leading, &[*queries, keys]].concat();
        for mask in &inputs[MASK..] {
            let missing = scores.len().checked_sub(mask.len());
            let fits = missing.is_some_and(|missing| {
                mask.iter().zip(&scores[missing..]).all(|(have, want)| *have == 1 || have == want)
            });
            if !fits {
                return refuse(format!("a mask that is broadcast to the scores {scores:?}"), mask);
            }
        }
        Ok([leading, &[*queries, of_value]].concat())
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Strided
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let common = self.common(lowering, id, None);
        let [query, key, value] = [QUERY, KEY, VALUE].map(|input| input_rows(lowering, id, input));
        let output = Self::output(lowering, id);
        let walk =
            Walk { own_is_query: true, takes_products: false, tiles: [0, common.tile(common.quads()[1])] };
        let (tiles, work, groups) = common.work(walk);
        let stats = lowering.save(id, "scores", 2 * tiles * common.sizes.planes * common.sizes.queries);
        if let Some(mask) = &common.mask {
            lowering.save_as(id, mask.of);
        }
        let mut text = Text::default();
        text.bind_rows("own_scores", Read, &query);
        text.bind_rows("other_scores", Read, &key);
        text.bind_rows("other_values", Read, &value);
        common.bind(&mut text);
        text.bind("y", ReadWrite, "vec4f", output.of);
        text.put(&output.declared("OUT_VALUES"));
        text.bind("stats", ReadWrite, "vec2f", stats);
        let (name, kernel) = common.texts(&FORWARD);
        let (layer, constants, (stream, p, keep)) =
            (lowering.name(id), common.constants(walk), common.drops());
        for [first, end] in common.runs(walk) {
            lowering.next_does(Work::of_flops(common.flops([first, end], walk, [0, 1])));
            let shape = Shape { work: u(work), first, end, stream, scale: common.scale, p, keep };
            text.emit(lowering, &layer, (&name, &[&kernel]), &constants, groups, shape);
        }
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let trains = [QUERY, KEY, VALUE].map(|input| lowering.trains_input(id, input));
        if trains == [false; 3] {
            return Ok(());
        }
        let made = (lowering.inputs(id) > MASK).then(|| lowering.saved_at(id, 1));
        let common = self.common(lowering, id, made);
        let [query, key, value] = [QUERY, KEY, VALUE].map(|input| input_rows(lowering, id, input));
        let slope = Rows::of_quads(&lowering.gradient_view(id)).expect("it lies as the result, or is packed");
        let layer = lowering.name(id);
        let rows = Self::emit_rows(lowering, id, &common, &slope);
        let queries = Side { scores: query, values: slope };
        let keys = Side { scores: key, values: value };
        let tiles = common.quads().map(|quads| common.tile(quads));
        let of_query = Walk { own_is_query: true, takes_products: true, tiles: [tiles[0], 0] };
        if let Some(scores) = gradient_rows(lowering, id, QUERY) {
            let outputs = Outputs { scores: Some(scores), values: None };
            emit_gradients(lowering, &layer, &common, (of_query, [queries, keys]), rows, outputs);
            lowering.settle(id);
        }
        let of_key = |tiles: [u32; 2]| Walk { own_is_query: false, takes_products: tiles[0] > 0, tiles };
        let sides = [keys, queries];
        if trains[KEY] && trains[VALUE] && common.fits_both(tiles) && !lowering.share_memory(id, [KEY, VALUE])
        {
            let outputs = Outputs {
                scores: gradient_rows(lowering, id, KEY),
                values: gradient_rows(lowering, id, VALUE),
            };
            let read = 5 + usize::from(common.mask.is_some()) + usize::from(common.dropout.is_some());
            if read + outputs.buffers() <= MOST_BUFFERS {
                emit_gradients(lowering, &layer, &common, (of_key(tiles), sides), rows, outputs);
            } else {
                let Outputs { scores, values } = outputs;
                let walks = [([tiles[0], 0], Outputs { scores, values: None })];
                for (tiles, outputs) in
                    walks.into_iter().chain([([0, tiles[1]], Outputs { scores: None, values })])
                {
                    emit_gradients(lowering, &layer, &common, (of_key(tiles), sides), rows, outputs);
                }
            }
            return Ok(());
        }
        if let Some(scores) = gradient_rows(lowering, id, KEY) {
            let outputs = Outputs { scores: Some(scores), values: None };
            emit_gradients(lowering, &layer, &common, (of_key([tiles[0], 0]), sides), rows, outputs);
            lowering.settle(id);
        }
        if let Some(values) = gradient_rows(lowering, id, VALUE) {
            let outputs = Outputs { scores: None, values: Some(values) };
            emit_gradients(lowering, &layer, &common, (of_key([0, tiles[1]]), sides), rows, outputs);
        }
        Ok(())
    }
}
