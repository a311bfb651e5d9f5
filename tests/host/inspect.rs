//! `gradus inspect` of files of every kind.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::folder::Folder;

fn inspect(path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gradus")).arg("inspect").arg(path).output().unwrap()
}

/// A file of a header and bytes.
fn file(header: &str, bytes: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), bytes].concat()
}

#[test]
fn tensors_of_any_file_are_listed_with_their_numbers() {
    let folder = Folder::new("inspect");
    let header = r#"{"__metadata__":{"format":"pt\u001b[2J"},
        "w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},
        "half":{"dtype":"F16","shape":[2],"data_offsets":[16,20]},
        "n":{"dtype":"I64","shape":[],"data_offsets":[20,28]},
        "odd":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[28,32]},
        "none":{"dtype":"F32","shape":[0,3],"data_offsets":[32,32]}}"#;
    let numbers: Vec<u8> =
        [1.0_f32, -3.0, f32::NAN, 5.0].iter().flat_map(|number| number.to_le_bytes()).collect();
    // 1 and -2 in half precision.
    let bytes = [&numbers[..], &[0x00, 0x3c, 0x00, 0xc0], &(-7_i64).to_le_bytes(), &[0; 4]].concat();
    let path = folder.join("any.safetensors");
    fs::write(&path, file(header, &bytes)).unwrap();
    let output = inspect(&path);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["tensor", "shape", "type", "bytes", "min", "mean", "max"]);
    assert_eq!(rows[1], ["half", "[2]", "F16", "4", "-2", "-0.5", "1"]);
    assert_eq!(rows[2], ["n", "[]", "I64", "8", "-7", "-7", "-7"]);
    assert_eq!(rows[3], ["none", "[0,", "3]", "F32", "0"]);
    assert_eq!(rows[4], ["odd", "[4]", "F8_E4M3", "4"]);
    assert_eq!(rows[5], ["w", "[2,", "2]", "F32", "16", "-3", "1", "5", "1", "NaN", "or", "infinite"]);
    assert_eq!(said.lines().nth(6), Some("5 tensors, 11 elements, 32 bytes"));
    assert_eq!(said.lines().nth(7), Some("format: pt\u{fffd}[2J"));
}

#[test]
fn a_checkpoint_shows_its_record_and_a_changed_one_is_refused() {
    let folder = Folder::new("inspect-checkpoint");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/checkpoint-1.safetensors");
    let output = inspect(&sample);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for line in ["checkpoint   format 1, checksum \"", "step         ", "optimizer    ", "state        "] {
        assert!(said.lines().any(|found| found.starts_with(line)), "{line}: {said}");
    }
    let mut bytes = fs::read(&sample).unwrap();
    // The lowest bit of the last tensor.
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    let path = folder.join("changed.safetensors");
    fs::write(&path, bytes).unwrap();
    let output = inspect(&path);
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains(" tensors, "));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("changed.safetensors: it was changed since it was written"), "{said}");
}

#[test]
fn files_that_are_not_whole_are_errors() {
    let folder = Folder::new("inspect-hostile");
    let w = |shape: &str, from: u64, to: u64| {
        format!(r#""w":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let header = |inner: &str| format!("{{{inner}}}");
    let whole = header(&w("[1]", 0, 4));
    let rows = [
        ("empty", Vec::new()),
        ("short", vec![1, 2, 3]),
        ("length", u64::MAX.to_le_bytes().to_vec()),
        ("long", 100_000_001_u64.to_le_bytes().to_vec()),
        ("beyond", [&9_u64.to_le_bytes()[..], b"{}"].concat()),
        ("json", file("{", &[])),
        ("text", file("\u{fffd}", &[])),
        ("cut", file(&whole, &[0; 3])),
        ("more", file(&whole, &[0; 5])),
        ("shape", file(&header(&w("[2]", 0, 4)), &[0; 4])),
        ("huge", file(&header(&w("[4294967296,4294967296,4294967296]", 0, 4)), &[0; 4])),
        ("offset", file(&header(&w("[1]", 4, 8)), &[0; 8])),
        ("back", file(&header(&w("[1]", 4, 0)), &[0; 4])),
        ("twice", file(&header(&format!("{},{}", w("[1]", 0, 4), w("[1]", 0, 4))), &[0; 4])),
        ("deep", file(&"[".repeat(100_000), &[])),
        (
            "record",
            file(&header(&format!(r#""__metadata__":{{"gradus":"{{"}},{}"#, w("[1]", 0, 4))), &[0; 4]),
        ),
    ];
    for (name, bytes) in rows {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        let output = inspect(&path);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(&path.display().to_string()) && !said.contains("panicked"), "{name}: {said}");
    }
    for path in [folder.join("nowhere"), folder.to_path_buf()] {
        assert_eq!(inspect(&path).status.code(), Some(1));
    }
}
