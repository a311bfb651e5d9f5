//! What the device tells the host when it is done, and who waits for that.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use super::Gpu;
use crate::Error;

pub(super) const PENDING: u8 = 0;
pub(super) const READY: u8 = 1;
pub(super) const FAILED: u8 = 2;

/// A state that a callback of wgpu sets, and the task that is woken then. States beyond [`FAILED`] are their owner's.
#[derive(Debug)]
pub(super) struct Signal {
    state: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    pub(super) fn new(state: u8) -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(state), waker: Mutex::default() })
    }

    pub(super) fn state(&self) -> u8 {
        self.state.load(Ordering::Acquire)
    }

    pub(super) fn is_pending(&self) -> bool {
        self.state() == PENDING
    }

    /// Sets the state and wakes who waits.
    pub(super) fn set(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        self.wake();
    }

    /// Goes from one state to another and wakes who waits; whether it was in that one.
    pub(super) fn pass(&self, from: u8, to: u8) -> bool {
        let passed = self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if passed {
            self.wake();
        }
        passed
    }

    /// Wakes this task, and no longer another, when the state is set next.
    fn keep(&self, waker: &Waker) {
        let mut kept = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *kept {
            Some(kept) => kept.clone_from(waker),
            None => *kept = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        // Not under the lock: an executor may poll in the call.
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A callback's end of a signal: it fails if the callback is dropped without a call, as on a device that is lost.
pub(super) struct Notify(Option<Arc<Signal>>);

impl Notify {
    pub(super) fn new(signal: &Arc<Signal>) -> Self {
        Self(Some(signal.clone()))
    }

    pub(super) fn set(mut self, state: u8) {
        // Taken, since a signal that was set may be pending again before this is dropped.
        if let Some(signal) = self.0.take() {
            signal.pass(PENDING, state);
        }
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        if let Some(signal) = self.0.take() {
            signal.pass(PENDING, FAILED);
        }
    }
}

/// Asks for the first `bytes` bytes of a buffer; the signal, which is pending, tells when they are there.
pub(super) fn map(gpu: &Gpu, buffer: &wgpu::Buffer, mode: wgpu::MapMode, bytes: u64, signal: &Arc<Signal>) {
    let notify = Notify::new(signal);
    let asked = gpu.caught(|| {
        buffer.map_async(mode, 0..bytes, move |result| {
            notify.set(if result.is_ok() { READY } else { FAILED });
        });
    });
    if asked.is_err() {
        signal.set(FAILED);
    }
}

/// Waits until a signal is no longer pending: blocks in [`Gpu::block_on`], and suspends elsewhere.
///
/// A future that suspends is woken by the callback, which a browser calls by itself. Native backends call it in polls of
/// the device: the first poll of the future is one, and then the thread of [`Polling`](super::polling::Polling) polls.
///
/// # Errors
/// [`Error::DeviceLost`], and what the submit of held-back steps says.
pub(super) async fn arrived(gpu: &Gpu, signal: &Arc<Signal>) -> Result<(), Error> {
    if !signal.is_pending() {
        return Ok(());
    }
    // What is waited for may be held back, and so may what the caller expects to run meanwhile.
    gpu.flush()?;
    let mut is_watched = false;
    poll_fn(|context| {
        #[cfg(not(target_arch = "wasm32"))]
        if gpu.may_block(context.waker()) {
            return Poll::Ready(block(gpu, signal));
        }
        // Kept before the state is looked at: a callback in between wakes.
        signal.keep(context.waker());
        if !is_watched {
            gpu.poll(wgpu::PollType::Poll)?;
        }
        if !signal.is_pending() {
            return Poll::Ready(Ok(()));
        }
        #[cfg(not(target_arch = "wasm32"))]
        if !is_watched && !gpu.polling().watch(signal) {
            return Poll::Ready(block(gpu, signal));
        }
        is_watched = true;
        Poll::Pending
    })
    .await
}

#[cfg(not(target_arch = "wasm32"))]
fn block(gpu: &Gpu, signal: &Signal) -> Result<(), Error> {
    while signal.is_pending() {
        gpu.poll(wgpu::PollType::wait_indefinitely())?;
        if signal.is_pending() {
            // A poll on another thread has taken the callback and is about to call it.
            std::thread::yield_now();
        }
    }
    Ok(())
}
