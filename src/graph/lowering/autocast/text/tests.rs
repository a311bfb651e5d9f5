use super::*;

const DECLARED: &str = "alias V = vec4f;
@group(0) @binding(1) var<storage, read> x: array<V>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read_write> z: array<f32>;
";

fn half(body: &str, bindings: &[usize]) -> String {
    let wgsl = format!("{DECLARED}@compute @workgroup_size(1) fn main() {{\n{body}\n}}\n");
    let text = Text::of(&wgsl).with_half(bindings);
    let module = naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{e:?}: {text}"));
    let capabilities = naga::valid::Capabilities::SHADER_FLOAT16;
    let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities);
    validator.validate(&module).unwrap_or_else(|e| panic!("{e:?}: {text}"));
    let main = text.split("fn main() {\n").nth(1).expect("it is there");
    main.split("\n}\n").next().expect("it ends").to_owned()
}

#[test]
fn loads_and_stores_are_converted() {
    let cases = [
        ("y[1] = x[labels[2]] + x[0];", "y[1] = gradus_half4( vec4f(x[labels[2]]) + vec4f(x[0]));"),
        ("y[0]=x[0];", "y[0]= gradus_half4(vec4f(x[0]));"),
        ("y[1] += x[0] - y[2];", "y[1] = gradus_half4(vec4f(y[1]) + ( vec4f(x[0]) - vec4f(y[2])));"),
        ("y[1].z *= x[0][2];", "y[1].z = gradus_half1(f32(y[1].z) * ( vec4f(x[0])[2]));"),
        ("y[1][3] = x[u32(x[0].x)].w;", "y[1][3] = gradus_half1( vec4f(x[u32(vec4f(x[0]).x)]).w);"),
        (
            "if x[0].x == 1.0 { y[0] = vec4f(); }",
            "if vec4f(x[0]).x == 1.0 { y[0] = gradus_half4( vec4f()); }",
        ),
        ("z[3] = 1.0; // x[0]", "z[3] = 1.0; // x[0]"),
    ];
    for (body, expected) in cases {
        assert_eq!(half(body, &[1, 2]), expected);
    }
    // Local variables and arguments with the same names are not buffers.
    let named = [
        ("var x = array<f32, 2>(); x[0] = 1.0;", "var x = array<f32, 2>(); x[0] = 1.0;"),
        ("let x = x[0]; y[0] = x * x[1];", "let x = vec4f(x[0]); y[0] = gradus_half4( x * x[1]);"),
        ("{ let x = y[0]; } let z = x[0];", "{ let x = vec4f(y[0]); } let z = vec4f(x[0]);"),
        ("} fn f(x: vec4f) { y[0] = x * x[1];", "} fn f(x: vec4f) { y[0] = gradus_half4( x * x[1]);"),
        (
            "} struct S { x: f32 } fn f(s: S) { let a = s.x;",
            "} struct S { x: f32 } fn f(s: S) { let a = s.x;",
        ),
    ];
    for (body, expected) in named {
        assert_eq!(half(body, &[1, 2]), expected);
    }
    assert_eq!(half("z[3] = x[0].x;", &[4]), "z[3] = gradus_half1( x[0].x);");
    assert_eq!(half("y[3] = vec4f(z[1]);", &[4]), "y[3] = vec4f(f32(z[1]));");
}

#[test]
fn what_is_more_than_loads_and_stores_stays() {
    let can = |body: &str| {
        let wgsl = format!("{DECLARED}@compute @workgroup_size(1) fn main() {{\n{body}\n}}\n");
        let text = Text::of(&wgsl);
        [1, 2, 3, 4].map(|binding| text.can_be_half(binding))
    };
    assert_eq!(can("y[0] = x[0];"), [true, true, false, true]);
    assert_eq!(can("let n = arrayLength(&x);"), [false, true, false, true]);
    assert_eq!(can("let p = &y[0]; *p = x[0];"), [true, false, false, true]);
    assert_eq!(can("let y = x;"), [false, true, false, true]);
    assert_eq!(can("let s = shape.x;"), [true, true, false, true]);
    assert!(!Text::of(&format!("{DECLARED}fn f() {{ let é = 1; }}")).can_be_half(1));
}

#[test]
fn what_is_only_stored_is_not_loaded() {
    let loads = |body: &str| Text::of(&format!("{DECLARED}fn f() {{ {body} }}")).loads(2);
    assert!(!loads("y[0] = x[0];"));
    assert!(loads("y[0] += x[0];"));
    assert!(loads("y[0] = x[0] + y[0];"));
}
