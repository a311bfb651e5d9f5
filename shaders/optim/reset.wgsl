// Resets a slot of adjacent tensors to its first value, if the constants of the next step say that the rule's state was reset
// since the slot was written.

// first and len count words: one f32 or two bf16 each. slot is the bit of the slot. elements is the number of elements in a
// word if there is padding between the tensors, otherwise 0.
struct Reset { first: u32, len: u32, value: u32, slot: u32, elements: u32 }
// The constants in front of the inner rule's. The upper bits of lookahead are the slots to reset.
struct Ahead { lookahead: u32, lookahead_alpha: f32 }

const LOOKAHEAD_RESETS = 8u;

@group(0) @binding(0) var<uniform> reset: Reset;
@group(0) @binding(1) var<uniform> ahead: Ahead;
// The number of elements in each block of 64.
@group(0) @binding(2) var<storage, read> real: array<u32>;
@group(0) @binding(3) var<storage, read_write> values: array<u32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 256u + lane;
    let is_dropped = ((ahead.lookahead >> LOOKAHEAD_RESETS) & reset.slot) != 0u;
    // A skipped step may reset too: nothing reads the former values.
    if i >= reset.len || !is_dropped {
        return;
    }
    let at = reset.first + i;
    var value = reset.value;
    if reset.elements != 0u {
        let element = at * reset.elements;
        let inside = real[element / 64u] - min(real[element / 64u], element % 64u);
        // The second of two elements is padding, or both are.
        value = select(select(value, value & 0xffffu, inside < reset.elements), 0u, inside == 0u);
    }
    values[at] = value;
}
