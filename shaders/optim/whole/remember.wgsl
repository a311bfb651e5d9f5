// Stores the last step and the change of the gradient over it.
struct Call { first: u32, len: u32, lanes: u32, out: u32, total: u32, stride: u32 }
struct Turn { t_before: f32, t: f32, pair: u32 }

@group(0) @binding(0) var<uniform> turn: Turn;
@group(0) @binding(1) var<uniform> call: Call;
@group(0) @binding(2) var<storage, read> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read> before: array<vec4f>;
@group(0) @binding(4) var<storage, read> direction: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> steps: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> changes: array<vec4f>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = (workgroup.y * workgroups.x + workgroup.x) * 256u + lane;
    if index >= call.len {
        return;
    }
    let at = call.first + index;
    let to = turn.pair * call.stride + at;
    steps[to] = turn.t_before * direction[at];
    changes[to] = grads[at] - before[at];
}
