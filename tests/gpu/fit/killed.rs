//! The example `fit`, killed at any moment.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::*;
use crate::common::noise;
use crate::example::{built, done};

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())
    };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(read).collect();
    files.sort();
    files
}

#[test]
fn a_run_that_is_killed_at_any_moment_and_resumed_leaves_the_same_files() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("fit-killed");
    let whole = folder.join("whole");
    let started = Instant::now();
    done(built("fit").arg(&whole));
    let took = started.elapsed();
    let expected = files(&whole);
    for turn in 0..6 {
        let out = folder.join(format!("{turn}"));
        let mut command = built("fit");
        let mut child = command.arg(&out).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let part = (f64::from(noise(18, turn)) + 1.0) / 2.0;
        std::thread::sleep(Duration::from_secs_f64(took.as_secs_f64() * part));
        child.kill().unwrap();
        child.wait().unwrap();
        done(built("fit").arg(&out));
        let ended = files(&out);
        let names = |files: &[(String, Vec<u8>)]| files.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
        assert_eq!(names(&ended), names(&expected));
        for (one, two) in ended.iter().zip(&expected) {
            assert!(one == two, "killed after {part:.3} of {took:?}: {} differs", one.0);
        }
    }
}
