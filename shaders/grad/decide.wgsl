// Finishes the norm of one group or of all, and decides about the step: the factor of the gradients, whether the step
// is skipped, and the next loss scale. One workgroup, which processes groups one after the other. If there are too many
// parts for it, an earlier dispatch joins shares of them.
struct Call {
    entry: u32,
    entries: u32,
    first: u32,
    count: u32,
    // Factor of accumulation.
    scale: f32,
    clips: u32,
    max_norm: f32,
    optax: u32,
    may_skip: u32,
    scales_loss: u32,
    growth_factor: f32,
    backoff_factor: f32,
    growth_interval: u32,
    gate_entries: u32,
    // The bit of this step in the history, and the bits of the history to keep.
    bit: u32,
    keep: u32,
    // Number of parts that each workgroup joins into one, and the offset of the results; 0 in the dispatch that
    // decides.
    share: u32,
    out: u32,
}

struct Entry {
    grad_scale: f32,
    skip: u32,
    norm: f32,
    loss_scale: f32,
    growth_tracker: u32,
    applied: u32,
    skipped: u32,
    skipped_in_a_row: u32,
    history: u32,
    grad_rescale: f32,
    // Assigned by member, because GLSL has no attribute for it.
    padding: array<u32, 54>,
}

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<storage, read_write> parts: array<Part>;
@group(0) @binding(2) var<storage, read_write> gate: array<Entry>;

// Below this, the reciprocal would be infinite.
const LEAST_SCALE = 1.1754944e-38;

// Values that all groups read.
struct Decision { grad_scale: f32, grad_rescale: f32, norm: f32, skip: u32 }

var<workgroup> decision: Decision;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    let start = call.first + number * call.share;
    let all = call.first + call.count;
    let end = select(min(all, start + call.share), all, call.share == 0u);
    var part = no_part();
    for (var at = start + lane; at < end; at += LANES) {
        part = norm_joined(part, parts[at]);
    }
    let whole = lanes_joined(lane, part);
    if call.share != 0u {
        if lane == 0u && start < end {
            parts[call.out + number] = whole;
        }
        return;
    }
    if lane == 0u {
        decide(whole);
    }
    if call.entry + 1u < call.entries {
        return;
    }
    workgroupBarrier();
    for (var entry = 1u + lane; entry < call.gate_entries; entry += LANES) {
        gate[entry].skip = decision.skip;
        if call.entries == 1u {
            gate[entry].grad_scale = decision.grad_scale;
            gate[entry].grad_rescale = decision.grad_rescale;
            gate[entry].norm = decision.norm;
        }
    }
}

// The norm from the sums of the stored gradients.
fn norm_of(whole: Part) -> Wide {
    if NORM == 3u {
        return wide(bitcast<f32>(whole.most));
    }
    let root = wide(select(whole.sum, sqrt(whole.sum), NORM == 2u));
    return Wide(root.digits, root.exponent + select(whole.exponent, whole.exponent >> 1u, NORM == 2u));
}

// Uses numbers with an exponent of their own: the norm of finite gradients may be too large for f32, and the factor
// that scales it down too small.
fn clip_factor(norm: Wide, most: u32) -> Wide {
    // With a NaN norm nothing is scaled, so that NaN does not spread to padding.
    if call.clips == 0u || most > EXPONENT {
        return ONE;
    }
    if most == EXPONENT {
        return Wide(0.0, 0);
    }
    let largest = wide(call.max_norm);
    var over = norm;
    if call.optax != 0u {
        if wide_less(norm, largest) {
            return ONE;
        }
        if norm.digits == 0.0 {
            return Wide(0.0, 0);
        }
    } else if norm.exponent < 127 {
        over = wide(narrow(norm) + 1e-6);
    }
    let factor = wide_quotient(largest, over);
    if wide_less(factor, ONE) {
        return factor;
    }
    return ONE;
}

fn decide(whole: Part) {
    var unscale = ONE;
    if call.scales_loss != 0u {
        unscale = wide_quotient(ONE, wide(gate[0].loss_scale));
    }
    let scale = wide(call.scale);
    let both = wide_product(scale, unscale);
    let norm = wide_product(norm_of(whole), both);
    let finite = whole.most < EXPONENT;
    // Gradients that are finite only before unscaling count as not finite.
    var found = u32(!finite);
    if finite && narrow_bits(wide_product(wide(bitcast<f32>(whole.most)), both)) == EXPONENT {
        found = 1u;
    }
    var norm_bits = whole.most;
    if finite {
        norm_bits = narrow_bits(norm);
    }
    decision.norm = select(0.0, bitcast<f32>(norm_bits), NORM != 0u);
    let factor = wide_product(unscale, clip_factor(norm, whole.most));
    // One factor, or two if one would be subnormal.
    let halved = select(0, max(factor.exponent >> 1u, -126), factor.exponent + scale.exponent < -120);
    decision.grad_scale = narrow(Wide(factor.digits, factor.exponent - halved));
    decision.grad_rescale = narrow(Wide(1.0, halved));
    if call.entry > 0u {
        found |= gate[0].skip;
    }
    decision.skip = found & call.may_skip;
    gate[call.entry].norm = decision.norm;
    gate[call.entry].grad_scale = decision.grad_scale;
    gate[call.entry].grad_rescale = decision.grad_rescale;
    gate[0].skip = decision.skip;
    if call.entry + 1u == call.entries && call.may_skip != 0u {
        count(found != 0u);
    }
}

fn count(skipped: bool) {
    gate[0].history = (gate[0].history & call.keep) | select(call.bit, 0u, skipped);
    if skipped {
        gate[0].skipped += 1u;
        gate[0].skipped_in_a_row += 1u;
    } else {
        gate[0].applied += 1u;
        gate[0].skipped_in_a_row = 0u;
    }
    if call.scales_loss == 0u {
        return;
    }
    gate[0].growth_tracker += 1u;
    if skipped {
        gate[0].loss_scale = max(gate[0].loss_scale * call.backoff_factor, LEAST_SCALE);
        gate[0].growth_tracker = 0u;
    } else if gate[0].growth_tracker == call.growth_interval {
        let grown = gate[0].loss_scale * call.growth_factor;
        if (bitcast<u32>(grown) & EXPONENT) != EXPONENT {
            gate[0].loss_scale = grown;
        }
        gate[0].growth_tracker = 0u;
    }
}
