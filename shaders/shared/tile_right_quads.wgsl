// Stages the right factor of a tile in quads along its columns: one load per quad and step.
//
// Constants: RIGHT_LOADS per invocation, and RIGHT_GATHERED if elements along the steps are adjacent in memory, so
// that adjacent invocations load them.
//
// A kernel supplies `RightPlace`, the step-independent position of a quad of columns; `right_place(work, quad)`,
// which computes it; and `right_quad(place, step)`, which returns the quad at a step within the range.
const RIGHT_QUADS: u32 = TILE_COLUMNS / 4u;

struct RightPlaces {
    #for i in 0..RIGHT_LOADS
    place$i: RightPlace,
    #end
}

struct RightLoads {
    #for i in 0..RIGHT_LOADS
    quad$i: vec4f,
    #end
}

// The step and the quad of columns of load `i` of an invocation.
fn right_spot(lane: u32, i: u32) -> vec2u {
    let number = i * LANES + lane;
    if RIGHT_GATHERED == 1u {
        return vec2u(number % TILE_STEPS, number / TILE_STEPS);
    }
    return vec2u(number / RIGHT_QUADS, number % RIGHT_QUADS);
}

// A small tile has fewer quads than there are invocations.
fn right_loads_here(lane: u32) -> bool {
    return RIGHT_QUADS * TILE_STEPS >= LANES || lane < RIGHT_QUADS * TILE_STEPS;
}

fn right_places_of(work: Work, first: u32, lane: u32) -> RightPlaces {
    var places: RightPlaces;
    #for i in 0..RIGHT_LOADS
    places.place$i = right_place(work, first + right_spot(lane, $i).y);
    #end
    return places;
}

fn right_loads_of(places: RightPlaces, lane: u32, first: u32, end: u32) -> RightLoads {
    var loads: RightLoads;
    if !right_loads_here(lane) {
        return loads;
    }
    #for i in 0..RIGHT_LOADS
    {
        let step = first + right_spot(lane, $i).x;
        if STEPS_EVEN == 1u {
            loads.quad$i = right_quad(places.place$i, step);
        } else {
            // Zeros of the opposite sign to those of the left factor, so that their products change no sum.
            loads.quad$i = select(vec4f(-0.0), right_quad(places.place$i, min(step, end - 1u)), step < end);
        }
    }
    #end
    return loads;
}

fn stage_right(lane: u32, loads: RightLoads) {
    if !right_loads_here(lane) {
        return;
    }
    #for i in 0..RIGHT_LOADS
    {
        let spot = right_spot(lane, $i);
        right_tile[spot.x * RIGHT_PITCH + spot.y] = loads.quad$i;
    }
    #end
}
