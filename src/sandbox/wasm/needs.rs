//! What an instance of a component needs, as the engine itself counts it: read by the engine's own translation, before a
//! single function is compiled.

use wasmparser::{Validator, WasmFeatures};
use wasmtime_environ::component::{
    Component, ComponentTranslation, ComponentTypesBuilder, GlobalInitializer, InstantiateModule, Translator,
    VMComponentOffsets,
};
use wasmtime_environ::{
    ConstExpr, HostPtr, MemoryInit, MemorySegmentOffset, ModuleTranslation, PrimaryMap, ScopeVec, StaticModuleIndex,
    TableInitialValue, TableSegmentElements, Tunables, VMOffsets,
};

use super::engine::{IMAGE_BYTES, PAGE_BYTES};
use super::{features, outline};
use crate::domain::advice;
use crate::domain::code;
use crate::domain::uploads::{Excess, Needs, UploadLimits};
use crate::sandbox::{Rejection, text};

/// Bytes of a core instance beside its table of everything that it has: the engine's own record, and its allocations.
const INSTANCE_BYTES: u64 = 1 << 10;

/// Bytes of an element of a passive segment, and of one of a table.
const PASSIVE_ELEMENT_BYTES: u64 = 16;
const ELEMENT_BYTES: u64 = 8;

/// Bytes that the description of a loaded component takes in memory, for each of what it describes: an estimate from its structures, rounded up.
const FUNCTION_HELD: u64 = 64;
const GLOBAL_HELD: u64 = 128;
const NAME_HELD: u64 = 192;
const TYPE_HELD: u64 = 256;
const ELEMENT_HELD: u64 = 4;
const SEGMENT_HELD: u64 = 64;
const COMPONENT_ITEM_HELD: u64 = 256;

/// Counts what a component needs by its outline, and refuses it when that is more than it may: before it is even validated,
/// which takes its time, too.
pub(crate) fn outlined(component: &[u8], limits: &UploadLimits) -> Result<Needs, Rejection> {
    let outlined = outline::outline(component).map_err(|error| damaged(&error.to_string()))?;
    check(limits, &outlined)?;
    Ok(outlined)
}

/// Counts the rest, of a component that is valid.
pub(crate) fn measure(component: &[u8], outlined: Needs, limits: &UploadLimits) -> Result<Needs, Rejection> {
    let needs = count(component, outlined).map_err(|error| damaged(&format!("{error:#}")))?;
    check(limits, &needs)?;
    Ok(needs)
}

/// Adds what compiling it has shown.
pub(crate) fn compiled(
    needs: Needs,
    artefact_bytes: u64,
    component_bytes: u64,
    limits: &UploadLimits,
) -> Result<Needs, Rejection> {
    let loaded_bytes = needs.loaded_bytes.saturating_add(artefact_bytes);
    let needs = Needs { compiled_bytes: artefact_bytes, loaded_bytes, ..needs };
    limits.check_compiled(&needs, component_bytes).map_err(|excess| too_much(limits, &excess))?;
    Ok(needs)
}

fn check(limits: &UploadLimits, needs: &Needs) -> Result<(), Rejection> {
    limits.check_shape(needs).map_err(|excess| too_much(limits, &excess))
}

fn too_much(limits: &UploadLimits, excess: &Excess) -> Rejection {
    let shown = |number| match excess.is_bytes {
        true => text::bytes(number),
        false => text::grouped(number, ','),
    };
    let needed = match excess.needed {
        u64::MAX => "more than can be counted".to_owned(),
        needed => shown(needed),
    };
    let message = format!("the component needs {needed} {} (limit {})", excess.what, shown(excess.limit));
    let next = match excess.needed {
        u64::MAX => "Build it without components that instantiate each other over and over.".to_owned(),
        _ => {
            let advice = advice::allow_upload(limits, excess);
            format!("Build it smaller. If you trust whoever uploads, allow more:\n{advice}")
        }
    };
    Rejection { next: Some(next), ..Rejection::new(code::NEEDS_TOO_MUCH, message) }
}

fn damaged(said: &str) -> Rejection {
    Rejection::new(code::BROKEN_WASM, format!("the component is not valid: {}", text::neutral(said, 1_000)))
}

type Modules<'a> = PrimaryMap<StaticModuleIndex, ModuleTranslation<'a>>;

fn count(component: &[u8], outlined: Needs) -> wasmtime::Result<Needs> {
    let tunables = Tunables { concurrency_support: false, ..Tunables::default_host() };
    let features: WasmFeatures = features::ENGINE;
    let mut validator = Validator::new_with_features(features);
    let mut types = ComponentTypesBuilder::new(&validator);
    let scope = ScopeVec::new();
    let (translation, mut modules) =
        Translator::new(&tunables, &mut validator, &mut types, &scope).translate(component)?;
    for (_, module) in modules.iter_mut() {
        module.finalize_memory_init(&tunables, PAGE_BYTES, IMAGE_BYTES, types.module_types_builder_mut());
        module.finalize_table_init(&tunables, types.module_types_builder_mut());
    }
    let of_modules: Vec<Needs> = modules.iter().map(|(_, module)| of_instance(module)).collect();
    let mut needs = of_component(&translation, &outlined);
    for initializer in &translation.component.initializers {
        let GlobalInitializer::InstantiateModule(InstantiateModule::Static(index, _), _) = initializer else {
            continue;
        };
        add_instance(&mut needs, &of_modules[index.as_u32() as usize]);
    }
    hold_modules(&mut needs, &modules);
    Ok(needs)
}

