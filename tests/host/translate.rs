//! Every kernel passes each backend's own validation and is translated to its language.

use gradus::gpu::KernelSource;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

/// Parses a kernel and validates it with no more than `offered`, and subgroups only where it names them.
pub(crate) fn validate(
    source: &KernelSource,
    offered: Capabilities,
) -> Result<(naga::Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(&source.wgsl)
        .map_err(|e| format!("{}: {}", source.name, e.emit_to_string(&source.wgsl)))?;
    let mut validator = Validator::new(ValidationFlags::all(), needed(source) & offered);
    let info = validator
        .validate(&module)
        .map_err(|e| format!("{}: {}", source.name, e.emit_to_string(&source.wgsl)))?;
    Ok((module, info))
}

fn needed(source: &KernelSource) -> Capabilities {
    let mut needed = Capabilities::empty();
    needed.set(Capabilities::SUBGROUP, source.wgsl.contains("subgroup"));
    needed.set(Capabilities::SHADER_FLOAT16, source.wgsl.starts_with("enable f16;"));
    needed
}

fn to_spirv(source: &KernelSource) -> Result<usize, String> {
    let (module, info) = validate(source, spv::supported_capabilities())?;
    let options = spv::Options { lang_version: (1, 3), ..Default::default() };
    let words = spv::write_vec(&module, &info, &options, None).map_err(|e| e.to_string())?;
    Ok(words.len())
}

fn to_msl(source: &KernelSource) -> Result<usize, String> {
    let (module, info) = validate(source, msl::supported_capabilities())?;
    let options = msl::Options { lang_version: (2, 4), ..Default::default() };
    let written = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default());
    Ok(written.map_err(|e| e.to_string())?.0.len())
}

fn to_hlsl(source: &KernelSource) -> Result<usize, String> {
    let (module, info) = validate(source, hlsl::supported_capabilities())?;
    // Types of 16 bits need another.
    let half = source.wgsl.starts_with("enable f16;");
    let shader_model = if half { hlsl::ShaderModel::V6_2 } else { hlsl::ShaderModel::V6_0 };
    let options = hlsl::Options { shader_model, ..Default::default() };
    let (mut text, pipeline) = (String::new(), hlsl::PipelineOptions::default());
    let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
    writer.write(&module, &info, None).map_err(|e| e.to_string())?;
    Ok(text.len())
}

#[test]
fn every_kernel_is_translated_to_every_language() {
    for listing in gradus::kernel_listings() {
        for translate in [to_spirv, to_msl, to_hlsl] {
            assert!(translate(&listing.source).unwrap() > 0, "{}", listing.source.name);
        }
    }
}

#[test]
fn a_capability_that_a_backend_lacks_is_refused() {
    let source = KernelSource {
        name: "half".into(),
        wgsl: "enable f16;\n@compute @workgroup_size(1) fn main() { let x = f16(1.0); }".into(),
        bindings: Vec::new(),
    };
    assert!(validate(&source, Capabilities::all()).is_ok());
    assert!(validate(&source, Capabilities::empty()).is_err());
}
