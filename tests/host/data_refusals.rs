//! Files that are refused, and what is said of each.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use gradus::Error;
use gradus::train::data::idx::{self, Images, Part};
use gradus::train::data::npy;

use crate::folder::Folder;

const IMAGES: u32 = 0x803;
const LABELS: u32 = 0x801;

fn idx_file(numbers: &[u32], body: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    bytes.extend(body);
    bytes
}

fn npy_file(header: &str, body: &[u8]) -> Vec<u8> {
    let size = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &size[..], header.as_bytes(), body].concat()
}

fn array(descr: &str, shape: &str, body: &[u8]) -> Vec<u8> {
    npy_file(&format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"), body)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The message, with paths inside of `dir`.
fn message<T>(result: Result<T, Error>, dir: &Path) -> String {
    let Err(error) = result else { return "nothing".into() };
    error.to_string().replace(&dir.display().to_string(), "DIR").replace('\\', "/")
}

#[test]
fn a_file_that_is_refused_says_where_and_why() {
    type Read = fn(&Path) -> Result<(), Error>;
    let images: Read = |path| idx::read_images(path).map(drop);
    let labels: Read = |path| idx::read_labels(path).map(drop);
    let numpy: Read = |path| npy::read(path).map(drop);
    let whole = idx_file(&[IMAGES, 1, 2, 2], &[1, 2, 3, 4]);
    let packed = gzip(&whole);
    let cut = |bytes: &[u8], by: usize| bytes[..bytes.len() - by].to_vec();
    let more = |bytes: &[u8]| [bytes, b"garbage"].concat();
    let mut wrong_sum = packed.clone();
    let at = wrong_sum.len() - 8;
    wrong_sum[at] ^= 1;
    let rows = [
        ("x", images, vec![], "magic number: truncated, 0 of 4 bytes"),
        (
            "x",
            images,
            idx_file(&[LABELS, 1], &[0]),
            "magic number: images have 0x00000803 or 0x00000804, got 0x00000801",
        ),
        ("x", labels, whole.clone(), "magic number: labels have 0x00000801, got 0x00000803"),
        (
            "x",
            images,
            idx_file(&[0xd03, 1, 1, 1], &[0; 4]),
            "magic number: images have 0x00000803 or 0x00000804, got 0x00000d03",
        ),
        ("x", labels, packed.clone(), "magic number: labels have 0x00000801, got 0x1f8b0800"),
        ("x", images, cut(&idx_file(&[IMAGES, 1, 2], &[]), 1), "height: truncated, 3 of 4 bytes"),
        ("x", labels, idx_file(&[LABELS], &[]), "number of labels: truncated, 0 of 4 bytes"),
        ("x", images, idx_file(&[IMAGES, 0, 2, 2], &[]), "number of images: must be at least 1, got 0"),
        ("x", images, idx_file(&[IMAGES, 1, 0, 2], &[]), "height: must be at least 1, got 0"),
        ("x", images, idx_file(&[0x804, 1, 0, 2, 2], &[]), "number of channels: must be at least 1, got 0"),
        ("x", labels, idx_file(&[LABELS, 0], &[]), "number of labels: must be at least 1, got 0"),
        ("x", images, cut(&whole, 1), "images: truncated, 3 of 4 bytes"),
        ("x", images, more(&whole), "has extra bytes after the images"),
        ("x", labels, idx_file(&[LABELS, 2], &[0; 3]), "has extra bytes after the labels"),
        (
            "x",
            images,
            idx_file(&[IMAGES, u32::MAX, u32::MAX, 2], &[1]),
            "images of sizes [4294967295, 4294967295, 2] cannot fit in memory",
        ),
        // More than any machine could give, if it were asked for.
        (
            "x",
            images,
            idx_file(&[IMAGES, 1 << 31, 1 << 15, 1 << 15], &[1]),
            "images: truncated, 1 of 2305843009213693952 bytes",
        ),
        ("x.gz", images, whole.clone(), "magic number: invalid gzip header"),
        ("x.gz", images, cut(&packed, packed.len() - 12), "magic number: incomplete deflate stream"),
        (
            "x.gz",
            images,
            cut(&packed, 1),
            "damaged, or has extra bytes, after the images: unexpected end of file",
        ),
        (
            "x.gz",
            images,
            more(&packed),
            "damaged, or has extra bytes, after the images: unexpected end of file",
        ),
        (
            "x.gz",
            images,
            wrong_sum,
            "damaged, or has extra bytes, after the images: corrupt gzip stream does not have a matching checksum",
        ),
        ("x.gz", images, gzip(&cut(&whole, 1)), "images: truncated, 3 of 4 bytes"),
        ("x.gz", images, gzip(&[&whole[..], &[0; 1 << 22]].concat()), "has extra bytes after the images"),
        ("x.npy", numpy, b"\x93NUM".to_vec(), "magic number: truncated, 4 of 6 bytes"),
        ("x.npy", numpy, whole.clone(), "magic number: not that of an NPY file"),
        ("x.npy", numpy, b"\x93NUMPY\x04\x00".to_vec(), "version: must be 1, 2 or 3, got 4.0"),
        ("x.npy", numpy, b"\x93NUMPY\x01\x00\x01".to_vec(), "length of the header: truncated, 1 of 2 bytes"),
        (
            "x.npy",
            numpy,
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(),
            "length of the header: must be at most 65535, got 4294967295",
        ),
        ("x.npy", numpy, b"\x93NUMPY\x01\x00\x20\x00{'descr".to_vec(), "header: truncated, 7 of 32 bytes"),
        ("x.npy", numpy, npy_file("nonsense", &[]), "header: not a Python dictionary of plain values"),
        (
            "x.npy",
            numpy,
            npy_file("{'descr': '<f4', 'shape': (1,)}", &[0; 4]),
            "header: missing field `fortran_order`",
        ),
        (
            "x.npy",
            numpy,
            npy_file(&"(".repeat(60_000), &[]),
            "header: not a Python dictionary of plain values",
        ),
        ("x.npy", numpy, array("'<f4'", "(-1,)", &[]), "header: invalid value: integer `-1`, expected usize"),
        (
            "x.npy",
            numpy,
            array("'|O'", "(1,)", &[0; 8]),
            "descr: \"|O\" is not one of b1, u1, u2, u4, u8, i1, i2, i4, i8, f4, f8",
        ),
        (
            "x.npy",
            numpy,
            array("[('a', '<f4')]", "(1,)", &[0; 4]),
            "descr: [[\"a\",\"<f4\"]] is not one of b1, u1, u2, u4, u8, i1, i2, i4, i8, f4, f8",
        ),
        (
            "x.npy",
            numpy,
            array("'|f4'", "(1,)", &[0; 4]),
            "descr: \"|f4\" is not one of b1, u1, u2, u4, u8, i1, i2, i4, i8, f4, f8",
        ),
        (
            "x.npy",
            numpy,
            array("''", "(1,)", &[0; 4]),
            "descr: \"\" is not one of b1, u1, u2, u4, u8, i1, i2, i4, i8, f4, f8",
        ),
        (
            "x.npy",
            numpy,
            array("'<f4'", "(4611686018427387904, 4, 0)", &[]),
            "shape: [4611686018427387904, 4, 0] cannot fit in memory",
        ),
        (
            "x.npy",
            numpy,
            array("'<f8'", "(2305843009213693952,)", &[]),
            "shape: [2305843009213693952] cannot fit in memory",
        ),
        (
            "x.npy",
            numpy,
            array("'|u1'", "(2305843009213693952,)", &[5]),
            "values: truncated, 1 of 2305843009213693952 bytes",
        ),
        ("x.npy", numpy, array("'<f4'", "(2,)", &[0; 7]), "values: truncated, 7 of 8 bytes"),
        ("x.npy", numpy, array("'<f4'", "(2,)", &[0; 9]), "has extra bytes after the values"),
        (
            "x.npy",
            numpy,
            array("'<i4'", "(2,)", &[0, 0, 0, 0, 1, 0, 0, 1]),
            "value 1: 16777217 is not exact in f32",
        ),
        (
            "x.npy",
            numpy,
            array("'<u8'", "(1,)", &[255; 8]),
            "value 0: 18446744073709551615 is not exact in f32",
        ),
        (
            "x.npy",
            numpy,
            array("'<f8'", "(1,)", &1e300_f64.to_le_bytes()),
            "value 0: 1e300 is too large for f32",
        ),
    ];
    let dir = Folder::new("refused_files");
    for (name, read, bytes, reason) in rows {
        let path = dir.join(name);
        fs::write(&path, bytes).unwrap();
        assert_eq!(message(read(&path), &dir), format!("DIR/{name}: {reason}"));
        fs::remove_file(&path).unwrap();
        assert!(matches!(read(&path), Err(Error::File { .. })), "a missing {name} is refused");
    }
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    fs::write(dir.join(name), bytes).unwrap();
    dir.join(name)
}

#[test]
fn a_folder_that_is_refused_names_its_files() {
    let dir = Folder::new("refused_folders");
    let read = |part, n_classes| message(idx::read(&dir, part, n_classes), &dir);
    let both = || message(idx::read_dir(&dir), &dir);
    assert_eq!(
        both(),
        "DIR: holds none of train-images-idx3-ubyte, train-images.idx3-ubyte, train-images-idx4-ubyte, \
         train-images.idx4-ubyte, train-images-idx3-ubyte.gz, train-images.idx3-ubyte.gz, \
         train-images-idx4-ubyte.gz, train-images.idx4-ubyte.gz"
    );
    write(&dir, "train-images.idx3-ubyte", &idx_file(&[IMAGES, 2, 1, 1], &[0; 2]));
    assert_eq!(
        both(),
        "DIR: holds none of train-labels-idx1-ubyte, train-labels.idx1-ubyte, train-labels-idx1-ubyte.gz, \
         train-labels.idx1-ubyte.gz"
    );
    let labels = write(&dir, "train-labels-idx1-ubyte", &idx_file(&[LABELS, 3], &[0, 1, 2]));
    let counts = "DIR/train-labels-idx1-ubyte: 3 labels, but 2 images in DIR/train-images.idx3-ubyte";
    assert_eq!(both(), counts);
    idx::write_labels(labels, &[1, 5]).unwrap();
    assert_eq!(read(Part::Train, 5), "DIR/train-labels-idx1-ubyte: label 1 must be below 5, got 5");
    assert_eq!(read(Part::Train, 0), "DIR/train-labels-idx1-ubyte: label 0 must be below 0, got 1");
    assert_eq!(read(Part::Train, 6), "nothing");
    assert!(read(Part::Test, 6).starts_with("DIR: holds none of t10k-images-idx3-ubyte, "));
    assert_eq!(both(), read(Part::Test, 6));
    write(&dir, "t10k-images-idx3-ubyte", &idx_file(&[IMAGES, 1, 1, 2], &[0; 2]));
    write(&dir, "t10k-labels-idx1-ubyte", &idx_file(&[LABELS, 1], &[0]));
    assert_eq!(both(), "DIR: test images of shape [1, 1, 2], but training images of [1, 1, 1]");
}

#[test]
fn what_cannot_be_written_is_refused_before_it_is_written() {
    let dir = Folder::new("refused_writes");
    let path = dir.join("x");
    let images = |shape, pixels: usize| {
        message(idx::write_images(&path, &Images { shape, pixels: vec![0; pixels] }), &dir)
    };
    assert_eq!(images([1, 2, 2], 7), "images: 7 pixels are not one or more images of shape [1, 2, 2]");
    assert_eq!(images([1, 2, 2], 0), "images: 0 pixels are not one or more images of shape [1, 2, 2]");
    assert_eq!(images([1, 0, 2], 4), "images: 4 pixels are not one or more images of shape [1, 0, 2]");
    assert_eq!(
        images([usize::MAX, 2, 2], 4),
        "images: 4 pixels are not one or more images of shape [18446744073709551615, 2, 2]"
    );
    assert_eq!(message(idx::write_labels(&path, &[]), &dir), "labels: needs at least one");
    assert_eq!(
        message(npy::write(&path, &[2, 2], &[0.0_f32; 3]), &dir),
        "values of shape [2, 2]: expected 4 elements, got 3"
    );
    assert_eq!(
        message(npy::write(&path, &[1; 65], &[0_u8]), &dir),
        "the number of dimensions must be at most 64, got 65"
    );
    assert!(!path.exists());
    let nowhere = dir.join("nowhere").join("x");
    assert!(matches!(idx::write_labels(&nowhere, &[0]), Err(Error::File { .. })));
}
