// Points anywhere in the box, each generation new ones.
struct Hyper { none: u32 }

fn propose(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    points[element] = anywhere(element, dimension, 1u);
}
