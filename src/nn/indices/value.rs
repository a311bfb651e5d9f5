//! Values of interpreted expressions, and operations on them.

use std::rc::Rc;

use naga::{BinaryOperator, Handle, Literal};

use Value::{Float, Number, Vector};

/// The value of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// An integer, or a boolean as 0 or 1.
    Number(u32),
    Vector(Vec<u32>),
    Struct(Rc<Vec<Value>>),
    /// A floating-point scalar, vector, matrix or struct. Its value is not tracked.
    Float,
    /// A pointer to a local variable: depth of the call frame, the variable, and the path of members.
    Local(usize, Handle<naga::LocalVariable>, Vec<u32>),
    /// The uniform block.
    Uniform,
    /// An element of storage or workgroup memory, known to be in bounds.
    Inside,
    /// A whole variable in storage or workgroup memory.
    Array(Handle<naga::GlobalVariable>),
}

impl Value {
    pub(super) fn number(&self) -> u32 {
        match self {
            Number(number) => *number,
            other => panic!("{other:?} is no number"),
        }
    }

    /// Component `lane` of a vector, or the scalar itself.
    pub(super) fn lane(&self, lane: usize) -> u32 {
        match self {
            Number(number) => *number,
            Vector(numbers) => numbers[lane],
            other => panic!("{other:?} is no vector"),
        }
    }

    /// Applies a function component by component.
    pub(super) fn zip(&self, other: &Self, with: impl Fn(u32, u32) -> u32) -> Self {
        match (self, other) {
            (Number(a), Number(b)) => Number(with(*a, *b)),
            (Vector(all), _) | (_, Vector(all)) => {
                Vector((0..all.len()).map(|lane| with(self.lane(lane), other.lane(lane))).collect())
            }
            _ => panic!("{self:?} and {other:?} are no numbers"),
        }
    }

    pub(super) fn member(&self, index: u32) -> Self {
        match self {
            Vector(numbers) => Number(numbers[index as usize]),
            Self::Struct(members) => members[index as usize].clone(),
            Float => Float,
            other => panic!("{other:?} has no members"),
        }
    }

    /// The value with the part at `path` replaced.
    pub(super) fn with(self, path: &[u32], value: Value) -> Self {
        let [first, rest @ ..] = path else { return value };
        let first = *first as usize;
        match self {
            Self::Struct(members) => {
                let mut members = Rc::unwrap_or_clone(members);
                let member = std::mem::replace(&mut members[first], Float);
                members[first] = member.with(rest, value);
                Self::Struct(members.into())
            }
            Vector(mut numbers) => {
                numbers[first] = value.number();
                Vector(numbers)
            }
            _ => Float,
        }
    }
}

pub(super) fn literal_of(literal: Literal) -> Value {
    match literal {
        Literal::U32(number) => Number(number),
        Literal::Bool(condition) => Number(condition.into()),
        Literal::F32(_) => Float,
        other => panic!("{other:?} is not known"),
    }
}

/// An operation on unsigned integers or booleans. Overflow wraps, or panics.
pub(super) fn binary(op: BinaryOperator, a: u32, b: u32, wraps: bool) -> u32 {
    let whole = |result: Option<u32>| result.unwrap_or_else(|| panic!("{a} {op:?} {b} overflows"));
    match op {
        BinaryOperator::Add if wraps => a.wrapping_add(b),
        BinaryOperator::Add => whole(a.checked_add(b)),
        BinaryOperator::Subtract if wraps => a.wrapping_sub(b),
        BinaryOperator::Subtract => whole(a.checked_sub(b)),
        BinaryOperator::Multiply if wraps => a.wrapping_mul(b),
        BinaryOperator::Multiply => whole(a.checked_mul(b)),
        BinaryOperator::Divide => whole(a.checked_div(b)),
        BinaryOperator::Modulo => whole(a.checked_rem(b)),
        BinaryOperator::Equal => (a == b).into(),
        BinaryOperator::NotEqual => (a != b).into(),
        BinaryOperator::Less => (a < b).into(),
        BinaryOperator::LessEqual => (a <= b).into(),
        BinaryOperator::Greater => (a > b).into(),
        BinaryOperator::GreaterEqual => (a >= b).into(),
        BinaryOperator::And | BinaryOperator::LogicalAnd => a & b,
        BinaryOperator::InclusiveOr | BinaryOperator::LogicalOr => a | b,
        BinaryOperator::ShiftRight => a >> b,
        BinaryOperator::ShiftLeft => a << b,
        BinaryOperator::ExclusiveOr => a ^ b,
    }
}

pub(super) fn select(condition: &Value, accept: &Value, reject: &Value) -> Value {
    match condition {
        Number(1) => accept.clone(),
        Number(_) => reject.clone(),
        Vector(lanes) => Vector(
            lanes.iter().enumerate().map(|(at, c)| if *c == 1 { accept } else { reject }.lane(at)).collect(),
        ),
        other => panic!("{other:?} is no condition"),
    }
}
