use super::{KernelChoice, Trial};

/// What a device offers to kernels, and which kinds of kernels may be selected for it.
///
/// Each operation has a ranked list of candidate kernels. A device uses the first candidate that it supports
/// at the given sizes. [`KernelChoice`] restricts the lists.
///
/// ```no_run
/// // Needs a device.
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// println!("f16: {}, sums in {} parts", gpu.capabilities().has_f16, gpu.capabilities().cores);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether the adapter is a CPU, where barriers and workgroup memory are slow.
    pub is_cpu: bool,
    /// Smallest and largest subgroup size, in lanes; `None` if kernels cannot use subgroups.
    pub subgroup_lanes: Option<[u32; 2]>,
    /// Maximum workgroup memory, in bytes.
    pub workgroup_bytes: u32,
    /// Maximum number of invocations in a workgroup.
    pub workgroup_invocations: u32,
    /// Whether kernels can load and store f16, as
    /// [`PlanOptions::autocast`](crate::graph::PlanOptions::autocast) requires.
    pub has_f16: bool,
    /// Assumed number of compute units that run workgroups in parallel: 80 for a discrete GPU, 32 for any
    /// other adapter, because wgpu does not report it. Long sums are split into this many parts, so results
    /// depend on it.
    pub cores: u32,
    /// Whether the driver compiles functions of any length. SwiftShader needs gigabytes of memory for wide register
    /// tiles.
    compiles_long_kernels: bool,
    /// The kind that was asked for; `None` for all.
    only: Option<KernelKind>,
    /// What is measured instead of what is chosen.
    pub(crate) trial: Trial,
    /// Whether other kernels are to be given beside the one that is chosen, to be timed.
    pub(crate) tunes: bool,
}

/// A kind of kernels, by what they need of a device.
///
/// ```no_run
/// // Needs a device.
/// use gradus::gpu::{KernelChoice, KernelKind};
/// use gradus::{Gpu, GpuOptions};
///
/// let kernels = KernelChoice::Only(KernelKind::Gpu); // on a CPU adapter too, to test them
/// let gpu = Gpu::new(GpuOptions { kernels, ..Default::default() })?;
/// println!("{:?}", gpu.kernel_kind());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum KernelKind {
    /// Wide register tiles fed by broadcasts, for CPU adapters whose subgroups all have 4, 8 or 16 lanes, except
    /// SwiftShader. The width changes how work is distributed, but no result, except of convolutions in groups whose
    /// channels do not fill subgroups of 16.
    CpuSubgroup,
    /// Tiles in workgroup memory, and workgroups that share a sum, for GPUs. A CPU adapter, where barriers are slow, is
    /// given them only when they are asked for.
    Gpu,
    /// Kernels that need nothing beyond WebGPU's defaults.
    Plain,
}

impl KernelKind {
    /// All kinds, from the most particular to the one that runs anywhere.
    pub const ALL: [Self; 3] = [Self::CpuSubgroup, Self::Gpu, Self::Plain];

    /// Whether a device can run them.
    pub fn runs_on(self, offered: &Capabilities) -> bool {
        let needed = Self::needs(self);
        offered.workgroup_bytes >= needed.workgroup_bytes
            && offered.workgroup_invocations >= needed.workgroup_invocations
            && (!needed.is_cpu || offered.is_cpu)
            && (needed.subgroup_lanes.is_none()
                || (offered.fixed_lanes().is_some() && offered.compiles_long_kernels))
    }

    /// The least that they need.
    fn needs(self) -> Capabilities {
        let plain = Capabilities { only: Some(self), ..Capabilities::PLAIN };
        match self {
            // Of other widths too.
            Self::CpuSubgroup => Capabilities { is_cpu: true, subgroup_lanes: Some([8, 8]), ..plain },
            // WebGPU's defaults.
            Self::Gpu => Capabilities { workgroup_bytes: 16_384, workgroup_invocations: 256, ..plain },
            Self::Plain => plain,
        }
    }
}

impl Capabilities {
    /// Of any device.
    pub(crate) const PLAIN: Self = Self {
        is_cpu: false,
        subgroup_lanes: None,
        workgroup_bytes: 0,
        workgroup_invocations: 0,
        has_f16: false,
        cores: 32,
        only: Some(KernelKind::Plain),
        trial: Trial::NONE,
        tunes: false,
        compiles_long_kernels: true,
    };

