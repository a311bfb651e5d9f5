//! That no index of the kernels which run without checks is beyond its array: their invocations run on the host, over sizes
//! around the borders of their tiles, with buffers that are no longer than they must be.

mod interpreter;
mod kernel;
mod value;

use std::collections::BTreeSet;

use self::interpreter::Dispatch;
use self::kernel::Kernel;
use super::Init;
use crate::gpu::{Capabilities, Checks};
use crate::graph::lower::{Operand, Step};
use crate::graph::ops::product;
use crate::graph::{Graph, PlanOptions, autodiff};

/// The first place along an axis of the grid and the last one.
fn ends(len: u32) -> BTreeSet<u32> {
    [0, len - 1].into()
}

/// Runs the invocations of a dispatch, in all workgroups at the ends of each axis of its grid.
///
/// # Errors
/// The first index that is beyond its array.
fn hold(wgsl: &str, uniform: &[u8], bytes: &[u64], grid: [u32; 3]) -> Result<(), String> {
    let kernel = Kernel::new(wgsl);
    let uniform: Vec<u32> = uniform.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
    let dispatch = Dispatch::new(&kernel, &uniform, bytes);
    for z in ends(grid[2]) {
        for (x, y) in ends(grid[1]).into_iter().flat_map(|y| ends(grid[0]).into_iter().map(move |x| (x, y))) {
            for lane in 0..kernel.lanes {
                let held = dispatch.run([x, y, z], lane);
                held.map_err(|error| format!("{error}, workgroup {x} {y} {z}, lane {lane}"))?;
            }
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

/// Bytes of what a step binds.
fn bytes(step: &Step, values: &[usize], parameters: &[usize]) -> Vec<u64> {
    let len = |operand: &Operand| match *operand {
        Operand::Value(value) => values[value],
        Operand::Parameter(parameter) | Operand::Gradient(parameter) => parameters[parameter],
    };
    step.operands.iter().map(|operand| 4 * len(operand) as u64).collect()
}

/// A product of parameters or of views of them, perhaps with a linear layer behind it.
fn graph([rows, columns, inner]: [usize; 3], transposed: [bool; 2], batch: bool) -> (Graph, PlanOptions) {
    let graph = Graph::new();
    let factor = |name: &str, [a, b]: [usize; 2], transposed: bool| {
        let shape = |a, b| if batch { vec![2, a, b] } else { vec![a, b] };
        let init = Init::Constant(0.0);
        if transposed {
            return graph.parameter(name, &shape(b, a)[..], init).transpose(-1, -2);
        }
        // A part of a larger one, which begins where it likes.
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
