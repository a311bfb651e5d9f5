struct Gate {
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
}
