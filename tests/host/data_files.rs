//! What is written is read again, and no damage to a file makes its reader panic.

use std::fs;
use std::path::Path;

use gradus::train::data::idx::{self, Images, Part};
use gradus::train::data::{Values, npy};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::folder::Folder;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 64,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn images(sizes: [usize; 4], seed: u64) -> Images {
    let count = sizes.iter().product::<usize>() as u64;
    let pixels = (0..count).map(|at| (at * 37 + seed * 101).to_le_bytes()[0]).collect();
    Images { shape: [sizes[1], sizes[2], sizes[3]], pixels }
}

fn sizes() -> impl Strategy<Value = [usize; 4]> {
    [1..5_usize, 1..4_usize, 1..7_usize, 1..7_usize]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn images_come_back(sizes in sizes(), seed in 0..1000_u64) {
        let dir = Folder::new("images_come_back");
        let images = images(sizes, seed);
        for name in ["images", "images.gz"] {
            idx::write_images(dir.join(name), &images).unwrap();
            prop_assert_eq!(&idx::read_images(dir.join(name)).unwrap(), &images);
        }
    }

    #[test]
    fn labels_come_back(labels in prop::collection::vec(any::<u8>(), 1..300)) {
        let dir = Folder::new("labels_come_back");
        for name in ["labels", "labels.gz"] {
            idx::write_labels(dir.join(name), &labels).unwrap();
            prop_assert_eq!(&idx::read_labels(dir.join(name)).unwrap(), &labels);
        }
    }

    #[test]
    fn arrays_come_back(shape in prop::collection::vec(0..5_usize, 0..5), bits in any::<u32>()) {
        let dir = Folder::new("arrays_come_back");
        let words = (0..).map(|at: u32| bits.wrapping_mul(2 * at + 1)).take(shape.iter().product());
        let words: Vec<u32> = words.collect();

        let numbers: Vec<f32> = words.iter().map(|&word| f32::from_bits(word)).collect();
        npy::write(dir.join("f4.npy"), &shape, &numbers).unwrap();
        let array = npy::read(dir.join("f4.npy")).unwrap();
        prop_assert_eq!(&array.shape, &shape);
        let Values::F32(read) = array.values else { panic!("f4 is f32") };
        prop_assert_eq!(read.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), words.clone());

        let bytes: Vec<u8> = words.iter().map(|word| word.to_le_bytes()[3]).collect();
        npy::write(dir.join("u1.npy"), &shape, &bytes).unwrap();
        prop_assert_eq!(npy::read(dir.join("u1.npy")).unwrap(), npy::Array {
            shape: shape.clone(), values: bytes.into()
        });

        let small: Vec<u32> = words.iter().map(|word| word >> 8).collect();
        npy::write(dir.join("u4.npy"), &shape, &small).unwrap();
        let numbers: Vec<f32> = small.iter().map(|&word| word as f32).collect();
        prop_assert_eq!(npy::read(dir.join("u4.npy")).unwrap(), npy::Array { shape, values: numbers.into() });
    }

    #[test]
    fn damage_never_panics_and_what_is_cut_is_refused(
        sizes in sizes(), seed in 0..1000_u64, at in any::<prop::sample::Index>(), bit in 0..8_u32,
    ) {
        let dir = Folder::new("damage");
        let images = images(sizes, seed);
        let labels = &images.pixels;
        idx::write_images(dir.join("images"), &images).unwrap();
        idx::write_images(dir.join("images.gz"), &images).unwrap();
        idx::write_labels(dir.join("labels"), labels).unwrap();
        npy::write(dir.join("array.npy"), &[labels.len()], labels).unwrap();
        let read = |path: &Path| {
            let (images, labels) = (idx::read_images(path).is_ok(), idx::read_labels(path).is_ok());
            images || labels || npy::read(path).is_ok()
        };
        for name in ["images", "images.gz", "labels", "array.npy"] {
            let whole = fs::read(dir.join(name)).unwrap();
            let at = at.index(whole.len());
            let path = dir.join("damaged").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &whole[..at]).unwrap();
            prop_assert!(!read(&path), "{} cut at {}", name, at);
            let mut flipped = whole.clone();
            flipped[at] ^= 1_u8 << bit;
            fs::write(&path, flipped).unwrap();
            read(&path);
        }
    }
}

