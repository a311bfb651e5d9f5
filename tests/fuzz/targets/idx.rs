//! IDX files, plain and packed. The first byte chooses the reader.

#![no_main]

use gradus::train::data::idx;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    // Deflate packs at most 1032 bytes into one.
    let (ending, times) = if kind & 2 == 0 { ("", 4) } else { (".gz", 4 * 1032) };
    let path = gradus_fuzz::file(ending, bytes);
    gradus_fuzz::bounded(bytes.len(), times, || match kind & 1 {
        0 => drop(idx::read_images(&path)),
        _ => drop(idx::read_labels(&path)),
    });
});
