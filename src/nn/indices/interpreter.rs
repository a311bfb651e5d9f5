//! Runs invocations of a kernel on the host, of whose numbers it knows only integers and conditions, and holds each index to
//! the end of what it is an index of.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use naga::valid::{Capabilities, FunctionInfo, ValidationFlags, Validator};
use naga::{
    AddressSpace, ArraySize, BinaryOperator, Block, BuiltIn, Expression, Function, Handle, Literal,
    MathFunction, Module, ScalarKind, Statement, Type, TypeInner, UnaryOperator,
};

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// An integer, or a condition as 0 or 1.
    Number(u32),
    Vector(Vec<u32>),
    Struct(Rc<Vec<Value>>),
    /// Any number, vector, matrix or struct of floating point.
    Float,
    /// A place in a local variable of the function that many calls up, and the members that lead to it.
    Local(usize, Handle<naga::LocalVariable>, Vec<u32>),
    /// The uniform block.
    Uniform,
    /// A place in storage or workgroup memory that is inside.
    Inside,
    /// All of a variable in storage or workgroup memory.
    Array(Handle<naga::GlobalVariable>),
}

use Value::{Float, Number, Vector};

impl Value {
    fn number(&self) -> u32 {
        match self {
            Number(number) => *number,
            other => panic!("{other:?} is no number"),
        }
    }

    /// Component `lane` of a vector, or a number that stands for all.
    fn lane(&self, lane: usize) -> u32 {
        match self {
            Number(number) => *number,
            Vector(numbers) => numbers[lane],
            other => panic!("{other:?} is no vector"),
        }
    }

    /// The result of a function for each component.
    fn zip(&self, other: &Self, with: impl Fn(u32, u32) -> u32) -> Self {
        match (self, other) {
            (Number(a), Number(b)) => Number(with(*a, *b)),
            (Vector(all), _) | (_, Vector(all)) => {
                Vector((0..all.len()).map(|lane| with(self.lane(lane), other.lane(lane))).collect())
            }
            _ => panic!("{self:?} and {other:?} are no numbers"),
        }
    }

    fn member(&self, index: u32) -> Self {
        match self {
            Vector(numbers) => Number(numbers[index as usize]),
            Self::Struct(members) => members[index as usize].clone(),
            Float => Float,
            other => panic!("{other:?} has no members"),
        }
    }

    /// With another value at the end of a path.
    fn with(self, path: &[u32], value: Value) -> Self {
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

/// How a block ends.
enum Flow {
    On,
    Break,
    Continue,
    Return(Value),
}

/// A kernel that can be run.
pub(super) struct Kernel {
    module: Module,
    /// Of each function and of the entry point, which expressions are of floating point.
    floats: Vec<Vec<bool>>,
    /// Invocations of a workgroup.
    pub(super) lanes: u32,
}

/// What a dispatch gives its kernel.
pub(super) struct Dispatch<'a> {
    pub(super) kernel: &'a Kernel,
    /// Words of the uniform block.
    pub(super) uniform: &'a [u32],
    /// Bytes of the buffers from binding 1 on.
    pub(super) bytes: &'a [u64],
    /// Functions that were called with numbers and with nothing else that is known.
    called: RefCell<HashSet<(Handle<Function>, Vec<u32>)>>,
}

impl Kernel {
    pub(super) fn new(wgsl: &str) -> Self {
        let module =
            naga::front::wgsl::parse_str(wgsl).unwrap_or_else(|e| panic!("{}", e.emit_to_string(wgsl)));
        let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module);
        let info = info.unwrap_or_else(|e| panic!("{}", e.emit_to_string(wgsl)));
        let [x, y, z] = module.entry_points[0].workgroup_size;
        let mut kernel = Self { module, floats: Vec::new(), lanes: x * y * z };
        let functions = kernel.module.functions.iter().map(|(handle, f)| (f, &info[handle]));
        let entry = (&kernel.module.entry_points[0].function, info.get_entry_point(0));
        kernel.floats = functions.chain([entry]).map(|(f, types)| kernel.floats_of(f, types)).collect();
        kernel
    }