#[test]
fn a_folder_is_read_as_two_data_sets_of_one_number_of_classes() {
    let dir = Folder::new("a_folder");
    let all = images([5, 1, 3, 2], 7);
    let (train, test) = all.pixels.split_at(3 * 6);
    let part = |pixels: &[u8]| Images { shape: all.shape, pixels: pixels.to_vec() };
    idx::write_images(dir.join("train-images-idx3-ubyte.gz"), &part(train)).unwrap();
    idx::write_labels(dir.join("train-labels.idx1-ubyte"), &[0, 4, 1]).unwrap();
    idx::write_images(dir.join("t10k-images.idx3-ubyte.gz"), &part(test)).unwrap();
    idx::write_labels(dir.join("t10k-labels-idx1-ubyte.gz"), &[2, 6]).unwrap();

    let (a, b) = idx::read_dir(&dir).unwrap();
    assert_eq!((a.values(), b.values()), (&Values::U8(train.to_vec()), &Values::U8(test.to_vec())));
    assert_eq!((a.y(), b.y()), (&[0, 4, 1][..], &[2, 6][..]));
    assert_eq!((a.n_classes(), b.n_classes(), a.shape()), (7, 7, &[1, 3, 2][..]));
    assert_eq!(idx::read(&dir, Part::Train, 7).unwrap(), a);
    assert_eq!(idx::read(&dir, Part::Test, 7).unwrap(), b);

    // Each of these names comes before the one that was there.
    for (at, name) in ["train-labels.idx1-ubyte.gz", "train-labels.idx1-ubyte", "train-labels-idx1-ubyte"]
        .into_iter()
        .enumerate()
    {
        let label = u8::try_from(at).unwrap();
        idx::write_labels(dir.join(name), &[label; 3]).unwrap();
        let _ = fs::remove_file(dir.join(if at == 0 { "train-labels.idx1-ubyte" } else { "none" }));
        assert_eq!(idx::read(&dir, Part::Train, 7).unwrap().y(), [u32::from(label); 3], "{name}");
    }
}

#[test]
fn images_may_have_channels() {
    let dir = Folder::new("channels");
    let images = images([2, 3, 4, 5], 0);
    idx::write_images(dir.join("train-images-idx4-ubyte"), &images).unwrap();
    idx::write_labels(dir.join("train-labels-idx1-ubyte"), &[0, 1]).unwrap();
    let data = idx::read(&dir, Part::Train, 2).unwrap();
    assert_eq!((data.shape(), data.channels()), (&[3, 4, 5][..], 3));
    assert_eq!(data.values(), &Values::U8(images.pixels));
}

/// More than are turned into bytes at a time, and a failed save leaves the earlier file.
#[test]
fn data_files_are_whole_whatever_happens_to_their_writer() {
    let dir = Folder::new("whole_data");
    for count in [(1 << 14) - 1, 1 << 14, (1 << 15) + 1] {
        let words: Vec<u32> = (0..count).collect();
        npy::write(dir.join("x.npy.gz"), &[words.len()], &words).unwrap();
        let numbers: Vec<f32> = words.iter().map(|&word| word as f32).collect();
        assert_eq!(npy::read(dir.join("x.npy.gz")).unwrap().values, numbers.into());
    }
    #[cfg(unix)]
    {
        let precious = dir.join("precious");
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, dir.join("labels.partial")).unwrap();
        idx::write_labels(dir.join("labels"), &[1, 2, 3]).unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(idx::read_labels(dir.join("labels")).unwrap(), [1, 2, 3]);
    }
    let names = fs::read_dir(&*dir).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_type().unwrap().is_file()
            && entry.as_ref().unwrap().path().extension().is_some_and(|ending| ending == "partial")
    });
    assert_eq!(names.count(), 0);
}

