//! Every kernel passes each backend's own validation and is translated to its language.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use gradus::gpu::KernelSource;
use gradus::wgpu::Backend;
use naga::back::{glsl, hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

/// Parses a kernel, as it is for a backend, and validates it with no more than `offered`, and subgroups only where it names them.
pub(crate) fn validate(
    source: &KernelSource,
    backend: Backend,
    offered: Capabilities,
) -> Result<(naga::Module, ModuleInfo), String> {
    let text = source.text_for(backend);
    let module = naga::front::wgsl::parse_str(&text)
        .map_err(|e| format!("{}: {}", source.name, e.emit_to_string(&text)))?;
    let mut validator = Validator::new(ValidationFlags::all(), needed(source) & offered);
    let info =
        validator.validate(&module).map_err(|e| format!("{}: {}", source.name, e.emit_to_string(&text)))?;
    Ok((module, info))
}

fn needed(source: &KernelSource) -> Capabilities {
    let mut needed = Capabilities::empty();
    needed.set(Capabilities::SUBGROUP, source.wgsl.contains("subgroup"));
    needed.set(Capabilities::SHADER_FLOAT16, source.wgsl.starts_with("enable f16;"));
    needed
}

/// A kernel in the language of one backend.
struct Translation {
    /// The ending of its file.
    ending: &'static str,
    text: Vec<u8>,
}

fn to_spirv(source: &KernelSource) -> Result<Option<Translation>, String> {
    let (module, info) = validate(source, Backend::Vulkan, spv::supported_capabilities())?;
    let options = spv::Options { lang_version: (1, 3), ..Default::default() };
    let words = spv::write_vec(&module, &info, &options, None).map_err(|e| e.to_string())?;
    let text = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    Ok(Some(Translation { ending: "spv", text }))
}

fn to_msl(source: &KernelSource) -> Result<Option<Translation>, String> {
    let (module, info) = validate(source, Backend::Metal, msl::supported_capabilities())?;
    let options = msl::Options { lang_version: (2, 4), ..Default::default() };
    let written = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default());
    Ok(Some(Translation { ending: "metal", text: written.map_err(|e| e.to_string())?.0.into_bytes() }))
}

/// Starts with a comment that names the profile and the entry point, which other compilers must be told.
fn to_hlsl(source: &KernelSource) -> Result<Option<Translation>, String> {
    let (module, info) = validate(source, Backend::Dx12, hlsl::supported_capabilities())?;
    // Types of 16 bits need another.
    let half = source.wgsl.starts_with("enable f16;");
    let (shader_model, profile) =
        if half { (hlsl::ShaderModel::V6_2, "cs_6_2") } else { (hlsl::ShaderModel::V6_0, "cs_6_0") };
    let options = hlsl::Options { shader_model, ..Default::default() };
    let (mut text, pipeline) = (String::new(), hlsl::PipelineOptions::default());
    let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
    let names = writer.write(&module, &info, None).map_err(|e| e.to_string())?.entry_point_names;
    let entry = names[0].as_ref().map_err(|e| e.to_string())?;
    Ok(Some(Translation { ending: "hlsl", text: format!("// {profile} {entry}\n{text}").into_bytes() }))
}

/// `None` for a kernel that computes with f16, which no OpenGL device offers.
fn to_glsl(source: &KernelSource) -> Result<Option<Translation>, String> {
    if source.wgsl.starts_with("enable f16;") {
        return Ok(None);
    }
    let (module, info) = validate(source, Backend::Gl, glsl::supported_capabilities())?;
    let options = glsl::Options { version: glsl::Version::new_gles(310), ..Default::default() };
    let pipeline = glsl::PipelineOptions {
        shader_stage: naga::ShaderStage::Compute,
        entry_point: module.entry_points[0].name.clone(),
        multiview: None,
    };
    let (mut text, policies) = (String::new(), naga::proc::BoundsCheckPolicies::default());
    let writer = glsl::Writer::new(&mut text, &module, &info, &options, &pipeline, policies);
    writer.and_then(|mut writer| writer.write()).map_err(|e| e.to_string())?;
    Ok(Some(Translation { ending: "comp", text: text.into_bytes() }))
}

type Translate = fn(&KernelSource) -> Result<Option<Translation>, String>;

const LANGUAGES: [Translate; 4] = [to_spirv, to_msl, to_hlsl, to_glsl];

/// The different kernels, by name and text.
fn kernels() -> BTreeMap<(String, String), KernelSource> {
    let sources = gradus::kernel_listings().into_iter().map(|listing| listing.source);
    sources.map(|source| ((source.name.clone(), source.wgsl.to_string()), source)).collect()
}

#[test]
fn every_kernel_is_translated_to_every_language() {
    for source in kernels().values() {
        for translate in LANGUAGES {
            let written = translate(source).unwrap_or_else(|e| panic!("{}: {e}", source.name));
            assert!(written.is_none_or(|written| !written.text.is_empty()), "{}", source.name);
        }
    }
}

/// The folder that kernels are written to.
const FOLDER: &str = "GRADUS_KERNELS";

#[test]
#[ignore = "writes kernels for compilers other than naga: make portability"]
fn writes_every_kernel_in_every_language() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect(FOLDER));
    for (number, source) in kernels().into_values().enumerate() {
        let name = source.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let path = folder.join(format!("{number:04}-{name}"));
        fs::write(path.with_extension("wgsl"), &*source.text_for(Backend::BrowserWebGpu)).unwrap();
        for translate in LANGUAGES {
            if let Some(written) = translate(&source).unwrap() {
                fs::write(path.with_extension(written.ending), written.text).unwrap();
            }
        }
    }
}

/// Numbers beyond the largest f32, which naga rounds to it and browsers refuse.
#[test]
fn no_kernel_has_a_literal_beyond_the_largest_f32() {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._".contains(c);
    for source in kernels().values() {
        let text = source.wgsl.replace("e+", "e");
        for word in text.split(|c| !is_part(c)).filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        {
            let number: f64 = word.trim_end_matches(['f', 'h']).parse().unwrap_or(0.0);
            assert!(number <= f64::from(f32::MAX), "{}: {word}", source.name);
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
    assert!(validate(&source, Backend::Vulkan, Capabilities::all()).is_ok());
    assert!(validate(&source, Backend::Vulkan, Capabilities::empty()).is_err());
}
