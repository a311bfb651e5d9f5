use super::lies::Lies;
use super::{BatchAxis, Product, RepeatAxis, Shape, Way, gpu, lanes};
use crate::gpu::KernelListing;
use crate::graph::lowering::finish::Draft;
use crate::graph::lowering::source_of;
use crate::graph::ops::split::Parts;
use crate::graph::ops::tile::{LARGE, MEDIUM, MEDIUM_SHARED, SMALL, TALL, WIDE};
use crate::graph::template::AnyLaunch;

/// The kernels for GPUs, for tests: of each way in which factors and output lie, each tile, and with and without what
/// changes their texts.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    let mut listings = Vec::new();
    let mut add = |launch: AnyLaunch| {
        let added = listing(launch);
        if listings.iter().all(|listing: &KernelListing| listing.source != added.source) {
            listings.push(added);
        }
    };
    for (at, lies) in Lies::all().enumerate() {
        for (number, tile) in [SMALL, LARGE, MEDIUM, TALL, WIDE, MEDIUM_SHARED].into_iter().enumerate() {
            // All ways in the first of the tiles, and a share of them in each other one.
            if number > 0 && at % 5 != number - 1 {
                continue;
            }
            let even = example([2 * tile.rows, tile.columns, 4 * tile.steps], lies);
            let odd = example([tile.rows + 1, tile.columns + 1, tile.steps + 1], lies);
            for product in [even.clone(), odd, added(even)] {
                add(gpu::launch(&product, &tile, parts(&product), 0, false));
            }
        }
        for sizes in [[1, 40, 64], [40, 1, 65], [3, 5, 3_000]] {
            let product = example(sizes, lies);
            add(lanes::launch(&product, parts(&product), 0, false));
        }
        let product = added(example([3, 40, 64], lies));
        add(lanes::launch(&product, parts(&product), 0, false));
    }
    listings
}

fn parts(product: &Product) -> Parts {
    Parts { run: product.inner * product.added(), count: 1 }
}

fn listing(launch: AnyLaunch) -> KernelListing {
    let AnyLaunch { template, block, .. } = launch;
    let storage = Way::GPU_STORAGE.to_vec();
    let mut draft =
        Draft { name: template.name.to_owned(), text: template.expand(), storage, operands: Vec::new() };
    draft.finish(None, 4);
    let source = source_of(draft.name, draft.text, size_of::<Shape>(), &draft.storage);
    KernelListing { source, blocks: vec![block] }
}

/// A product of matrices that lie so.
fn example([rows, columns, inner]: [u32; 3], [left, right, out]: [Lies; 3]) -> Product {
    let strides = |lies: Lies, edge: u32| match lies {
        Lies::Quads => [1, edge.next_multiple_of(4)],
        Lies::Blocks => [inner.next_multiple_of(4), 1],
        Lies::Gathered => [inner | 1, 1],
        Lies::Elements => [1, edge | 1],
    };
    let [right_column, right_inner] = strides(right, columns);
    let out_width = if out == Lies::Quads { columns.next_multiple_of(4) } else { columns };
    Product {
        rows,
        columns,
        inner,
        left: strides(left, rows),
        right: [right_inner, right_column],
        out_row: if out == Lies::Quads { out_width } else { out_width | 1 },
        out_width,
        ..Product::default()
    }
}

/// The same in a batch of batches, with products that are added.
fn added(product: Product) -> Product {
    let axis = |extent: u32, stride: u32| BatchAxis { extent, strides: [4 * stride; 3] };
    let repeats = vec![RepeatAxis { extent: 2, strides: [4 << 10; 2] }];
    Product { batch: vec![axis(2, 1 << 12), axis(3, 1 << 14)], repeats, ..product }
}

/// A dispatch that runs without checks, with the elements of its buffers: no more than it must have.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct UncheckedExample {
    pub(crate) what: String,
    pub(crate) wgsl: String,
    pub(crate) uniform: Vec<u8>,
    pub(crate) lens: [u32; 4],
    pub(crate) grid: [u32; 3],
}

/// Dispatches with factors and outputs that lie in each way, in each tile.
#[cfg(test)]
pub(crate) fn unchecked_examples() -> Vec<UncheckedExample> {
    let mut examples = Vec::new();
    for (at, lies) in Lies::all().enumerate() {
        for (number, tile) in [SMALL, LARGE, MEDIUM, TALL, WIDE, MEDIUM_SHARED].into_iter().enumerate() {
            if number > 0 && at % 16 != (3 * number) % 16 {
                continue;
            }
            let sizes = [
                [tile.rows + 1, tile.columns + 1, tile.steps + 1],
                [tile.rows, 2 * tile.columns, 2 * tile.steps],
                [5, tile.columns - 1, 3],
            ];
            let mut product = example(sizes[(at + number) % 3], lies);
            if at % 4 == number {
                product = added(product);
            }
            let launch = |product: &Product, parts| gpu::launch(product, &tile, parts, 0, true);
            examples.push(unchecked(&product, lies, parts(&product), launch));
        }
        let sizes = [[1, 37, 70], [41, 3, 65], [9, 10, 300]][at % 3];
        let launch = |product: &Product, parts| lanes::launch(product, parts, 0, true);
        let product = example(sizes, lies);
        let split = Parts { run: 256, count: product.inner.div_ceil(256) };
        examples.push(unchecked(&product, lies, split, launch));
        if at % 2 == 0 {
            examples.push(unchecked(&added(product.clone()), lies, parts(&added(product)), launch));
        }
    }
    examples
}

#[cfg(test)]
fn unchecked(
    product: &Product,
    lies: [Lies; 3],
    parts: Parts,
    launch: impl Fn(&Product, Parts) -> AnyLaunch,
) -> UncheckedExample {
    let launch = launch(product, parts);
    assert_eq!(launch.checks, crate::gpu::Checks::None);
    let reach = |edge: u32, strides: [u32; 2], which: usize| {
        let batch = product.batch.iter().map(|axis| (axis.extent - 1) * axis.strides[which]);
        let repeats = product.repeats.iter().map(|axis| (axis.extent - 1) * axis.strides[which]);
        let last = (edge - 1) * strides[0] + (product.inner - 1) * strides[1];
        let len = batch.chain(repeats).sum::<u32>() + last + 1;
        if matches!(lies[which], Lies::Quads | Lies::Blocks) { len.next_multiple_of(4) } else { len }
    };
    let batch = product.batch.iter().map(|axis| (axis.extent - 1) * axis.strides[2]).sum::<u32>();
    let output = batch + (product.rows - 1) * product.out_row + product.out_width;
    let lens = [
        reach(product.rows, product.left, 0),
        reach(product.columns, [product.right[1], product.right[0]], 1),
        product.columns,
        output + (parts.count - 1) * product.part_len(),
    ];
    let what = format!("{} of {product:?}, {lies:?}, {parts:?}", launch.template.name);
    let [x, y] = launch.groups;
    let uniform = launch.uniform.clone();
    let wgsl = listing(launch).source.wgsl.into_owned();
    UncheckedExample { what, wgsl, uniform, lens, grid: [x, y, parts.count] }
}
