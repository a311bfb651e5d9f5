//! Slots that hold one number a tensor.

use std::fmt::Write;

/// The call of a rule's `ratio` with these slots: names, and whether they are in use. `first` is the first binding.
pub(crate) fn ratio_of<'s>(first: usize, slots: impl Iterator<Item = (&'s str, bool)>) -> String {
    let (mut bindings, mut load, mut store, mut arguments) =
        (String::new(), String::new(), String::new(), String::new());
    let mut binding = first;
    for (name, is_used) in slots {
        let from = if is_used { format!("slot_{name}[tensor]") } else { "0.0".into() };
        let written =
            writeln!(load, "    var {name} = {from};").and_then(|()| write!(arguments, ", &{name}"));
        written.expect("a string takes everything");
        if is_used {
            let access = "var<storage, read_write>";
            writeln!(bindings, "@group(0) @binding({binding}) {access} slot_{name}: array<f32>;")
                .and_then(|()| writeln!(store, "    slot_{name}[tensor] = {name};"))
                .expect("a string takes everything");
            binding += 1;
        }
    }
    format!(
        "{bindings}\nfn ratio_of(tensor: u32, sums: vec2f) -> f32 {{\n{load}    let value = ratio(sums{arguments});\n\
         {store}    return value;\n}}\n"
    )
}
