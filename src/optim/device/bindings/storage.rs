use super::DeviceState;
use crate::gpu::{Buffer, Region};
use crate::layout::{Layout, Window};
use crate::optim::device::stage::Stage;
use crate::optim::factored::statistics::Statistics;
use crate::optim::rule::Family;
use crate::params::{Flat, ParamStore};

/// What is kept of a window's blocks of 64 elements.
pub(super) fn blocks_of<'a>(blocks: &'a [Buffer<u32>], window: &Window) -> Region<'a> {
    const BLOCK: usize = Layout::TENSOR_ALIGN;
    blocks[window.buffer].region_of(window.offset / BLOCK, window.len / BLOCK)
}

impl DeviceState {
    /// As [`Stage::storage`].
    pub(super) fn storage<'a>(
        &'a self,
        stage: Stage,
        family: Family,
        params: &'a ParamStore,
        window: &Window,
    ) -> Vec<Region<'a>> {
        let both = || [params.params().window(window), params.grads().window(window)];
        if let Some(statistics) = &self.statistics {
            return of_statistics(statistics, stage, family, both());
        }
        match (stage, &self.reduction_tiles) {
            (Stage::Measure, Some(reduction_tiles)) => {
                [&both()[..], &[reduction_tiles.tiles.region(), reduction_tiles.parts.region()]].concat()
            }
            (Stage::Ratio, Some(reduction_tiles)) => {
                vec![
                    reduction_tiles.parts.region(),
                    reduction_tiles.parts_of.region(),
                    reduction_tiles.ratios.region(),
                ]
            }
            (Stage::Direction, Some(tiles)) => {
                let ratios = [blocks_of(&tiles.blocks, window), tiles.ratios.region()];
                let directions = self.directions().expect("bound for what there is").window(window);
                [&both()[..], &ratios, &[directions]].concat()
            }
            (Stage::Update, Some(_)) if family == Family::Matrix => {
                // Where there are none they are not read, but a binding needs a buffer.
                let directions = self.directions().unwrap_or(params.grads()).window(window);
                [&both()[..], &[directions]].concat()
            }
            (Stage::Update, Some(reduction_tiles)) => {
                [&both()[..], &[blocks_of(&reduction_tiles.blocks, window), reduction_tiles.ratios.region()]]
                    .concat()
            }
            _ => both().to_vec(),
        }
    }

    /// The directions; none where no tensor has one.
    pub(super) fn directions(&self) -> Option<&Flat> {
        self.orthogonal.as_ref()?.directions.as_ref()
    }
}

/// Of a factored rule.
fn of_statistics<'a>(
    statistics: &'a Statistics,
    stage: Stage,
    family: Family,
    both: [Region<'a>; 2],
) -> Vec<Region<'a>> {
    let (index_maps, values) = (statistics.index_maps.region(), statistics.values.region());
    match stage {
        Stage::Statistics => {
            let own = [index_maps, values, statistics.gather.region(), statistics.parts.region()];
            [&both[..], &own].concat()
        }
        Stage::Finish if family == (Family::Factored { ratio: false }) => {
            vec![index_maps, values, statistics.finish.region()]
        }
        Stage::Finish => {
            vec![index_maps, values, statistics.finish.region(), statistics.parts.region()]
        }
        Stage::Means => vec![values, statistics.means.region()],
        Stage::Measure => {
            [&both[..], &[index_maps, values, statistics.tiles.region(), statistics.sums.region()]].concat()
        }
        Stage::Ratio => {
            let ratios = statistics.values.region_of(statistics.ratios.start, statistics.ratios.len());
            vec![statistics.sums.region(), statistics.sums_of.region(), ratios, statistics.lens.region()]
        }
        Stage::Direction | Stage::Update => {
            [&both[..], &[index_maps, values, statistics.tiles.region()]].concat()
        }
    }
}
