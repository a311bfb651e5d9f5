//! The layout of a store: assigns each tensor a range of one flat space of f32 elements, ordered by parameter
//! group.
//!
//! The flat space is split into buffers, and each buffer into windows, because devices limit the size of a
//! buffer and of a binding. Host code; needs no device.

use std::collections::HashMap;
use std::ops::Range;

use crate::error::Error;

/// The position of one tensor in the flat space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Name, unique within the layout.
    pub name: String,
    /// Shape. `[]` is a scalar with one element; a dimension of 0 means no elements.
    pub shape: Vec<usize>,
    /// Index of its parameter group.
    pub group: usize,
    /// First element in the flat space; a multiple of [`Layout::TENSOR_ALIGN`].
    pub first: usize,
    /// Number of elements, without padding.
    pub len: usize,
}

impl Span {
    /// Number of elements including the padding that follows; a multiple of [`Layout::TENSOR_ALIGN`]. A
    /// tensor without elements gets padding too, so that no two tensors share a position.
    pub fn padded_len(&self) -> usize {
        self.len.max(1).checked_next_multiple_of(Layout::TENSOR_ALIGN).unwrap_or(usize::MAX)
    }
}

/// The part of one buffer that a kernel binds at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Index of the buffer.
    pub buffer: usize,
    /// First element in the flat space.
    pub first: usize,
    /// First element within the buffer; a multiple of [`Layout::WINDOW_ALIGN`].
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
}

/// The part of a range of the flat space that lies in one buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Index of the buffer.
    pub buffer: usize,
    /// First element within the buffer.
    pub offset: usize,
    /// The elements it holds, counted from the start of the range.
    pub part: Range<usize>,
}

/// A parameter group before layout: its name, and the names and shapes of its tensors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSpec {
    /// Name, unique within the layout.
    pub name: String,
    /// Names and shapes of the tensors, in order.
    pub tensors: Vec<(String, Vec<usize>)>,
}

impl GroupSpec {
    /// A group without tensors.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), tensors: Vec::new() }
    }

    /// Adds a tensor with this name and shape.
    #[must_use]
    pub fn tensor(mut self, name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        self.tensors.push((name.into(), shape.into()));
        self
    }
}

/// The device limits that determine the sizes of buffers and windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of one storage binding, in bytes.
    pub binding_bytes: u64,
    /// Maximum size of one buffer, in bytes.
    pub buffer_bytes: u64,
}

impl Default for Limits {
    /// WebGPU's default limits: 128 MiB per binding, 256 MiB per buffer.
    fn default() -> Self {
        Self { binding_bytes: 128 << 20, buffer_bytes: 256 << 20 }
    }
}

/// The positions of all tensors in one flat space of f32 elements, ordered by parameter group.
///
/// ```
/// use gradus::layout::{GroupSpec, Layout, Limits};
///
/// let groups = [GroupSpec::new("decay").tensor("w", [3, 50]).tensor("scale", []), GroupSpec::new("rest").tensor("b", [3])];
/// let layout = Layout::new(&groups, Limits::default())?;
/// assert_eq!(layout.spans().iter().map(|s| s.first).collect::<Vec<_>>(), [0, 192, 256]);
/// assert_eq!((layout.parameters(), layout.len()), (154, 512));
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    groups: Vec<String>,
    spans: Vec<Span>,
    by_name: HashMap<String, usize>,
    limits: Limits,
    window_len: usize,
    buffer_len: usize,
    len: usize,
}

impl Layout {
    /// Each tensor starts at a multiple of this many elements, so that it can be bound by its offset and no
    /// `vec4` holds elements of two tensors.
    pub const TENSOR_ALIGN: usize = 64;
    /// Each group starts at a multiple of this many elements, and the flat space ends at one.
    pub const GROUP_ALIGN: usize = 256;
    /// Each window starts at a multiple of this many elements.
    pub const WINDOW_ALIGN: usize = 16_384;

    /// Maximum number of elements of one tensor, and of a layout including its padding. It is far enough
    /// below the address space that sizes in bytes, including several slots of optimizer state, cannot
    /// overflow.
    pub const MOST: usize = usize::MAX / 64;

