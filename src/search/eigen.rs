//! Eigenvalues and eigenvectors of symmetric matrices, in f64.
//!
//! Householder's reduction to three diagonals, then the QL algorithm with implicit shifts: Wilkinson and Reinsch 1971,
//! Handbook for automatic computation II, procedures `tred2` and `tql2`.

/// Eigenvalues, and eigenvectors as columns of a matrix that is stored by rows: `v[row * d + column]`. `None` where the
/// matrix is not finite or the algorithm does not end.
pub(crate) fn symmetric(matrix: &[f64], d: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    if d == 0 || matrix.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mut v = matrix.to_vec();
    let (mut diagonal, mut beside) = reduce(&mut v, d);
    diagonalize(&mut v, &mut diagonal, &mut beside, d)?;
    Some((diagonal, v))
}

/// Makes of the matrix the transform to three diagonals, and gives these.
fn reduce(v: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut d = v[(n - 1) * n..].to_vec();
    let mut e = vec![0.0; n];
    for i in (1..n).rev() {
        let scale: f64 = d[..i].iter().map(|value| value.abs()).sum();
        let mut h = 0.0;
        if scale == 0.0 {
            e[i] = d[i - 1];
            for j in 0..i {
                d[j] = v[(i - 1) * n + j];
                v[i * n + j] = 0.0;
                v[j * n + i] = 0.0;
            }
        } else {
            for value in &mut d[..i] {
                *value /= scale;
                h += *value * *value;
            }
            let f = d[i - 1];
            let g = if f > 0.0 { -h.sqrt() } else { h.sqrt() };
            e[i] = scale * g;
            h -= f * g;
            d[i - 1] = f - g;
            reflect(v, &mut d, &mut e, (i, n), h);
        }
        d[i] = h;
    }
    accumulate(v, &mut d, n);
    e[0] = 0.0;
    (d, e)
}

/// Applies a reflection to the rows before `i`.
fn reflect(v: &mut [f64], d: &mut [f64], e: &mut [f64], (i, n): (usize, usize), h: f64) {
    e[..i].fill(0.0);
    for j in 0..i {
        let f = d[j];
        v[j * n + i] = f;
        let mut g = e[j] + v[j * n + j] * f;
        for k in j + 1..i {
            g += v[k * n + j] * d[k];
            e[k] += v[k * n + j] * f;
        }
        e[j] = g;
    }
    let mut f = 0.0;
    for j in 0..i {
        e[j] /= h;
        f += e[j] * d[j];
    }
    let half = f / (h + h);
    for j in 0..i {
        e[j] -= half * d[j];
    }
    for j in 0..i {
        let (f, g) = (d[j], e[j]);
        for k in j..i {
            v[k * n + j] -= f * e[k] + g * d[k];
        }
        d[j] = v[(i - 1) * n + j];
        v[i * n + j] = 0.0;
    }
}

/// Multiplies the reflections.
fn accumulate(v: &mut [f64], d: &mut [f64], n: usize) {
    for i in 0..n - 1 {
        v[(n - 1) * n + i] = v[i * n + i];
        v[i * n + i] = 1.0;
        let h = d[i + 1];
        if h != 0.0 {
            for k in 0..=i {
                d[k] = v[k * n + i + 1] / h;
            }
            for j in 0..=i {
                let g: f64 = (0..=i).map(|k| v[k * n + i + 1] * v[k * n + j]).sum();
                for k in 0..=i {
                    v[k * n + j] -= g * d[k];
                }
            }
        }
        for k in 0..=i {
            v[k * n + i + 1] = 0.0;
        }
    }
    for j in 0..n {
        d[j] = v[(n - 1) * n + j];
        v[(n - 1) * n + j] = 0.0;
    }
    v[n * n - 1] = 1.0;
}

