// Losses that others wrote.
struct Hyper { none: u32 }

fn told(member: u32) {
    keys[member] = key_of(losses[member]);
}
