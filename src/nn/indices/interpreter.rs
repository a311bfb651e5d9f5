//! Interprets invocations of a kernel on the host, tracking only integers and booleans, and checks each index against
//! the length of its array.

use std::cell::RefCell;
use std::collections::HashSet;

use naga::{
    AddressSpace, ArraySize, Block, BuiltIn, Expression, Function, Handle, MathFunction, Module, Statement,
    Type, TypeInner, UnaryOperator,
};

use super::kernel::Kernel;
use super::value::Value::{self, Float, Number, Vector};
use super::value::{binary, literal_of, select};

/// How a block of statements ends.
enum Flow {
    On,
    Break,
    Continue,
    Return(Value),
}

/// The inputs of a dispatch.
pub(super) struct Dispatch<'a> {
    pub(super) kernel: &'a Kernel,
    /// Words of the uniform block.
    pub(super) uniform: &'a [u32],
    /// Sizes in bytes of the buffers from binding 1 on.
    pub(super) bytes: &'a [u64],
    /// Functions already called with the same numbers, and no other known arguments.
    called: RefCell<HashSet<(Handle<Function>, Vec<u32>)>>,
}

/// The call frame of a function.
struct Frame<'a> {
    function: &'a Function,
    floats: &'a [bool],
    arguments: Vec<Value>,
    locals: Vec<Value>,
    known: Vec<Option<Value>>,
}

/// One invocation: its call stack, with the running function last.
struct Invocation<'a> {
    dispatch: &'a Dispatch<'a>,
    frames: Vec<Frame<'a>>,
}

impl<'a> Dispatch<'a> {
    pub(super) fn new(kernel: &'a Kernel, uniform: &'a [u32], bytes: &'a [u64]) -> Self {
        Self { kernel, uniform, bytes, called: RefCell::default() }
    }

    /// Interprets one invocation.
    ///
    /// # Errors
    /// An index that is out of bounds.
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

    /// Number of elements of a variable.
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

    /// Whether a function without a result was already called with the same numbers and no other known arguments.
    /// Then its indices are the same.
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
                left.zip(&right, |a, b| binary(*op, a, b, self.dispatch.kernel.wraps))
            }
            Expression::Select { condition, accept, reject } => {
                let [condition, accept, reject] = [*condition, *accept, *reject].map(|e| self.value(e));
                select(&condition?, &accept?, &reject?)
            }
            Expression::Math { fun: MathFunction::Max, arg, arg1: Some(other), .. } => {
                let (arg, other) = (self.value(*arg)?, self.value(*other)?);
                arg.zip(&other, u32::max)
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

    /// A member, or an element of a variable.
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
