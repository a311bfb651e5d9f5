//! Counts the loops of a kernel in its parsed module, and finds them in its text.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{LazyLock, Mutex};

use naga::{Block, Statement};

/// Number of loops in all functions of a module, including nested loops. Caches equal texts.
pub(super) fn loops_of(wgsl: &str) -> usize {
    static KNOWN: LazyLock<Mutex<HashMap<u64, usize>>> = LazyLock::new(Mutex::default);
    let mut hasher = DefaultHasher::new();
    wgsl.hash(&mut hasher);
    let known = KNOWN.lock().unwrap().get(&hasher.finish()).copied();
    known.unwrap_or_else(|| {
        let loops = parsed_loops(wgsl);
        KNOWN.lock().unwrap().insert(hasher.finish(), loops);
        loops
    })
}

fn parsed_loops(wgsl: &str) -> usize {
    let module = naga::front::wgsl::parse_str(wgsl).unwrap_or_else(|e| panic!("{}", e.emit_to_string(wgsl)));
    let entries = module.entry_points.iter().map(|entry| &entry.function);
    module.functions.iter().map(|(_, function)| function).chain(entries).map(|f| loops_in(&f.body)).sum()
}

fn loops_in(block: &Block) -> usize {
    let loops = |statement: &Statement| match statement {
        Statement::Block(inner) => loops_in(inner),
        Statement::If { accept, reject, .. } => loops_in(accept) + loops_in(reject),
        Statement::Switch { cases, .. } => cases.iter().map(|case| loops_in(&case.body)).sum(),
        Statement::Loop { body, continuing, .. } => 1 + loops_in(body) + loops_in(continuing),
        _ => 0,
    };
    block.iter().map(loops).sum()
}

/// Inserts `counter` at the start of each loop body.
///
/// # Panics
/// If the text does not have as many loop keywords as the module has loops.
pub(super) fn with_counter(wgsl: &str, counter: &str) -> String {
    let mut counted = String::new();
    let mut found = 0;
    for line in wgsl.split_inclusive('\n') {
        let code = line.trim_start();
        if ["for (", "while ", "loop {"].iter().any(|word| code.starts_with(word)) {
            let body = line.rfind('{').unwrap_or_else(|| panic!("no body begins in `{code}`")) + 1;
            counted.push_str(&line[..body]);
            counted.push_str(counter);
            counted.push_str(&line[body..]);
            found += 1;
        } else {
            counted.push_str(line);
        }
    }
    assert_eq!(found, loops_of(wgsl), "loops that begin a line, of all loops in\n{wgsl}");
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    const NESTED: &str = "fn inner() -> u32 {
    var sum = 0u;
    for (var k = 0u; k < 3u; k++) {
        while sum < 9u {
            sum++;
        }
    }
    return sum;
}
@compute @workgroup_size(1)
fn main() {
    if inner() > 2u {
        loop {
            break;
        }
    }
}
";

    #[test]
    fn loops_are_counted_in_functions_and_in_branches() {
        assert_eq!(loops_of(NESTED), 3);
        assert_eq!(loops_of("@compute @workgroup_size(1) fn main() {}"), 0);
        assert_eq!(with_counter(NESTED, " count();").matches("{ count();").count(), 3);
    }

    #[test]
    #[should_panic(expected = "loops that begin a line")]
    fn a_loop_that_is_not_found_is_no_silent_zero() {
        with_counter("@compute @workgroup_size(1) fn main() { loop { break; } }", "");
    }
}
