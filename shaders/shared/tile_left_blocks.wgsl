// Stages the left factor of a tile in blocks of four rows by four steps: four loads along the steps, transposed in
// registers.
//
// Constants: LEFT_LOADS per invocation, in blocks.
//
// A kernel supplies `LeftPlace`, the step-independent position of a quad of rows; `left_place(work, quad)`, which
// computes it; and `left_block(place, step)`, which returns a vec4 along the steps for each of its rows. `step` is a
// multiple of 4 within the range; after the last step the values can be arbitrary. The first step of a tile is a
// multiple of 4.
const LEFT_BLOCKS: u32 = TILE_ROWS / 4u * (TILE_STEPS / 4u);

struct LeftPlaces {
    #for i in 0..LEFT_LOADS
    place$i: LeftPlace,
    #end
}

struct LeftLoads {
    #for i in 0..LEFT_LOADS
    block$i: mat4x4f,
    #end
}

// The quad of steps and the quad of rows of load `i` of an invocation. Eight neighbours store adjacent values, and
// the next ones load what follows along the steps.
fn left_spot(lane: u32, i: u32) -> vec2u {
    let number = i * LANES + lane;
    return vec2u(number / 8u % (TILE_STEPS / 4u), number / (8u * (TILE_STEPS / 4u)) * 8u + number % 8u);
}

// A small tile has fewer blocks than there are invocations; the first ones load them.
fn left_loads_here(lane: u32) -> bool {
    return LEFT_BLOCKS >= LANES || lane < LEFT_BLOCKS;
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
        let step = first + left_spot(lane, $i).x * 4u;
        if STEPS_EVEN == 1u {
            loads.block$i = transpose(left_block(places.place$i, step));
        } else {
            let block = transpose(left_block(places.place$i, min(step, (end - 1u) / 4u * 4u)));
            // After the last step there are zeros.
            #for k in 0..4
            loads.block$i[$k] = select(vec4f(0.0), block[$k], step + $k < end);
            #end
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
        #for k in 0..4
        left_tile[(spot.x * 4u + $k) * LEFT_PITCH + spot.y] = loads.block$i[$k];
        #end
    }
    #end
}
