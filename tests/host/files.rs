//! Files stay whole, whatever happens to the writer.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use gradus::train::files::{sweep, write_atomic};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::folder::Folder;

/// Tells a child process which folder to work in.
const FOLDER: &str = "GRADUS_TEST_FOLDER";

const MIB: usize = 1 << 20;

/// What lies in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// This binary again, to run one ignored test in `folder`.
fn again(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture"]);
    command.env(FOLDER, folder).stdout(Stdio::null());
    command
}

fn told_folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

#[test]
fn a_file_is_written_and_replaced() {
    let folder = Folder::new("replaced");
    let path = folder.join("run.json");
    for text in ["first, and longer", "second"] {
        write_atomic(&path, |file| write!(file, "{text}")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(names(&folder), ["run.json"]);
    }
}

#[test]
fn a_writer_that_fails_leaves_the_old_file_and_no_stray() {
    let folder = Folder::new("failing");
    let path = folder.join("run.bin");
    write_atomic(&path, |file| file.write_all(&[7; 5000])).unwrap();
    for written in [0, 1, 4096, 9999, 3 * MIB] {
        let result = write_atomic(&path, |file| {
            file.write_all(&vec![9; written])?;
            Err(io::Error::other("the source ran dry"))
        });
        let expected = format!("{}: the source ran dry", path.display());
        assert_eq!(result.unwrap_err().to_string(), expected);
        assert_eq!(fs::read(&path).unwrap(), [7; 5000]);
        assert_eq!(names(&folder), ["run.bin"]);
    }
    let panics = std::panic::catch_unwind(|| {
        write_atomic(&path, |file| {
            file.write_all(b"half").unwrap();
            std::panic::resume_unwind(Box::new("the writer gave up"))
        })
    });
    assert!(panics.is_err());
    assert_eq!(fs::read(&path).unwrap(), [7; 5000]);
    assert_eq!(names(&folder), ["run.bin"]);
}

#[test]
fn a_target_that_cannot_be_is_refused() {
    let folder = Folder::new("refused");
    fs::write(folder.join("file"), "a file").unwrap();
    fs::create_dir_all(folder.join("full/inner")).unwrap();
    let under_file = fs::metadata(folder.join("file/run.csv")).unwrap_err().to_string();
    let missing = fs::metadata(folder.join("missing/run.csv")).unwrap_err().to_string();
    for (target, reason) in [
        ("missing/run.csv", Some(missing)),
        ("file/run.csv", Some(under_file)),
        ("..", Some("it does not name a file".to_owned())),
        // Systems differ in what they call a folder that is in the way.
        ("full", None),
    ] {
        let path = folder.join(target);
        let error = write_atomic(&path, |file| file.write_all(b"new")).unwrap_err().to_string();
        match reason {
            Some(reason) => assert_eq!(error, format!("{}: {reason}", path.display())),
            None => assert!(error.starts_with(&format!("{}: ", path.display())), "{error}"),
        }
        assert_eq!(names(&folder), ["file", "full"]);
    }
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "a file");
    assert!(folder.join("full/inner").is_dir());
}

#[test]
fn a_sweep_takes_partial_files_of_its_targets_alone() {
    let folder = Folder::new("sweep");
    let files =
        ["run.bin", "run.bin.partial", "other.partial", ".partial", "run.bin.partial.gz", "run.partial"];
    for name in files {
        fs::write(folder.join(name), name).unwrap();
    }
    fs::create_dir(folder.join("run.csv.partial")).unwrap();
    let is_target = |name: &str| ["run.bin", "run.csv", "run"].contains(&name);
    assert_eq!(sweep(&folder, is_target), Ok(2));
    assert_eq!(
        names(&folder),
        [".partial", "other.partial", "run.bin", "run.bin.partial.gz", "run.csv.partial"]
    );
    assert_eq!(sweep(&folder, is_target), Ok(0));
    assert_eq!(sweep(folder.join("missing"), is_target), Ok(0));
    let path = folder.join("run.bin");
    let error = sweep(&path, is_target).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
}

