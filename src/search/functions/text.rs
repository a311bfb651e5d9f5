//! The functions in WGSL.

use super::TestFunction;

macro_rules! text {
    ($($file:literal),+) => { concat!($(include_str!(concat!("../../../shaders/search/functions/", $file, ".wgsl")), "\n"),+) };
}

/// `fn objective() -> f32` and what it calls, over the member that `x(i)` reads.
pub(super) fn objective(function: TestFunction, shift: &[f64]) -> String {
    let (name, kernel) = (function.name(), kernel(function));
    let shifted = shift.iter().any(|shift| *shift != 0.0);
    let (constants, less) = match shifted {
        true => {
            (format!("const SHIFT = array<f32, {}>({});\n\n", shift.len(), literals(shift)), " - SHIFT[i]")
        }
        false => (String::new(), ""),
    };
    format!(
        "{constants}fn at(i: u32) -> f32 {{\n    return x(i){less};\n}}\n\n{kernel}fn objective() -> f32 {{\n    \
         return {name}();\n}}\n"
    )
}

fn literals(values: &[f64]) -> String {
    let literals: Vec<String> = values.iter().map(|value| literal(*value)).collect();
    literals.join(", ")
}

/// A literal that WGSL reads as the nearest f32; what is beyond its range is its largest.
fn literal(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "the device computes in f32")]
    let value = (value as f32).clamp(f32::MIN, f32::MAX);
    crate::wgsl::literal(value)
}

fn kernel(function: TestFunction) -> &'static str {
    match function {
        TestFunction::Sphere => text!("sphere"),
        TestFunction::Rosenbrock => text!("rosenbrock"),
        TestFunction::Rastrigin => text!("rastrigin"),
        TestFunction::Ackley => text!("ackley"),
        TestFunction::Eggholder => text!("wave", "eggholder"),
        TestFunction::Griewank => text!("griewank"),
        TestFunction::Schwefel => text!("wave", "schwefel"),
        TestFunction::Himmelblau => text!("himmelblau"),
        TestFunction::Multimodal => text!("multimodal"),
    }
}
