//! What a component may need before any of its code runs: counted when it is uploaded, so that no job finds out later.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::outline::Outline;

/// What one job's instance of a component needs, and what its compiled code takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// How deep components and modules lie within each other.
    pub nesting: u64,
    /// Types, imports, exports, aliases and functions of components, as they are written.
    pub definitions: u64,
    /// Component instances: itself, and one for each time that a nested component is instantiated.
    pub component_instances: u64,
    /// Core instances, those included that the engine adds between composed components.
    pub core_instances: u64,
    /// Linear memories of all core instances.
    pub memories: u64,
    /// Tables of all core instances.
    pub tables: u64,
    /// Elements that these tables start with, and those of passive segments; of all modules at least those that are prepared.
    pub table_elements: u64,
    /// Global variables of all core instances.
    pub globals: u64,
    /// Functions of all modules, imported ones included; a module counts once, however often it is instantiated.
    pub functions: u64,
    /// Bytes that an instance takes beside its linear memories and tables.
    pub instance_bytes: u64,
    /// Bytes that are written to start an instance: initial data that cannot be mapped, globals, elements.
    pub start_bytes: u64,
    /// Bytes of the compiled code.
    pub compiled_bytes: u64,
    /// Bytes that it takes in memory while it is loaded.
    pub loaded_bytes: u64,
}

/// The most that a component may need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadLimits {
    /// See [`Needs::nesting`].
    pub nesting: u64,
    /// See [`Needs::definitions`].
    pub definitions: u64,
    /// See [`Needs::component_instances`].
    pub component_instances: u64,
    /// See [`Needs::core_instances`]; at most [`CORE_INSTANCES_MAX`].
    pub core_instances: u64,
    /// See [`Needs::memories`]; at most [`CORE_INSTANCES_MAX`].
    pub memories: u64,
    /// See [`Needs::tables`]; at most [`CORE_INSTANCES_MAX`].
    pub tables: u64,
    /// See [`Needs::table_elements`].
    pub table_elements: u64,
    /// See [`Needs::globals`].
    pub globals: u64,
    /// See [`Needs::functions`].
    pub functions: u64,
    /// See [`Needs::instance_bytes`].
    pub instance_bytes: u64,
    /// See [`Needs::start_bytes`].
    pub start_bytes: u64,
    /// See [`Needs::compiled_bytes`].
    pub compiled_bytes: u64,
    /// Compiled bytes for each byte of the component; the first [`COMPILED_FREE_BYTES`] are not counted.
    pub compiled_ratio: u64,
    /// What the settings say of them, for advice.
    pub stated: StatedBounds,
}

/// What the settings of the host say of these bounds, as far as advice has to fit in with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatedBounds {
    /// The file that was read; none when there is none.
    pub file: Option<String>,
    /// The file with its `[uploads]`.
    pub host: Option<Outline>,
    /// The environment variables that have the last word on some of them.
    pub variables: Vec<String>,
}

/// What a bound may be set to, by its name under `[uploads]`.
pub fn range_of(setting: &str) -> RangeInclusive<u64> {
    const GIB: u64 = 1 << 30;
    match setting {
        "nesting" => 1..=100,
        "definitions" => 1..=1_000_000,
        "component_instances" | "core_instances" | "memories" | "tables" => 1..=CORE_INSTANCES_MAX,
        "table_elements" => 0..=100_000_000,
        "globals" => 0..=10_000_000,
        "functions" => 1..=10_000_000,
        "instance" => 64 << 10..=GIB,
        "start" => 64 << 10..=64 * GIB,
        "compiled" => 1 << 20..=GIB,
        _ => 1..=1_000_000,
    }
}

/// The most core instances, memories or tables of one job that a host can be set to.
pub const CORE_INSTANCES_MAX: u64 = 1_000;

/// Compiled bytes that any component may have, however small it is: adapters and trampolines have a size of their own.
pub const COMPILED_FREE_BYTES: u64 = 4 << 20;

impl Default for UploadLimits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            nesting: 20,
            definitions: 100_000,
            component_instances: 100,
            core_instances: 200,
            memories: 50,
            tables: 200,
            table_elements: 500_000,
            globals: 50_000,
            functions: 250_000,
            instance_bytes: 8 * MIB,
            start_bytes: 128 * MIB,
            compiled_bytes: 512 * MIB,
            compiled_ratio: 40,
            stated: StatedBounds::default(),
        }
    }
}