/// What the component itself needs, without its core instances.
fn of_component(translation: &ComponentTranslation, outlined: &Needs) -> Needs {
    let component: &Component = &translation.component;
    let items = component.initializers.len()
        + translation.trampolines.len()
        + component.options.len()
        + component.export_items.len()
        + component.imports.len();
    let of_vmctx = u64::from(VMComponentOffsets::new(HostPtr, component).size_of_vmctx());
    let instances = u64::from(component.num_runtime_component_instances);
    Needs {
        component_instances: instances.max(1),
        instance_bytes: of_vmctx.saturating_add(instances.saturating_mul(INSTANCE_BYTES)),
        loaded_bytes: (items as u64).saturating_add(outlined.definitions).saturating_mul(COMPONENT_ITEM_HELD),
        core_instances: 0,
        ..*outlined
    }
}

fn add_instance(needs: &mut Needs, one: &Needs) {
    let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
    add(&mut needs.core_instances, 1);
    add(&mut needs.memories, one.memories);
    add(&mut needs.tables, one.tables);
    add(&mut needs.table_elements, one.table_elements);
    add(&mut needs.globals, one.globals);
    add(&mut needs.instance_bytes, one.instance_bytes);
    add(&mut needs.start_bytes, one.start_bytes);
}

/// What one instance of a module needs.
fn of_instance(translation: &ModuleTranslation<'_>) -> Needs {
    let module = &translation.module;
    let of_vmctx = u64::from(VMOffsets::new(HostPtr, module).size_of_vmctx());
    let tables = module.tables.iter().skip(module.num_imported_tables);
    let in_tables = tables.fold(0_u64, |sum, (_, table)| sum.saturating_add(table.limits.min));
    let passive = module.passive_elements.iter().fold(0_u64, |sum, (_, (_, length))| sum.saturating_add(*length));
    let globals = module.globals.len() - module.num_imported_globals;
    Needs {
        memories: module.num_defined_memories() as u64,
        tables: module.num_defined_tables() as u64,
        table_elements: in_tables.saturating_add(passive),
        globals: globals as u64,
        instance_bytes: of_vmctx
            .saturating_add(INSTANCE_BYTES)
            .saturating_add(passive.saturating_mul(PASSIVE_ELEMENT_BYTES)),
        start_bytes: of_vmctx
            .saturating_add(data_to_copy(translation))
            .saturating_add(elements_to_write(translation))
            .saturating_add(in_tables.saturating_add(passive).saturating_mul(ELEMENT_BYTES)),
        ..Needs::default()
    }
}

/// Initial data that cannot be mapped copy-on-write and is written by each instance.
fn data_to_copy(translation: &ModuleTranslation<'_>) -> u64 {
    let MemoryInit::Processed(segments) = &translation.memory_init else { return 0 };
    let is_mapped = !translation.module.memory_initialization.is_segmented();
    let written = segments.iter().map(|(_, offset, data)| match offset {
        MemorySegmentOffset::Static(_) if is_mapped => 0,
        MemorySegmentOffset::Static(_) => translation.runtime_data[*data].len() as u64,
        MemorySegmentOffset::Expr(expr) => translation.runtime_data[*data].len() as u64 + steps(expr),
    });
    written.fold(0, u64::saturating_add)
}

/// Elements and globals that compiled code works out when an instance starts.
fn elements_to_write(translation: &ModuleTranslation<'_>) -> u64 {
    let globals = translation.global_initializers.iter().map(|(_, expr)| steps(expr));
    let initial = translation.table_initialization.initial_values.iter().map(|(_, value)| match value {
        TableInitialValue::Null => 0,
        TableInitialValue::Expr(expr) => steps(expr),
    });
    let segments = translation.table_initialization.segments.iter();
    let active = segments.map(|segment| steps(&segment.offset) + elements(&segment.elements));
    let passive = translation.passive_elements.iter().map(|(_, segment)| elements(segment));
    globals.chain(initial).chain(active).chain(passive).fold(0, u64::saturating_add)
}

fn elements(segment: &TableSegmentElements) -> u64 {
    match segment {
        TableSegmentElements::Functions(functions) => functions.len() as u64 * PASSIVE_ELEMENT_BYTES,
        TableSegmentElements::Expressions { exprs, .. } => exprs.iter().map(steps).sum(),
    }
}

/// The work of an expression, in bytes that could be copied meanwhile.
fn steps(expr: &ConstExpr) -> u64 {
    expr.ops().len() as u64 * PASSIVE_ELEMENT_BYTES
}

/// Adds what the descriptions of the modules take while the component is loaded. A table's image is in there whole, whether
/// the module is ever instantiated or not: 70 tables with an element at the far end of each are a few hundred bytes to upload.
fn hold_modules(needs: &mut Needs, modules: &Modules<'_>) {
    let mut in_images = 0_u64;
    for (_, translation) in modules.iter() {
        let module = &translation.module;
        let images = module.table_initialization.iter().map(|(_, image)| image.len() as u64).sum::<u64>();
        in_images = in_images.saturating_add(images);
        let held = (module.functions.len() as u64 * FUNCTION_HELD)
            + (module.globals.len() as u64 * GLOBAL_HELD)
            + ((module.exports.len() + module.initializers.len()) as u64 * NAME_HELD)
            + (module.types.len() as u64 * TYPE_HELD)
            + (images * ELEMENT_HELD)
            + (module.runtime_data.len() as u64 * SEGMENT_HELD);
        needs.functions = needs.functions.saturating_add(module.functions.len() as u64);
        needs.loaded_bytes = needs.loaded_bytes.saturating_add(held);
    }
    needs.table_elements = needs.table_elements.max(in_images);
}
