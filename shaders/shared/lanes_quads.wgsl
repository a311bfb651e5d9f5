// Sums of four rows by four columns, one step at a time.
struct Rows {
    #for r in 0..4
    row$r: vec4f,
    #end
}

fn add_steps(left_at: LeftPlace, right_at: RightPlace, step: u32, end: u32, sums: ptr<function, Rows>) {
    let left = left_quad(left_at, step);
    let right = right_quad(right_at, step);
    #for r in 0..4
    (*sums).row$r = fma(vec4f(left[$r]), right, (*sums).row$r);
    #end
}
