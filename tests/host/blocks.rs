//! Every kernel's uniform blocks and bindings are what Rust declares.

use gradus::gpu::{Binding, Block, KernelListing, KernelSource};
use gradus::optim::{Family, Granularity, RULES};
use gradus::wgpu::Backend;
use naga::valid::Capabilities;
use naga::{AddressSpace, Module, Scalar, StorageAccess, TypeInner};

use crate::translate::validate;

/// What one stage may bind as storage on every device.
const STORAGE_BUFFERS: usize = 8;

fn check(listing: &KernelListing) -> Result<(), String> {
    let source = &listing.source;
    let (module, _) = validate(source, Backend::Vulkan, Capabilities::all())?;
    let entry = module.entry_points.iter().find(|e| e.name == "main").ok_or("there is no main")?;
    let invocations: u32 = entry.workgroup_size.iter().product();
    if invocations > 256 {
        return Err(format!("{invocations} invocations a workgroup"));
    }
    for block in &listing.blocks {
        check_block(&module, block)?;
    }
    let storage = source.bindings.iter().filter(|b| !matches!(b, Binding::Uniform { .. })).count();
    if storage > STORAGE_BUFFERS {
        return Err(format!("{storage} storage buffers"));
    }
    check_bindings(&module, listing)
}

fn check_block(module: &Module, block: &Block) -> Result<(), String> {
    let name = block.name;
    let (members, span) = struct_of(module, name)?;
    if span as usize != block.bytes {
        return Err(format!("{name} has {span} bytes, in Rust {}", block.bytes));
    }
    let theirs: Vec<_> = members
        .iter()
        .map(|member| (member.name.as_deref().unwrap_or(""), kind(module, member.ty), member.offset as usize))
        .collect();
    let ours: Vec<_> = block.fields.iter().map(|field| (&*field.name, field.kind, field.offset)).collect();
    if theirs != ours {
        return Err(format!("{name} is {theirs:?}, in Rust {ours:?}"));
    }
    Ok(())
}

fn struct_of<'m>(module: &'m Module, name: &str) -> Result<(&'m [naga::StructMember], u32), String> {
    let mut types = module.types.iter().map(|(_, ty)| ty);
    let found =
        types.find(|ty| ty.name.as_deref() == Some(name)).ok_or(format!("there is no struct {name}"))?;
    match &found.inner {
        TypeInner::Struct { members, span } => Ok((members, *span)),
        _ => Err(format!("{name} is no struct")),
    }
}

fn kind(module: &Module, ty: naga::Handle<naga::Type>) -> &'static str {
    match module.types[ty].inner {
        TypeInner::Scalar(Scalar::F32) => "f32",
        TypeInner::Scalar(Scalar::U32) => "u32",
        TypeInner::Scalar(Scalar::I32) => "i32",
        _ => "not a scalar",
    }
}

fn check_bindings(module: &Module, listing: &KernelListing) -> Result<(), String> {
    let declared = &listing.source.bindings;
    let mut seen = vec![false; declared.len()];
    for (_, global) in module.global_variables.iter() {
        let Some(place) = global.binding else { continue };
        let index = place.binding as usize;
        let want = declared.get(index).filter(|_| place.group == 0);
        let want = want.ok_or(format!("binding {index} of group {} is not declared", place.group))?;
        let got = match global.space {
            AddressSpace::Uniform => {
                let name = module.types[global.ty].name.as_deref().unwrap_or("");
                let block = listing.blocks.iter().find(|b| b.name == name);
                let block = block.ok_or(format!("binding {index} is {name:?}, which Rust does not list"))?;
                let Binding::Uniform { bytes, dynamic } = *want else {
                    return Err(format!("binding {index} is a uniform, in Rust {want:?}"));
                };
                if bytes as usize != block.bytes {
                    return Err(format!("binding {index} has {} bytes, bound are {bytes}", block.bytes));
                }
                Binding::Uniform { bytes, dynamic }
            }
            AddressSpace::Storage { access } if access == StorageAccess::LOAD => match want {
                Binding::ReadDynamic => Binding::ReadDynamic,
                _ => Binding::Read,
            },
            AddressSpace::Storage { .. } => Binding::ReadWrite,
            space => return Err(format!("binding {index} is in {space:?}")),
        };
        if got != *want {
            return Err(format!("binding {index} is {got:?}, in Rust {want:?}"));
        }
        seen[index] = true;
    }
    match seen.iter().position(|seen| !seen) {
        Some(index) => Err(format!("binding {index} is not in the kernel")),
        None => Ok(()),
    }
}

