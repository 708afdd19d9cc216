//! How large a component is by its outline: counted while it is read once, before anything is built from it. A few hundred
//! bytes can ask for 2^100 instances, so the sums are made without making what they count.

use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, Instance, Parser, Payload,
};

use crate::domain::uploads::Needs;

/// What one instance of a component brings along.
#[derive(Clone, Copy, Default)]
struct Brings {
    core_instances: u64,
    component_instances: u64,
}

impl Brings {
    fn add(&mut self, other: Self) {
        self.core_instances = self.core_instances.saturating_add(other.core_instances);
        self.component_instances = self.component_instances.saturating_add(other.component_instances);
    }
}

/// A component or a module that is being read.
#[derive(Default)]
struct Scope {
    /// The components that it can name, with what each brings; of those that it is given, that is not known here.
    components: Vec<Option<Brings>>,
    brings: Brings,
    is_module: bool,
}

/// Counts what is known without the engine. Of components that are handed around as values, the instances are counted later.
pub(crate) fn outline(component: &[u8]) -> Result<Needs, BinaryReaderError> {
    let mut needs = Needs::default();
    let mut scopes = vec![Scope::default()];
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        needs.definitions = needs.definitions.saturating_add(definitions(&payload));
        match payload {
            Payload::ModuleSection { .. } => scopes.push(Scope { is_module: true, ..Scope::default() }),
            Payload::ComponentSection { .. } => scopes.push(Scope::default()),
            Payload::End(_) if scopes.len() > 1 => close(&mut scopes),
            Payload::InstanceSection(instances) => {
                for instance in instances {
                    if let (Instance::Instantiate { .. }, Some(scope)) = (instance?, scopes.last_mut()) {
                        scope.brings.add(Brings { core_instances: 1, component_instances: 0 });
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances {
                    if let (ComponentInstance::Instantiate { component_index, .. }, Some(scope)) =
                        (instance?, scopes.last_mut())
                    {
                        let brought = scope.components.get(component_index as usize).copied().flatten();
                        scope.brings.add(brought.unwrap_or_default());
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    if let (ComponentTypeRef::Component(_), Some(scope)) = (import?.ty, scopes.last_mut()) {
                        scope.components.push(None);
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if let (ComponentExternalKind::Component, Some(scope)) = (export.kind, scopes.last_mut()) {
                        let same = scope.components.get(export.index as usize).copied().flatten();
                        scope.components.push(same);
                    }
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases {
                    let named = match alias? {
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                            let outer = scopes.iter().rev().nth(count as usize);
                            outer.and_then(|outer| outer.components.get(index as usize).copied().flatten())
                        }
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => None,
                        _ => continue,
                    };
                    if let Some(scope) = scopes.last_mut() {
                        scope.components.push(named);
                    }
                }
            }
            _ => {}
        }
        needs.nesting = needs.nesting.max(scopes.len() as u64);
    }
    let whole = scopes.first().map(|root| root.brings).unwrap_or_default();
    needs.core_instances = whole.core_instances;
    needs.component_instances = whole.component_instances.saturating_add(1);
    Ok(needs)
}

fn definitions(payload: &Payload<'_>) -> u64 {
    u64::from(match payload {
        Payload::ComponentTypeSection(section) => section.count(),
        Payload::CoreTypeSection(section) => section.count(),
        Payload::ComponentImportSection(section) => section.count(),
        Payload::ComponentExportSection(section) => section.count(),
        Payload::ComponentAliasSection(section) => section.count(),
        Payload::ComponentCanonicalSection(section) => section.count(),
        Payload::ComponentInstanceSection(section) => section.count(),
        Payload::InstanceSection(section) => section.count(),
        _ => 0,
    })
}

/// Ends the innermost scope; a component can be named from then on.
fn close(scopes: &mut Vec<Scope>) {
    let Some(closed) = scopes.pop() else { return };
    if let (false, Some(outer)) = (closed.is_module, scopes.last_mut()) {
        let mut brings = closed.brings;
        brings.component_instances = brings.component_instances.saturating_add(1);
        outer.components.push(Some(brings));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Needs {
        outline(&wat::parse_str(text).expect("WAT")).expect("it can be read")
    }

    #[test]
    fn instances_multiply_through_every_way_to_name_a_component() {
        // Each component instantiates the one before it twice.
        let doubling = |count: usize| {
            let mut text = String::from("(component (component $c0 (core module $m) (core instance (instantiate $m)))");
            for index in 1..=count {
                let before = index - 1;
                text.push_str(&format!(
                    "(component $c{index} (alias outer 1 $c{before} (component $x))
                        (instance (instantiate $x)) (instance (instantiate $x)))"
                ));
            }
            text + &format!("(instance (instantiate $c{count})) (core module $m) (core instance (instantiate $m)))")
        };
        assert_eq!(of(&doubling(3)).core_instances, 8 + 1);
        assert_eq!(of(&doubling(3)).component_instances, 1 + 15);
        assert_eq!(of(&doubling(90)).core_instances, u64::MAX, "it is not counted one by one");
    }

    #[test]
    fn nesting_and_definitions_are_counted() {
        let deep = format!("{}{}", "(component ".repeat(30), ")".repeat(30));
        assert_eq!(of(&deep).nesting, 30);
        assert_eq!(of("(component (type u8) (type (list u8)) (import \"a\" (func)))").definitions, 4);
    }
}
