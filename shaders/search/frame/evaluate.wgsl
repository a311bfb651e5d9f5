// The objective of the user's own, one lane a member.
fn evaluated(member: u32) {
    current_member = member;
    var sum = 0.0;
    for (current_sample = 0u; current_sample < run.samples; current_sample++) {
        sum += objective();
    }
    keys[member] = key_of(sum / f32(run.samples));
}
