// Lookahead: at every sync, the slow weights move a fraction of the way to the fast weights, which restart from there.
// Zhang et al. 2019, arXiv:1907.08610, Alg. 1.
const LOOKAHEAD_BEGINS = 1u;
const LOOKAHEAD_SYNCS = 2u;

fn settled(fast: vec4f, p: vec4f, s: ptr<function, State>) -> vec4f {
    let slow = select((*s).slow_param, p, (hyper.lookahead & LOOKAHEAD_BEGINS) != 0u);
    let synced = slow + hyper.lookahead_alpha * (fast - slow);
    let syncs = (hyper.lookahead & LOOKAHEAD_SYNCS) != 0u;
    (*s).slow_param = select(slow, synced, syncs);
    return select(fast, synced, syncs);
}
