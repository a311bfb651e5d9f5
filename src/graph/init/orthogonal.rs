//! Orthogonal matrices.

/// A `rows` by `columns` matrix in row-major order with orthonormal rows, or orthonormal columns if there are fewer
/// columns. It is the factor Q of a matrix of `normal` numbers, with signs such that the diagonal of R is positive,
/// so that it is uniformly distributed (Mezzadri 2006, arXiv:math-ph/0609050).
///
/// Uses Gram-Schmidt, twice for each vector, which gives vectors orthogonal to rounding for any numbers drawn.
pub(super) fn matrix(rows: usize, columns: usize, mut normal: impl FnMut() -> f64) -> Vec<f64> {
    let (count, len) = (rows.min(columns), rows.max(columns));
    // Vectors are drawn in the order in which torch fills the matrix.
    let drawn: Vec<f64> = (0..count * len).map(|_| normal()).collect();
    let is_wide = rows < columns;
    let at = |vector: usize, element: usize| {
        if is_wide { vector * len + element } else { element * count + vector }
    };
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    for number in 0..count {
        let mut vector: Vec<f64> = (0..len).map(|element| drawn[at(number, element)]).collect();
        // The rest of a linearly dependent vector is rounding error and has no direction.
        while !add_orthogonal(&mut vectors, vector) {
            vector = (0..len).map(|_| normal()).collect();
        }
    }
    let mut matrix = vec![0.0; count * len];
    for (number, vector) in vectors.iter().enumerate() {
        vector.iter().enumerate().for_each(|(element, value)| matrix[at(number, element)] = *value);
    }
    matrix
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Several partial sums, so that additions do not wait for each other.
    let mut sums = [0.0; 8];
    let (a_lanes, b_lanes) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_lanes.remainder().iter().zip(b_lanes.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_lanes.zip(b_lanes) {
        (0..8).for_each(|lane| sums[lane] += x[lane] * y[lane]);
    }
    sums.iter().sum::<f64>() + rest
}

/// Appends the normalised component of `vector` that is orthogonal to the others; returns false if there is none.
fn add_orthogonal(vectors: &mut Vec<Vec<f64>>, mut vector: Vec<f64>) -> bool {
    let before = dot(&vector, &vector);
    for _ in 0..2 {
        for other in &*vectors {
            let along = dot(&vector, other);
            vector.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
        }
    }
    let left = dot(&vector, &vector);
    if left.partial_cmp(&(before * 1e-24)) != Some(std::cmp::Ordering::Greater) {
        return false;
    }
    vector.iter_mut().for_each(|x| *x /= left.sqrt());
    vectors.push(vector);
    true
}
