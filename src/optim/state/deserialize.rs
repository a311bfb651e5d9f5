//! What state dicts are read from.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::dict::TensorState;
use crate::optim::rule::SlotBits;

/// A [`TensorState`] as it is read: what a key holds says whether it is a number or a slot.
#[derive(Deserialize)]
pub(super) struct Read {
    step: u64,
    shape: Vec<usize>,
    #[serde(default)]
    mu_product: Option<f64>,
    #[serde(default)]
    inner_step: Option<u64>,
    #[serde(default)]
    stored: BTreeMap<String, SlotBits>,
    #[serde(flatten)]
    rest: BTreeMap<String, Entry>,
}

enum Entry {
    Scalar(f64),
    Slot(Option<Vec<f32>>),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        #[expect(clippy::cast_precision_loss, reason = "as JSON's numbers are read everywhere")]
        impl<'de> Visitor<'de> for Any {
            type Value = Entry;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, a list of numbers, or null")
            }

            fn visit_f64<E>(self, value: f64) -> Result<Entry, E> {
                Ok(Entry::Scalar(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Entry, E> {
                Ok(Entry::Scalar(value as f64))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Entry, E> {
                Ok(Entry::Scalar(value as f64))
            }

            fn visit_unit<E>(self) -> Result<Entry, E> {
                Ok(Entry::Slot(None))
            }

            fn visit_none<E>(self) -> Result<Entry, E> {
                Ok(Entry::Slot(None))
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
                deserializer.deserialize_any(self)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entry, A::Error> {
                let mut values = Vec::with_capacity(seq.size_hint().unwrap_or(0));
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Entry::Slot(Some(values)))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl From<Read> for TensorState {
    fn from(read: Read) -> Self {
        let Read { step, shape, mu_product, inner_step, stored, rest } = read;
        let mut state = Self { step, shape, mu_product, inner_step, stored, ..Self::default() };
        for (name, entry) in rest {
            match entry {
                Entry::Scalar(value) => {
                    state.scalars.insert(name, value);
                }
                Entry::Slot(values) => {
                    state.slots.insert(name, values);
                }
            }
        }
        state
    }
}
