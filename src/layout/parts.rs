//! What a layout is made from, and what it consists of.

use std::ops::Range;

use super::Layout;

/// The position of one tensor in the flat space.
///
/// ```
/// use gradus::layout::{GroupSpec, Layout, Limits};
///
/// let layout = Layout::new(&[GroupSpec::new("all").tensor("a", [3]).tensor("b", [100])], Limits::default())?;
/// let b = layout.span("b")?;
/// assert_eq!((b.first, b.len, b.padded_len()), (64, 100, 128));
/// # Ok::<(), gradus::Error>(())
/// ```
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
///
/// ```
/// use gradus::layout::{GroupSpec, Layout, Limits};
///
/// let layout = Layout::new(&[GroupSpec::new("all").tensor("a", [3])], Limits::default())?;
/// let window = layout.windows().next().expect("one at least");
/// assert_eq!((window.buffer, window.offset, window.len), (0, 0, 256));
/// # Ok::<(), gradus::Error>(())
/// ```
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
///
/// ```
/// use gradus::layout::{GroupSpec, Layout, Limits};
///
/// let layout = Layout::new(&[GroupSpec::new("all").tensor("a", [3]).tensor("b", [100])], Limits::default())?;
/// let b = layout.span("b")?;
/// let pieces: Vec<_> = layout.pieces(b.first, b.len).collect(); // several where buffers are small
/// assert_eq!((pieces[0].buffer, pieces[0].offset, &pieces[0].part), (0, 64, &(0..100)));
/// # Ok::<(), gradus::Error>(())
/// ```
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
///
/// ```
/// use gradus::layout::GroupSpec;
///
/// let group = GroupSpec::new("decay").tensor("w", [256, 784]).tensor("scale", []);
/// assert_eq!(group.tensors.len(), 2);
/// ```
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
///
/// ```
/// use gradus::layout::{GroupSpec, Layout, Limits};
///
/// let small = Limits { binding_bytes: 1 << 20, ..Limits::default() };
/// let layout = Layout::new(&[GroupSpec::new("all").tensor("w", [1 << 20])], small)?;
/// assert_eq!(layout.windows().count(), 4);
/// # Ok::<(), gradus::Error>(())
/// ```
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
