use std::collections::BTreeSet;

use super::kernel_listings;

/// The parts of the WGSL that differ by how a factor is read or the output is written.
fn lying(wgsl: &str) -> [&'static str; 3] {
    let factor = |blocks: &str, quads: &str| match () {
        () if wgsl.contains(blocks) => "blocks",
        () if wgsl.contains(quads) => "quads",
        () => "elements",
    };
    [
        factor("fn left_block(", "read> left: array<vec4f>"),
        factor("fn right_block(", "read> right: array<vec4f>"),
        if wgsl.contains("read_write> output: array<vec4f>") { "quads" } else { "elements" },
    ]
}

#[test]
fn products_are_listed_in_each_way_that_factors_and_outputs_lie() {
    let listings = kernel_listings();
    let of = |name: &'static str| {
        let named = listings.iter().filter(move |listing| listing.source.name.starts_with(name));
        // Variants for f16 differ only in conversions.
        let named = named.filter(|listing| !listing.source.wgsl.starts_with("enable f16;"));
        named.map(|listing| listing.source.wgsl.as_ref())
    };
    let variants = |name: &'static str| of(name).map(lying).collect::<BTreeSet<_>>();
    assert_eq!(variants("matmul_tile").len(), 18, "three for each factor, two for the output");
    assert_eq!(variants("matmul_lanes").len(), 10, "blocks only where both factors lie so");
    for constants in ["TILE_ROWS", "TILE_COLUMNS", "EDGES_EVEN", "STEPS_EVEN"] {
        let constant = format!("const {constants}: u32 = ");
        let lines = of("matmul_tile").filter_map(|wgsl| wgsl.lines().find(|l| l.starts_with(&constant)));
        let values = lines.collect::<BTreeSet<_>>();
        // Edges of 128, 64, 32 and 256.
        let expected = if constants.starts_with("TILE") { 4 } else { 2 };
        assert_eq!(values.len(), expected, "{values:?}");
    }
}

/// Template constants of a tile: rows, columns, and whether the number of steps is even.
fn variant(wgsl: &str) -> [String; 4] {
    let value = |name: &str| {
        let line = wgsl.lines().find_map(|line| line.strip_prefix(&format!("const {name}: u32 = ")));
        line.unwrap_or("-").to_owned()
    };
    ["TILE_ROWS", "TILE_COLUMNS", "STEPS_EVEN", "PHASED"].map(value)
}

#[test]
fn convolutions_in_tiles_are_listed_in_every_variant() {
    let mut variants = BTreeSet::new();
    for listing in kernel_listings() {
        if ["conv2d_tile", "conv2d_weight_grad_tile"].contains(&&*listing.source.name) {
            variants.insert((listing.source.name.clone(), variant(&listing.source.wgsl)));
        }
    }
    // Four tiles, each with even and odd numbers of steps: forward, input gradient and weight gradient.
    let of = |name: &str| variants.iter().filter(|(of, _)| of == name).count();
    assert_eq!(["conv2d_tile", "conv2d_weight_grad_tile"].map(of), [16, 8], "{variants:#?}");
}

/// Otherwise what they read or write would silently stay f32.
#[test]
fn all_kernels_can_have_their_numbers_in_f16() {
    for crate::gpu::KernelListing { source, .. } in kernel_listings() {
        let single = crate::graph::lowering::autocast::single_buffers(&source.wgsl);
        assert!(single.is_empty(), "{}: {single:?}", source.name);
    }
}
