//! Detects device errors and losses without calling the host's error handler.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Gpu, Region};
use crate::Error;

/// Whether a device can still be used, and what polls it.
#[derive(Debug)]
pub(super) struct Fault {
    /// Why it can no longer be used; `None` while it can.
    reason: Mutex<Option<String>>,
    /// Number of polls of this crate that are running, on any thread.
    polls: AtomicUsize,
    /// Number of commands until the device is destroyed, for tests; [`NEVER`] otherwise.
    left: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Default for Fault {
    fn default() -> Self {
        Self { reason: Mutex::default(), polls: AtomicUsize::default(), left: AtomicU64::new(NEVER) }
    }
}

impl Fault {
    /// Keeps only the first reason, because later faults follow from it.
    pub(super) fn note(&self, reason: impl Into<String>) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason.into());
    }

    /// Records a device loss, with a sentence of its own where wgpu gives none.
    pub(super) fn note_loss(&self, reason: wgpu::DeviceLostReason, message: &str) {
        match (message.trim(), reason) {
            ("", wgpu::DeviceLostReason::Destroyed) => self.note("it was destroyed"),
            ("", wgpu::DeviceLostReason::Unknown) => self.note("the driver gave no reason"),
            (message, _) => self.note(message),
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        match &*self.reason.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => Err(Error::DeviceLost(reason.clone())),
            None => Ok(()),
        }
    }
}

impl Gpu {
    /// Destroys the device when as many more commands have been given to wgpu: a pass, dispatch, copy, submit, poll, or
    /// the creation of something. For tests of what a loss at any place leaves behind.
    #[doc(hidden)]
    pub fn destroy_after(&self, commands: u64) {
        self.fault().left.store(commands, Ordering::SeqCst);
    }

    /// Number of commands until the device is destroyed; `None` if it was, or is not to be.
    #[doc(hidden)]
    pub fn commands_left(&self) -> Option<u64> {
        Some(self.fault().left.load(Ordering::SeqCst)).filter(|left| *left != NEVER)
    }

    /// Counts a command, before it is given to wgpu.
    pub(super) fn command(&self) {
        let left = &self.fault().left;
        if left.load(Ordering::Relaxed) == NEVER {
            return;
        }
        // From 0 to `NEVER`, so that it is destroyed once.
        let fewer = |left: u64| (left != NEVER).then(|| left.wrapping_sub(1));
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer) == Ok(0) {
            self.device().destroy();
        }
    }

    /// Runs `work` on this thread in error scopes, and returns what wgpu refused in it. Nothing reaches the
    /// handler for uncaptured errors, which belongs to the host for [`Gpu::from_wgpu`] and panics by default.
    ///
    /// wgpu reports nothing for calls on a lost device. Callers must detect that from the value of `work`.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn caught<T>(&self, work: impl FnOnce() -> T) -> Result<T, String> {
        use wgpu::ErrorFilter as F;
        self.command();
        let [validation, memory, internal] =
            [F::Validation, F::OutOfMemory, F::Internal].map(|filter| self.device().push_error_scope(filter));
        let done = work();
        // Native error scopes resolve immediately, and must be popped in reverse order.
        let internal = pollster::block_on(internal.pop());
        let memory = pollster::block_on(memory.pop());
        let validation = pollster::block_on(validation.pop());
        match validation.or(memory).or(internal) {
            None => Ok(done),
            Some(error) => Err(error.to_string()),
        }
    }

    /// In a browser, error scopes resolve later, so errors reach the handler for uncaptured errors instead.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn caught<T>(&self, work: impl FnOnce() -> T) -> Result<T, String> {
        Ok(work())
    }

    /// The error for a refusal of wgpu: [`Error::DeviceLost`] if the device is lost, otherwise `else_error`
    /// of the reason.
    pub(super) fn blame(&self, reason: String, else_error: impl FnOnce(String) -> Error) -> Error {
        self.probe().err().unwrap_or_else(|| else_error(reason))
    }

    /// Records that the device was found lost. The device-lost callback of our own device may already know
    /// the reason.
    pub(super) fn lose(&self) -> Error {
        let _ = self.polled(wgpu::PollType::Poll);
        self.fault().note("it was destroyed, or its driver gave it up");
        self.fault().check().err().unwrap_or_else(|| Error::DeviceLost("it no longer accepts work".into()))
    }

    /// Refuses a copy between two regions of the same size if wgpu would refuse it at submit: regions of
    /// different devices, or of a buffer that was destroyed or lacks the usage. Copies nothing.
    pub(crate) fn check_copy(&self, from: Region<'_>, to: Region<'_>) -> Result<(), String> {
        self.caught(|| {
            let mut encoder = self.encoder("a copy, to see whether it can be made");
            encoder.copy_buffer_to_buffer(from.buffer, from.offset, to.buffer, to.offset, from.bytes);
            drop(encoder.finish());
        })
    }

    /// Creates a small buffer to find out whether the device is lost; too slow for every step. wgpu reports a
    /// loss only when it refuses work, or to the device-lost callback during a poll of an idle queue.
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
        // Being out of memory is not a loss.
        if mapped == Ok(false) { Err(self.lose()) } else { Ok(()) }
    }

    /// As [`poll_device`], for this device.
    pub(super) fn polled(&self, poll: wgpu::PollType) -> Polled {
        self.command();
        poll_device(self.device(), self.fault(), poll)
    }

    /// Refuses if wgpu silently dropped a submit, as it does on a lost device. Never waits.
    ///
    /// A wait with a timeout panics in wgpu if another thread's poll sees the work finish in the meantime. While
    /// another thread polls, nothing is tested: that poll or the next call reports a loss. A program that polls its
    /// own device can still cause the panic. The work is then finished, so a second poll succeeds.
    pub(super) fn accepted(&self, index: &wgpu::SubmissionIndex) -> Result<(), Error> {
        let poll = wgpu::PollType::Wait {
            submission_index: Some(index.clone()),
            timeout: Some(std::time::Duration::ZERO),
        };
        if self.fault().polls.load(Ordering::SeqCst) > 0 {
            return self.check();
        }
        let polled = match attempt(self.device(), self.fault(), poll.clone()) {
            Some(polled) => polled,
            None => self.polled(poll)?,
        };
        match polled {
            Err(wgpu::PollError::WrongSubmissionIndex(..)) => Err(self.lose()),
            _ => Ok(()),
        }
    }
}

/// Result of a poll in wgpu.
type PollResult = Result<wgpu::PollStatus, wgpu::PollError>;

/// Result of a poll, or the loss of the device during it.
pub(super) type Polled = Result<PollResult, Error>;

/// Polls a device. wgpu panics where the driver gives up during a poll: that is a lost device too.
pub(super) fn poll_device(device: &wgpu::Device, fault: &Fault, poll: wgpu::PollType) -> Polled {
    attempt(device, fault, poll).ok_or_else(|| {
        fault.note("its driver gave it up during a poll");
        fault.check().err().unwrap_or_else(|| Error::DeviceLost("it takes no more work".into()))
    })
}

/// Polls a device; `None` if wgpu panics.
fn attempt(device: &wgpu::Device, fault: &Fault, poll: wgpu::PollType) -> Option<PollResult> {
    fault.polls.fetch_add(1, Ordering::SeqCst);
    let polled = catch_unwind(AssertUnwindSafe(|| device.poll(poll)));
    fault.polls.fetch_sub(1, Ordering::SeqCst);
    polled.ok()
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
