//! Tables, as numbers and as classes. The first byte chooses how they are read.

#![no_main]

use gradus::train::data::Csv;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let mut table = Csv::new();
    if kind & 1 == 1 {
        table = table.header(false);
    }
    if kind & 2 == 2 {
        table = table.delimiter(b';');
    }
    // A number takes at least two characters, and four bytes.
    gradus_fuzz::bounded(bytes.len(), 4, || match kind & 4 {
        0 => drop(table.parse("table", bytes)),
        _ => drop(table.parse_classes("table", bytes)),
    });
});
