use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether plans time kernels on the device before they select one.
///
/// This concerns matrix products and convolutions that run as tiles in workgroup memory, which are the
/// kernels for GPUs. For each new size, compiling a plan runs up to four tile sizes on scratch memory. The
/// default tile for that size is kept unless another takes at least 3% less time. All tiles give the same
/// bits, so results do not depend on this option. Compiling takes longer and needs a blocking wait for the
/// device, which a browser does not have.
///
/// Like `torch.backends.cudnn.benchmark`, except that findings can be stored on disk, and that neither
/// results nor the way sums are split ever change.
///
/// ```no_run
/// // Needs a device.
/// use gradus::gpu::Autotune;
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions { autotune: Autotune::Folder("tuned".into()), ..Default::default() })?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Autotune {
    /// Sizes alone determine the kernels.
    #[default]
    Off,
    /// Findings are kept in memory as long as the device.
    Memory,
    /// Findings are also stored in this folder, which is created if needed, in one file per adapter. A file
    /// that is damaged or was written with another driver or version of this crate is ignored and rewritten.
    /// If the file cannot be written, the next run times the kernels again.
    Folder(PathBuf),
}

/// What plans of a device have found so far: from a hash of the kernels to choose from to the index of the
/// fastest.
pub(crate) type Found = BTreeMap<u64, u32>;

/// The autotune setting of a device, with its findings.
#[derive(Debug)]
pub(crate) struct Tuned {
    folder: Option<PathBuf>,
    /// `None` until first used.
    found: Mutex<Option<Found>>,
}

impl Tuned {
    /// `None` if autotuning is off.
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
