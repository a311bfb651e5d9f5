//! Tests that kernels without run-time checks never index beyond an array. Their invocations are interpreted on the
//! host, for sizes around multiples of the tile size, with buffers of the minimum length.

mod interpreter;
mod kernel;
mod value;

use std::collections::BTreeSet;

use self::interpreter::Dispatch;
use self::kernel::Kernel;
use super::{Conv2d, ConvTranspose2d, Init};
use crate::gpu::{Capabilities, Checks};
use crate::graph::lowering::{Operand, Step};
use crate::graph::ops::product;
use crate::graph::{Graph, PlanOptions, autodiff};

/// The first and the last index along an axis of the grid.
fn ends(len: u32) -> BTreeSet<u32> {
    [0, len - 1].into()
}

/// Indices near both ends: covers all columns of the first and the last rows if there are few columns of tiles.
fn near_ends(len: u32) -> BTreeSet<u32> {
    (0..len.min(4)).chain(len.saturating_sub(4)..len).collect()
}

/// Interprets the invocations of a dispatch, in all workgroups at the ends of each axis of the grid.
///
/// # Errors
/// The first index that is out of bounds.
fn hold(wgsl: &str, uniform: &[u8], bytes: &[u64], grid: [u32; 3]) -> Result<(), String> {
    hold_kernel(&Kernel::new(wgsl, false), uniform, bytes, grid.map(ends))
}

/// Like [`hold`], for the workgroups with these indices along each axis.
fn hold_kernel(
    kernel: &Kernel,
    uniform: &[u8],
    bytes: &[u64],
    [all_x, all_y, all_z]: [BTreeSet<u32>; 3],
) -> Result<(), String> {
    let uniform: Vec<u32> = uniform.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
    let dispatch = Dispatch::new(kernel, &uniform, bytes);
    for (z, y) in all_z.iter().flat_map(|z| all_y.iter().map(move |y| (*z, *y))) {
        for (x, lane) in all_x.iter().flat_map(|x| (0..kernel.lanes).map(move |lane| (*x, lane))) {
            let held = dispatch.run([x, y, z], lane);
            held.map_err(|error| format!("{error}, workgroup {x} {y} {z}, lane {lane}"))?;
        }
    }
    Ok(())
}

#[test]
fn products_that_lie_in_any_way_stay_in_buffers_of_just_their_elements() {
    for example in product::unchecked_examples() {
        let bytes = example.lens.map(|len| 4 * u64::from(len));
        let held = hold(&example.wgsl, &example.uniform, &bytes, example.grid);
        held.unwrap_or_else(|error| panic!("{}: {error}", example.what));
    }
}

#[test]
fn an_index_beyond_a_buffer_or_workgroup_memory_is_found() {
    let example = product::unchecked_examples().swap_remove(0);
    let bytes = example.lens.map(|len| 4 * u64::from(len));
    let hold_with = |wgsl: &str, bytes: [u64; 4]| hold(wgsl, &example.uniform, &bytes, example.grid);
    assert_eq!(hold_with(&example.wgsl, bytes), Ok(()));
    for which in [0, 1, 3] {
        let mut shorter = bytes;
        shorter[which] -= 16;
        let found = hold_with(&example.wgsl, shorter).unwrap_err();
        assert!(found.contains(["left", "right", "", "output"][which]), "{found}");
    }
    let pitch = "const LEFT_PITCH: u32 = TILE_ROWS / 4u + 1u;";
    assert_eq!(example.wgsl.matches(pitch).count(), 1);
    let text = "var<workgroup> left_tile: array<vec4f, TILE_STEPS * LEFT_PITCH>;";
    assert_eq!(example.wgsl.matches(text).count(), 1);
    let smaller = example.wgsl.replace(text, &text.replace("LEFT_PITCH", "LEFT_PITCH - 2u"));
    assert!(hold_with(&smaller, bytes).unwrap_err().contains("left_tile"));
}

/// Sizes in bytes of the bindings of a step.
fn bytes(step: &Step, values: &[usize], parameters: &[usize]) -> Vec<u64> {
    let len = |operand: &Operand| match *operand {
        Operand::Value(value) => values[value],
        Operand::Part { len, .. } => len,
        Operand::Parameter(parameter) | Operand::Gradient(parameter) => parameters[parameter],
    };
    step.operands.iter().map(|operand| 4 * len(operand) as u64).collect()
}

/// A product of parameters or of views of them, optionally followed by a linear layer.
fn graph([rows, columns, inner]: [usize; 3], transposed: [bool; 2], batch: bool) -> (Graph, PlanOptions) {
    let graph = Graph::new();
    let factor = |name: &str, [a, b]: [usize; 2], transposed: bool| {
        let shape = |a, b| if batch { vec![2, a, b] } else { vec![a, b] };
        let init = Init::Constant(0.0);
        if transposed {
            return graph.parameter(name, &shape(b, a)[..], init).transpose(-1, -2);
        }
        // A part of a larger value, with any offset.
        graph.parameter(name, &shape(a, b + 3)[..], init).narrow(-1, 3, b)
    };
    let x = factor("x", [rows, inner], transposed[0]);
    let y = x.matmul(&factor("other", [inner, columns], transposed[1])).linear(columns + 1);
    let options = PlanOptions::train(&y).upstream("upstream");
    (graph, options)
}

