//! Zip archives, as far as numpy writes them: stored or deflated members, with or without zip64, in one file.
//!
//! Members are found in the central directory, of which little is kept: an archive cannot make its reader take more
//! memory than its own size.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::file::{MOST_PACKED, Reader, inflated, refuse};
use crate::error::Error;

/// The record at the end of an archive, and its place within it.
const END: [u8; 4] = *b"PK\x05\x06";
const END_SIZE: usize = 22;
/// The size of the comment that may follow it.
const MAX_COMMENT: usize = 65_535;
const LOCATOR: [u8; 4] = *b"PK\x06\x07";
const LOCATOR_SIZE: usize = 20;
const END_64: [u8; 4] = *b"PK\x06\x06";
const END_64_SIZE: usize = 56;
const MEMBER: [u8; 4] = *b"PK\x01\x02";
const MEMBER_SIZE: usize = 46;
const LOCAL: [u8; 4] = *b"PK\x03\x04";
const LOCAL_SIZE: usize = 30;
/// Number of the extra field with sizes of 64 bits.
const ZIP64: u16 = 1;
/// The flag of an encrypted member.
const ENCRYPTED: u16 = 1;

/// An archive whose central directory was read.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    name: Box<str>,
    flags: u16,
    method: u16,
    checksum: u32,
    /// Sizes in bytes.
    packed: u64,
    unpacked: u64,
    /// Where its local header begins.
    at: u64,
}

/// Little-endian numbers at a place of a record.
fn u16_at(record: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([record[at], record[at + 1]])
}

fn u32_at(record: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|byte| record[at + byte]))
}

fn u64_at(record: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|byte| record[at + byte]))
}

impl Archive {
    /// Reads the central directory.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let refused = |reason: io::Error| refuse(path, reason.to_string());
        let file = File::open(path).map_err(refused)?;
        let length = file.metadata().map_err(refused)?.len();
        let mut file = BufReader::new(file);
        let (first, members) = directory(&mut file, length).map_err(refused)?;
        file.seek(SeekFrom::Start(first)).map_err(refused)?;
        // Not more than the file has room for.
        let capacity = usize::try_from(members).unwrap_or(0);
        let mut archive = Self { path: path.to_owned(), members: Vec::with_capacity(capacity) };
        for number in 0..members {
            let member = member(&mut file).map_err(|e| refuse(path, format!("member {number}: {e}")))?;
            archive.members.push(member);
        }
        Ok(archive)
    }

    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| &*member.name)
    }

    /// A reader of the member with this number, that checks its sum at the end.
    pub(super) fn reader(&self, number: usize) -> Result<Reader, Error> {
        let member = &self.members[number];
        // Errors name the member as if the archive were a folder.
        let path = PathBuf::from(format!("{}/{}", self.path.display(), member.name));
        let refused = |reason: &dyn ToString| refuse(&path, reason.to_string());
        if member.flags & ENCRYPTED != 0 {
            return Err(refused(&"is encrypted"));
        }
        let most = match member.method {
            0 => member.packed,
            8 => member.packed.saturating_mul(MOST_PACKED),
            other => {
                return Err(refused(&format!("compression: must be 0 (none) or 8 (deflate), got {other}")));
            }
        };
        if member.unpacked > most || member.method == 0 && member.unpacked < member.packed {
            let (packed, unpacked) = (member.packed, member.unpacked);
            return Err(refused(&format!("damaged: {packed} bytes cannot be {unpacked} unpacked ones")));
        }
        let file = File::open(&self.path).map_err(|e| refused(&e))?;
        let mut file = BufReader::new(file);
        let start = (|| {
            file.seek(SeekFrom::Start(member.at))?;
            let local: [u8; LOCAL_SIZE] = record(&mut file, LOCAL)?;
            let skipped = i64::from(u16_at(&local, 26)) + i64::from(u16_at(&local, 28));
            file.seek_relative(skipped)
        })();
        start.map_err(|e: io::Error| refused(&e))?;
        let packed = file.take(member.packed);
        let source: Box<dyn Read + Send + Sync> =
            if member.method == 0 { Box::new(packed) } else { inflated(&path, packed)? };
        let source = Box::new(Checked { source, sum: crc32fast::Hasher::new(), expected: member.checksum });
        Ok(Reader::of(path, source, member.unpacked))
    }
}

