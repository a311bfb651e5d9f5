use super::*;
use crate::optim::factored::gathering::{FOUR_OUTPUTS, ONE};

#[test]
fn a_divisor_divides() {
    for by in [1, 2, 3, 7, 9, 10, 64, 641, 1000, 65_535, 65_536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1] {
        let Divisor { magic, shift, .. } = Divisor::new(by);
        for x in [0, 1, 2, 8, 9, 999, 1000, 65_535, 1 << 24, (1 << 31) - 1, 1 << 31, u32::MAX - 1, u32::MAX] {
            let t = low((u64::from(x) * u64::from(magic)) >> 32);
            let quotient = (t + ((x - t) >> shift.min(1))) >> (shift.max(1) - 1);
            assert_eq!(quotient, x / count(by), "{x} / {by}");
        }
    }
}

#[test]
fn each_element_is_gathered_once() {
    let at = |by: u32, outer: u32, inner: u32, x: u32| x / by * outer + x % by * inner;
    let shapes: [&[usize]; 9] =
        [&[], &[7], &[8], &[4, 6], &[6, 4], &[3, 5], &[2, 3, 4, 5], &[3, 4, 2, 8], &[2, 3, 4, 5, 6]];
    for shape in shapes {
        let mut overs = vec![Reduced::None];
        overs.extend((0..shape.len()).flat_map(|axis| [Reduced::AllBut(axis), Reduced::Axis(axis)]));
        for reduced in overs {
            let statistics = [Statistic { key: "x".into(), reduced }];
            let index_map = Axes::new(shape, &statistics).index_map(&statistics[0], 0, (1, usize::MAX));
            let elements: usize = shape.iter().product();
            let mut seen = vec![None; elements.next_multiple_of(4)];
            for (unit, term) in
                (0..index_map.units).flat_map(|unit| (0..index_map.terms).map(move |i| (unit, i)))
            {
                let element = at(index_map.output_by, index_map.output_outer, index_map.output_inner, unit)
                    + at(index_map.term.by, index_map.term_outer, index_map.term_inner, term);
                let width = if index_map.four == ONE { 1 } else { 4 };
                assert!(element % width == 0, "{shape:?} {reduced:?}");
                for lane in 0..width {
                    let output = if index_map.four == FOUR_OUTPUTS { 4 * unit + lane } else { unit };
                    let place = &mut seen[(element + lane) as usize];
                    assert_eq!(place.replace(output as usize), None, "{shape:?} {reduced:?}");
                }
            }
            for (element, output) in seen.into_iter().take(elements).enumerate() {
                let expected = match reduced {
                    Reduced::None => element,
                    Reduced::AllBut(axis) => {
                        let within: usize = shape[axis + 1..].iter().product();
                        element / within % shape[axis]
                    }
                    Reduced::Axis(axis) => {
                        let within: usize = shape[axis + 1..].iter().product();
                        element / within / shape[axis] * within + element % within
                    }
                };
                assert_eq!(output, Some(expected), "{shape:?} {reduced:?}");
            }
        }
    }
}