/// A shell's limit on the size of files stands for a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_file_and_no_stray() {
    let folder = Folder::new("full");
    fs::write(folder.join("run.bin"), [7; 5000]).unwrap();
    let inner = again("files::writes_more_than_fits", &folder);
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env(FOLDER, folder.as_os_str())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(fs::read(folder.join("run.bin")).unwrap(), [7; 5000]);
    // The child writes it to say that it ran.
    assert_eq!(names(&folder), ["refused.txt", "run.bin"]);
}

#[test]
#[ignore = "runs in a process of its own, for another test"]
fn writes_more_than_fits() {
    let Some(folder) = told_folder() else { return };
    let path = folder.join("run.bin");
    let error = write_atomic(&path, |file| {
        let error = file.write_all(&vec![9; MIB]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        Err(error)
    });
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
    fs::write(folder.join("refused.txt"), error).unwrap();
}

/// What a child says after each save.
const SAVED: &str = "saved";

/// Bytes of a saved file, without and with its marker.
const SIZE: usize = 64 * MIB;
const WHOLE: usize = SIZE + 9;

/// A child that is killed and waited for, however the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_killed_process_leaves_a_whole_file() {
    let folder = Folder::new("killed");
    let (target, partial) = (folder.join("run.bin"), folder.join("run.bin.partial"));
    let mut rng = Pcg64::seed_from_u64(1);
    let (mut strays, mut saved) = (0, 0);
    for round in 0..20 {
        let saves = rng.random_range(0..3);
        // In every other round the bytes are all there, and the kill meets what follows them.
        let (enough, delay) = match round % 2 {
            0 => (rng.random_range(1..=SIZE as u64), 0),
            _ => (WHOLE as u64, rng.random_range(0..50_000)),
        };
        let mut command = again("files::saves_again_and_again", &folder);
        let mut child = Killed(command.stdout(Stdio::piped()).spawn().unwrap());
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let mut lines = lines.map(Result::unwrap).filter(|line| line.ends_with(SAVED));
        assert_eq!(lines.by_ref().take(saves).count(), saves, "the child ended by itself");
        while fs::metadata(&partial).map_or(0, |file| file.len()) < enough {
            assert_eq!(child.0.try_wait().unwrap(), None, "the child ended by itself");
            sleep(Duration::from_micros(200));
        }
        sleep(Duration::from_micros(delay));
        drop(child);
        match fs::read(&target) {
            Ok(bytes) => {
                assert_whole(&bytes);
                saved += 1;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
        strays += sweep(&folder, |name| name == "run.bin").unwrap();
        assert!(names(&folder).iter().all(|name| name == "run.bin"), "{:?}", names(&folder));
    }
    println!("{saved} of 20 kills found a file, all whole; {strays} left a partial one");
    assert!(saved > 0 && strays > 0, "no kill met a file, or one in the making");
}

fn assert_whole(bytes: &[u8]) {
    assert_eq!(bytes.len(), WHOLE);
    let (body, marker) = bytes.split_at(SIZE);
    assert!([0x11, 0x22].contains(&body[0]), "filled with {}", body[0]);
    assert!(body.iter().all(|byte| *byte == body[0]), "parts of two files");
    assert_eq!(marker, marker_of(body[0]));
}

/// The length and the filling, at the end of a file.
fn marker_of(filling: u8) -> [u8; 9] {
    let mut marker = [filling; 9];
    marker[..8].copy_from_slice(&(SIZE as u64).to_le_bytes());
    marker
}

#[test]
#[ignore = "runs in a process of its own, for another test"]
fn saves_again_and_again() {
    let Some(folder) = told_folder() else { return };
    // Ends by itself should nobody be left to kill it.
    for save in 0..200 {
        let filling = if save % 2 == 0 { 0x11 } else { 0x22 };
        write_atomic(folder.join("run.bin"), |file| {
            let chunk = vec![filling; 256 << 10];
            for _ in 0..SIZE / chunk.len() {
                file.write_all(&chunk)?;
            }
            file.write_all(&marker_of(filling))
        })
        .unwrap();
        println!("{SAVED}");
    }
}