/// Makes of three diagonals one.
fn diagonalize(v: &mut [f64], d: &mut [f64], e: &mut [f64], n: usize) -> Option<()> {
    const MOST_ROUNDS: usize = 64;
    e.rotate_left(1);
    e[n - 1] = 0.0;
    let (mut shift, mut largest) = (0.0_f64, 0.0_f64);
    for l in 0..n {
        largest = largest.max(d[l].abs() + e[l].abs());
        let m = (l..n).find(|m| e[*m].abs() <= f64::EPSILON * largest).unwrap_or(n - 1);
        let mut rounds = 0;
        while m > l && e[l].abs() > f64::EPSILON * largest {
            rounds += 1;
            if rounds > MOST_ROUNDS {
                return None;
            }
            let g = d[l];
            let mut p = (d[l + 1] - g) / (2.0 * e[l]);
            let r = p.hypot(1.0).copysign(p);
            d[l] = e[l] / (p + r);
            d[l + 1] = e[l] * (p + r);
            let h = g - d[l];
            d[l + 2..].iter_mut().for_each(|value| *value -= h);
            shift += h;
            p = d[m];
            let (mut c, mut c2, mut c3) = (1.0, 1.0, 1.0);
            let (mut s, mut s2) = (0.0, 0.0);
            let beside = e[l + 1];
            let last = d[l + 1];
            for i in (l..m).rev() {
                (c3, c2, s2) = (c2, c, s);
                let g = c * e[i];
                let h = c * p;
                let r = p.hypot(e[i]);
                e[i + 1] = s * r;
                s = e[i] / r;
                c = p / r;
                p = c * d[i] - s * g;
                d[i + 1] = h + s * (c * g + s * d[i]);
                for row in v.chunks_exact_mut(n) {
                    let next = row[i + 1];
                    row[i + 1] = s * row[i] + c * next;
                    row[i] = c * row[i] - s * next;
                }
            }
            p = -s * s2 * c3 * beside * e[l] / last;
            e[l] = s * p;
            d[l] = c * p;
        }
        d[l] += shift;
        e[l] = 0.0;
    }
    d.iter().all(|value| value.is_finite()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::symmetric;

    /// A symmetric matrix of numbers that depend on their place alone.
    fn matrix(d: usize) -> Vec<f64> {
        let at = |i: usize, j: usize| ((i * 7 + j * 13 + i * j) % 11) as f64 / 11.0 - 0.4;
        let place = |place: usize| (place / d, place % d);
        (0..d * d).map(place).map(|(i, j)| at(i.min(j), i.max(j))).collect()
    }

    #[test]
    fn vectors_are_orthogonal_and_give_the_matrix() {
        for d in [1, 2, 3, 5, 8, 30, 101] {
            let a = matrix(d);
            let (values, v) = symmetric(&a, d).unwrap();
            for i in 0..d {
                for j in 0..d {
                    let dot: f64 = (0..d).map(|k| v[k * d + i] * v[k * d + j]).sum();
                    let back: f64 = (0..d).map(|k| v[i * d + k] * values[k] * v[j * d + k]).sum();
                    let one = if i == j { 1.0 } else { 0.0 };
                    assert!((dot - one).abs() < 1e-12, "{d}: {i} {j} {dot}");
                    assert!((back - a[i * d + j]).abs() < 1e-11, "{d}: {i} {j} {back} {}", a[i * d + j]);
                }
            }
        }
    }

    #[test]
    fn known_values_and_what_is_not_finite() {
        let (mut values, _) = symmetric(&[2.0, 1.0, 1.0, 2.0], 2).unwrap();
        values.sort_by(f64::total_cmp);
        assert!((values[0] - 1.0).abs() < 1e-15 && (values[1] - 3.0).abs() < 1e-15);
        let (values, v) = symmetric(&[4.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 1.0], 3).unwrap();
        assert_eq!((values, v[0].abs(), v[4].abs(), v[8].abs()), (vec![4.0, 9.0, 1.0], 1.0, 1.0, 1.0));
        assert!(symmetric(&[1.0, f64::NAN, f64::NAN, 1.0], 2).is_none());
        assert!(symmetric(&[0.0; 16], 4).is_some());
    }
}