    /// Lays out `groups` in the given order.
    ///
    /// A tensor that fits one binding is never split between two buffers, so that it can be bound whole.
    ///
    /// # Errors
    /// [`Error::Duplicate`] for two tensors or two groups with the same name; [`Error::Config`] for an empty
    /// name, or if there is no tensor; [`Error::Shape`] for a tensor that exceeds [`Layout::MOST`], alone or
    /// together with the tensors before it; [`Error::Limit`] if the device cannot bind the smallest window.
    pub fn new(groups: &[GroupSpec], limits: Limits) -> Result<Self, Error> {
        let window_len = window_len(limits)?;
        let buffer_elements = usize::try_from(limits.buffer_bytes / 4).unwrap_or(usize::MAX);
        let mut layout = Self {
            groups: Vec::new(),
            spans: Vec::new(),
            by_name: HashMap::new(),
            limits,
            window_len,
            buffer_len: buffer_elements / window_len * window_len,
            len: 0,
        };
        groups.iter().try_for_each(|group| layout.push_group(group))?;
        if layout.spans.is_empty() {
            return Err(Error::Config {
                what: "parameters".into(),
                reason: "expected at least one tensor".into(),
            });
        }
        Ok(layout)
    }

    /// A copy of this layout with one more group at the end. All tensors keep their positions, so the result
    /// equals [`Layout::new`] of all groups.
    ///
    /// # Errors
    /// As [`Layout::new`], for the new group.
    pub fn with_group(&self, group: &GroupSpec) -> Result<Self, Error> {
        let mut layout = self.clone();
        layout.push_group(group)?;
        Ok(layout)
    }

    fn push_group(&mut self, group: &GroupSpec) -> Result<(), Error> {
        check_name("group", &group.name)?;
        if self.groups.contains(&group.name) {
            return Err(Error::Duplicate { kind: "group", name: group.name.clone() });
        }
        self.groups.push(group.name.clone());
        group.tensors.iter().try_for_each(|(name, shape)| self.push(name, shape))?;
        self.len = self.len.next_multiple_of(Self::GROUP_ALIGN);
        Ok(())
    }

    fn push(&mut self, name: &str, shape: &[usize]) -> Result<(), Error> {
        check_name("tensor", name)?;
        let len = elements(name, shape)?;
        let mut first = self.len.next_multiple_of(Self::TENSOR_ALIGN);
        let crosses = first / self.buffer_len != (first + len.max(1) - 1) / self.buffer_len;
        if crosses && len as u64 * 4 <= self.limits.binding_bytes && len <= self.buffer_len {
            // A buffer as large as the address space has no successor.
            first = first.checked_next_multiple_of(self.buffer_len).unwrap_or(usize::MAX);
        }
        // These sums are far below the address space unless a buffer is about as large as it.
        let end = first.saturating_add(len.max(1).next_multiple_of(Self::TENSOR_ALIGN));
        if end.checked_next_multiple_of(Self::GROUP_ALIGN).is_none_or(|end| end > Self::MOST) {
            let expected = format!("at most {} elements together with the tensors before it", Self::MOST);
            return Err(Error::Shape { layer: name.into(), expected, got: shape.to_vec() });
        }
        if self.by_name.insert(name.into(), self.spans.len()).is_some() {
            return Err(Error::Duplicate { kind: "tensor", name: name.into() });
        }
        let group = self.groups.len() - 1;
        self.spans.push(Span { name: name.into(), shape: shape.to_vec(), group, first, len });
        self.len = end;
        Ok(())
    }

    /// Gives a tensor a second name.
    ///
    /// # Errors
    /// [`Error::Duplicate`] if a tensor is already called `alias`; [`Error::UnknownName`] if no tensor is
    /// called `name`; [`Error::Config`] for an empty name.
    pub fn tie(&mut self, alias: &str, name: &str) -> Result<(), Error> {
        check_name("tensor", alias)?;
        let index = self.index(name)?;
        if self.by_name.contains_key(alias) {
            return Err(Error::Duplicate { kind: "tensor", name: alias.into() });
        }
        self.by_name.insert(alias.into(), index);
        Ok(())
    }

    /// The tensors in order of their position.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The index of a tensor in [`Layout::spans`].
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest name.
    pub fn index(&self, name: &str) -> Result<usize, Error> {
        let known = || Error::unknown("tensor", name, self.spans.iter().map(|s| s.name.as_str()));
        self.by_name.get(name).copied().ok_or_else(known)
    }

