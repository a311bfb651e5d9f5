// Argmax indices for windows of fewer than 65,535 elements: 16 bits, two per word.
alias Places = vec2u;

const NONE: u32 = 0xffffu;

fn packed(place: vec4u) -> Places {
    return place.xz | (place.yw << vec2u(16u));
}

fn unpacked(places: Places) -> vec4u {
    return vec4u(places & vec2u(0xffffu), places >> vec2u(16u)).xzyw;
}

fn place_at(window: u32) -> vec4u {
    return unpacked(places[window]);
}
