//! No file makes its reader take more memory or time than what the file holds is worth.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use gradus::train::data::idx::{self, Part};
use gradus::train::data::{Csv, Values, npy, npz};

use crate::folder::Folder;
#[cfg(target_os = "linux")]
use crate::npz::{Member, array, zip};

const FOLDER: &str = "GRADUS_TEST_FOLDER";

fn npy_file(descr: &str, fortran_order: bool, shape: &str) -> Vec<u8> {
    let order = if fortran_order { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    let size = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &size[..], header.as_bytes()].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A gzip stream of `head` and of 4 GiB of zeros.
fn bomb(head: &[u8]) -> Vec<u8> {
    let zeros = gzip(&vec![0; 64 << 20]);
    let mut bytes = gzip(head);
    for _ in 0..64 {
        bytes.extend(&zeros);
    }
    bytes
}

fn idx_header(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// A shell's limit on memory, so that what asks for more ends the process.
#[cfg(target_os = "linux")]
#[test]
fn files_that_claim_or_hold_too_much_are_read_or_refused_in_little_memory() {
    let folder = Folder::new("bounds");
    let inner = |command: &mut Command| {
        command.args(["data_bounds::reads_in_little_memory", "--exact", "--ignored", "--nocapture"]);
    };
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 700000; exec \"$@\"", "sh"]).arg(std::env::current_exe().unwrap());
    inner(&mut command);
    let output =
        command.env(FOLDER, folder.as_os_str()).stdin(Stdio::null()).env("RUST_BACKTRACE", "0").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(folder.join("done").exists());
}

#[test]
#[ignore = "runs in a process of its own, for another test"]
fn reads_in_little_memory() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    arrays_without_elements(&folder);
    files_that_claim_too_much(&folder);
    files_that_hold_too_much(&folder);
    #[cfg(target_os = "linux")]
    tables_and_archives(&folder);
    fs::write(folder.join("done"), "").unwrap();
}

fn arrays_without_elements(folder: &Path) {
    let path = folder.join("x.npy");
    let shapes = [
        ("(1099511627776, 0)", vec![1 << 40, 0]),
        ("(0, 1099511627776)", vec![0, 1 << 40]),
        ("(100000000, 0)", vec![100_000_000, 0]),
        ("(100000, 100000, 0, 100000)", vec![100_000, 100_000, 0, 100_000]),
        ("(0,)", vec![0]),
    ];
    for (text, shape) in shapes {
        for fortran_order in [false, true] {
            for (descr, values) in
                [("<f4", Values::F32(vec![])), ("|u1", Values::U8(vec![])), ("<i8", Values::F32(vec![]))]
            {
                fs::write(&path, npy_file(descr, fortran_order, text)).unwrap();
                assert_eq!(npy::read(&path).unwrap(), npy::Array { shape: shape.clone(), values });
            }
        }
    }
    // As numpy has it, the order of the dimensions does not matter.
    for shape in ["(4611686018427387904, 4, 0)", "(0, 4611686018427387904, 4)", "(0, 2305843009213693952)"] {
        fs::write(&path, npy_file("<f4", true, shape)).unwrap();
        let error = npy::read(&path).unwrap_err().to_string();
        assert!(error.ends_with(" cannot fit in memory"), "{error}");
    }
}

fn files_that_claim_too_much(folder: &Path) {
    let claims = [
        ("x.npy", npy_file("<f4", true, "(1000000, 1000000)")),
        ("x.npy.gz", gzip(&npy_file("<f4", true, "(1000000, 1000000)"))),
        ("x", idx_header(&[0x803, u32::MAX, 60_000, 60_000])),
        ("x.gz", gzip(&idx_header(&[0x803, u32::MAX, 60_000, 60_000]))),
        ("y", idx_header(&[0x801, u32::MAX])),
        ("y.gz", gzip(&idx_header(&[0x801, u32::MAX]))),
    ];
    for (name, bytes) in claims {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        let error = match name.split_once('.') {
            Some(("x", ending)) if ending.starts_with("npy") => npy::read(&path).map(drop),
            _ if name.starts_with('x') => idx::read_images(&path).map(drop),
            _ => idx::read_labels(&path).map(drop),
        };
        let error = error.unwrap_err().to_string();
        assert!(error.contains(": truncated, "), "{error}");
    }
}