    /// Whether a tensor has this name, as its own or as an alias.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// All names with the indices of their tensors, aliases included, in no particular order.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, usize)> {
        self.by_name.iter().map(|(name, &index)| (name.as_str(), index))
    }

    /// The position of a tensor.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest name.
    pub fn span(&self, name: &str) -> Result<&Span, Error> {
        Ok(&self.spans[self.index(name)?])
    }

    /// The groups' names in order.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The index of a group.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest name.
    pub fn group(&self, name: &str) -> Result<usize, Error> {
        let known = || Error::unknown("group", name, self.groups.iter().map(String::as_str));
        self.groups.iter().position(|g| g == name).ok_or_else(known)
    }

    /// Number of elements of the flat space, including padding.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Always false: a layout has at least one tensor.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of elements of all tensors, without padding.
    pub fn parameters(&self) -> usize {
        self.spans.iter().map(|s| s.len).sum()
    }

    /// The device limits that this layout was made for.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Number of buffers.
    pub fn buffers(&self) -> usize {
        self.len.div_ceil(self.buffer_len)
    }

    /// Number of elements of one buffer. All buffers but the last are full; an index past the last gives 0.
    pub fn buffer_elements(&self, buffer: usize) -> usize {
        self.len.saturating_sub(buffer.saturating_mul(self.buffer_len)).min(self.buffer_len)
    }

    /// The windows in order.
    pub fn windows(&self) -> impl Iterator<Item = Window> + '_ {
        // A buffer is a whole number of windows, so windows can be counted over the flat space.
        (0..self.len.div_ceil(self.window_len)).map(|index| {
            let first = index * self.window_len;
            let buffer = first / self.buffer_len;
            let len = (self.len - first).min(self.window_len);
            Window { buffer, first, offset: first - buffer * self.buffer_len, len }
        })
    }

    /// Number of elements of each window but the last.
    pub fn window_len(&self) -> usize {
        self.window_len
    }

    /// Index of the window that holds an element.
    pub fn window_of(&self, element: usize) -> usize {
        element / self.window_len
    }

    /// Splits a range of the flat space at the ends of buffers.
    pub fn pieces(&self, first: usize, len: usize) -> impl Iterator<Item = Piece> + '_ {
        let mut at = first;
        let last = first.saturating_add(len);
        std::iter::from_fn(move || {
            if at >= last {
                return None;
            }
            let buffer = at / self.buffer_len;
            let end = (buffer + 1).saturating_mul(self.buffer_len).min(last);
            let piece =
                Piece { buffer, offset: at - buffer * self.buffer_len, part: at - first..end - first };
            at = end;
            Some(piece)
        })
    }

    /// Where a whole tensor can be bound: the index of its buffer, and its first element there.
    ///
    /// # Errors
    /// [`Error::Limit`] with the tensor, its size in bytes and the limit that it exceeds.
    pub fn whole(&self, span: &Span) -> Result<(usize, usize), Error> {
        let bytes = (span.len as u64).saturating_mul(4);
        let refuse =
            |limit_name, limit| Err(Error::Limit { tensor: span.name.clone(), bytes, limit_name, limit });
        if bytes > self.limits.binding_bytes {
            return refuse("max_storage_buffer_binding_size", self.limits.binding_bytes);
        }
        let mut pieces = self.pieces(span.first, span.len.max(1));
        match (pieces.next(), pieces.next()) {
            (Some(piece), None) => Ok((piece.buffer, piece.offset)),
            _ => refuse("max_buffer_size", self.limits.buffer_bytes),
        }
    }
}

fn window_len(limits: Limits) -> Result<usize, Error> {
    let align = Layout::WINDOW_ALIGN as u64;
    for (limit_name, limit) in
        [("max_storage_buffer_binding_size", limits.binding_bytes), ("max_buffer_size", limits.buffer_bytes)]
    {
        if limit / 4 < align {
            return Err(Error::Limit { tensor: "a window".into(), bytes: align * 4, limit_name, limit });
        }
    }
    // Offsets within a window are 32-bit numbers.
    let elements = (limits.binding_bytes.min(limits.buffer_bytes) / 4).min(1 << 31);
    Ok(usize::try_from(elements / align * align).expect("at most 2^31"))
}

fn check_name(kind: &str, name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::Config { what: kind.into(), reason: "the name is empty".into() });
    }
    Ok(())
}