/// Where the central directory begins, and the number of its members.
fn directory(file: &mut BufReader<File>, length: u64) -> io::Result<(u64, u64)> {
    let none = || invalid("is not a zip archive, or is cut short: there is no end record");
    let tail = length.min((END_SIZE + MAX_COMMENT) as u64);
    file.seek(SeekFrom::Start(length - tail))?;
    let mut bytes = Vec::new();
    file.take(tail).read_to_end(&mut bytes)?;
    // The record whose comment ends with the file.
    let is_end = |&at: &usize| {
        bytes[at..].starts_with(&END) && at + END_SIZE + usize::from(u16_at(&bytes, at + 20)) == bytes.len()
    };
    let end = (0..(bytes.len() + 1).saturating_sub(END_SIZE)).rev().find(is_end).ok_or_else(none)?;
    let record = &bytes[end..];
    let (members, first) = (u16_at(record, 10), u32_at(record, 16));
    let (mut members, mut size, mut first) =
        (u64::from(members), u64::from(u32_at(record, 12)), u64::from(first));
    if members == u64::from(u16::MAX) || size == u64::from(u32::MAX) || first == u64::from(u32::MAX) {
        let end = length - tail + end as u64;
        if let Some(found) = end_64(file, end)? {
            (members, size, first) = found;
        }
    }
    let held = first.checked_add(size).is_some_and(|end| end <= length);
    if !held || members > size / MEMBER_SIZE as u64 {
        return Err(invalid(format!("damaged: a directory of {members} members, {size} bytes at {first}")));
    }
    Ok((first, members))
}

/// Number of members, size and place of the central directory in the record of an archive with 64-bit numbers, whose
/// place stands in front of the `end` record.
fn end_64(file: &mut BufReader<File>, end: u64) -> io::Result<Option<(u64, u64, u64)>> {
    let Some(locator) = end.checked_sub(LOCATOR_SIZE as u64) else { return Ok(None) };
    file.seek(SeekFrom::Start(locator))?;
    let Ok(locator) = record::<LOCATOR_SIZE>(file, LOCATOR) else { return Ok(None) };
    file.seek(SeekFrom::Start(u64_at(&locator, 8)))?;
    let record: [u8; END_64_SIZE] = record(file, END_64)?;
    Ok(Some((u64_at(&record, 32), u64_at(&record, 40), u64_at(&record, 48))))
}

/// The next record, which must begin with `magic`.
fn record<const N: usize>(file: &mut impl Read, magic: [u8; 4]) -> io::Result<[u8; N]> {
    let mut record = [0; N];
    file.read_exact(&mut record).map_err(|_| invalid("truncated"))?;
    match record.starts_with(&magic) {
        true => Ok(record),
        false => Err(invalid(format!(
            "damaged: no record of a zip archive at its place, but {:02x?}",
            &record[..4]
        ))),
    }
}

/// The next entry of the central directory.
fn member(file: &mut BufReader<File>) -> io::Result<Member> {
    let entry: [u8; MEMBER_SIZE] = record(file, MEMBER)?;
    let mut field = |at: usize| {
        let mut bytes = vec![0; usize::from(u16_at(&entry, at))];
        file.read_exact(&mut bytes).map_err(|_| invalid("truncated"))?;
        io::Result::Ok(bytes)
    };
    let (name, extra, _comment) = (field(28)?, field(30)?, field(32)?);
    let mut member = Member {
        name: String::from_utf8_lossy(&name).into(),
        flags: u16_at(&entry, 8),
        method: u16_at(&entry, 10),
        checksum: u32_at(&entry, 16),
        packed: u32_at(&entry, 20).into(),
        unpacked: u32_at(&entry, 24).into(),
        at: u32_at(&entry, 42).into(),
    };
    // The extra field holds what does not fit, in this order.
    let mut numbers = zip64(&extra).unwrap_or(&[]).chunks_exact(8);
    for number in [&mut member.unpacked, &mut member.packed, &mut member.at] {
        if *number == u64::from(u32::MAX) {
            let missing = || invalid("damaged: a size of 64 bits is missing");
            *number = u64_at(numbers.next().ok_or_else(missing)?, 0);
        }
    }
    Ok(member)
}

/// The contents of the extra field with sizes of 64 bits.
fn zip64(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let (header, rest) = extra.split_at_checked(4)?;
        let (field, rest) = rest.split_at_checked(u16_at(header, 2).into())?;
        if u16_at(header, 0) == ZIP64 {
            return Some(field);
        }
        extra = rest;
    }
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// Bytes whose sum is compared at their end.
struct Checked {
    source: Box<dyn Read + Send + Sync>,
    sum: crc32fast::Hasher,
    expected: u32,
}

impl Read for Checked {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(bytes)?;
        self.sum.update(&bytes[..read]);
        let sum = if read == 0 && !bytes.is_empty() { self.sum.clone().finalize() } else { self.expected };
        if sum != self.expected {
            return Err(invalid(format!("its checksum is {sum:08x}, not {:08x}", self.expected)));
        }
        Ok(read)
    }
}
