// No average is kept.
fn keep_average(next: vec4f, p: vec4f, s: ptr<function, State>) {
}
