// The gradient of the elements of quad `i`, from two means over the elements normalised together: of the gradients of
// the normalised elements, and of those times the elements. Columns that are normalised separately have one weight
// each, which is not included in the means.
fn slope_of(i: u32, statistic: Statistic, mean: vec4f, mean_product: vec4f) -> vec4f {
    if FIXED != 0u {
        return dy[i] * weight_of(i) * statistic.rstd;
    }
    let element = normalized(x[i], statistic);
    if JOINED == 0u {
        return (dy[i] - mean - element * mean_product) * (weight_of(i) * statistic.rstd);
    }
    if CENTRED == 0u {
        return (dy[i] * weight_of(i) - element * mean_product) * statistic.rstd;
    }
    return (dy[i] * weight_of(i) - mean - element * mean_product) * statistic.rstd;
}
