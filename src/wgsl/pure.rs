//! Checks that the parsed functions are pure and use little memory. Names and words were checked before; here only
//! expressions and statements of an allow-list pass.

use naga::proc::{Layouter, TypeResolution};
use naga::valid::ModuleInfo;
use naga::{
    AddressSpace, ArraySize, Block, Expression, Function, Handle, Module, Span, Statement, Type, TypeInner,
};

use super::Dialect;

/// Maximum size in bytes of a function's variables, together with those of the functions it calls.
const MOST_BYTES: u32 = 1 << 10;

/// The refused span, and why it is refused.
pub(crate) type Refusal = (Span, String);

/// Refuses functions with an expression or statement that is not on the allow-list.
pub(crate) fn check_pure(module: &Module, dialect: &dyn Dialect) -> Result<(), Refusal> {
    for (handle, ty) in module.types.iter() {
        if !is_plain(&ty.inner) {
            let reason = "this type cannot be used: expected numbers, vectors, matrices, arrays, structs and pointers to variables";
            return Err((module.types.get_span(handle), reason.into()));
        }
    }
    for (_, function) in module.functions.iter() {
        for (handle, expression) in function.expressions.iter() {
            if !is_pure(expression) {
                let reason = format!("this cannot be used: {}", dialect.pure());
                return Err((function.expressions.get_span(handle), reason));
            }
        }
        check_block(&function.body, dialect)?;
    }
    Ok(())
}

fn is_plain(ty: &TypeInner) -> bool {
    match ty {
        TypeInner::Scalar(_)
        | TypeInner::Vector { .. }
        | TypeInner::Matrix { .. }
        | TypeInner::Struct { .. }
        | TypeInner::Array { size: ArraySize::Constant(_), .. } => true,
        TypeInner::Pointer { space, .. } | TypeInner::ValuePointer { space, .. } => {
            matches!(space, AddressSpace::Function | AddressSpace::Uniform)
        }
        _ => false,
    }
}

fn is_pure(expression: &Expression) -> bool {
    use Expression as E;
    matches!(
        expression,
        E::Literal(_)
            | E::Constant(_)
            | E::ZeroValue(_)
            | E::Compose { .. }
            | E::Access { .. }
            | E::AccessIndex { .. }
            | E::Splat { .. }
            | E::Swizzle { .. }
            | E::FunctionArgument(_)
            | E::GlobalVariable(_)
            | E::LocalVariable(_)
            | E::Load { .. }
            | E::Unary { .. }
            | E::Binary { .. }
            | E::Select { .. }
            | E::Relational { .. }
            | E::Math { .. }
            | E::As { .. }
            | E::CallResult(_)
    )
}

fn check_block(block: &Block, dialect: &dyn Dialect) -> Result<(), Refusal> {
    use Statement as S;
    let check = |block| check_block(block, dialect);
    for (statement, span) in block.span_iter() {
        match statement {
            S::Emit(_) | S::Break | S::Continue | S::Return { .. } | S::Store { .. } | S::Call { .. } => {}
            S::Block(inner) => check(inner)?,
            S::If { accept, reject, .. } => [accept, reject].into_iter().try_for_each(check)?,
            S::Switch { cases, .. } => cases.iter().try_for_each(|case| check(&case.body))?,
            S::Loop { body, continuing, .. } => [body, continuing].into_iter().try_for_each(check)?,
            _ => return Err((*span, format!("this cannot be used: {}", dialect.pure()))),
        }
    }
    Ok(())
}

/// Refuses functions whose variables and named values exceed what an invocation can hold in registers.
pub(crate) fn check_memory(module: &Module, info: &ModuleInfo) -> Result<(), Refusal> {
    let too_much = |span, what: &str, bytes: u32| {
        Err((span, format!("{what} take {bytes} bytes, expected at most {MOST_BYTES}")))
    };
    let is_large = |ty: Handle<Type>| {
        matches!(module.types[ty].inner, TypeInner::Array { .. } | TypeInner::Struct { .. })
    };
    let mut layouter = Layouter::default();
    if layouter.update(module.to_ctx()).is_err() {
        return Err((Span::default(), format!("a type is too large: expected at most {MOST_BYTES} bytes")));
    }
    let mut known: Vec<u32> = Vec::new();
    for (handle, function) in module.functions.iter() {
        let named = function.named_expressions.keys().filter_map(|named| match info[handle][*named].ty {
            TypeResolution::Handle(ty) if is_large(ty) => Some(ty),
            _ => None,
        });
        for (local, variable) in function.local_variables.iter() {
            let bytes = layouter[variable.ty].size;
            if bytes > MOST_BYTES {
                let name = variable.name.as_deref().unwrap_or_default();
                return too_much(
                    function.local_variables.get_span(local),
                    &format!("values of `{name}`"),
                    bytes,
                );
            }
        }
        let variables = function.local_variables.iter().map(|(_, variable)| variable.ty);
        let own: u32 = variables.chain(named).map(|ty| layouter[ty].size).fold(0, u32::saturating_add);
        // Callees precede their callers.
        let callees = called(function).map(|callee| known.get(callee.index()).copied().unwrap_or_default());
        let all = own.saturating_add(callees.max().unwrap_or_default());
        if all > MOST_BYTES {
            let name = function.name.as_deref().unwrap_or_default();
            let what = format!("the variables of `{name}` and what it calls");
            return too_much(module.functions.get_span(handle), &what, all);
        }
        known.push(all);
    }
    match module.types.iter().find(|(handle, _)| layouter[*handle].size > MOST_BYTES) {
        Some((handle, _)) => {
            too_much(module.types.get_span(handle), "values of this type", layouter[handle].size)
        }
        None => Ok(()),
    }
}

/// The functions that `function` calls.
pub(crate) fn called(function: &Function) -> impl Iterator<Item = Handle<Function>> + '_ {
    let results = function.expressions.iter();
    let calls = results.filter_map(|(_, expression)| match expression {
        Expression::CallResult(callee) => Some(*callee),
        _ => None,
    });
    let mut found = Vec::new();
    gather(&function.body, &mut found);
    calls.chain(found)
}

/// Collects the functions that a block calls, including those without a result.
fn gather(block: &Block, found: &mut Vec<Handle<Function>>) {
    for statement in block {
        match statement {
            Statement::Call { function, .. } => found.push(*function),
            Statement::Block(inner) => gather(inner, found),
            Statement::If { accept, reject, .. } => {
                [accept, reject].into_iter().for_each(|block| gather(block, found))
            }
            Statement::Switch { cases, .. } => cases.iter().for_each(|case| gather(&case.body, found)),
            Statement::Loop { body, continuing, .. } => {
                [body, continuing].into_iter().for_each(|block| gather(block, found));
            }
            _ => {}
        }
    }
}
