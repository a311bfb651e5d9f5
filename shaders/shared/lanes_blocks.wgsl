// Sums of four rows by four columns, over four steps at a time, for factors whose neighbours in memory are neighbours
// along the steps.
struct Rows {
    #for r in 0..4
    row$r: vec4f,
    #end
}

fn add_steps(left_at: LeftPlace, right_at: RightPlace, step: u32, end: u32, sums: ptr<function, Rows>) {
    let left = left_block(left_at, step);
    // By rows first: DXC ends by itself at a vector made of one element of a matrix.
    #for r in 0..4
    let left$r = left[$r];
    #end
    let right = transpose(right_block(right_at, step));
    #for k in 0..4
    if step + $k < end {
        #for r in 0..4
        (*sums).row$r = fma(vec4f(left$r[$k]), right[$k], (*sums).row$r);
        #end
    }
    #end
}
