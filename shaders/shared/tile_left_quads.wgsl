// Stages the left factor of a tile in quads along its rows: one load per quad and step.
//
// Constants: LEFT_LOADS per invocation, and LEFT_GATHERED if elements along the steps are adjacent in memory, so that
// adjacent invocations load them.
//
// A kernel supplies `LeftPlace`, the step-independent position of a quad of rows; `left_place(work, quad)`, which
// computes it; and `left_quad(place, step)`, which returns the quad at a step within the range.
const LEFT_QUADS: u32 = TILE_ROWS / 4u;

struct LeftPlaces {
    #for i in 0..LEFT_LOADS
    place$i: LeftPlace,
    #end
}

struct LeftLoads {
    #for i in 0..LEFT_LOADS
    quad$i: vec4f,
    #end
}

// The step and the quad of rows of load `i` of an invocation.
fn left_spot(lane: u32, i: u32) -> vec2u {
    let number = i * LANES + lane;
    if LEFT_GATHERED == 1u {
        return vec2u(number % TILE_STEPS, number / TILE_STEPS);
    }
    return vec2u(number / LEFT_QUADS, number % LEFT_QUADS);
}

// A small tile has fewer quads than there are invocations.
fn left_loads_here(lane: u32) -> bool {
    return LEFT_QUADS * TILE_STEPS >= LANES || lane < LEFT_QUADS * TILE_STEPS;
}

fn left_places_of(work: Work, first: u32, lane: u32) -> LeftPlaces {
    var places: LeftPlaces;
    #for i in 0..LEFT_LOADS
    places.place$i = left_place(work, first + left_spot(lane, $i).y);
    #end
    return places;
}

fn left_loads_of(places: LeftPlaces, lane: u32, first: u32, end: u32) -> LeftLoads {
    var loads: LeftLoads;
    if !left_loads_here(lane) {
        return loads;
    }
    #for i in 0..LEFT_LOADS
    {
        let step = first + left_spot(lane, $i).x;
        if STEPS_EVEN == 1u {
            loads.quad$i = left_quad(places.place$i, step);
        } else {
            // After the last step there are zeros.
            loads.quad$i = select(vec4f(0.0), left_quad(places.place$i, min(step, end - 1u)), step < end);
        }
    }
    #end
    return loads;
}

fn stage_left(lane: u32, loads: LeftLoads) {
    if !left_loads_here(lane) {
        return;
    }
    #for i in 0..LEFT_LOADS
    {
        let spot = left_spot(lane, $i);
        left_tile[spot.x * LEFT_PITCH + spot.y] = loads.quad$i;
    }
    #end
}
