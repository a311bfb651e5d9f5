//! Files stay whole, whatever happens to the writer.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use gradus::train::files::{FolderLock, sweep, write_atomic};
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

/// The partial file of a target and its length, if there is one now.
fn partial(folder: &Path, target: &str) -> Option<(PathBuf, u64)> {
    let is_partial = |name: &str| name.starts_with(&format!("{target}.")) && name.ends_with(".partial");
    fs::read_dir(folder).unwrap().find_map(|entry| {
        let entry = entry.unwrap();
        let len = entry.metadata().ok()?.len();
        is_partial(entry.file_name().to_str()?).then(|| (entry.path(), len))
    })
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
    let files = [
        "run.bin",
        "run.bin.partial",
        "other.partial",
        ".partial",
        "run.bin.partial.gz",
        "run.partial",
        "run.bin.0123456789abcdef.partial",
        "run.fedcba9876543210.partial",
        // Not names that it gives: 15 digits, no digits, another target.
        "run.bin.0123456789abcde.partial",
        "run.bin.0123456789abcdeg.partial",
        "other.0123456789abcdef.partial",
    ];
    for name in files {
        fs::write(folder.join(name), name).unwrap();
    }
    fs::create_dir(folder.join("run.csv.partial")).unwrap();
    let is_target = |name: &str| ["run.bin", "run.csv", "run"].contains(&name);
    assert_eq!(sweep(&folder, is_target), Ok(4));
    assert_eq!(
        names(&folder),
        [
            ".partial",
            "other.0123456789abcdef.partial",
            "other.partial",
            "run.bin",
            "run.bin.0123456789abcde.partial",
            "run.bin.0123456789abcdeg.partial",
            "run.bin.partial.gz",
            "run.csv.partial"
        ]
    );
    assert_eq!(sweep(&folder, is_target), Ok(0));
    assert_eq!(sweep(folder.join("missing"), is_target), Ok(0));
    let path = folder.join("run.bin");
    let error = sweep(&path, is_target).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
}

#[test]
fn a_sweep_leaves_what_is_being_written_in_this_process_and_in_others() {
    let folder = Folder::new("held");
    let path = folder.join("run.bin");
    let sweep = || sweep(&folder, |name| name == "run.bin").unwrap();
    write_atomic(&path, |file| {
        file.write_all(b"held")?;
        assert_eq!(sweep(), 0);
        assert!(partial(&folder, "run.bin").is_some());
        Ok(())
    })
    .unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"held");
    assert_eq!(names(&folder), ["run.bin"]);

    let child = Killed(again("files::writes_and_waits", &folder).spawn().unwrap());
    while partial(&folder, "run.bin").is_none_or(|(_, len)| len < MIB as u64) {
        sleep(Duration::from_millis(1));
    }
    assert_eq!(sweep(), 0);
    assert_eq!(names(&folder).len(), 2);
    drop(child);
    assert_eq!(sweep(), 1, "it is dead");
    assert_eq!(names(&folder), ["run.bin"]);
}

#[test]
#[ignore = "runs in a process of its own, for another test"]
fn writes_and_waits() {
    let Some(folder) = told_folder() else { return };
    let written = write_atomic(folder.join("run.bin"), |file| {
        file.write_all(&vec![1; 2 * MIB])?;
        sleep(Duration::from_secs(60));
        Err(io::Error::other("nobody has killed it"))
    });
    written.unwrap_err();
}

#[cfg(unix)]
#[test]
fn links_are_neither_followed_nor_swept() {
    let folder = Folder::new("links");
    let precious = folder.join("precious");
    fs::write(&precious, "precious").unwrap();
    for name in ["run.bin.partial", "run.bin.0123456789abcdef.partial", "run.bin"] {
        std::os::unix::fs::symlink(&precious, folder.join(name)).unwrap();
    }
    assert_eq!(sweep(&folder, |name| name == "run.bin"), Ok(0));
    write_atomic(folder.join("run.bin"), |file| file.write_all(b"new")).unwrap();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert!(fs::symlink_metadata(folder.join("run.bin")).unwrap().is_file());
    assert_eq!(fs::read_to_string(folder.join("run.bin")).unwrap(), "new");
    let error = write_atomic("/dev/null", |file| file.write_all(b"new")).unwrap_err().to_string();
    assert_eq!(error, "/dev/null: it is a device, a pipe or a socket, which a file cannot replace");
}

/// Bytes of a file that two processes and two threads of each write at once.
const RACED: usize = 3 * MIB + 17;