fn elements(name: &str, shape: &[usize]) -> Result<usize, Error> {
    if shape.contains(&0) {
        return Ok(0);
    }
    let product = shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
    product.filter(|&len| len <= Layout::MOST).ok_or_else(|| Error::Shape {
        layer: name.into(),
        expected: format!("at most {} elements", Layout::MOST),
        got: shape.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Limits {
        Limits { binding_bytes: 65_536 * 2, buffer_bytes: 65_536 * 5 }
    }

    fn firsts(layout: &Layout) -> Vec<usize> {
        layout.spans().iter().map(|s| s.first).collect()
    }

    #[test]
    fn tensors_start_at_64_and_groups_at_256() {
        let groups = [
            GroupSpec::new("a").tensor("x", [1]).tensor("y", [64]).tensor("z", [65]),
            GroupSpec::new("empty"),
            GroupSpec::new("b").tensor("s", []).tensor("t", [2, 3]),
        ];
        let layout = Layout::new(&groups, Limits::default()).unwrap();
        assert_eq!(firsts(&layout), [0, 64, 128, 256, 320]);
        assert_eq!(layout.len(), 512);
        assert_eq!(layout.parameters(), 1 + 64 + 65 + 1 + 6);
        assert_eq!(layout.span("t").unwrap().group, 2);
        assert_eq!(layout.groups(), ["a", "empty", "b"]);
        assert_eq!(layout.buffers(), 1);
        assert_eq!(layout.buffer_elements(0), 512);
    }

    #[test]
    fn windows_divide_buffers() {
        // 32,768 elements a window, two windows a buffer, since the limit holds no third.
        let groups = [GroupSpec::new("a").tensor("x", [150_000])];
        let layout = Layout::new(&groups, small()).unwrap();
        let windows: Vec<_> = layout.windows().map(|w| (w.buffer, w.first, w.offset, w.len)).collect();
        assert_eq!(
            windows,
            [
                (0, 0, 0, 32_768),
                (0, 32_768, 32_768, 32_768),
                (1, 65_536, 0, 32_768),
                (1, 98_304, 32_768, 32_768),
                (2, 131_072, 0, 18_944),
            ]
        );
        assert_eq!(layout.len(), 150_016);
        let pieces: Vec<_> = layout.pieces(65_000, 70_000).map(|p| (p.buffer, p.offset, p.part)).collect();
        assert_eq!(pieces, [(0, 65_000, 0..536), (1, 0, 536..66_072), (2, 0, 66_072..70_000)]);
    }

    #[test]
    fn a_tensor_that_fits_a_binding_is_not_split_by_the_end_of_a_buffer() {
        let groups = [GroupSpec::new("a").tensor("x", [50_000]).tensor("y", [32_768]).tensor("z", [20_000])];
        let layout = Layout::new(&groups, small()).unwrap();
        // At 50,048 y would cross the end of the buffer at 65,536.
        assert_eq!(firsts(&layout), [0, 65_536, 98_304]);
        assert_eq!(layout.whole(&layout.spans()[1]).unwrap(), (1, 0));
        let refused = layout.whole(&layout.spans()[0]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "x: 200000 bytes exceed the max_storage_buffer_binding_size of 131072 bytes on this device"
        );
    }

    #[test]
    fn a_tensor_may_cross_windows_and_a_large_one_buffers() {
        let groups = [GroupSpec::new("a").tensor("x", [30_000]).tensor("y", [10_000]).tensor("z", [200_000])];
        let layout = Layout::new(&groups, small()).unwrap();
        assert_eq!(firsts(&layout), [0, 30_016, 40_064]);
        assert_eq!(layout.whole(&layout.spans()[1]).unwrap(), (0, 30_016));
        assert_eq!(layout.pieces(40_064, 200_000).count(), 4);
    }

    #[test]
    fn resnet_18_pads_by_less_than_a_tenth_of_a_percent() {
        let groups =
            [(0..62).fold(GroupSpec::new("all"), |g, i| g.tensor(format!("t{i}"), [11_689_512 / 62]))];
        let layout = Layout::new(&groups, Limits::default()).unwrap();
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let ratio = layout.len() as f64 / layout.parameters() as f64;
        assert!(ratio < 1.001, "{ratio}");
    }

    #[test]
    fn a_layout_with_one_more_group_is_that_of_all_groups_at_once() {
        let first = GroupSpec::new("a").tensor("x", [30_000]).tensor("s", []);
        // Within a buffer, moved to the next one, over several, up to the end of one exactly, and nothing at all.
        let more = [
            GroupSpec::new("b").tensor("y", [70]).tensor("z", [3, 5]),
            GroupSpec::new("b").tensor("y", [32_768]).tensor("z", [20_000]),
            GroupSpec::new("b").tensor("y", [200_000]),
            GroupSpec::new("b").tensor("y", [65_536 - 30_208]).tensor("z", [1]),
            GroupSpec::new("b"),
        ];
        for second in more {
            let mut layout = Layout::new(std::slice::from_ref(&first), small()).unwrap();
            let mut at_once = Layout::new(&[first.clone(), second.clone()], small()).unwrap();
            assert_eq!(layout.with_group(&second).unwrap(), at_once);
            layout.tie("alias", "s").unwrap();
            at_once.tie("alias", "s").unwrap();
            let grown = layout.with_group(&second).unwrap();
            assert_eq!(grown, at_once);
            assert_eq!(grown.spans()[..2], *layout.spans());
            let last = GroupSpec::new("c").tensor("alias", [3]);
            assert_eq!(grown.with_group(&last).unwrap_err().to_string(), "duplicate tensor \"alias\"");
            let same = GroupSpec::new("b").tensor("other", [3]);
            assert_eq!(grown.with_group(&same).unwrap_err().to_string(), "duplicate group \"b\"");
        }
    }

    #[test]
    fn sums_of_lengths_do_not_wrap() {
        let said = |name: &str, len: usize| {
            format!(
                "{name}: expected at most {} elements together with the tensors before it, got [{len}]",
                Layout::MOST
            )
        };
        // Lengths whose sum is 2^64 and so 0, that is just too much, and that is just enough.
        let most = Layout::MOST;
        let fits = most / Layout::GROUP_ALIGN * Layout::GROUP_ALIGN;
        let rows: [(usize, usize, Option<usize>); 5] = [
            (64, most, Some(0)),
            (64, fits, Some(1)),
            (65, fits / 64 / 256 * 256, Some(64)),
            (64, fits / 64 / 256 * 256, None),
            (1, fits, None),
        ];
        for (count, len, refused) in rows {
            for in_groups in [true, false] {
                let mut groups = vec![GroupSpec::new("first")];
                for index in 0..count {
                    if in_groups && index > 0 {
                        groups.push(GroupSpec::new(format!("group {index}")));
                    }
                    let last = groups.pop().unwrap();
                    groups.push(last.tensor(format!("t{index}"), [len]));
                }
                let limits = Limits { binding_bytes: 65_536, buffer_bytes: 1 << 40 };
                match (Layout::new(&groups, limits), refused) {
                    (Ok(layout), None) => {
                        assert_eq!(layout.len(), count * len);
                        assert_eq!(layout.parameters(), count * len);
                        let last = layout.windows().next().unwrap();
                        assert_eq!((last.first, layout.buffer_elements(usize::MAX)), (0, 0));
                    }
                    (Err(error), Some(index)) => {
                        assert_eq!(error.to_string(), said(&format!("t{index}"), len))
                    }
                    (got, _) => panic!("{count} of {len}: {got:?}"),
                }
            }
        }
        // One more group is refused as it is from the start.
        let layout = Layout::new(&[GroupSpec::new("a").tensor("x", [fits])], Limits::default()).unwrap();
        let more = GroupSpec::new("b").tensor("y", [1]);
        assert_eq!(layout.with_group(&more).unwrap_err().to_string(), said("y", 1));
        assert_eq!(layout.len(), fits);
        let huge = Limits { binding_bytes: u64::MAX, buffer_bytes: u64::MAX };
        assert_eq!(Layout::new(&[GroupSpec::new("a").tensor("x", [fits])], huge).unwrap().buffers(), 1);
    }

    #[test]
    fn refusals_name_the_tensor() {
        let one = |name: &str, shape: &[usize]| {
            Layout::new(&[GroupSpec::new("a").tensor("w", [2]).tensor(name, shape)], Limits::default())
        };
        let rows = [
            (one("w", &[3]), "duplicate tensor \"w\""),
            (one("", &[3]), "tensor: the name is empty"),
            (
                one("x", &[usize::MAX, 2]),
                "x: expected at most 288230376151711743 elements, got [18446744073709551615, 2]",
            ),
            (Layout::new(&[], Limits::default()), "parameters: expected at least one tensor"),
            (
                Layout::new(&[GroupSpec::new("a"), GroupSpec::new("a")], Limits::default()),
                "duplicate group \"a\"",
            ),
            (
                Layout::new(&[], Limits { binding_bytes: 1000, buffer_bytes: 1 << 30 }),
                "a window: 65536 bytes exceed the max_storage_buffer_binding_size of 1000 bytes on this device",
            ),
        ];
        for (result, message) in rows {
            assert_eq!(result.unwrap_err().to_string(), message);
        }
        let layout = one("bias", &[3]).unwrap();
        let unknown = layout.span("bais").unwrap_err().to_string();
        assert_eq!(unknown, "unknown tensor \"bais\", did you mean \"bias\"?; known: w, bias");
    }
}
