//! The kind of kernels that `.ci/test-matrix` asks for.

use gradus::GpuOptions;
use gradus::gpu::{KernelChoice, KernelKind};

/// The options, with the kind of kernels that the environment names in place of the fastest one.
pub(crate) fn asked(options: GpuOptions) -> GpuOptions {
    let Ok(name) = std::env::var("GRADUS_TEST_KERNELS") else { return options };
    let kind = KernelKind::ALL.into_iter().find(|kind| format!("{kind:?}") == name);
    let kind =
        kind.unwrap_or_else(|| panic!("GRADUS_TEST_KERNELS={name}: must be one of {:?}", KernelKind::ALL));
    match options.kernels {
        KernelChoice::Auto => GpuOptions { kernels: KernelChoice::Only(kind), ..options },
        _ => options,
    }
}