#[test]
fn every_kernel_agrees_with_rust() {
    for listing in gradus::kernel_listings() {
        check(&listing).unwrap_or_else(|e| panic!("{}: {e}", listing.source.name));
    }
}

/// naga's GLSL has neither, and says nothing.
#[test]
fn no_kernel_pads_by_an_attribute() {
    for KernelListing { source, .. } in gradus::kernel_listings() {
        let padded = ["@size", "@align"].into_iter().find(|attribute| source.wgsl.contains(attribute));
        assert_eq!(padded, None, "{}", source.name);
    }
}

#[test]
fn the_state_of_every_rule_is_its_slots() {
    for entry in RULES.iter().filter(|entry| entry.family != Family::Around) {
        // The rule is joined with the frame in every listing of its file.
        let listings = gradus::kernel_listings();
        let prefix = format!("optim/{}[", entry.shader.stem);
        let listing = listings.iter().find(|l| l.source.name.starts_with(&prefix)).unwrap();
        let module = naga::front::wgsl::parse_str(&listing.source.wgsl).unwrap();
        let (members, _) = struct_of(&module, "State").unwrap();
        let names: Vec<_> = members.iter().map(|m| m.name.as_deref().unwrap()).collect();
        let slots = entry.slots.iter().filter(|slot| slot.granularity == Granularity::Element);
        let mut expected: Vec<&str> = slots.map(|slot| &*slot.name).collect();
        // WGSL has no empty structs.
        if expected.is_empty() {
            expected.push("nothing");
        }
        assert_eq!(names, expected, "{}", entry.name);
        for member in members {
            let is_vec4 = matches!(
                module.types[member.ty].inner,
                TypeInner::Vector { size: naga::VectorSize::Quad, scalar: Scalar::F32 }
            );
            assert!(is_vec4, "{}: {:?}", entry.name, member.name);
        }
    }
}

/// The stems of the files of a folder that no listing is named after, before its variant in brackets.
fn unlisted(folder: &str, prefix: &str, names: &[String]) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders").join(folder);
    let stems = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let stems = stems.filter(|path| path.extension().is_some_and(|ending| ending == "wgsl"));
    let stems = stems.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    let listed =
        |stem: &str| names.iter().any(|name| name.split('[').next() == Some(&format!("{prefix}{stem}")));
    let mut missing: Vec<String> = stems.filter(|stem| !listed(stem)).collect();
    missing.sort();
    missing
}

/// The functions that a frame was joined with.
fn joined<'a>(frame: &str, name: &'a str) -> Vec<&'a str> {
    let names = name.strip_prefix(frame).and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'));
    names.map(|names| names.split('+').collect()).unwrap_or_default()
}

