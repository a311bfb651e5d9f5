// Stages the right factor of a tile in blocks of four columns by four steps: four loads along the steps, transposed
// in registers.
//
// Constants: RIGHT_LOADS per invocation, in blocks.
//
// A kernel supplies `RightPlace`, the step-independent position of a quad of columns; `right_place(work, quad)`,
// which computes it; and `right_block(place, step)`, which returns a vec4 along the steps for each of its columns.
// `step` is a multiple of 4 within the range; after the last step the values can be arbitrary. The first step of a
// tile is a multiple of 4.
const RIGHT_BLOCKS: u32 = TILE_COLUMNS / 4u * (TILE_STEPS / 4u);

struct RightPlaces {
    #for i in 0..RIGHT_LOADS
    place$i: RightPlace,
    #end
}

struct RightLoads {
    #for i in 0..RIGHT_LOADS
    block$i: mat4x4f,
    #end
}

// The quad of steps and the quad of columns of load `i` of an invocation. Eight neighbours store adjacent values, and
// the next ones load what follows along the steps.
fn right_spot(lane: u32, i: u32) -> vec2u {
    let number = i * LANES + (lane + RIGHT_BLOCKS) % LANES;
    return vec2u(number / 8u % (TILE_STEPS / 4u), number / (8u * (TILE_STEPS / 4u)) * 8u + number % 8u);
}

// A small tile has fewer blocks than there are invocations; the last ones load them.
fn right_loads_here(lane: u32) -> bool {
    return RIGHT_BLOCKS >= LANES || lane >= LANES - RIGHT_BLOCKS;
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
        let step = first + right_spot(lane, $i).x * 4u;
        if STEPS_EVEN == 1u {
            loads.block$i = transpose(right_block(places.place$i, step));
        } else {
            let block = transpose(right_block(places.place$i, min(step, (end - 1u) / 4u * 4u)));
            // Zeros of the opposite sign to those of the left factor, so that their products change no sum.
            #for k in 0..4
            loads.block$i[$k] = select(vec4f(-0.0), block[$k], step + $k < end);
            #end
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
        #for k in 0..4
        right_tile[(spot.x * 4u + $k) * RIGHT_PITCH + spot.y] = loads.block$i[$k];
        #end
    }
    #end
}
