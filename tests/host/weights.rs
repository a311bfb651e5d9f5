//! The weights in a checkpoint.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use gradus::params::Weights;
use gradus::train::Checkpoint;
use safetensors::tensor::{Dtype, TensorView};

#[test]
fn of_a_checkpoint_the_tensors_of_the_model_are_taken() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats");
    for name in ["checkpoint-1", "checkpoint-1-later"] {
        let path = folder.join(name).with_extension("safetensors");
        let weights = Weights::read(&path).unwrap();
        let params = Checkpoint::read(&path).unwrap().params;
        assert!(!params.is_empty());
        assert_eq!(weights, Weights::try_from(params).unwrap());
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let refused = Weights::from_bytes(&bytes).unwrap_err().to_string();
        assert!(refused.starts_with("weights: it was changed since it was written"), "{refused}");
    }
    // A record of this library that is no checkpoint's.
    let metadata = HashMap::from([("gradus".to_owned(), "{\"format\":2}".to_owned())]);
    let view = TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
    let bytes = safetensors::serialize([("params.w", view)], Some(metadata)).unwrap();
    assert!(Weights::from_bytes(&bytes).is_err());
}