#[test]
fn unchecked_kernels_of_graphs_stay_in_the_buffers_that_are_bound() {
    let mut held = BTreeSet::new();
    let sizes = [[33, 36, 20], [70, 65, 33], [3, 37, 70], [37, 1, 64], [20, 17, 1_300], [5, 40, 4]];
    for (number, sizes) in sizes.into_iter().enumerate() {
        for at in [number % 4, (number + 1) % 4] {
            let (graph, options) = graph(sizes, [at % 2 == 1, at / 2 == 1], (number + at) % 3 == 0);
            let declared = graph.declared();
            let parameters: Vec<usize> = declared.iter().map(|p| p.shape.iter().product()).collect();
            for offered in Capabilities::of_each_kind() {
                let lowering = autodiff::lower(&graph, &options, &offered).unwrap();
                let values: Vec<usize> = lowering.values.iter().map(|value| value.len).collect();
                for step in lowering.steps.iter().filter(|step| step.checks == Checks::None) {
                    let bytes = bytes(step, &values, &parameters);
                    let result = hold(&step.kernel.wgsl, &step.uniform, &bytes, step.grid);
                    result.unwrap_or_else(|error| panic!("{sizes:?}, {}: {error}", step.label));
                    held.insert(step.kernel.name.clone());
                }
            }
        }
    }
    assert_eq!(held, ["matmul_lanes", "matmul_tile"].map(str::to_owned).into());
}

/// Convolutions with strides, dilations and groups, whose images, channels and taps do not fill tiles, with and
/// without a bias.
fn convolutions() -> Vec<(Graph, PlanOptions)> {
    let conv = |out: usize, kernel: [usize; 2]| Conv2d::new(out, kernel);
    let rows = [
        ([2, 9, 7, 9], conv(33, [3, 2]).padding([1, 2])),
        ([1, 12, 9, 8], conv(20, [3, 3]).padding(1).stride(2)),
        ([3, 16, 5, 6], conv(12, [1, 1]).stride([2, 3]).without_bias()),
        ([1, 10, 11, 10], conv(9, [4, 4]).padding(3).stride([4, 6]).dilation([2, 1])),
        ([1, 12, 13, 12], conv(9, [3, 3]).padding([2, 1]).stride([2, 3]).dilation([3, 2]).without_bias()),
        ([2, 24, 5, 6], conv(36, [3, 2]).padding(1).groups(2)),
        ([5, 12, 1, 1], conv(12, [1, 1]).stride(2)),
        ([1, 9, 3, 2], conv(10, [2, 2]).padding([3, 2]).stride([8, 5])),
        ([1, 300, 4, 5], conv(70, [3, 3]).padding(1)),
    ];
    // Larger tiles, without gradients, which would take long.
    let large = [([16, 64, 17, 16], 64), ([70, 32, 32, 32], 12), ([64, 20, 32, 32], 128)];
    let of = |build: &dyn Fn(&Graph) -> crate::graph::Var| {
        let graph = Graph::new();
        let options = PlanOptions::train(&build(&graph)).upstream("upstream");
        (graph, options)
    };
    let value = |graph: &Graph, shape: [usize; 4]| graph.parameter("x", shape, Init::Constant(0.0));
    let transposed = ConvTranspose2d::new(12, [3, 2]).stride([2, 3]).padding(1).output_padding([1, 2]);
    rows.into_iter()
        .map(|(shape, layer)| of(&|graph| value(graph, shape).conv2d(layer.clone())))
        .chain(large.map(|(shape, out)| {
            let graph = Graph::new();
            let y = value(&graph, shape).conv2d(conv(out, [1, 1]));
            let options = PlanOptions::evaluate().output("y", &y);
            (graph, options)
        }))
        .chain([of(&|graph| value(graph, [2, 20, 4, 5]).conv_transpose2d(transposed.clone()))])
        .collect()
}

#[test]
fn convolutions_stay_in_the_buffers_that_are_bound() {
    let mut held = BTreeSet::new();
    for (number, (graph, options)) in convolutions().into_iter().enumerate() {
        let parameters: Vec<usize> = graph.declared().iter().map(|p| p.shape.iter().product()).collect();
        for offered in Capabilities::of_each_kind() {
            let lowering = autodiff::lower(&graph, &options, &offered).unwrap();
            let values: Vec<usize> = lowering.values.iter().map(|value| value.len).collect();
            for step in lowering.steps.iter().filter(|step| step.checks == Checks::None) {
                let mut bytes = bytes(step, &values, &parameters);
                // Positions outside of an image are computed too, and then compared.
                let kernel = Kernel::new(&step.kernel.wgsl, true);
                let hold =
                    |bytes: &[u64]| hold_kernel(&kernel, &step.uniform, bytes, step.grid.map(near_ends));
                hold(&bytes).unwrap_or_else(|error| panic!("{number}, {}: {error}", step.label));
                held.insert(step.kernel.name.clone());
                if number == 0 {
                    // Shortens the output by one quad, which must be detected.
                    *bytes.last_mut().unwrap() -= 16;
                    assert!(hold(&bytes).is_err(), "{}: a shorter buffer is not found", step.label);
                }
            }
        }
    }
    assert_eq!(held, ["conv2d_tile", "conv2d_weight_grad_tile"].map(str::to_owned).into());
}
