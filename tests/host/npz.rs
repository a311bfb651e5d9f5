//! Archives of arrays: those that numpy wrote are read, and no others make the reader panic.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use gradus::Error;
use gradus::train::data::{Dataset, Values, npz};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::folder::Folder;

/// What numpy 2 wrote with `savez` and `savez_compressed`: `x`, 3 x 4 quarters as f8; `y`, the labels 2, 0 and 1 as i8;
/// `pixels`, 2 x 3 bytes in Fortran order.
const STORED: &[u8] = include_bytes!("numpy/stored.npz");
const DEFLATED: &[u8] = include_bytes!("numpy/deflated.npz");

/// A member of an archive that a test writes.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    pub(crate) sum: Option<u32>,
    pub(crate) unpacked: Option<u32>,
    pub(crate) large: bool,
}

impl Member {
    fn stored(name: &'static str, body: Vec<u8>) -> Self {
        Self { name, body, method: 0, flags: 0, sum: None, unpacked: None, large: false }
    }

    pub(crate) fn deflated(name: &'static str, body: Vec<u8>) -> Self {
        Self { method: 8, ..Self::stored(name, body) }
    }
}

/// An archive, with sizes of 64 bits for the members that want them.
pub(crate) fn zip(members: &[Member]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let packed = match member.method {
            8 => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&member.body).unwrap();
                encoder.finish().unwrap()
            }
            _ => member.body.clone(),
        };
        let sum = member.sum.unwrap_or_else(|| crc32fast::hash(&member.body));
        let unpacked = member.unpacked.unwrap_or(u32::try_from(member.body.len()).unwrap());
        let (packed_len, at) = (u32::try_from(packed.len()).unwrap(), u32::try_from(bytes.len()).unwrap());
        let [a, b, c] = if member.large { [u32::MAX; 3] } else { [unpacked, packed_len, at] };
        let numbers = [unpacked, packed_len, at].map(|number| u64::from(number).to_le_bytes()).concat();
        // Another field comes first.
        let extra = [&[7, 0, 2, 0, 9, 9][..], &[1, 0, 24, 0], &numbers].concat();
        let extra = if member.large { extra } else { Vec::new() };
        let halves = |numbers: &[usize]| {
            numbers.iter().flat_map(|n| u16::try_from(*n).unwrap().to_le_bytes()).collect::<Vec<_>>()
        };
        let common = [
            &[20, 0][..],
            &member.flags.to_le_bytes(),
            &member.method.to_le_bytes(),
            &[0; 4],
            &sum.to_le_bytes(),
            &b.to_le_bytes(),
            &a.to_le_bytes(),
        ]
        .concat();
        bytes.extend(
            [
                &b"PK\x03\x04"[..],
                &common,
                &halves(&[member.name.len(), 3]),
                member.name.as_bytes(),
                b"pad",
                &packed,
            ]
            .concat(),
        );
        directory.extend(
            [
                &b"PK\x01\x02\x14\x00"[..],
                &common,
                &halves(&[member.name.len(), extra.len(), 0, 0, 0]),
                &[0; 4],
                &c.to_le_bytes(),
                member.name.as_bytes(),
                &extra,
            ]
            .concat(),
        );
    }
    let (at, size) = (bytes.len() as u64, directory.len() as u64);
    bytes.extend(&directory);
    let count = members.len() as u64;
    if members.iter().any(|member| member.large) {
        let end = bytes.len() as u64;
        bytes.extend(
            [
                &b"PK\x06\x06"[..],
                &44_u64.to_le_bytes(),
                &[0; 12],
                &[count, count, size, at].map(u64::to_le_bytes).concat(),
            ]
            .concat(),
        );
        bytes.extend([&b"PK\x06\x07"[..], &[0; 4], &end.to_le_bytes(), &[1, 0, 0, 0]].concat());
        bytes.extend([&b"PK\x05\x06"[..], &[0; 4], &[0xff; 12], &[0; 2]].concat());
    } else {
        let short = |n: u64| u16::try_from(n).unwrap().to_le_bytes();
        let long = |n: u64| u32::try_from(n).unwrap().to_le_bytes();
        bytes.extend(
            [&b"PK\x05\x06"[..], &[0; 4], &short(count), &short(count), &long(size), &long(at), &[0; 2]]
                .concat(),
        );
    }
    bytes
}

/// An array of bytes.
pub(crate) fn array(values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({},), }}", values.len());
    let size = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &size[..], header.as_bytes(), values].concat()
}

fn read(folder: &Folder, bytes: &[u8]) -> Result<usize, Error> {
    let path = folder.join("x.npz");
    fs::write(&path, bytes).unwrap();
    Ok(npz::read(path)?.len())
}

fn message(folder: &Folder, bytes: &[u8]) -> String {
    let text =
        read(folder, bytes).map_or_else(|error| error.to_string(), |arrays| format!("{arrays} arrays"));
    text.replace(&folder.display().to_string(), "DIR").replace('\\', "/")
}

