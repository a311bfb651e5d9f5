//! Archives of arrays of NumPy.

#![no_main]

use gradus::train::data::npz;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = gradus_fuzz::file(".npz", bytes);
    // Deflate packs at most 1032 bytes into one.
    if let Ok(arrays) = gradus_fuzz::bounded(bytes.len(), 4 * 1032, || npz::read(&path)) {
        for array in arrays.values() {
            assert_eq!(array.values.len(), array.shape.iter().product::<usize>());
        }
    }
});
