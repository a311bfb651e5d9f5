use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether plans time kernels on the device before they choose one.
///
/// Where products and convolutions are computed in tiles of workgroup memory (kernels for GPUs), what compiles a plan runs up
/// to four tiles for each size that is new, on memory of its own, and takes the fastest; the tile that the sizes alone
/// suggest stays unless another takes 3% less. All tiles leave the same bits, so that results never depend on it. Compiling
/// takes longer by the kernels that were tried, and waits for the device, which needs a blocking wait: not in a browser.
///
/// As `torch.backends.cudnn.benchmark`, except that what was found can be kept, that it never changes a result, and that
/// splits of sums are not tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Autotune {
    /// Sizes alone decide.
    #[default]
    Off,
    /// What was found is kept as long as the device.
    Memory,
    /// It is also kept in this folder, which is made if need be, in a file for each adapter. A file that was damaged, or
    /// made under another driver or version of this crate, is ignored and made anew. A file that cannot be written costs
    /// nothing but the next run's time.
    Folder(PathBuf),
}

/// What plans of a device found so far: a number of the kernels to choose from, and which of them is the fastest.
pub(crate) type Found = BTreeMap<u64, u32>;

/// The choice of a device, and what was found.
#[derive(Debug)]
pub(crate) struct Tuned {
    folder: Option<PathBuf>,
    /// `None` until it was first asked for.
    found: Mutex<Option<Found>>,
}

impl Tuned {
    /// `None` if nothing is to be timed.
    pub(super) fn of(autotune: Autotune) -> Option<Self> {
        let folder = match autotune {
            Autotune::Off => return None,
            Autotune::Memory => None,
            Autotune::Folder(folder) => Some(folder),
        };
        Some(Self { folder, found: Mutex::default() })
    }

    pub(crate) fn folder(&self) -> Option<&std::path::Path> {
        self.folder.as_deref()
    }

    pub(crate) fn found(&self) -> MutexGuard<'_, Option<Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
