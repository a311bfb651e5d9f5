// The dropout factors of attention weights. Four neighbours of a query share the words of one counter.
fn kept_words(plane: u32, query: u32, key: u32) -> vec4u {
    let quad = (plane * QUERIES + query) * ((KEYS + 3u) / 4u) + key / 4u;
    return random_words(vec4u(quad, shape.stream, random[0].zw), random[0].xy);
}

// For four keys, starting at a multiple of 4.
fn kept_keys(plane: u32, query: u32, key: u32) -> vec4f {
    let is_kept = random_uniform(kept_words(plane, query, key)) >= vec4f(shape.p);
    return select(vec4f(), vec4f(shape.keep), is_kept);
}

fn kept_queries(plane: u32, queries: vec4u, key: u32) -> vec4f {
    var words: vec4u;
    #for j in 0..4
    words[$j] = kept_words(plane, queries[$j], key)[key % 4u];
    #end
    return select(vec4f(), vec4f(shape.keep), random_uniform(words) >= vec4f(shape.p));
}
