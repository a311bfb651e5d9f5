//! A parsed kernel with type information.

use std::rc::Rc;

use naga::valid::{Capabilities, FunctionInfo, ValidationFlags, Validator};
use naga::{Expression, Function, Handle, Module, ScalarKind, Type, TypeInner};

use super::value::Value::{self, Float, Number, Vector};

/// A kernel ready to be interpreted.
pub(super) struct Kernel {
    pub(super) module: Module,
    /// For each function and for the entry point: which expressions are floating-point.
    pub(super) floats: Vec<Vec<bool>>,
    /// Invocations in a workgroup.
    pub(super) lanes: u32,
    /// Whether integers may wrap: the index before the first pixel of an image then lies beyond its last.
    pub(super) wraps: bool,
}

impl Kernel {
    pub(super) fn new(wgsl: &str, wraps: bool) -> Self {
        let module =
            naga::front::wgsl::parse_str(wgsl).unwrap_or_else(|e| panic!("{}", e.emit_to_string(wgsl)));
        let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module);
        let info = info.unwrap_or_else(|e| panic!("{}", e.emit_to_string(wgsl)));
        let [x, y, z] = module.entry_points[0].workgroup_size;
        let mut kernel = Self { module, floats: Vec::new(), lanes: x * y * z, wraps };
        let functions = kernel.module.functions.iter().map(|(handle, f)| (f, &info[handle]));
        let entry = (&kernel.module.entry_points[0].function, info.get_entry_point(0));
        kernel.floats = functions.chain([entry]).map(|(f, types)| kernel.floats_of(f, types)).collect();
        kernel
    }

    fn floats_of(&self, function: &Function, types: &FunctionInfo) -> Vec<bool> {
        let inner = |handle: Handle<Expression>| types[handle].ty.inner_with(&self.module.types);
        function.expressions.iter().map(|(handle, _)| self.is_float(inner(handle))).collect()
    }

    /// Whether a type consists only of floating-point numbers.
    fn is_float(&self, inner: &TypeInner) -> bool {
        let of = |handle: Handle<Type>| self.is_float(&self.module.types[handle].inner);
        match inner {
            TypeInner::Scalar(scalar)
            | TypeInner::Vector { scalar, .. }
            | TypeInner::Matrix { scalar, .. } => scalar.kind == ScalarKind::Float,
            TypeInner::Struct { members, .. } => members.iter().all(|member| of(member.ty)),
            TypeInner::Array { base, .. } => of(*base),
            _ => false,
        }
    }

    pub(super) fn zero(&self, handle: Handle<Type>) -> Value {
        match &self.module.types[handle].inner {
            inner if self.is_float(inner) => Float,
            TypeInner::Scalar(_) => Number(0),
            TypeInner::Vector { size, .. } => Vector(vec![0; *size as usize]),
            TypeInner::Struct { members, .. } => {
                Value::Struct(Rc::new(members.iter().map(|member| self.zero(member.ty)).collect()))
            }
            other => panic!("no zero of {other:?} is known"),
        }
    }
}