#[test]
fn archives_of_numpy_are_read() {
    let folder = Folder::new("npz");
    let path = folder.join("numpy.npz");
    for bytes in [STORED, DEFLATED] {
        fs::write(&path, bytes).unwrap();
        let mut file = npz::open(&path).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["x", "y", "pixels"]);
        let x = file.read("x").unwrap();
        assert_eq!(
            (x.shape, x.values),
            (vec![3, 4], Values::F32((0..12_u8).map(|at| f32::from(at) / 4.0).collect()))
        );
        let y = file.read("y").unwrap();
        assert_eq!((&y.shape[..], y.labels().unwrap()), (&[3][..], vec![2, 0, 1]));
        assert_eq!(file.open("pixels").unwrap().shape(), [2, 3]);
        assert_eq!(file.read("pixels").unwrap().values, Values::U8((0..6).collect()));
        assert_eq!(npz::read(&path).unwrap().keys().collect::<Vec<_>>(), ["pixels", "x", "y"]);
        let error = file.read("pixel").unwrap_err().to_string().replace(&path.display().to_string(), "FILE");
        assert_eq!(error, "unknown array of FILE \"pixel\", did you mean \"pixels\"?; known: x, y, pixels");
    }
    let x = npz::open(&path).unwrap().read("x").unwrap();
    let data = Dataset::regression(x.values, &[4], vec![0.5, 1.5, 2.5], &[]).unwrap();
    assert_eq!(data.len(), 3);
}

#[test]
fn archives_with_sizes_of_64_bits_and_with_comments_are_read() {
    let folder = Folder::new("npz_large");
    let member = |name| Member { large: true, ..Member::deflated(name, array(&[1, 2, 3])) };
    assert_eq!(message(&folder, &zip(&[member("a.npy"), member("b.npy")])), "2 arrays");
    let mut commented = zip(&[Member::stored("a.npy", array(&[1]))]);
    let at = commented.len() - 2;
    commented[at..].copy_from_slice(&7_u16.to_le_bytes());
    commented.extend(b"comment");
    assert_eq!(message(&folder, &commented), "1 arrays");
    // What is no array is left out, and of two with one name the last is read.
    let two = [
        Member::stored("a.txt", vec![1]),
        Member::stored("a.npy", array(&[1])),
        Member::stored("a.npy", array(&[2])),
    ];
    fs::write(folder.join("two.npz"), zip(&two)).unwrap();
    assert_eq!(npz::read(folder.join("two.npz")).unwrap()["a"].values, Values::U8(vec![2]));
    assert_eq!(message(&folder, &zip(&[])), "0 arrays");
}

#[test]
fn a_file_that_is_refused_says_which_member_and_why() {
    let folder = Folder::new("npz_refused");
    let one = |change: fn(&mut Member)| {
        let mut member = Member::deflated("a.npy", array(&[1, 2, 3]));
        change(&mut member);
        zip(&[member])
    };
    let whole = one(|_| ());
    let mut moved = whole.clone();
    moved[0] = b'Q';
    let mut directory = whole.clone();
    let end = whole.len() - 22;
    let entry = whole.windows(4).position(|at| at == b"PK\x01\x02").unwrap();
    directory[entry] = b'Q';
    let mut counts = whole.clone();
    counts[end + 10] = 2;
    let cases = [
        (b"".to_vec(), "DIR/x.npz: is not a zip archive, or is cut short: there is no end record"),
        (
            whole[..whole.len() - 1].to_vec(),
            "DIR/x.npz: is not a zip archive, or is cut short: there is no end record",
        ),
        (
            whole[5..].to_vec(),
            "DIR/x.npz: member 0: damaged: no record of a zip archive at its place, but [00, 14, 00, 00]",
        ),
        (
            directory,
            "DIR/x.npz: member 0: damaged: no record of a zip archive at its place, but [51, 4b, 01, 02]",
        ),
        (counts, "DIR/x.npz: damaged: a directory of 2 members, 51 bytes at "),
        (moved, "DIR/x.npz/a.npy: damaged: no record of a zip archive at its place, but [51, 4b, 03, 04]"),
        (one(|member| member.flags = 1), "DIR/x.npz/a.npy: is encrypted"),
        (
            one(|member| member.method = 12),
            "DIR/x.npz/a.npy: compression: must be 0 (none) or 8 (deflate), got 12",
        ),
        (
            one(|member| member.sum = Some(7)),
            "DIR/x.npz/a.npy: damaged, or has extra bytes, after the values: its checksum is ",
        ),
        (one(|member| member.unpacked = Some(u32::MAX - 1)), "DIR/x.npz/a.npy: damaged: "),
        (one(|member| (member.method, member.unpacked) = (0, Some(3))), "DIR/x.npz/a.npy: damaged: "),
        (one(|member| member.unpacked = Some(60)), "DIR/x.npz/a.npy: header: truncated"),
        (
            one(|member| member.body = b"text".to_vec()),
            "DIR/x.npz/a.npy: magic number: truncated, 4 of 6 bytes",
        ),
        (one(|member| member.body.push(0)), "DIR/x.npz/a.npy: has extra bytes after the values"),
    ];
    for (bytes, expected) in cases {
        let got = message(&folder, &bytes);
        assert!(got.starts_with(expected), "{got}\n{expected}");
    }
    assert!(matches!(npz::open(Path::new("no such file")), Err(Error::File { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_archives_are_read_or_refused(
        which in 0..3_usize, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(), cuts in any::<bool>()
    ) {
        let folder = Folder::new("npz_damaged");
        let large = zip(&[Member { large: true, ..Member::deflated("a.npy", array(&[1, 2, 3])) }]);
        let mut bytes = [STORED, DEFLATED, &large][which].to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Err(error) = read(&folder, &bytes) {
            let is_about_the_file = matches!(error, Error::File { .. } | Error::UnknownName { .. });
            prop_assert!(is_about_the_file, "{}", error);
        }
    }
}
