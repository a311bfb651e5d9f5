//! Who polls a device while futures wait for it, and who blocks in place of that. In a browser nobody does: it calls callbacks
//! by itself (`page.rs`).

use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Gpu;
use super::fault::{Fault, poll_device};
use super::signal::{FAILED, PENDING, Signal};
use crate::Error;

/// Pause after the first poll of a wait. Each further pause is twice as long.
const SHORTEST: Duration = Duration::from_micros(50);

/// The longest pause between two polls.
const LONGEST: Duration = Duration::from_millis(1);

/// A thread of its own for each device that futures wait for: native backends call callbacks in polls alone, and an
/// executor polls a future again only once it was woken. It is made for the first future that suspends, sleeps while none
/// waits, and ends with the device.
#[derive(Debug)]
pub(super) struct Polling {
    device: wgpu::Device,
    fault: Arc<Fault>,
    thread: Mutex<Option<Running>>,
    /// What [`Gpu::block_on`] is known by.
    blocking: Waker,
}

#[derive(Debug)]
struct Running {
    signals: Sender<Arc<Signal>>,
    thread: JoinHandle<()>,
}

impl Polling {
    pub(super) fn new(device: &wgpu::Device, fault: &Arc<Fault>) -> Self {
        let blocking = Waker::from(Arc::new(Blocking));
        Self { device: device.clone(), fault: fault.clone(), thread: Mutex::default(), blocking }
    }

    /// Polls until a signal is set; whether there is a thread to do so.
    pub(super) fn watch(&self, signal: &Arc<Signal>) -> bool {
        let mut running = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_none() {
            let (signals, watched) = channel();
            let (device, fault) = (self.device.clone(), self.fault.clone());
            let poll = move || poll_all(&device, &fault, &watched);
            let Ok(thread) = thread::Builder::new().name("gradus-poll".into()).spawn(poll) else {
                return false;
            };
            *running = Some(Running { signals, thread });
        }
        running.as_ref().is_some_and(|running| running.signals.send(signal.clone()).is_ok())
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        let running = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { signals, thread }) = running else { return };
        drop(signals);
        // So that no thread is in a driver while the process ends; unless a task that it woke has dropped the device.
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

/// Polls while there are signals to be set, until their senders are gone.
fn poll_all(device: &wgpu::Device, fault: &Fault, signals: &Receiver<Arc<Signal>>) {
    while let Ok(first) = signals.recv() {
        let mut watched = vec![first];
        let mut pause = SHORTEST;
        while !watched.is_empty() {
            loop {
                match signals.try_recv() {
                    Ok(signal) => {
                        watched.push(signal);
                        pause = SHORTEST;
                    }
                    Err(TryRecvError::Empty) => break,
                    // Nobody waits for a device that is gone.
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            // A wait with a timeout would panic in wgpu if another thread's poll sees the work finish.
            if !matches!(poll_device(device, fault, wgpu::PollType::Poll), Ok(Ok(_))) {
                // The waiting future finds out why.
                for signal in &watched {
                    signal.pass(PENDING, FAILED);
                }
            }
            watched.retain(|signal| signal.is_pending());
            if !watched.is_empty() {
                thread::sleep(pause);
                pause = (2 * pause).min(LONGEST);
            }
        }
    }
}

/// A task that waits by blocking, and that nobody has to wake.
struct Blocking;

impl Wake for Blocking {
    fn wake(self: Arc<Self>) {}
}

impl Gpu {
    /// What a future gives that waits for this device alone, by blocking: each wait in it polls the device on this thread,
    /// so that it never suspends.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut context = Context::from_waker(&self.polling().blocking);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            thread::yield_now();
        }
    }

    /// What a future gives, which only waits for this device if the device tunes its kernels: by blocking.
    pub(crate) fn at_once<T>(&self, future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.block_on(future)
    }

    /// Whether a future is polled by [`Gpu::block_on`].
    pub(super) fn may_block(&self, waker: &Waker) -> bool {
        waker.will_wake(&self.polling().blocking)
    }
}
