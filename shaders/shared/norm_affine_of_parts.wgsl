fn plain_at(i: u32) -> vec4f {
    return parts[2u * i];
}

fn product_at(i: u32) -> vec4f {
    return parts[2u * i + 1u];
}