    fn floats_of(&self, function: &Function, types: &FunctionInfo) -> Vec<bool> {
        let inner = |handle: Handle<Expression>| types[handle].ty.inner_with(&self.module.types);
        function.expressions.iter().map(|(handle, _)| self.is_float(inner(handle))).collect()
    }

    /// Whether a type has nothing in it but floating point.
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

    fn zero(&self, handle: Handle<Type>) -> Value {
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

/// A function that runs.
struct Frame<'a> {
    function: &'a Function,
    floats: &'a [bool],
    arguments: Vec<Value>,
    locals: Vec<Value>,
    known: Vec<Option<Value>>,
}

/// An invocation: its functions, of which the last one runs.
struct Invocation<'a> {
    dispatch: &'a Dispatch<'a>,
    frames: Vec<Frame<'a>>,
}

impl<'a> Dispatch<'a> {
    pub(super) fn new(kernel: &'a Kernel, uniform: &'a [u32], bytes: &'a [u64]) -> Self {
        Self { kernel, uniform, bytes, called: RefCell::default() }
    }

    /// Runs one invocation.
    ///
    /// # Errors
    /// An index that is beyond its array.
    pub(super) fn run(&self, group: [u32; 3], lane: u32) -> Result<(), String> {
        let entry = &self.kernel.module.entry_points[0];
        let arguments = entry.function.arguments.iter().map(|argument| match argument.binding {
            Some(naga::Binding::BuiltIn(BuiltIn::WorkGroupId)) => Vector(group.to_vec()),
            Some(naga::Binding::BuiltIn(BuiltIn::LocalInvocationIndex)) => Number(lane),
            ref other => panic!("{other:?} is not known"),
        });
        let arguments = arguments.collect();
        let mut invocation = Invocation { dispatch: self, frames: Vec::new() };
        let floats = self.kernel.floats.last().expect("the entry point is the last one");
        invocation.call(&entry.function, floats, arguments)?;
        Ok(())
    }

    /// Elements of a variable.
    fn len(&self, variable: Handle<naga::GlobalVariable>) -> u64 {
        let variable = &self.kernel.module.global_variables[variable];
        match self.kernel.module.types[variable.ty].inner {
            TypeInner::Array { size: ArraySize::Constant(len), .. } => u64::from(len.get()),
            TypeInner::Array { size: ArraySize::Dynamic, stride, .. } => {
                let binding = variable.binding.as_ref().expect("storage is bound").binding;
                self.bytes[binding as usize - 1] / u64::from(stride)
            }
            ref other => panic!("{other:?} is no array"),
        }
    }
}

