//! What golden data may ask for and the library does not have yet. It shrinks to nothing.

/// Names that a case may use and be counted as "not yet" for. An entry that works fails the test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotYet {
    pub(crate) ops: &'static [&'static str],
    /// `op.attribute` and its default, as JSON: the attribute may have no other value.
    pub(crate) attributes: &'static [(&'static str, &'static str)],
    pub(crate) optimizers: &'static [&'static str],
    pub(crate) schedules: &'static [&'static str],
    /// Top-level keys of optimizer cases.
    pub(crate) keys: &'static [&'static str],
}

pub(crate) const NOT_YET: NotYet = NotYet {
    ops: &[
        "abs",
        "adaptive_avgpool2d",
        "add",
        "bce",
        "bce_with_logits",
        "clamp",
        "conv1d",
        "conv_transpose2d",
        "cosine_embedding",
        "div",
        "elu",
        "embedding",
        "exp",
        "hardswish",
        "hardtanh",
        "huber",
        "kl_div",
        "l1",
        "leaky_relu",
        "log",
        "log_sigmoid",
        "matmul",
        "maximum",
        "mha",
        "minimum",
        "mish",
        "mul",
        "nll",
        "pow",
        "prelu",
        "reg_l1",
        "reg_l2",
        "rsqrt",
        "scaled_dot_product_attention",
        "selu",
        "silu",
        "smooth_l1",
        "softplus",
        "sqrt",
        "sub",
        "upsample",
        "where",
    ],
    attributes: &[
        ("conv2d.groups", "1"),
        ("cross_entropy.layout", "\"NC\""),
        ("cross_entropy.target", "\"indices\""),
    ],
    optimizers: &["ASGD", "Adan", "Muon", "ScheduleFreeAdamW"],
    schedules: &[],
    keys: &["averages"],
};
