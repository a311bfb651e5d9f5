use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::{Buffer, Gpu, Staging};
use crate::Error;

/// Uniform data of steps that are recorded but not yet submitted: one buffer with `slots` blocks.
///
/// `write_buffer` takes effect before the next submit. If two steps of one submit shared a block, both would
/// read the second step's values. Recording a step takes a slot. The slot is free again once the commands are
/// submitted, because later writes are ordered after that submit.
///
/// ```no_run
/// // Needs a device.
/// use gradus::gpu::UniformRing;
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let mut ring = UniformRing::new(&gpu, "calls", 16, 8)?;
/// let (ticket, offset) = ring.write(&gpu, &[0; 16])?; // the offset is that of a dynamic binding
/// // .. record and submit what reads it ..
/// ring.submitted(ticket)?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct UniformRing {
    buffer: Buffer<u8>,
    slot_bytes: usize,
    slots: Arc<Slots>,
    /// Whether a dropped ticket keeps its slot until [`UniformRing::dropped`] returns it.
    watched: bool,
}

/// The state of each slot. Tickets share it, because they can be dropped on any thread and after their ring.
#[derive(Debug)]
struct Slots(Vec<AtomicU8>);

const FREE: u8 = 0;
const TAKEN: u8 = 1;
/// The ticket was dropped without being returned.
const DROPPED: u8 = 2;

impl Slots {
    fn is(&self, slot: usize, state: u8) -> bool {
        self.0[slot].load(Ordering::Acquire) == state
    }

    fn set(&self, slot: usize, state: u8) {
        self.0[slot].store(state, Ordering::Release);
    }

    /// Changes a slot from state `from` to state `to`; returns whether it was in state `from`.
    fn pass(&self, slot: usize, from: u8, to: u8) -> bool {
        self.0[slot].compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// A slot held by a recorded step. Return it with [`UniformRing::submitted`] after the submit.
///
/// Dropping it means that the commands will never be submitted. So an error or a panic between recording and
/// submitting leaks no slot. Do not drop it if the commands will still be submitted: the next step could
/// overwrite the data they read.
///
/// ```
/// use gradus::optim::{AdamW, Optimizer};
/// use gradus::{Error, Gpu, ParamStore};
///
/// fn step(gpu: &Gpu, params: &mut ParamStore, optimizer: &mut Optimizer<AdamW>) -> Result<(), Error> {
///     let mut encoder = gpu.encoder("step");
///     let ticket = optimizer.record(&mut encoder, params)?;
///     gpu.submit(encoder)?;
///     optimizer.submitted(ticket)
/// }
/// ```
#[derive(Debug)]
#[must_use = "give the ticket back after the submit: to drop it says that the commands were not submitted"]
pub struct Ticket {
    slots: Arc<Slots>,
    slot: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // No effect on a ticket that was returned.
        self.slots.pass(self.slot, TAKEN, DROPPED);
    }
}

/// Identifies the slot of a ticket, without holding it.
#[derive(Debug)]
pub(crate) struct Held {
    slots: Arc<Slots>,
    slot: usize,
}

impl Held {
    /// Whether the ticket was dropped.
    pub(crate) fn is_dropped(&self) -> bool {
        self.slots.is(self.slot, DROPPED)
    }
}

impl Ticket {
    pub(crate) fn held(&self) -> Held {
        Held { slots: self.slots.clone(), slot: self.slot }
    }

    pub(crate) fn holds(&self, held: &Held) -> bool {
        Arc::ptr_eq(&self.slots, &held.slots) && self.slot == held.slot
    }
}

impl UniformRing {
    /// A ring with `slots` blocks (at least one) of at least `slot_bytes` bytes each.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device cannot allocate it.
    pub fn new(gpu: &Gpu, label: &str, slot_bytes: usize, slots: usize) -> Result<Self, Error> {
        let slots = slots.max(1);
        let slot_bytes = slot_bytes.max(1).next_multiple_of(Self::ALIGN);
        use wgpu::BufferUsages as U;
        let usage = U::UNIFORM | U::STORAGE | U::COPY_DST;
        let buffer = Buffer::with_usage(gpu, label, slot_bytes * slots, usage)?;
        let slots = Arc::new(Slots((0..slots).map(|_| AtomicU8::new(FREE)).collect()));
        Ok(Self { buffer, slot_bytes, slots, watched: false })
    }