#[test]
fn many_writers_of_one_target_each_bring_a_whole_file() {
    let folder = Folder::new("raced");
    let target = folder.join("run.bin");
    let mut children: Vec<Child> =
        (0..2).map(|_| again("files::writes_one_target", &folder).spawn().unwrap()).collect();
    let (mut found, mut swept, mut seen) = (0, 0, BTreeSet::new());
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        // A sweep may take a file between its making and its locking, and its writer makes another one.
        swept += sweep(&folder, |name| name == "run.bin").unwrap();
        if let Ok(bytes) = fs::read(&target) {
            assert_eq!(bytes.len(), RACED);
            assert!(bytes.iter().all(|byte| *byte == bytes[0]), "parts of two files");
            seen.insert(bytes[0]);
            found += 1;
        }
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success(), "a save was refused");
    }
    assert_eq!(names(&folder), ["run.bin"]);
    println!("{found} whole files were read, of {} of 4 writers; {swept} fresh ones were swept", seen.len());
    assert!(found > 5 && seen.len() > 1);
}

#[test]
#[ignore = "runs in a process of its own, for another test"]
fn writes_one_target() {
    let Some(folder) = told_folder() else { return };
    let process = u8::try_from(std::process::id() % 16).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let target = folder.join("run.bin");
            scope.spawn(move || {
                for _ in 0..30 {
                    write_atomic(&target, |file| {
                        for _ in 0..3 {
                            file.write_all(&vec![2 * process + thread; MIB])?;
                        }
                        file.write_all(&[2 * process + thread; 17])
                    })
                    .unwrap();
                }
            });
        }
    });
}

#[test]
fn a_folder_has_one_lock_at_a_time() {
    let folder = Folder::new("locked");
    let message = format!(
        "{}: another run keeps its files in this folder: wait until it has ended, or name another folder",
        folder.display()
    );
    let refused = || FolderLock::new(&folder).unwrap_err();
    let lock = FolderLock::new(&folder).unwrap();
    assert_eq!(refused().to_string(), message);
    assert!(matches!(refused(), gradus::Error::Locked { .. }));
    let other = Folder::new("unlocked");
    drop(FolderLock::new(&other).unwrap());
    drop(lock);
    #[cfg(unix)]
    assert_eq!(names(&folder), [""; 0]);

    // A process that was killed holds nothing, and what it left is no obstacle.
    let child = Killed(again("files::locks_and_waits", &folder).spawn().unwrap());
    while !folder.join("ready").exists() {
        sleep(Duration::from_millis(1));
    }
    assert_eq!(refused().to_string(), message);
    drop(child);
    assert!(folder.join(".lock").exists());
    drop(FolderLock::new(&folder).unwrap());

    let error = |folder: &Path| FolderLock::new(folder).unwrap_err().to_string();
    let missing = folder.join("missing");
    assert!(error(&missing).starts_with(&missing.join(".lock").display().to_string()));
    fs::create_dir(folder.join(".lock")).unwrap();
    let in_the_way = format!("{}: it is in the way: it must be a file", folder.join(".lock").display());
    assert_eq!(error(&folder), in_the_way);
}

#[test]
#[ignore = "runs in a process of its own, for another test"]
fn locks_and_waits() {
    let Some(folder) = told_folder() else { return };
    let _lock = FolderLock::new(&folder).unwrap();
    fs::write(folder.join("ready"), "").unwrap();
    sleep(Duration::from_secs(60));
}

/// Threads that lock, count themselves and let go are never two at once, whoever removes the file.
#[test]
fn a_lock_is_never_held_twice() {
    use std::sync::atomic::{AtomicU32, Ordering};

    let folder = Folder::new("contended");
    let (holders, held) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    match FolderLock::new(&folder) {
                        Ok(lock) => {
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                            held.fetch_add(1, Ordering::SeqCst);
                            assert_eq!(holders.fetch_sub(1, Ordering::SeqCst), 1);
                            drop(lock);
                        }
                        Err(error) => assert!(matches!(error, gradus::Error::Locked { .. }), "{error}"),
                    }
                }
            });
        }
    });
    println!("held {} times of 8000", held.into_inner());
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
    let target = folder.join("run.bin");
    let mut rng = Pcg64::seed_from_u64(1);
    let (mut strays, mut saved) = (0, 0);
    // 20 here; `make torture` asks for more.
    let kills = std::env::var("GRADUS_KILLS").map_or(20, |kills| kills.parse().expect("GRADUS_KILLS"));
    for round in 0..kills {
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
        while partial(&folder, "run.bin").map_or(0, |(_, len)| len) < enough {
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
    println!("{saved} of {kills} kills found a file, all whole; {strays} left a partial one");
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