    /// Of a device on an adapter.
    pub(super) fn of(device: &wgpu::Device, info: &wgpu::AdapterInfo, choice: KernelChoice) -> Self {
        let limits = device.limits();
        let has_subgroups = device.features().contains(wgpu::Features::SUBGROUP);
        Self {
            is_cpu: info.device_type == wgpu::DeviceType::Cpu,
            subgroup_lanes: has_subgroups.then_some([info.subgroup_min_size, info.subgroup_max_size]),
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            has_f16: device.features().contains(wgpu::Features::SHADER_F16),
            cores: if info.device_type == wgpu::DeviceType::DiscreteGpu { 80 } else { Self::PLAIN.cores },
            only: choice.only(),
            // It took 12 GB for the kernels of a small network with a pooled convolution, and had not finished.
            compiles_long_kernels: !info.name.contains("SwiftShader"),
            ..Self::PLAIN
        }
    }

    /// One capability set for each kind of kernels, without a device: the minimum that the kind needs, and
    /// f16. That kind is selected wherever it fits.
    pub(crate) fn of_each_kind() -> [Self; KernelKind::ALL.len()] {
        KernelKind::ALL.map(|kind| Self { has_f16: true, ..kind.needs() })
    }

    /// The same with subgroups of another width, of which kernels may have another text.
    pub(crate) fn of_each_width() -> [Self; Self::WIDTHS.len()] {
        let [cpu, ..] = Self::of_each_kind();
        Self::WIDTHS.map(|lanes| Self { subgroup_lanes: Some([lanes, lanes]), ..cpu })
    }

    /// Lanes of subgroups for which [`KernelKind::CpuSubgroup`] has kernels: vectors of 128, 256 and 512 bits.
    pub(crate) const WIDTHS: [u32; 3] = [4, 8, 16];

    /// The lanes of all subgroups, if they are one of these widths.
    fn fixed_lanes(&self) -> Option<u32> {
        self.subgroup_lanes
            .filter(|[least, most]| least == most)
            .map(|[lanes, _]| lanes)
            .filter(|lanes| Self::WIDTHS.contains(lanes))
    }

    /// The lanes of a subgroup, for kernels of [`KernelKind::CpuSubgroup`].
    ///
    /// # Panics
    /// On a device that does not run these.
    pub(crate) fn lanes(&self) -> u32 {
        self.fixed_lanes().expect("subgroups of one width")
    }

    /// The same capabilities, with overrides for a measurement.
    pub(crate) fn with(&self, trial: Trial) -> Self {
        Self { trial, ..*self }
    }

    /// Whether kernels of this kind may be selected: the kind that was requested, and plain kernels as the
    /// fallback.
    fn admits(&self, kind: KernelKind) -> bool {
        let asked = match self.only {
            Some(only) => kind == only || kind == KernelKind::Plain,
            None => kind != KernelKind::Gpu || !self.is_cpu,
        };
        asked && kind.runs_on(self)
    }

    /// The first kind that may be selected.
    pub(super) fn kind(&self) -> KernelKind {
        KernelKind::ALL.into_iter().find(|kind| self.admits(*kind)).unwrap_or(KernelKind::Plain)
    }
}

/// One of several implementations of the same operation.
///
/// Candidates are ranked, the fastest first. Each carries the data needed to launch it.
#[derive(Debug)]
pub(crate) struct Candidate<Geometry, Way> {
    pub(crate) kind: KernelKind,
    /// Whether it supports these sizes, on a device that runs its kind.
    pub(crate) fits: fn(&Geometry, &Capabilities) -> bool,
    pub(crate) way: Way,
}

impl<Geometry, Way> Candidate<Geometry, Way> {
    fn supports(&self, geometry: &Geometry, capabilities: &Capabilities) -> bool {
        capabilities.admits(self.kind) && (self.fits)(geometry, capabilities)
    }

