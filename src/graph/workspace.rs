use std::sync::Arc;

use crate::Error;
use crate::gpu::{Buffer, Gpu};

/// The activation buffers shared by the plans of one graph; only one of them runs at a time.
///
/// Compile the largest plan first, so that smaller plans can reuse all its buffers.
///
/// ```
/// use gradus::graph::Workspace;
///
/// let workspace = Workspace::new(); // shared by plans that do not run at the same time
/// assert_eq!(workspace.bytes(), 0);
/// ```
#[derive(Debug, Default)]
pub struct Workspace {
    buffers: Vec<Arc<Buffer<f32>>>,
}

impl Workspace {
    /// An empty workspace.
    pub fn new() -> Self {
        Self::default()
    }

    /// Total size of its buffers in bytes.
    pub fn bytes(&self) -> usize {
        self.buffers.iter().map(|b| b.len() * size_of::<f32>()).sum()
    }

    /// Distinct buffers of at least these lengths. Creates buffers where none is large enough.
    pub(crate) fn take(&mut self, gpu: &Gpu, lens: &[usize]) -> Result<Vec<Arc<Buffer<f32>>>, Error> {
        if self.buffers.iter().any(|buffer| !buffer.is_of(gpu)) {
            return Err(Error::Mismatch("this workspace belongs to another device".into()));
        }
        let mut largest_first: Vec<usize> = (0..lens.len()).collect();
        largest_first.sort_by_key(|&slot| std::cmp::Reverse(lens[slot]));
        self.buffers.sort_by_key(|buffer| std::cmp::Reverse(buffer.len()));
        let mut spare = self.buffers.clone().into_iter().peekable();
        let mut taken = vec![None; lens.len()];
        for slot in largest_first {
            let buffer = match spare.next_if(|buffer| buffer.len() >= lens[slot]) {
                Some(buffer) => buffer,
                None => {
                    let buffer = Arc::new(Buffer::storage(gpu, "activations", lens[slot])?);
                    self.buffers.push(buffer.clone());
                    buffer
                }
            };
            taken[slot] = Some(buffer);
        }
        Ok(taken.into_iter().flatten().collect())
    }
}

/// The lifetime of a value: the first and the last step that use it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) len: usize,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// Assigns a slot to each value, such that no two values whose lifetimes overlap share one. Returns the slot of each
/// value, and the length of each slot.
///
/// Both ends are inclusive, so an output never takes the slot of an input of the same step.
pub(crate) fn assign(lives: &[Life]) -> (Vec<usize>, Vec<usize>) {
    let mut by_start: Vec<usize> = (0..lives.len()).collect();
    by_start.sort_by_key(|&value| lives[value].first);
    let mut slots: Vec<(usize, usize)> = Vec::new(); // (length, step after which it is free)
    let mut slot_of = vec![0; lives.len()];
    for value in by_start {
        let Life { len, first, last } = lives[value];
        let free = slots.iter().enumerate().filter(|(_, (_, busy))| *busy < first);
        // Takes the smallest slot that is large enough, or else grows the largest.
        let best = free.min_by_key(|(_, (size, _))| (*size < len, size.abs_diff(len))).map(|(slot, _)| slot);
        let slot = best.unwrap_or_else(|| {
            slots.push((0, 0));
            slots.len() - 1
        });
        slots[slot] = (slots[slot].0.max(len), last);
        slot_of[value] = slot;
    }
    (slot_of, slots.into_iter().map(|(len, _)| len).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_chain_needs_two_slots() {
        let lives = [(0, 1), (1, 2), (2, 3), (3, 4)].map(|(first, last)| Life { len: 8, first, last });
        let (slot_of, lens) = assign(&lives);
        assert_eq!((slot_of, lens), (vec![0, 1, 0, 1], vec![8, 8]));
    }

    proptest! {
        #[test]
        fn no_two_live_values_share_a_slot(raw in prop::collection::vec((1usize..100, 0usize..20, 0usize..10), 0..40)) {
            let lives: Vec<Life> =
                raw.iter().map(|&(len, first, more)| Life { len, first, last: first + more }).collect();
            let (slot_of, lens) = assign(&lives);
            for (i, a) in lives.iter().enumerate() {
                prop_assert!(lens[slot_of[i]] >= a.len);
                for (j, b) in lives.iter().enumerate().skip(i + 1) {
                    let apart = a.last < b.first || b.last < a.first;
                    prop_assert!(apart || slot_of[i] != slot_of[j]);
                }
            }
        }
    }
}
