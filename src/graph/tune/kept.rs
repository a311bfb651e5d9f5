//! The file with the findings for an adapter: a header that identifies the adapter, one line per choice, and a
//! checksum.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::files::write_atomic;
use crate::gpu::Found;

/// Maximum size of a file that is read, in bytes: about a million choices.
const MOST: u64 = 1 << 25;

/// A hash of bytes that is the same on every machine: FNV-1a.
///
/// Source: Fowler, Noll, Vo, <http://www.isthe.com/chongo/tech/comp/fnv/>.
pub(super) fn hash<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    // A length after each text, so that the boundaries matter.
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    texts.into_iter().fold(START, |hash, text| {
        let length = (text.len() as u64).to_le_bytes();
        text.iter().chain(&length).fold(hash, |hash, byte| step(hash, *byte))
    })
}

/// What must match besides the kernels' WGSL.
fn header(info: &wgpu::AdapterInfo) -> String {
    let wgpu::AdapterInfo { name, vendor, device, backend, driver, driver_info, .. } = info;
    let version = env!("CARGO_PKG_VERSION");
    // A quoted string stays on one line.
    format!(
        "gradus autotune, {version}: {name:?} {vendor:x}:{device:x} {backend:?} {driver:?} {driver_info:?}"
    )
}

/// The file for an adapter, independent of its driver.
pub(crate) fn path(folder: &Path, info: &wgpu::AdapterInfo) -> PathBuf {
    let adapter = format!("{} {:x}:{:x} {:?}", info.name, info.vendor, info.device, info.backend);
    folder.join(format!("autotune-{:016x}.txt", hash([adapter.as_bytes()])))
}

/// Earlier findings; none if the file is missing, damaged, or from another driver.
pub(crate) fn read(folder: &Path, info: &wgpu::AdapterInfo) -> Found {
    let path = path(folder, info);
    let is_small = std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= MOST);
    let text = if is_small { std::fs::read_to_string(path).ok() } else { None };
    text.and_then(|text| parse(&text, info)).unwrap_or_default()
}

fn parse(text: &str, info: &wgpu::AdapterInfo) -> Option<Found> {
    let (body, sum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let is_whole = sum == format!("{:016x}", hash([body.as_bytes()]));
    let mut lines = body.lines();
    if !is_whole || lines.next()? != header(info) {
        return None;
    }
    let choice = |line: &str| {
        let (key, number) = line.split_once(' ')?;
        Some((u64::from_str_radix(key, 16).ok()?, number.parse().ok()?))
    };
    lines.map(choice).collect()
}

/// Writes all findings, merged with those that another process has written in the meantime.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn write(folder: &Path, info: &wgpu::AdapterInfo, found: &Found) -> Result<(), Error> {
    let mut all = read(folder, info);
    all.extend(found);
    let mut text = header(info);
    for (key, number) in &all {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{key:016x} {number}");
    }
    let sum = hash([text.as_bytes()]);
    write_atomic(path(folder, info), |file| writeln!(file, "{text}\n{sum:016x}"))
}
