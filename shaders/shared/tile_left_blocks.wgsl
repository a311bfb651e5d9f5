// Stages the left factor of a tile in blocks of four rows by four steps: four loads along the steps, and an exchange
// of both in registers.
//
// Constants: LEFT_LOADS of an invocation, in blocks.
//
// A kernel supplies `LeftPlace`, what is known of a quad of rows before any step; `left_place(work, quad)` makes it,
// and `left_block(place, step)` is a vec4 along the steps of each of its rows, from a step on that is a multiple of 4
// and that there is; behind the last step there may be any numbers. The first step of a tile is a multiple of 4.
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

// The quad of steps and that of rows in the tile that is load `i` of an invocation: eight neighbours store side by
// side, and the next ones load what follows along the steps.
fn left_spot(lane: u32, i: u32) -> vec2u {
    let number = i * LANES + lane;
    return vec2u(number / 8u % (TILE_STEPS / 4u), number / (8u * (TILE_STEPS / 4u)) * 8u + number % 8u);
}

// A small tile has fewer blocks than there are invocations: the first ones load them.
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
            // Behind the last step are zeros.
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
