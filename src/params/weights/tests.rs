use std::fs;

use safetensors::tensor::{Dtype, TensorView};

use super::*;

fn torch(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gpu/torch/weights");
    fs::read(folder.join(name)).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn some() -> Weights {
    let mut weights = Weights::new();
    weights.insert("body.fc.weight", [2, 3], [0.5, -0.0, f32::NAN, f32::INFINITY, 1e-40, -2.0]).unwrap();
    weights.insert("body.fc.bias", [2], [1.0, 2.0]).unwrap();
    weights.insert("bodywork", Vec::new(), [3.0]).unwrap();
    weights.insert("empty", [0, 4], []).unwrap();
    weights
}

#[test]
fn every_type_becomes_the_f32_that_torch_makes_of_it() {
    let weights = Weights::from_bytes(&torch("types.safetensors")).unwrap();
    let mut types = 0;
    for (name, tensor) in weights.iter().filter(|(name, _)| !name.ends_with(".as_f32")) {
        let expected = weights.get(&format!("{name}.as_f32")).unwrap();
        assert_eq!(tensor.shape, expected.shape);
        for (got, want) in tensor.values.iter().zip(&expected.values) {
            assert!(
                got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                "{name}: {got}, {want}"
            );
        }
        types += 1;
    }
    assert_eq!(types, 13);
}

#[test]
fn what_is_written_is_read_bit_for_bit_and_equal_weights_are_equal_bytes() {
    let bytes = some().to_bytes().unwrap();
    assert_eq!(some().to_bytes().unwrap(), bytes);
    let read = Weights::from_bytes(&bytes).unwrap();
    assert_eq!(read.names().collect::<Vec<_>>(), ["body.fc.bias", "body.fc.weight", "bodywork", "empty"]);
    for (name, tensor) in read.iter() {
        let expected = some().remove(name).unwrap();
        assert_eq!(
            (&tensor.shape, bits(&tensor.values)),
            (&expected.shape, bits(&expected.values)),
            "{name}"
        );
    }
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
    assert!(Weights::from_bytes(&Weights::new().to_bytes().unwrap()).unwrap().is_empty());
}

#[test]
fn names_are_changed_and_no_tensor_is_lost_by_that() {
    let names = |weights: Weights| weights.names().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names(some().part("body").unwrap()), ["fc.bias", "fc.weight"]);
    assert_eq!(names(some().part("body.fc.").unwrap()), ["bias", "weight"]);
    assert_eq!(names(some().part("body").unwrap().within("a.b")), ["a.b.fc.bias", "a.b.fc.weight"]);
    assert_eq!(names(some().within("a.").part("a").unwrap()), names(some()));
    let refused = some().part("bdy").unwrap_err().to_string();
    assert_eq!(refused, "unknown module \"bdy\", did you mean \"body\"?; known: body, body.fc");
    let one = Error::Duplicate { kind: "tensor", name: "x".into() };
    assert_eq!(some().rename(|_| Some("x".into())).unwrap_err(), one);
    assert!(some().rename(|_| None).unwrap().is_empty());
    for name in ["", "__metadata__"] {
        let refused = some().rename(|_| Some(name.into())).unwrap_err().to_string();
        assert_eq!(refused, format!("tensor: {name:?} is not a valid tensor name"));
    }
    let refused = some().get("body.fc.wieght").unwrap_err().to_string();
    assert!(refused.contains("did you mean \"body.fc.weight\"?"), "{refused}");
    let mut weights = some();
    assert!(weights.remove("bias").is_err());
    assert_eq!(weights.remove("bodywork").unwrap().values, [3.0]);
    assert_eq!(weights.len(), 3);
}

