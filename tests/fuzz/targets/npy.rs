//! Arrays of NumPy, plain and packed by the first byte. The header says how many elements there are.

#![no_main]

use gradus::train::data::npy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let (ending, times) = if kind & 1 == 0 { (".npy", 4) } else { (".npy.gz", 4 * 1032) };
    let path = gradus_fuzz::file(ending, bytes);
    if let Ok(array) = gradus_fuzz::bounded(bytes.len(), times, || npy::read(&path)) {
        assert_eq!(array.values.len(), array.shape.iter().product::<usize>());
    }
});
