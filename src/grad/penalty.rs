use serde::{Deserialize, Serialize};

use crate::Error;
use crate::error::at_least;
use crate::layout::Layout;

/// A penalty on the size of parameters, `l1 * sum |p| + l2 * sum p^2`. Its gradient `l1 * sign(p) + 2 * l2 * p` is
/// added to that of the loss. The sign of 0 is 0.
///
/// It is Keras' `L1L2`. Because of the factor of two, `l2` has twice the effect of `weight_decay` in torch's rules,
/// which add `weight_decay * p`.
///
/// Source: <https://keras.io/api/layers/regularizers/>.
///
/// ```
/// use gradus::grad::{Penalty, Transforms};
///
/// let decay = Penalty { l2: 1e-4, groups: vec!["decay".into()], ..Penalty::default() };
/// let transforms = Transforms { penalties: vec![decay], ..Transforms::default() };
/// transforms.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Penalty {
    /// Factor of the sum of magnitudes, at least 0. Default 0.
    pub l1: f64,
    /// Factor of the sum of squares, at least 0. Default 0.
    pub l2: f64,
    /// Groups that it applies to. Default: all, unless `tensors` names some.
    pub groups: Vec<String>,
    /// Tensors that it applies to, in addition to the groups.
    pub tensors: Vec<String>,
}

impl Penalty {
    pub(super) fn check(&self) -> Result<(), Error> {
        at_least("penalty.l1", self.l1, 0.0)?;
        at_least("penalty.l2", self.l2, 0.0)
    }

    /// The sums of the factors of all penalties, for each tensor of the layout.
    pub(super) fn factors(penalties: &[Self], layout: &Layout) -> Result<Vec<[f64; 2]>, Error> {
        let mut factors = vec![[0.0; 2]; layout.spans().len()];
        penalties.iter().try_for_each(|penalty| penalty.add_to(layout, &mut factors))?;
        Ok(factors)
    }

    fn add_to(&self, layout: &Layout, factors: &mut [[f64; 2]]) -> Result<(), Error> {
        let groups: Vec<usize> =
            self.groups.iter().map(|name| layout.group(name)).collect::<Result<_, _>>()?;
        let tensors: Vec<usize> =
            self.tensors.iter().map(|name| layout.index(name)).collect::<Result<_, _>>()?;
        let everywhere = groups.is_empty() && tensors.is_empty();
        for (index, (span, [l1, l2])) in layout.spans().iter().zip(factors).enumerate() {
            if everywhere || groups.contains(&span.group) || tensors.contains(&index) {
                *l1 += self.l1;
                *l2 += self.l2;
            }
        }
        Ok(())
    }
}