#[test]
fn every_shader_is_listed_and_so_tested() {
    let names: Vec<String> =
        gradus::kernel_listings().into_iter().map(|listing| listing.source.name).collect();
    // The end of conv2d.wgsl, listed under its name, where nothing pools.
    assert_eq!(unlisted("ops", "", &names), ["conv2d_store"], "shaders/ops without a listing");
    for folder in ["optim", "optim/rules"] {
        assert_eq!(unlisted(folder, "optim/", &names), [""; 0], "shaders/{folder} without a listing");
    }
    // What two of them share.
    assert_eq!(
        unlisted("optim/whole", "optim/whole/", &names),
        ["larger"],
        "shaders/optim/whole without a listing"
    );
    // What rides in the frame, and what all kernels of the pass share.
    let joined_files = [
        "bounded",
        "bounds",
        "noisy",
        "norm_apart",
        "norm_joined",
        "norm_lanes",
        "norm_one",
        "norm_units",
        "norm_wide",
        "plain",
    ];
    assert_eq!(unlisted("grad", "grad/", &names), joined_files, "shaders/grad without a listing");
    assert_eq!(unlisted("params", "params/", &names), [""; 0], "shaders/params without a listing");
    let functions: Vec<String> =
        names.iter().flat_map(|name| joined("elementwise", name)).map(str::to_owned).collect();
    assert_eq!(unlisted("pointwise", "", &functions), [""; 0], "shaders/pointwise without a listing");
    let fewer: Vec<String> = functions.into_iter().filter(|name| name != "gelu").collect();
    assert_eq!(unlisted("pointwise", "", &fewer), ["gelu"]);
    let is_ratio = |name: &String| name.split('[').next() == Some("ratio");
    let fewer: Vec<String> = names.into_iter().filter(|name| !is_ratio(name)).collect();
    assert_eq!(unlisted("ops", "", &fewer), ["conv2d_store", "ratio"]);
}

fn amsgrad() -> KernelListing {
    let full = "optim/adam[exp_avg,exp_avg_sq,max_exp_avg_sq]";
    gradus::kernel_listings().into_iter().find(|l| l.source.name == full).unwrap()
}

/// A listing whose text differs in one place.
fn mutated(from: &str, to: &str) -> KernelListing {
    let listing = amsgrad();
    assert_eq!(listing.source.wgsl.matches(from).count(), 1, "{from:?} is not in one place");
    let wgsl = listing.source.wgsl.replace(from, to).into();
    KernelListing { source: KernelSource { wgsl, ..listing.source }, ..listing }
}

#[test]
fn the_check_bites() {
    check(&amsgrad()).unwrap();
    let rows = [
        ("one_minus_beta1: f32,\n    beta2: f32,", "beta2: f32,\n    one_minus_beta1: f32,"),
        ("    eps: f32,", "    eps: f32,\n    extra: f32,"),
        ("    eps: f32,", "    @align(16) eps: f32,"),
        ("    eps: f32,", "    @size(8) eps: f32,"),
        ("    eps: f32,", "    epsilon: f32,"),
        ("    max_scale: f32,\n", ""),
        ("amsgrad: u32", "amsgrad: i32"),
        ("norm: f32,\n    loss_scale: f32,", "loss_scale: f32,\n    norm: f32,"),
        ("norm: f32,", "norm: u32,"),
        ("first: u32,\n    len: u32,", "len: u32,\n    first: u32,"),
        ("struct Gate", "struct Gat"),
        ("@binding(7)", "@binding(9)"),
        ("@binding(3)", "@binding(4)"),
        ("@group(0) @binding(2)", "@group(1) @binding(2)"),
        ("read> grads", "read_write> grads"),
        ("read_write> params", "read> params"),
        ("var<uniform> gate", "var<storage, read> gate"),
        ("State { exp_avg: vec4f", "State { exp_mean: vec4f"),
        ("fn rule(", "fn rul("),
        ("@workgroup_size(256)", "@workgroup_size(512)"),
    ];
    for (from, to) in rows {
        assert!(check(&mutated(from, to)).is_err(), "{from:?} -> {to:?} passed");
    }
    let mut unlisted = amsgrad();
    unlisted.source.bindings.extend([Binding::Read, Binding::Read, Binding::Read, Binding::Read]);
    assert!(check(&unlisted).unwrap_err().contains("storage buffers"));
}
