use naga::{AddressSpace, Handle, Module, Scalar, Span, Type, TypeInner, VectorSize};

pub(crate) const SIGNATURE: &str = "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f";

/// Refuses another function than the frame calls; the place is that of `rule`, if there is one.
pub(crate) fn check_signature(module: &Module) -> Result<(), (Option<Span>, String)> {
    let mut functions = module.functions.iter();
    let Some((handle, rule)) = functions.find(|(_, function)| function.name.as_deref() == Some("rule"))
    else {
        return Err((None, format!("there is no function `rule`, expected `{SIGNATURE}`")));
    };
    let vec4f = TypeInner::Vector { size: VectorSize::Quad, scalar: Scalar::F32 };
    let is_vec4f = |ty: Handle<Type>| module.types[ty].inner == vec4f;
    let is_state = |ty: Handle<Type>| match module.types[ty].inner {
        TypeInner::Pointer { base, space: AddressSpace::Function } => {
            module.types[base].name.as_deref() == Some("State")
        }
        _ => false,
    };
    let types: Vec<Handle<Type>> = rule.arguments.iter().map(|argument| argument.ty).collect();
    let fits = matches!(types[..], [p, g, s] if is_vec4f(p) && is_vec4f(g) && is_state(s))
        && rule.result.as_ref().is_some_and(|result| is_vec4f(result.ty));
    if fits {
        return Ok(());
    }
    let span = module.functions.get_span(handle);
    Err((Some(span), format!("`rule` has another signature, expected `{SIGNATURE}`")))
}