fn files_that_hold_too_much(folder: &Path) {
    let refused = |result: Result<(), gradus::Error>, reason: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.ends_with(reason), "{error}");
    };
    let path = folder.join("x.gz");
    fs::write(&path, bomb(&idx_header(&[0x803, 2, 1, 1]))).unwrap();
    refused(idx::read_images(&path).map(drop), "has extra bytes after the images");
    fs::write(&path, bomb(b"PK\x03\x04")).unwrap();
    refused(idx::read_images(&path).map(drop), "images have 0x00000803 or 0x00000804, got 0x504b0304");
    let path = folder.join("x.npy.gz");
    fs::write(&path, bomb(&npy_file("|u1", false, "(10,)"))).unwrap();
    refused(npy::read(&path).map(drop), "has extra bytes after the values");
    // What it holds is what it says: the shape is told before.
    fs::write(&path, bomb(&npy_file("|u1", false, "(4294967296,)"))).unwrap();
    assert_eq!(npy::open(&path).unwrap().shape(), [1 << 32]);
    refused(npy::read(&path).map(drop), "values: there is no memory for 4294967296 bytes");

    // Headers are compared before anything else is read, within a set and between sets.
    let dir = folder.join("sets");
    fs::create_dir(&dir).unwrap();
    let write = |name: &str, bytes: Vec<u8>| fs::write(dir.join(name), bytes).unwrap();
    write("train-images-idx3-ubyte", [idx_header(&[0x803, 2, 1, 1]), vec![1, 2]].concat());
    write("train-labels-idx1-ubyte.gz", bomb(&idx_header(&[0x801, u32::MAX])));
    let counts = "4294967295 labels, but 2 images in ";
    let error = idx::read(&dir, Part::Train, 10).unwrap_err().to_string();
    assert!(error.contains(counts), "{error}");
    fs::remove_file(dir.join("train-labels-idx1-ubyte.gz")).unwrap();
    write("train-labels-idx1-ubyte", [idx_header(&[0x801, 2]), vec![0, 1]].concat());
    write("t10k-images-idx3-ubyte.gz", bomb(&idx_header(&[0x803, 1 << 16, 1 << 8, 1 << 8])));
    write("t10k-labels-idx1-ubyte", [idx_header(&[0x801, 1 << 16]), vec![0; 1 << 16]].concat());
    refused(
        idx::read_dir(&dir).map(drop),
        "test images of shape [1, 256, 256], but training images of [1, 1, 1]",
    );
}

/// How much memory `read` takes beyond what was in use, in bytes.
#[cfg(target_os = "linux")]
fn peak<T>(read: impl FnOnce() -> T) -> (usize, T) {
    let of = |line: &str| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|of| of.strip_prefix(line)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    };
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = of("VmRSS:");
    let result = read();
    (of("VmHWM:").saturating_sub(before), result)
}

#[cfg(target_os = "linux")]
fn tables_and_archives(folder: &Path) {
    // What a process may take for buffers, and for pages that it had not yet touched.
    const SMALL: usize = 2 << 20;
    let bounded = |what: &str, file: &[u8], table: &Csv, reason: &str| {
        let path = folder.join("table.csv");
        fs::write(&path, file).unwrap();
        let (taken, result) = peak(|| table.read(&path).map(|data| data.len()));
        let result = result.map_or_else(|error| error.to_string(), |rows| format!("{rows} rows"));
        assert!(result.ends_with(reason), "{what}: {result}");
        assert!(taken < 4 * file.len() + SMALL, "{what}: {taken} bytes for a file of {}", file.len());
    };
    let (plain, named) = (Csv::new().header(false), Csv::new());
    // The shortest numbers, holes only, one long line, one long field, many names, and many rows with few fields.
    bounded("digits", &b"1,2\n".repeat(1 << 20), &plain, "1048576 rows");
    bounded("holes", &b",,,\n".repeat(1 << 20), &plain, "column 0: is empty");
    bounded("commas", &vec![b','; 4 << 20], &plain, "has more than 65536 fields");
    bounded(
        "a long field",
        &vec![b'1'; 4 << 20],
        &plain.clone().targets(Vec::<usize>::new()),
        "columns are left for the targets, of 1",
    );
    bounded("names", &vec![b','; 4 << 20], &named, "has more than 65536 fields");
    let wide = [&vec![b','; 65_535][..], b"\n", &b"1\n".repeat(1 << 20)].concat();
    bounded("few fields", &wide, &named, "has 1 fields, but the header has 65536");

    let path = folder.join("x.npz");
    // Members that are only listed, and one that holds more than it says.
    let many: Vec<Member> = vec![Member::deflated("a.npy", array(&[1])); 60_000];
    let bytes = zip(&many);
    fs::write(&path, &bytes).unwrap();
    let (taken, names) = peak(|| npz::open(&path).unwrap().names().count());
    assert_eq!(names, 60_000);
    assert!(taken < 4 * bytes.len() + SMALL, "{taken} bytes for an archive of {}", bytes.len());
    let body = [array(&[1]), vec![0; 256 << 20]].concat();
    let size = u32::try_from(array(&[1]).len()).unwrap();
    fs::write(&path, zip(&[Member { unpacked: Some(size), ..Member::deflated("a.npy", body) }])).unwrap();
    let (taken, error) = peak(|| npz::read(&path).unwrap_err().to_string());
    assert!(error.ends_with("has extra bytes after the values"), "{error}");
    assert!(taken < SMALL, "{taken} bytes");
}
