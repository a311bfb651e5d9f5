//! In place of polling, in the page of a browser: it calls callbacks by itself, and nothing may block.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::Gpu;
use crate::Error;

impl Gpu {
    /// What a future gives, which only waits for this device if the device tunes its kernels: that is refused.
    #[expect(clippy::unused_self, reason = "elsewhere it is the device that waits")]
    pub(crate) fn at_once<T>(&self, future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                let reason = "a page cannot wait here while kernels are timed: turn autotune off".into();
                Err(Error::Config { what: "device".into(), reason })
            }
        }
    }
}
