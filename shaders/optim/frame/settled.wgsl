// Nothing follows the rule's update.
fn settled(fast: vec4f, p: vec4f, s: ptr<function, State>) -> vec4f {
    return fast;
}
