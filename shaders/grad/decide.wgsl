// Finishes the norm of one group, or of all, and decides over the step: what gradients are multiplied by, whether the
// step is skipped, and how the factor of the loss goes on. One workgroup; groups follow each other.
struct Call {
    entry: u32,
    entries: u32,
    first: u32,
    count: u32,
    // What accumulation multiplies by.
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
    // This step in the history, and what of it is kept.
    bit: u32,
    keep: u32,
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
    // By a member: GLSL has no attribute for it.
    padding: array<u32, 55>,
}

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<storage, read> parts: array<vec2u>;
@group(0) @binding(2) var<storage, read_write> gate: array<Entry>;

const EXPONENT = 0x7f800000u;
// Below it the reciprocal would be infinite.
const LEAST_SCALE = 1.1754944e-38;

fn clip_factor(norm: f32) -> f32 {
    let bits = bitcast<u32>(norm) & 0x7fffffffu;
    // With NaN nothing is scaled, so that it does not spread to padding.
    if call.clips == 0u || bits > EXPONENT {
        return 1.0;
    }
    if bits == EXPONENT {
        return 0.0;
    }
    if call.optax != 0u {
        return select(call.max_norm / max(norm, LEAST_SCALE), 1.0, norm < call.max_norm);
    }
    return min(1.0, call.max_norm / (norm + 1e-6));
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    var part = vec2u();
    for (var at = lane; at < call.count; at += LANES) {
        let other = parts[call.first + at];
        let norm = norm_joined(bitcast<f32>(part.x), bitcast<f32>(other.x));
        part = vec2u(bitcast<u32>(norm), part.y | other.y);
    }
    let whole = lanes_joined(lane, part);
    if lane == 0u {
        decide(bitcast<f32>(whole.x), whole.y);
    }
}

fn decide(total: f32, any_found: u32) {
    var found = any_found;
    var unscale = 1.0;
    if call.scales_loss != 0u {
        unscale = 1.0 / gate[0].loss_scale;
    }
    let norm = select(total, sqrt(total), NORM == 2u) * call.scale * unscale;
    gate[call.entry].norm = norm;
    gate[call.entry].grad_scale = unscale * clip_factor(norm);
    if call.entry > 0u {
        found |= gate[0].skip;
    }
    gate[0].skip = found & call.may_skip;
    if call.entry + 1u < call.entries {
        return;
    }
    for (var entry = 1u; entry < call.gate_entries; entry++) {
        gate[entry].skip = gate[0].skip;
        if call.entries == 1u {
            gate[entry].grad_scale = gate[0].grad_scale;
            gate[entry].norm = norm;
        }
    }
    if call.may_skip != 0u {
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