    /// The first candidate of a ranked list that supports these sizes on this device.
    pub(crate) fn first<'a>(
        ranked: &'a [Self],
        geometry: &Geometry,
        capabilities: &Capabilities,
    ) -> Option<&'a Way> {
        ranked.iter().find(|candidate| candidate.supports(geometry, capabilities)).map(|found| &found.way)
    }

    /// Like [`Candidate::first`], for a list whose last candidate supports every device and size.
    ///
    /// # Panics
    /// If the last candidate does not.
    pub(crate) fn choose<'a>(
        ranked: &'a [Self],
        geometry: &Geometry,
        capabilities: &Capabilities,
    ) -> &'a Way {
        Self::first(ranked, geometry, capabilities).expect("the last candidate runs anywhere at all sizes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers stand in for sizes and implementations.
    const RANKED: &[Candidate<u32, u32>] = &[
        Candidate {
            kind: KernelKind::CpuSubgroup,
            fits: |size, offered| size.is_multiple_of(4) && offered.workgroup_bytes >= 1024,
            way: 0,
        },
        Candidate { kind: KernelKind::CpuSubgroup, fits: |size, _| size.is_multiple_of(2), way: 1 },
        Candidate { kind: KernelKind::Gpu, fits: |size, _| size.is_multiple_of(7), way: 4 },
        Candidate { kind: KernelKind::Plain, fits: |size, _| *size > 100, way: 2 },
        Candidate { kind: KernelKind::Plain, fits: |_, _| true, way: 3 },
    ];

    fn device(only: Option<KernelKind>) -> Capabilities {
        Capabilities {
            is_cpu: true,
            subgroup_lanes: Some([8, 8]),
            workgroup_bytes: 16_384,
            workgroup_invocations: 256,
            has_f16: false,
            cores: 32,
            only,
            trial: Trial::NONE,
            tunes: false,
            compiles_long_kernels: true,
        }
    }

    fn chosen(capabilities: Capabilities) -> [u32; 4] {
        [4, 6, 7, 101].map(|size| *Candidate::choose(RANKED, &size, &capabilities))
    }

    #[test]
    fn the_first_that_a_device_supports_at_the_sizes_is_taken() {
        assert_eq!(chosen(device(None)), [0, 1, 3, 2]);
        assert_eq!(chosen(Capabilities { workgroup_bytes: 1023, ..device(None) }), [1, 1, 3, 2]);
        for width in [4, 16] {
            let lanes = Some([width, width]);
            assert_eq!(chosen(Capabilities { subgroup_lanes: lanes, ..device(None) }), [0, 1, 3, 2]);
        }
        for other in [None, Some([4, 8]), Some([8, 16]), Some([1, 1]), Some([2, 2]), Some([32, 32])] {
            assert_eq!(chosen(Capabilities { subgroup_lanes: other, ..device(None) }), [3, 3, 3, 2]);
        }
        assert_eq!(chosen(Capabilities { is_cpu: false, ..device(None) }), [3, 3, 4, 2]);
        for only in [None, Some(KernelKind::CpuSubgroup)] {
            let short = Capabilities { compiles_long_kernels: false, ..device(only) };
            assert_eq!(chosen(short), [3, 3, 3, 2]);
        }
        let small = Capabilities { is_cpu: false, workgroup_invocations: 128, ..device(None) };
        assert_eq!(chosen(small), [3, 3, 3, 2]);
        assert_eq!(Candidate::first(&RANKED[..2], &7, &device(None)), None);
    }

    #[test]
    fn a_kind_that_is_asked_for_is_taken_where_it_fits_and_a_plain_one_elsewhere() {
        let [cpu, gpu, plain] = KernelKind::ALL.map(|kind| device(Some(kind)));
        assert_eq!(chosen(cpu), [0, 1, 3, 2]);
        assert_eq!(chosen(gpu), [3, 3, 4, 2]);
        assert_eq!(chosen(plain), [3, 3, 3, 2]);
        assert_eq!(
            [cpu, gpu, plain, device(None)].map(|device| device.kind()),
            [KernelKind::CpuSubgroup, KernelKind::Gpu, KernelKind::Plain, KernelKind::CpuSubgroup]
        );
        let elsewhere = Capabilities { is_cpu: false, ..cpu };
        assert_eq!((elsewhere.kind(), chosen(elsewhere)), (KernelKind::Plain, [3, 3, 3, 2]));
    }

    #[test]
    fn each_kind_is_admitted_by_a_device_of_its_own() {
        for (kind, offered) in KernelKind::ALL.into_iter().zip(Capabilities::of_each_kind()) {
            assert_eq!(offered.kind(), kind);
        }
        for (width, offered) in Capabilities::WIDTHS.into_iter().zip(Capabilities::of_each_width()) {
            assert_eq!((offered.kind(), offered.lanes()), (KernelKind::CpuSubgroup, width));
        }
    }
}
