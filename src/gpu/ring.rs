use std::sync::Arc;

use super::{Buffer, Gpu};
use crate::Error;

/// Uniforms of steps that are recorded and not yet submitted: `slots` blocks of bytes in one buffer.
///
/// `write_buffer` lands before the next submit, so two steps recorded into one submit would both see the
/// second one's numbers if they shared a block. A slot is taken when a step is recorded and is free again
/// once its commands were submitted, because later writes are ordered after that submit.
#[derive(Debug)]
pub struct UniformRing {
    buffer: Buffer<u8>,
    slot_bytes: usize,
    taken: Vec<bool>,
    id: Arc<()>,
}

/// A slot held by a recorded step. Give it back once the commands were submitted.
#[derive(Debug)]
#[must_use = "the slot stays taken until the ticket is given back after the submit"]
pub struct Ticket {
    ring: Arc<()>,
    slot: usize,
}

/// What a ticket holds, to know it again.
#[derive(Debug)]
pub(crate) struct Held {
    ring: Arc<()>,
    slot: usize,
}

impl Ticket {
    pub(crate) fn held(&self) -> Held {
        Held { ring: self.ring.clone(), slot: self.slot }
    }

    pub(crate) fn holds(&self, held: &Held) -> bool {
        Arc::ptr_eq(&self.ring, &held.ring) && self.slot == held.slot
    }
}

impl UniformRing {
    /// A ring of `slots` blocks, at least one, of at least `slot_bytes` bytes.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device cannot hold it.
    pub fn new(gpu: &Gpu, label: &str, slot_bytes: usize, slots: usize) -> Result<Self, Error> {
        let slots = slots.max(1);
        let slot_bytes = slot_bytes.max(1).next_multiple_of(Self::ALIGN);
        use wgpu::BufferUsages as U;
        let usage = U::UNIFORM | U::STORAGE | U::COPY_DST;
        let buffer = Buffer::with_usage(gpu, label, slot_bytes * slots, usage)?;
        Ok(Self { buffer, slot_bytes, taken: vec![false; slots], id: Arc::default() })
    }

    /// Dynamic offsets are multiples of this on every device.
    pub const ALIGN: usize = 256;

    /// Pads a step's uniforms to where the next block may start, and says where that is.
    pub(crate) fn align(bytes: &mut Vec<u8>) -> u32 {
        bytes.resize(bytes.len().next_multiple_of(Self::ALIGN), 0);
        u32::try_from(bytes.len()).expect("a step's uniforms are small")
    }

    /// The buffer that all slots lie in, for bind groups with dynamic offsets.
    pub fn buffer(&self) -> &wgpu::Buffer {
        self.buffer.raw()
    }

    /// Bytes of a slot.
    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    /// Refuses if no slot is free, so that a caller can find out before it changes anything.
    ///
    /// # Errors
    /// [`Error::RingFull`].
    pub fn check(&self) -> Result<(), Error> {
        self.free().map(|_| ())
    }

    fn free(&self) -> Result<usize, Error> {
        self.taken.iter().position(|taken| !taken).ok_or(Error::RingFull {
            ring: "uniform",
            slots: self.taken.len(),
            advice: "submit the recorded steps and give their tickets back",
        })
    }

    /// Takes a free slot and uploads `bytes` into it in one write; returns its first byte.
    ///
    /// # Errors
    /// [`Error::RingFull`]; [`Error::Length`] if it does not fit.
    pub fn write(&mut self, gpu: &Gpu, bytes: &[u8]) -> Result<(Ticket, u32), Error> {
        let slot = self.free()?;
        if bytes.len() > self.slot_bytes {
            return Err(Error::Length {
                what: "uniform slot".into(),
                expected: self.slot_bytes,
                got: bytes.len(),
            });
        }
        let offset = slot * self.slot_bytes;
        self.buffer.write(gpu, offset, bytes)?;
        self.taken[slot] = true;
        Ok((
            Ticket { ring: self.id.clone(), slot },
            u32::try_from(offset).expect("a ring of uniforms is small"),
        ))
    }

    /// Whether no slot is taken.
    pub fn is_idle(&self) -> bool {
        !self.taken.contains(&true)
    }

    /// Whether a ticket is this ring's.
    pub fn gave(&self, ticket: &Ticket) -> bool {
        Arc::ptr_eq(&ticket.ring, &self.id)
    }

    /// Frees the slot of a step whose commands were submitted.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the ticket is another ring's.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is given back, not shown")]
    pub fn submitted(&mut self, ticket: Ticket) -> Result<(), Error> {
        if !self.gave(&ticket) {
            return Err(Error::Mismatch("this ticket was given out by another optimizer".into()));
        }
        self.taken[ticket.slot] = false;
        Ok(())
    }
}
