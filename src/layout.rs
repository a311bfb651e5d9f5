//! The layout of a store: assigns each tensor a range of one flat space of f32 elements, ordered by parameter
//! group.
//!
//! The flat space is split into buffers, and each buffer into windows, because devices limit the size of a
//! buffer and of a binding. Host code; needs no device.

mod parts;

use std::collections::HashMap;

use crate::error::Error;
pub use parts::{GroupSpec, Limits, Piece, Span, Window};

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
mod tests;
