use std::borrow::Cow;

/// A uniform block. It holds scalars only, so that `repr(C)` and WGSL agree on its layout by construction.
///
/// Declare it with `uniform!`, which also lists the fields. A test compares them with the WGSL.
///
/// ```
/// use std::borrow::Cow;
///
/// use gradus::gpu::{Field, Uniform};
///
/// #[repr(C)]
/// #[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
/// struct Call {
///     count: u32,
/// }
///
/// impl Uniform for Call {
///     const FIELDS: &'static [Field] = &[Field { name: Cow::Borrowed("count"), kind: "u32", offset: 0 }];
/// }
/// ```
pub trait Uniform: bytemuck::Pod + std::fmt::Debug {
    /// The fields in order.
    const FIELDS: &'static [Field];
}

/// One scalar of a [`Uniform`].
///
/// ```
/// use gradus::gpu::Field;
///
/// let field = Field { name: "count".into(), kind: "u32", offset: 4 };
/// assert_eq!(field.name, "count");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in both Rust and WGSL.
    pub name: Cow<'static, str>,
    /// Its type in both Rust and WGSL: `f32`, `u32` or `i32`.
    pub kind: &'static str,
    /// Its offset in bytes.
    pub offset: usize,
}

/// Declares a [`Uniform`]. The input looks like the struct that it creates.
macro_rules! uniform {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$fm:meta])* $fv:vis $field:ident: $kind:ident),* $(,)? }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        $vis struct $name { $($(#[$fm])* $fv $field: $kind),* }

        impl $crate::gpu::Uniform for $name {
            const FIELDS: &'static [$crate::gpu::Field] = &[$($crate::gpu::Field {
                name: std::borrow::Cow::Borrowed(stringify!($field)),
                kind: stringify!($kind),
                offset: std::mem::offset_of!($name, $field),
            }),*];
        }
    };
}
pub(crate) use uniform;
