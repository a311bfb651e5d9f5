// Products of rows and sums of weighted rows for the attention kernels. Each invocation has one own row and loops
// over blocks of rows of the other side; how it obtains those depends on the kernel.

fn add_scores(s: ptr<function, array<vec4f, QUADS>>, own: u32, others: u32, first: u32) {
    for (var d = 0u; d < SCORE_QUADS; d += SCORE_UNROLL) {
        #for u in 0..SCORE_UNROLL
        {
            let quad = own_scores[own + d + $u];
            let mine = score_mine(others, first, d + $u);
            #for j in 0..BLOCK
            (*s)[$j / 4][$j % 4] = product(quad, score_row_$j(mine, others, first, d + $u), (*s)[$j / 4][$j % 4]);
            #end
        }
        #end
    }
}

fn weighted_values(weights: array<vec4f, QUADS>, others: u32, first: u32, quad: u32) -> vec4f {
    let mine = value_mine(others, first, quad);
    var sum = vec4f();
    #for j in 0..BLOCK
    sum = fma(vec4f(weights[$j / 4][$j % 4]), value_row_$j(mine, others, first, quad), sum);
    #end
    return sum;
}

fn weighted_scores(weights: array<vec4f, QUADS>, others: u32, first: u32, quad: u32) -> vec4f {
    let mine = score_mine(others, first, quad);
    var sum = vec4f();
    #for j in 0..BLOCK
    sum = fma(vec4f(weights[$j / 4][$j % 4]), score_row_$j(mine, others, first, quad), sum);
    #end
    return sum;
}