    /// Alignment in bytes of dynamic offsets, valid on every device.
    pub const ALIGN: usize = 256;

    /// Pads a step's uniforms to the start of the next block and returns that offset.
    pub(crate) fn align(bytes: &mut Vec<u8>) -> u32 {
        bytes.resize(bytes.len().next_multiple_of(Self::ALIGN), 0);
        u32::try_from(bytes.len()).expect("a step's uniforms are small")
    }

    /// The buffer of all slots, for bind groups with dynamic offsets.
    pub fn buffer(&self) -> &wgpu::Buffer {
        self.buffer.raw()
    }

    /// Size of a slot in bytes.
    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    /// Refuses if no slot is free. Lets a caller check before it changes anything.
    ///
    /// # Errors
    /// [`Error::RingFull`].
    pub fn check(&self) -> Result<(), Error> {
        self.free().map(|_| ())
    }

    fn free(&self) -> Result<usize, Error> {
        let slots = self.slots.0.len();
        (0..slots).find(|&slot| self.is_free(slot)).ok_or(Error::RingFull {
            ring: "uniform",
            slots,
            advice: "submit the recorded steps and give their tickets back",
        })
    }

    fn is_free(&self, slot: usize) -> bool {
        self.slots.is(slot, FREE) || (!self.watched && self.slots.is(slot, DROPPED))
    }

    /// Takes a free slot, uploads `bytes` into it in one write, and returns the slot's offset in bytes.
    ///
    /// # Errors
    /// [`Error::RingFull`]; [`Error::Length`] if `bytes` exceeds a slot.
    pub fn write(&mut self, gpu: &Gpu, bytes: &[u8]) -> Result<(Ticket, u32), Error> {
        self.take(bytes, |buffer, offset| gpu.write(buffer, offset as u64, bytes))
    }

    /// Like [`UniformRing::write`], through staging memory that the next recorded commands copy from.
    pub(crate) fn stage(&mut self, staging: &mut Staging, bytes: &[u8]) -> Result<(Ticket, u32), Error> {
        self.take(bytes, |buffer, offset| staging.write(buffer, offset, bytes))
    }

    fn take(
        &mut self,
        bytes: &[u8],
        write: impl FnOnce(&wgpu::Buffer, usize) -> Result<(), Error>,
    ) -> Result<(Ticket, u32), Error> {
        let slot = self.free()?;
        if bytes.len() > self.slot_bytes {
            return Err(Error::Length {
                what: "uniform slot".into(),
                expected: self.slot_bytes,
                got: bytes.len(),
            });
        }
        let offset = slot * self.slot_bytes;
        write(self.buffer.raw(), offset)?;
        self.slots.set(slot, TAKEN);
        Ok((
            Ticket { slots: self.slots.clone(), slot },
            u32::try_from(offset).expect("a ring of uniforms is small"),
        ))
    }

    /// Whether all slots are free.
    pub fn is_idle(&self) -> bool {
        (0..self.slots.0.len()).all(|slot| self.is_free(slot))
    }

    /// Whether the ticket belongs to this ring.
    pub fn gave(&self, ticket: &Ticket) -> bool {
        Arc::ptr_eq(&ticket.slots, &self.slots)
    }

    /// The same ring, except that the slot of a dropped ticket stays taken until [`UniformRing::dropped`]
    /// returns it.
    pub(crate) fn watched(self) -> Self {
        Self { watched: true, ..self }
    }

    /// A ticket for a slot whose ticket was dropped, if there is one; `first` is preferred.
    pub(crate) fn dropped(&mut self, first: Option<&Held>) -> Option<Ticket> {
        let mine = first.filter(|held| Arc::ptr_eq(&held.slots, &self.slots)).map(|held| held.slot);
        let mut slots = mine.into_iter().chain(0..self.slots.0.len());
        let slot = slots.find(|&slot| self.slots.pass(slot, DROPPED, TAKEN))?;
        Some(Ticket { slots: self.slots.clone(), slot })
    }

    /// Frees the slot of a step whose commands were submitted or abandoned.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the ticket belongs to another ring; the ticket is then dropped.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is given back, not shown")]
    pub fn submitted(&mut self, ticket: Ticket) -> Result<(), Error> {
        if !self.gave(&ticket) {
            return Err(Error::Mismatch("this ticket was given out by another optimizer".into()));
        }
        self.slots.set(ticket.slot, FREE);
        Ok(())
    }
}
