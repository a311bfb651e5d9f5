//! Trips of the kernels of matrix products, convolutions, poolings and sums of columns.

use super::Row;
use super::graphs::Subject;

/// Kernels with loops whose rows are still to be written, in the order of the alphabet.
pub(super) const WITHOUT_A_ROW: &[&str] = &[
    "avg_pool2d",
    "avg_pool2d_grad",
    "column_sum",
    "conv2d",
    "conv2d_input_grad_plain",
    "conv2d_plain",
    "conv2d_pool",
    "conv2d_weight_grad",
    "conv2d_weight_grad_finish",
    "conv2d_weight_grad_plain",
    "matmul_nn",
    "matmul_nt",
    "matmul_plain",
    "matmul_tn",
    "max_pool2d",
    "max_pool2d_grad",
    "max_pool2d_spread",
];

pub(super) const ROWS: &[Row] = &[];

pub(super) fn extreme() -> Vec<Subject> {
    Vec::new()
}

pub(super) fn ordinary() -> Vec<Subject> {
    Vec::new()
}