/// A file of numpy's with this header.
fn npy_file(version: u8, header: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    let size = u32::try_from(header.len()).unwrap().to_le_bytes();
    bytes.extend(if version == 1 { &size[..2] } else { &size[..] });
    bytes.extend(header.bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn every_type_of_number_is_read() {
    let dir = Folder::new("every_type");
    let two = |bytes: [&[u8]; 2]| bytes.concat();
    let rows = [
        ("|b1", vec![0, 2], Values::U8(vec![0, 1])),
        ("|u1", vec![7, 255], Values::U8(vec![7, 255])),
        ("|i1", vec![7, 255], Values::F32(vec![7.0, -1.0])),
        ("<i2", two([&(-300_i16).to_le_bytes(), &[1, 0]]), Values::F32(vec![-300.0, 1.0])),
        (">i2", two([&(-300_i16).to_be_bytes(), &[0, 1]]), Values::F32(vec![-300.0, 1.0])),
        ("<u2", vec![255, 255, 1, 0], Values::F32(vec![65535.0, 1.0])),
        (
            "<i4",
            two([&i32::MIN.to_le_bytes(), &(-16_777_216_i32).to_le_bytes()]),
            Values::F32(vec![-2_147_483_648.0, -16_777_216.0]),
        ),
        ("<u4", two([&(1_u32 << 31).to_le_bytes(), &[3, 0, 0, 0]]), Values::F32(vec![2_147_483_648.0, 3.0])),
        (
            ">i8",
            two([&i64::MIN.to_be_bytes(), &[0; 8]]),
            Values::F32(vec![-9_223_372_036_854_775_808.0, 0.0]),
        ),
        (
            "<u8",
            two([&(1_u64 << 63).to_le_bytes(), &[0; 8]]),
            Values::F32(vec![9_223_372_036_854_775_808.0, 0.0]),
        ),
        (
            ">f4",
            two([&1.5_f32.to_be_bytes(), &f32::MIN_POSITIVE.to_be_bytes()]),
            Values::F32(vec![1.5, f32::MIN_POSITIVE]),
        ),
        (
            "<f8",
            two([&0.1_f64.to_le_bytes(), &f64::INFINITY.to_le_bytes()]),
            Values::F32(vec![0.1, f32::INFINITY]),
        ),
        (">f8", two([&0.1_f64.to_be_bytes(), &1e-300_f64.to_be_bytes()]), Values::F32(vec![0.1, 0.0])),
    ];
    for (descr, body, values) in rows {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}  \n");
        for version in [1, 2, 3] {
            fs::write(dir.join("x.npy"), npy_file(version, &header, &body)).unwrap();
            let array = npy::read(dir.join("x.npy")).unwrap();
            assert_eq!(array, npy::Array { shape: vec![2], values: values.clone() }, "{descr}");
        }
    }
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n";
    fs::write(dir.join("x.npy"), npy_file(1, header, &f32::NAN.to_le_bytes())).unwrap();
    let array = npy::read(dir.join("x.npy")).unwrap();
    assert!(array.shape.is_empty());
    assert!(matches!(&array.values, Values::F32(values) if values.len() == 1 && values[0].is_nan()));
}

/// numpy's reader takes them too.
#[test]
fn dimensions_may_be_long_integers_of_python_2() {
    let dir = Folder::new("long_integers");
    let path = dir.join("x.npy");
    let body: Vec<u8> = (0..6_u8).collect();
    for shape in ["(2L, 3L)", "(2L, 3)", "(2, 3L)", "(2L,3L,)"] {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n");
        fs::write(&path, npy_file(1, &header, &body)).unwrap();
        let array = npy::read(&path).unwrap();
        assert_eq!(array, npy::Array { shape: vec![2, 3], values: Values::U8(body.clone()) }, "{shape}");
    }
    for shape in ["(L, 6)", "(6LL,)", "(L6,)"] {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n");
        fs::write(&path, npy_file(1, &header, &body)).unwrap();
        assert!(npy::read(&path).unwrap_err().to_string().contains("header: "), "{shape}");
    }
}

/// Without elements too: what is written can be read.
#[test]
fn a_shape_that_cannot_be_held_is_not_written() {
    let dir = Folder::new("cannot_be_held");
    let path = dir.join("x.npy");
    let half = usize::MAX / 8 + 1;
    for shape in [[0, usize::MAX, 2], [usize::MAX, 2, 0], [usize::MAX, 0, 2], [0, half, 1], [half, 1, 0]] {
        assert!(npy::write(&path, &shape, &[] as &[f32]).is_err(), "{shape:?}");
    }
    for shape in [[0, half - 1, 1], [half - 1, 1, 0], [0, 0, 0]] {
        npy::write(&path, &shape, &[] as &[f32]).unwrap();
        assert_eq!(npy::read(&path).unwrap().shape, shape);
    }
}

#[test]
fn fortran_order_is_turned_into_c_order() {
    let dir = Folder::new("fortran");
    // The element at [i, j, k] is 12 i + 4 j + k, and i runs fastest in the file.
    let mut body = Vec::new();
    for k in 0..4_u8 {
        for j in 0..3 {
            body.extend([4 * j + k, 12 + 4 * j + k]);
        }
    }
    let header = "{'shape': (2, 3, 4), 'fortran_order': True, 'descr': '|u1'}";
    fs::write(dir.join("x.npy"), npy_file(1, header, &body)).unwrap();
    let array = npy::read(dir.join("x.npy")).unwrap();
    assert_eq!(array, npy::Array { shape: vec![2, 3, 4], values: Values::U8((0..24).collect()) });
}

#[test]
fn fortran_order_of_any_shape_is_turned_into_c_order() {
    let dir = Folder::new("fortran_shapes");
    for shape in [vec![], vec![1], vec![7], vec![1, 5], vec![5, 1], vec![3, 2, 1, 4], vec![2, 1, 3, 2, 2]] {
        let count: usize = shape.iter().product();
        // Where in the file the element lies that is the `at`-th in C order.
        let place = |mut at: usize| {
            let mut index = vec![0; shape.len()];
            for dimension in (0..shape.len()).rev() {
                index[dimension] = at % shape[dimension];
                at /= shape[dimension];
            }
            shape.iter().zip(index).rev().fold(0, |place, (extent, index)| place * extent + index)
        };
        let mut body = vec![0; count];
        (0..count).for_each(|at| body[place(at)] = u8::try_from(at).unwrap());
        let text = shape.iter().map(|extent| format!("{extent},")).collect::<String>();
        let header = format!("{{'descr': '|u1', 'fortran_order': True, 'shape': ({text})}}");
        fs::write(dir.join("x.npy"), npy_file(1, &header, &body)).unwrap();
        let values = Values::U8((0..u8::try_from(count).unwrap()).collect());
        assert_eq!(npy::read(dir.join("x.npy")).unwrap(), npy::Array { shape, values });
    }
}

#[test]
fn an_array_is_written_as_numpy_writes_it() {
    let dir = Folder::new("as_numpy");
    let rows = [(&[2, 3][..], "(2, 3)"), (&[6], "(6,)"), (&[1, 1, 6], "(1, 1, 6)")];
    for (shape, text) in rows {
        npy::write(dir.join("x.npy"), shape, &[0_u32, 1, 2, 3, 4, 5]).unwrap();
        let mut header = format!("{{'descr': '<u4', 'fortran_order': False, 'shape': {text}, }}");
        header = format!("{header:<117}\n");
        let body: Vec<u8> = (0..6_u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(fs::read(dir.join("x.npy")).unwrap(), npy_file(1, &header, &body));
    }
}
