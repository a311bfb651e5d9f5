// Gives a slot of neighbouring tensors its first value, where the step that follows finds that its values are from before
// the state of the rule began anew.

// first and len count words, of one f32 or two numbers in bf16; slot is the bit of the slot; elements of a word, where
// padding lies between the tensors, or 0.
struct Reset { first: u32, len: u32, value: u32, slot: u32, elements: u32 }
// What stands in the block before the inner rule's constants: slots that begin anew are in the upper bits.
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
    // A step that is skipped may do it too: nothing reads what was dropped.
    if i >= reset.len || !is_dropped {
        return;
    }
    let at = reset.first + i;
    var value = reset.value;
    if reset.elements != 0u {
        let element = at * reset.elements;
        let inside = real[element / 64u] - min(real[element / 64u], element % 64u);
        // The second of two lies behind the end, or both.
        value = select(select(value, value & 0xffffu, inside < reset.elements), 0u, inside == 0u);
    }
    values[at] = value;
}
