//! The arithmetic of phases, as the kernels do it, against the definition.

use super::super::Phases;

#[test]
fn phases_of_a_stride_are_made_by_the_taps_that_meet_them() {
    for stride in 1..9_u32 {
        for dilation in (1..13_u32).chain([16, 24, 65_535]) {
            let phases = Phases::along(stride, dilation);
            assert_eq!(phases.classes * phases.common, stride);
            assert_eq!(phases.step * phases.common, dilation);
            for ahead in 0..3 * stride {
                let meets: Vec<u32> =
                    (0..20).filter(|tap| tap * dilation % stride == ahead % stride).collect();
                let rest = ahead % stride;
                let first = rest / phases.common * phases.inverse % phases.classes;
                let want: Vec<u32> = if rest % phases.common == 0 {
                    (first..20).step_by(phases.classes as usize).collect()
                } else {
                    Vec::new()
                };
                assert_eq!(meets, want, "stride {stride}, dilation {dilation}, {ahead} ahead");
            }
        }
    }
}
