use std::borrow::Cow;

/// A uniform block: scalars only, so that `repr(C)` and WGSL agree on its layout by construction.
///
/// Declared with `uniform!`, which also lists the fields; a test compares them with the WGSL.
pub trait Uniform: bytemuck::Pod + std::fmt::Debug {
    /// The fields in order.
    const FIELDS: &'static [Field];
}

/// One scalar of a [`Uniform`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, in Rust and in WGSL.
    pub name: Cow<'static, str>,
    /// Its type, in Rust and in WGSL: `f32`, `u32` or `i32`.
    pub kind: &'static str,
    /// Its first byte.
    pub offset: usize,
}

/// Declares a [`Uniform`] in the form of the struct that it makes.
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