impl<'a> Invocation<'a> {
    fn module(&self) -> &'a Module {
        &self.dispatch.kernel.module
    }

    fn call(
        &mut self,
        function: &'a Function,
        floats: &'a [bool],
        arguments: Vec<Value>,
    ) -> Result<Value, String> {
        let kernel = self.dispatch.kernel;
        let locals = function.local_variables.iter().map(|(_, local)| kernel.zero(local.ty)).collect();
        let known = vec![None; function.expressions.len()];
        self.frames.push(Frame { function, floats, arguments, locals, known });
        for (handle, local) in function.local_variables.iter() {
            if let Some(init) = local.init {
                let value = self.value(init)?;
                self.frame().locals[handle.index()] = value;
            }
        }
        let flow = self.block(&function.body)?;
        self.frames.pop();
        Ok(if let Flow::Return(value) = flow { value } else { Float })
    }

    fn frame(&mut self) -> &mut Frame<'a> {
        self.frames.last_mut().expect("a function runs")
    }

    fn function(&self) -> &'a Function {
        self.frames.last().expect("a function runs").function
    }

    fn is_float(&self, expression: Handle<Expression>) -> bool {
        self.frames.last().expect("a function runs").floats[expression.index()]
    }

    fn block(&mut self, block: &'a Block) -> Result<Flow, String> {
        for statement in block.iter() {
            match self.statement(statement)? {
                Flow::On => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::On)
    }

    fn statement(&mut self, statement: &'a Statement) -> Result<Flow, String> {
        match statement {
            Statement::Emit(range) => {
                for expression in range.clone() {
                    if !self.is_float(expression) {
                        let value = self.evaluate(expression)?;
                        self.frame().known[expression.index()] = Some(value);
                    }
                }
            }
            Statement::Block(block) => return self.block(block),
            Statement::If { condition, accept, reject } => {
                let taken = if self.value(*condition)?.number() == 1 { accept } else { reject };
                return self.block(taken);
            }
            Statement::Loop { body, continuing, break_if } => loop {
                match self.block(body)? {
                    Flow::On | Flow::Continue => {}
                    Flow::Break => break,
                    returned @ Flow::Return(_) => return Ok(returned),
                }
                self.block(continuing)?;
                if let Some(condition) = break_if
                    && self.value(*condition)?.number() == 1
                {
                    break;
                }
            },
            Statement::Break => return Ok(Flow::Break),
            Statement::Continue => return Ok(Flow::Continue),
            Statement::Return { value } => {
                let value = value.map_or(Ok(Float), |value| self.value(value))?;
                return Ok(Flow::Return(value));
            }
            Statement::ControlBarrier(_) => {}
            Statement::Store { pointer, value } => self.store(*pointer, *value)?,
            Statement::Call { function, arguments, result } => {
                let arguments: Result<Vec<Value>, String> =
                    arguments.iter().map(|argument| self.value(*argument)).collect();
                let arguments = arguments?;
                let kernel = self.dispatch.kernel;
                if result.is_none() && self.was_called(*function, &arguments) {
                    return Ok(Flow::On);
                }
                let called = &kernel.module.functions[*function];
                let value = self.call(called, &kernel.floats[function.index()], arguments)?;
                if let Some(result) = result {
                    self.frame().known[result.index()] = Some(value);
                }
            }
            other => panic!("{other:?} is not known"),
        }
        Ok(Flow::On)
    }

    /// Whether a function that has no result was called with the same numbers, and with nothing else that is known: then
    /// its indices are the same.
    fn was_called(&self, function: Handle<Function>, arguments: &[Value]) -> bool {
        let mut numbers = Vec::new();
        for argument in arguments {
            match argument {
                Number(number) => numbers.push(*number),
                Value::Local(frame, local, _) if self.frames[*frame].locals[local.index()] == Float => {}
                _ => return false,
            }
        }
        !self.dispatch.called.borrow_mut().insert((function, numbers))
    }

    fn store(&mut self, pointer: Handle<Expression>, value: Handle<Expression>) -> Result<(), String> {
        let value = self.value(value)?;
        if value == Float {
            return Ok(());
        }
        let Value::Local(frame, local, path) = self.value(pointer)? else {
            panic!("integers are stored in local variables only")
        };
        let variable = &mut self.frames[frame].locals[local.index()];
        let old = std::mem::replace(variable, Float);
        *variable = old.with(&path, value);
        Ok(())
    }

    fn value(&mut self, expression: Handle<Expression>) -> Result<Value, String> {
        if let Some(known) = &self.frame().known[expression.index()] {
            return Ok(known.clone());
        }
        if self.is_float(expression) {
            return Ok(Float);
        }
        self.evaluate(expression)
    }

    fn evaluate(&mut self, expression: Handle<Expression>) -> Result<Value, String> {
        let function = self.function();
        Ok(match &function.expressions[expression] {
            Expression::Literal(literal) => literal_of(*literal),
            Expression::Constant(constant) => {
                match self.module().global_expressions[self.module().constants[*constant].init] {
                    Expression::Literal(literal) => literal_of(literal),
                    ref other => panic!("{other:?} is no number"),
                }
            }
            Expression::ZeroValue(ty) => self.dispatch.kernel.zero(*ty),
            Expression::Compose { ty, components } => self.compose(*ty, components)?,
            Expression::Splat { size, value } => Vector(vec![self.value(*value)?.number(); *size as usize]),
            Expression::Access { base, index } => {
                let index = self.value(*index)?.number();
                self.access(*base, index)?
            }
            Expression::AccessIndex { base, index } => self.access(*base, *index)?,
            Expression::FunctionArgument(number) => self.frame().arguments[*number as usize].clone(),
            Expression::GlobalVariable(variable) => match self.module().global_variables[*variable].space {
                AddressSpace::Uniform => Value::Uniform,
                _ => Value::Array(*variable),
            },
            Expression::LocalVariable(local) => Value::Local(self.frames.len() - 1, *local, Vec::new()),
            Expression::Load { pointer } => match self.value(*pointer)? {
                Value::Local(frame, local, path) => path
                    .iter()
                    .fold(self.frames[frame].locals[local.index()].clone(), |at, step| at.member(*step)),
                Number(word) => Number(word),
                other => panic!("{other:?} holds no integer"),
            },
            Expression::Unary { op: UnaryOperator::LogicalNot, expr } => {
                let value = self.value(*expr)?;
                value.zip(&Number(1), |a, b| b - a)
            }
            Expression::Binary { op, left, right } => {
                let (left, right) = (self.value(*left)?, self.value(*right)?);
                left.zip(&right, |a, b| binary(*op, a, b))
            }
            Expression::Select { condition, accept, reject } => {
                let [condition, accept, reject] = [*condition, *accept, *reject].map(|e| self.value(e));
                select(&condition?, &accept?, &reject?)
            }
            Expression::Math { fun: MathFunction::Min, arg, arg1: Some(other), .. } => {
                let (arg, other) = (self.value(*arg)?, self.value(*other)?);
                arg.zip(&other, u32::min)
            }
            Expression::Swizzle { size, vector, pattern } => {
                let vector = self.value(*vector)?;
                let lanes = pattern[..*size as usize].iter();
                Vector(lanes.map(|component| vector.lane(*component as usize)).collect())
            }
            other => panic!("{other:?} is not known"),
        })
    }

    fn compose(&mut self, ty: Handle<Type>, components: &[Handle<Expression>]) -> Result<Value, String> {
        let values: Result<Vec<Value>, String> = components.iter().map(|part| self.value(*part)).collect();
        let values = values?;
        if let TypeInner::Struct { .. } = self.module().types[ty].inner {
            return Ok(Value::Struct(values.into()));
        }
        Ok(Vector(
            values
                .into_iter()
                .flat_map(|value| match value {
                    Vector(numbers) => numbers,
                    other => vec![other.number()],
                })
                .collect(),
        ))
    }

    /// A member, or a place in a variable.
    fn access(&mut self, base: Handle<Expression>, index: u32) -> Result<Value, String> {
        Ok(match self.value(base)? {
            Value::Local(frame, local, mut path) => {
                path.push(index);
                Value::Local(frame, local, path)
            }
            Value::Uniform => Number(self.dispatch.uniform[index as usize]),
            Value::Array(variable) => {
                let len = self.dispatch.len(variable);
                if u64::from(index) >= len {
                    let name = self.module().global_variables[variable].name.as_deref().unwrap_or_default();
                    return Err(format!("index {index} of {len} in {name}"));
                }
                Value::Inside
            }
            Value::Inside => Value::Inside,
            value => value.member(index),
        })
    }
}

fn literal_of(literal: Literal) -> Value {
    match literal {
        Literal::U32(number) => Number(number),
        Literal::Bool(condition) => Number(condition.into()),
        Literal::F32(_) => Float,
        other => panic!("{other:?} is not known"),
    }
}

/// An operation on unsigned numbers that do not overflow, or on conditions.
fn binary(op: BinaryOperator, a: u32, b: u32) -> u32 {
    let whole = |result: Option<u32>| result.unwrap_or_else(|| panic!("{a} {op:?} {b} overflows"));
    match op {
        BinaryOperator::Add => whole(a.checked_add(b)),
        BinaryOperator::Subtract => whole(a.checked_sub(b)),
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

fn select(condition: &Value, accept: &Value, reject: &Value) -> Value {
    match condition {
        Number(1) => accept.clone(),
        Number(_) => reject.clone(),
        Vector(lanes) => Vector(
            lanes.iter().enumerate().map(|(at, c)| if *c == 1 { accept } else { reject }.lane(at)).collect(),
        ),
        other => panic!("{other:?} is no condition"),
    }
}