#[test]
fn values_must_fill_their_shape() {
    let mut weights = some();
    let refused = weights.insert("w", [2, 3], [0.0; 5]).unwrap_err();
    let what = "w of shape [2, 3]".to_owned();
    assert_eq!(refused, Error::Length { what, expected: 6, got: 5 });
    assert!(weights.insert("w", [usize::MAX, 2], [0.0; 5]).is_err());
    let one = Error::Duplicate { kind: "tensor", name: "bodywork".into() };
    assert_eq!(weights.insert("bodywork", [1], [0.0]).unwrap_err(), one);
    assert_eq!(bits(&weights.get("bodywork").unwrap().values), bits(&[3.0]));
    let tensors = BTreeMap::from([("w".to_owned(), Tensor { shape: vec![2], values: vec![0.0] })]);
    assert!(Weights::try_from(tensors).is_err());
}

/// A file with one tensor, `w`.
fn file(dtype: Dtype, data: &[u8], shape: &[usize]) -> Vec<u8> {
    let view = TensorView::new(dtype, shape.to_vec(), data).unwrap();
    safetensors::serialize([("w", view)], None).unwrap()
}

#[test]
fn what_f32_cannot_hold_and_other_types_are_refused_by_name() {
    // Half of the last place of the largest is 1.014e31.
    let [held, not] = [1e31, 1.02e31].map(|more| f64::from(f32::MAX) + more);
    let rows = [(held, true), (not, false), (-not, false), (-1e300, false), (f64::INFINITY, true)];
    for (value, held) in rows {
        let data: Vec<u8> = [0.5, value].into_iter().flat_map(f64::to_le_bytes).collect();
        let read = Weights::from_bytes(&file(Dtype::F64, &data, &[2]));
        let said = read.as_ref().map_or_else(ToString::to_string, |_| "held".into());
        let expected = format!("weights: w holds {value:e} at element 1, which f32 cannot hold");
        assert_eq!(said, if held { "held".into() } else { expected });
    }
    for dtype in [Dtype::F8_E4M3, Dtype::F8_E5M2, Dtype::C64] {
        let data = vec![0; dtype.bitsize() / 8 * 4];
        let refused = Weights::from_bytes(&file(dtype, &data, &[4])).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("weights: w has the type {dtype:?}; F32, F64, ")), "{refused}");
    }
}

#[test]
fn a_damaged_file_is_refused_with_its_name_and_nothing_panics() {
    let path = std::env::temp_dir().join(format!("gradus-weights-{}", std::process::id()));
    let bytes = some().to_bytes().unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Weights::read(&path).err().map(|error| error.to_string())
    };
    assert_eq!(refused(&bytes), None);
    let said = format!("{}: it is not a whole safetensors file", path.display());
    for len in 0..bytes.len() {
        assert!(refused(&bytes[..len]).is_some_and(|error| error.starts_with(&said)), "{len} bytes");
    }
    assert!(refused(&[&bytes[..], &[0]].concat()).is_some_and(|error| error.starts_with(&said)));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let _ = Weights::from_bytes(&changed);
        }
    }
    let header = r#"{"w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#;
    let hostile = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    assert!(refused(&hostile).is_some_and(|error| error.starts_with(&said)));
    assert!(refused(&u64::MAX.to_le_bytes()).is_some_and(|error| error.ends_with("header too large")));
    fs::remove_file(&path).unwrap();
    let missing = Weights::read(&path).unwrap_err();
    assert!(
        matches!(&missing, Error::File { path: named, .. } if *named == path.display().to_string()),
        "{missing}"
    );
    let folder = Weights::read(std::env::temp_dir()).unwrap_err();
    assert!(matches!(folder, Error::File { .. }), "{folder}");
}

#[test]
fn an_empty_name_is_the_outermost_module() {
    let mut weights = Weights::new();
    weights.insert("fc.weight", [1], [0.5]).unwrap();
    for name in ["", "."] {
        assert_eq!(weights.clone().within(name), weights);
        assert_eq!(weights.clone().part(name).unwrap(), weights);
    }
    assert_eq!(weights.clone().within("net.").names().collect::<Vec<_>>(), ["net.fc.weight"]);
    assert_eq!(weights.clone().within("net").part("net").unwrap(), weights);
    assert!(Weights::new().part("").unwrap().is_empty());
}
