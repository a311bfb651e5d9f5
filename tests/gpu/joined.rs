//! What kernels are joined with, alone: random numbers word by word, and functions against f64.

use gradus::Gpu;
use gradus::gpu::{Binding, Buffer, KernelSource, Recorder, grid};

use crate::network::gpus;

/// Runs `fn map(x: vec4<T>) -> vec4<T>` of some WGSL over quads of words.
fn each<T: bytemuck::Pod>(gpu: &Gpu, wgsl: &str, element: &str, x: &[T]) -> Vec<T> {
    let main = format!(
        "@group(0) @binding(0) var<storage, read> x: array<vec4<{element}>>;
        @group(0) @binding(1) var<storage, read_write> y: array<vec4<{element}>>;
        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3u) {{
            if id.x < arrayLength(&x) {{ y[id.x] = map(x[id.x]); }}
        }}"
    );
    let kernel = KernelSource {
        name: "each".into(),
        wgsl: [wgsl, &main].concat().into(),
        bindings: vec![Binding::Read, Binding::ReadWrite],
    };
    let kernel = gpu.kernel(&kernel).unwrap();
    let [from, to] = ["x", "y"].map(|label| Buffer::<T>::storage(gpu, label, x.len()).unwrap());
    from.write(gpu, 0, x).unwrap();
    let group = gpu.bind_group(&kernel, &[from.region(), to.region()]).unwrap();
    let mut encoder = gpu.encoder("each");
    Recorder::new(gpu, &mut encoder).dispatch(&kernel, &group, &[], grid(x.len().div_ceil(256)));
    gpu.submit(encoder).unwrap();
    to.read(gpu, 0, x.len()).unwrap()
}

/// Philox 4x32-10, as its paper has it.
pub(crate) fn philox([a, b, c, d]: [u32; 4], [k, l]: [u32; 2]) -> [u32; 4] {
    let product = |x: u32, y: u32| u64::from(x) * u64::from(y);
    let halves = |x: u64| (u32::try_from(x >> 32).unwrap(), u32::try_from(x & 0xffff_ffff).unwrap());
    let round = |[a, b, c, d]: [u32; 4], round: u32| {
        let (high, low) = halves(product(0xd251_1f53, a));
        let (other_high, other_low) = halves(product(0xcd9e_8d57, c));
        let k = k.wrapping_add(round.wrapping_mul(0x9e37_79b9));
        let l = l.wrapping_add(round.wrapping_mul(0xbb67_ae85));
        [other_high ^ b ^ k, other_low, high ^ d ^ l, low]
    };
    (0..10).fold([a, b, c, d], round)
}

#[test]
fn philox_gives_the_words_of_its_authors() {
    // Random123's known answers.
    let known: [([u32; 4], [u32; 2], [u32; 4]); 3] = [
        ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ];
    let random = include_str!("../../shaders/shared/random.wgsl");
    for (counter, key, words) in known {
        assert_eq!(philox(counter, key), words);
        for gpu in gpus() {
            let [k, l] = key;
            let map = format!("fn map(x: vec4u) -> vec4u {{ return random_words(x, vec2u({k}u, {l}u)); }}\n");
            let wgsl = [random, &map].concat();
            let mut counters = counter.to_vec();
            counters.extend((0..4000).map(|i: u32| i.wrapping_mul(0x9e37_79b1).rotate_left(i % 32)));
            let want: Vec<u32> =
                counters.chunks_exact(4).flat_map(|c| philox([c[0], c[1], c[2], c[3]], key)).collect();
            assert_eq!(each(&gpu, &wgsl, "u32", &counters), want);
        }
    }
}

#[test]
fn uniform_numbers_are_multiples_of_a_power_of_two_below_1() {
    let random = include_str!("../../shaders/shared/random.wgsl");
    let wgsl = [random, "fn map(x: vec4u) -> vec4u { return bitcast<vec4u>(random_uniform(x)); }\n"].concat();
    for gpu in gpus() {
        let words = [0, 255, 256, u32::MAX, 1 << 31, 0xffff_feff, 3 << 8, 0x0100_0000];
        let got: Vec<f32> = each(&gpu, &wgsl, "u32", &words).into_iter().map(f32::from_bits).collect();
        let unit = 1.0 / 16_777_216.0;
        assert_eq!(got, [0.0, 0.0, unit, 1.0 - unit, 0.5, 1.0 - 2.0 * unit, 3.0 * unit, 1.0 / 256.0]);
    }
}

#[test]
fn erfc_is_accurate_to_f32() {
    let math = include_str!("../../shaders/shared/math.wgsl");
    let gelu = include_str!("../../shaders/pointwise/gelu.wgsl");
    let wgsl = [math, gelu, "fn map(x: vec4f) -> vec4f { return erfc(x); }\n"].concat();
    let x: Vec<f32> = (-60_000..=92_000).map(|i| i as f32 / 10_000.0).chain([0.0; 3]).collect();
    for gpu in gpus() {
        let y = each(&gpu, &wgsl, "f32", &x);
        for (x, y) in x.iter().zip(y) {
            let want = libm::erfc(f64::from(*x));
            let off = (f64::from(y) - want).abs();
            assert!(off < 2e-7, "erfc({x}) is {y}, not {want}");
            // Up to 1 it is a difference from 1; beyond, exp(-x^2) is as uncertain as its rounded argument.
            let relative = 1e-6 + 3e-7 * f64::from(x * x);
            // Some drivers flush what is below the smallest normal number.
            let flushed = y == 0.0 && want < f64::from(f32::MIN_POSITIVE);
            assert!(flushed || off < relative * want, "erfc({x}) is {y}, not {want}: {}", off / want);
        }
    }
}
