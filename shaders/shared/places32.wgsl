// Argmax indices for windows of any size: one word each.
alias Places = vec4u;

const NONE: u32 = 0xffffffffu;

fn packed(place: vec4u) -> Places {
    return place;
}

fn unpacked(places: Places) -> vec4u {
    return places;
}

fn place_at(window: u32) -> vec4u {
    return unpacked(places[window]);
}
