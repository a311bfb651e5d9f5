//! The WGSL files of the attention kernels.

/// The WGSL variants of one kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernels {
    pub(super) stem: &'static str,
    pub(super) kernel: &'static str,
    /// For workgroups that share tiles.
    pub(super) tiled: &'static str,
    pub(super) has_gradients: bool,
}

pub(super) const FORWARD: Kernels = Kernels {
    stem: "attention",
    kernel: include_str!("../../../../shaders/ops/attention.wgsl"),
    tiled: include_str!("../../../../shaders/ops/attention_tiled.wgsl"),
    has_gradients: false,
};

pub(super) const GRADIENTS: Kernels = Kernels {
    stem: "attention_grad",
    kernel: include_str!("../../../../shaders/ops/attention_grad.wgsl"),
    tiled: include_str!("../../../../shaders/ops/attention_grad_tiled.wgsl"),
    has_gradients: true,
};

/// WGSL shared by the tiled kernels: score products and value sums, and for gradients both of each.
pub(super) fn tiles(of_gradients: bool) -> String {
    let products = include_str!("../../../../shaders/shared/attention_products.wgsl");
    let weighted = include_str!("../../../../shaders/shared/attention_weighted.wgsl");
    let of = |text: &str, kind: &str| text.replace("KIND", kind).replace("SIDE", &kind.to_uppercase());
    let mut text = include_str!("../../../../shaders/shared/attention_tiles.wgsl").to_owned();
    text += &of(products, "score");
    text += &of(weighted, "value");
    if of_gradients {
        text += &of(products, "value");
        text += &of(weighted, "score");
    }
    text
}

/// Number of runs in which a workgroup stages the quads of a sum's tile, and quads per lane in each.
pub(super) fn shared_tile(tile: u32) -> (u32, u32) {
    let quads = tile.div_ceil(8).clamp(1, 2);
    (tile.div_ceil(8 * quads), quads)
}

pub(super) const AT: &str = include_str!("../../../../shaders/shared/attention_at.wgsl");
