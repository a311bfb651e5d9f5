//! What goes wrong on a device, and how it is noticed without a handler of the host's being called.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use super::{Gpu, Region};
use crate::Error;

/// Why a device can no longer be used; empty while it can.
#[derive(Debug, Default)]
pub(super) struct Fault(Mutex<Option<String>>);

impl Fault {
    /// Keeps the first fault: later ones follow from it.
    pub(super) fn note(&self, reason: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason.into());
    }

    /// Notes that the device was lost, in a sentence also where wgpu gives none.
    pub(super) fn note_loss(&self, reason: wgpu::DeviceLostReason, message: &str) {
        match (message.trim(), reason) {
            ("", wgpu::DeviceLostReason::Destroyed) => self.note("it was destroyed"),
            ("", wgpu::DeviceLostReason::Unknown) => self.note("the driver gave no reason"),
            (message, _) => self.note(message),
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => Err(Error::DeviceLost(reason.clone())),
            None => Ok(()),
        }
    }
}

impl Gpu {
    /// Runs `work` on this thread, and gives what wgpu refused in it: none of that reaches the handler of
    /// uncaptured errors, which is the host's on [`Gpu::from_wgpu`] and panics by default.
    ///
    /// wgpu is silent about calls on a lost device; each caller must see that from what they gave.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn caught<T>(&self, work: impl FnOnce() -> T) -> Result<T, String> {
        use wgpu::ErrorFilter as F;
        let [validation, memory, internal] =
            [F::Validation, F::OutOfMemory, F::Internal].map(|filter| self.device().push_error_scope(filter));
        let done = work();
        // Native error scopes answer at once, and must be closed in reverse order.
        let internal = pollster::block_on(internal.pop());
        let memory = pollster::block_on(memory.pop());
        let validation = pollster::block_on(validation.pop());
        match validation.or(memory).or(internal) {
            None => Ok(done),
            Some(error) => Err(error.to_string()),
        }
    }

    /// A browser reports through the handler of uncaptured errors: its scopes answer later.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn caught<T>(&self, work: impl FnOnce() -> T) -> Result<T, String> {
        Ok(work())
    }

    /// The error for what wgpu refused: that of a lost device if it is one, and `else_error` of the reason otherwise.
    pub(super) fn blame(&self, reason: String, else_error: impl FnOnce(String) -> Error) -> Error {
        self.probe().err().unwrap_or_else(|| else_error(reason))
    }

    /// Notes that the device was found lost. The callback of a device of our own may know why.
    pub(super) fn lose(&self) -> Error {
        let _ = self.polled(wgpu::PollType::Poll);
        self.fault().note("it was destroyed, or its driver gave it up");
        self.fault().check().err().unwrap_or_else(|| Error::DeviceLost("it takes no more work".into()))
    }

    /// Refuses a copy of a region into another, of as many bytes, that wgpu would refuse in a submit: between devices, from
    /// or to a buffer that was destroyed or lacks the usage. Nothing is copied.
    pub(crate) fn check_copy(&self, from: Region<'_>, to: Region<'_>) -> Result<(), String> {
        self.caught(|| {
            let mut encoder = self.encoder("a copy, to see whether it can be made");
            encoder.copy_buffer_to_buffer(from.buffer, from.offset, to.buffer, to.offset, from.bytes);
            drop(encoder.finish());
        })
    }

    /// Asks the device itself whether it is lost, by making a small buffer, so not in every step: until work is
    /// refused, wgpu tells nobody but the holder of the one callback, and that one only in a poll of an idle queue.
    pub(crate) fn probe(&self) -> Result<(), Error> {
        self.check()?;
        if cfg!(target_arch = "wasm32") {
            return Ok(());
        }
        let mapped = self.caught(|| {
            let buffer = self.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("probe"),
                size: 16,
                usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            });
            buffer.get_mapped_range(..).is_ok()
        });
        // A device without memory for this is not lost.
        if mapped == Ok(false) { Err(self.lose()) } else { Ok(()) }
    }

    /// As [`poll_device`], of this device.
    pub(super) fn polled(&self, poll: wgpu::PollType) -> Polled {
        poll_device(self.device(), self.fault(), poll)
    }

    /// Refuses a submit that wgpu has dropped without a word, as it does on a lost device. Never waits.
    pub(super) fn accepted(&self, index: &wgpu::SubmissionIndex) -> Result<(), Error> {
        let poll = wgpu::PollType::Wait {
            submission_index: Some(index.clone()),
            timeout: Some(std::time::Duration::ZERO),
        };
        match self.polled(poll)? {
            Err(wgpu::PollError::WrongSubmissionIndex(..)) => Err(self.lose()),
            _ => Ok(()),
        }
    }
}

/// What came of a poll, unless the device was lost in it.
pub(super) type Polled = Result<Result<wgpu::PollStatus, wgpu::PollError>, Error>;

/// Polls a device. wgpu panics where the driver gives up during a poll: that is a lost device too.
pub(super) fn poll_device(device: &wgpu::Device, fault: &Fault, poll: wgpu::PollType) -> Polled {
    let polled = catch_unwind(AssertUnwindSafe(|| device.poll(poll)));
    polled.map_err(|_| {
        fault.note("its driver gave it up during a poll");
        fault.check().err().unwrap_or_else(|| Error::DeviceLost("it takes no more work".into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_in_a_sentence_and_the_first_reason_stays() {
        use wgpu::DeviceLostReason::{Destroyed, Unknown};
        let rows = [
            (Destroyed, "", "it was destroyed"),
            (Unknown, " ", "the driver gave no reason"),
            (Unknown, "Parent device is lost", "Parent device is lost"),
        ];
        for (reason, message, told) in rows {
            let fault = Fault::default();
            assert_eq!(fault.check(), Ok(()));
            fault.note_loss(reason, message);
            fault.note("what came of it");
            assert_eq!(fault.check().unwrap_err().to_string(), format!("the device was lost: {told}"));
        }
    }
}