/// A bound that a component exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The setting, as it is called under `[uploads]`.
    pub setting: &'static str,
    /// What there is too much of.
    pub what: &'static str,
    /// How much the component needs.
    pub needed: u64,
    /// How much it may.
    pub limit: u64,
    /// Whether these are bytes.
    pub is_bytes: bool,
    /// The value of the setting that would be enough.
    pub enough: u64,
}

impl UploadLimits {
    /// The first bound that a component exceeds, of those that are known before it is compiled.
    pub fn check_shape(&self, needs: &Needs) -> Result<(), Excess> {
        let counted =
            |setting, what, needed, limit| Excess { setting, what, needed, limit, is_bytes: false, enough: needed };
        let weighed = |setting, what, needed, limit| Excess { is_bytes: true, ..counted(setting, what, needed, limit) };
        first_of([
            counted("nesting", "levels of components and modules within each other", needs.nesting, self.nesting),
            counted(
                "definitions",
                "types, imports, exports, aliases and functions of components",
                needs.definitions,
                self.definitions,
            ),
            counted("component_instances", "component instances", needs.component_instances, self.component_instances),
            counted("core_instances", "core instances", needs.core_instances, self.core_instances),
            counted("memories", "linear memories", needs.memories, self.memories),
            counted("tables", "tables", needs.tables, self.tables),
            counted("table_elements", "initial table elements", needs.table_elements, self.table_elements),
            counted("globals", "global variables", needs.globals, self.globals),
            counted("functions", "functions", needs.functions, self.functions),
            weighed(
                "instance",
                "for each instance, beside its linear memories and tables",
                needs.instance_bytes,
                self.instance_bytes,
            ),
            weighed("start", "to be written to start an instance", needs.start_bytes, self.start_bytes),
        ])
    }

    /// Whether the compiled code of a component of so many bytes is too large.
    pub fn check_compiled(&self, needs: &Needs, component_bytes: u64) -> Result<(), Excess> {
        let by_ratio = component_bytes.saturating_mul(self.compiled_ratio).saturating_add(COMPILED_FREE_BYTES);
        let ratio = needs.compiled_bytes.saturating_sub(COMPILED_FREE_BYTES).div_ceil(component_bytes.max(1));
        let excess = |setting, limit, enough| Excess {
            setting,
            what: "of compiled code",
            needed: needs.compiled_bytes,
            limit,
            is_bytes: true,
            enough,
        };
        first_of([
            excess("compiled", self.compiled_bytes, needs.compiled_bytes),
            excess("compiled_ratio", by_ratio, ratio),
        ])
    }
}

fn first_of(bounds: impl IntoIterator<Item = Excess>) -> Result<(), Excess> {
    match bounds.into_iter().find(|bound| bound.needed > bound.limit) {
        None => Ok(()),
        Some(excess) => Err(excess),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_that_is_exceeded_is_named_with_both_values() {
        let limits = UploadLimits::default();
        assert_eq!(limits.check_shape(&Needs::default()), Ok(()));
        let needs = Needs { core_instances: 201, instance_bytes: 9 << 20, ..Needs::default() };
        let excess = limits.check_shape(&needs).expect_err("it is one too many");
        assert_eq!((excess.setting, excess.needed, excess.limit), ("core_instances", 201, 200));
        let needs = Needs { core_instances: 200, instance_bytes: 9 << 20, ..Needs::default() };
        assert_eq!(limits.check_shape(&needs).map_err(|excess| excess.setting), Err("instance"));
    }

    #[test]
    fn compiled_code_is_bounded_by_what_was_uploaded() {
        let limits = UploadLimits::default();
        let of = |compiled_bytes| Needs { compiled_bytes, ..Needs::default() };
        assert_eq!(limits.check_compiled(&of(COMPILED_FREE_BYTES + 40 * 600), 600), Ok(()));
        let excess = limits.check_compiled(&of(COMPILED_FREE_BYTES + 40 * 600 + 1), 600).expect_err("a bomb");
        assert_eq!((excess.setting, excess.enough), ("compiled_ratio", 41));
        let excess = limits.check_compiled(&of(513 << 20), 64 << 20).expect_err("too large for any");
        assert_eq!(excess.setting, "compiled");
    }
}
