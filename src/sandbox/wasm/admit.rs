//! What an upload is, read from its bytes: nothing of it is run for this.

use std::borrow::Cow;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as WASIP1, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as COMMAND_ADAPTER,
};
use wasmparser::{CanonicalFunction, CanonicalOption, Parser, Payload};
use wasmtime::component::Component;

use super::features;
use crate::domain::code::{self, Code};
use crate::domain::id::{Digest, HandlerName};
use crate::domain::plugin::{Inspection, Shape};
use crate::sandbox::{Rejection, text};

/// Imports or exports of one component; more is no honest component.
const MAX_NAMES: usize = 1_000;

/// Bytes of all names of imports and exports together: they are kept with every version.
const ALL_NAMES_BYTES: usize = 64 << 10;

/// Bytes of one name of an import or export in a message.
const NAME_BYTES: usize = 120;

/// The custom section in which the SDK names the handlers, and the first line of it.
const HANDLERS_SECTION: &str = "backroom-handlers";
const HANDLERS_FORM: &str = "1";

const HANDLER: &str = "backroom:plugin/handler";
const COMMAND: &str = "wasi:cli/run";

/// The contract's package and the version that this host speaks.
const CONTRACT: &str = "backroom:plugin";
const CONTRACT_TRACK: &str = "0.1";

/// Packages that the host offers, with the versions of each that it speaks and the interfaces when not all.
const OFFERED: &[(&str, &str, &[&str])] = &[
    ("backroom:plugin", "0.1", &["types", "control"]),
    ("wasi:logging", "0.1.0-draft", &["logging"]),
    ("wasi:config", "0.2.0-rc.1", &["store"]),
    ("wasi:http", "0.2", &["types", "outgoing-handler"]),
    ("wasi:cli", "0.2", &[]),
    ("wasi:clocks", "0.2", &[]),
    ("wasi:filesystem", "0.2", &[]),
    ("wasi:io", "0.2", &[]),
    ("wasi:random", "0.2", &[]),
    ("wasi:sockets", "0.2", &[]),
];

/// An upload that the host can call.
#[derive(Debug)]
pub(crate) struct Examined<'a> {
    pub(crate) inspection: Inspection,
    /// The component: the upload itself, or what a core module was lifted to.
    pub(crate) component: Cow<'a, [u8]>,
}

/// Refuses at first sight what is no Wasm at all.
pub(crate) fn check_magic(upload: &[u8]) -> Result<(), Rejection> {
    let native = |what: &str| {
        let message = format!("the file is a native program ({what}), built for a processor and not for WebAssembly");
        Err(Rejection::new(code::NATIVE_BINARY, message))
    };
    let other = |what: &str| Err(Rejection::new(code::NOT_WASM, format!("the file is not WebAssembly: {what}")));
    match upload {
        [b'\0', b'a', b's', b'm', ..] => Ok(()),
        [0x7f, b'E', b'L', b'F', ..] => native("ELF"),
        [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] => native("Mach-O"),
        [0xca, 0xfe, 0xba, 0xbe, ..] => native("Mach-O, universal"),
        [b'M', b'Z', ..] => native("PE"),
        [b'!', b'<', b'a', b'r', ..] => native("a static library"),
        [] => other("it is empty"),
        [0x1f, 0x8b, ..] => other("it is compressed with gzip; upload the `.wasm` file inside"),
        [b'P', b'K', ..] => other("it is a zip archive; upload the `.wasm` file inside"),
        _ if is_wasm_text(upload) => other("it is WebAssembly text; turn it into a binary with `wasm-tools parse`"),
        _ => {
            let start: Vec<String> = upload.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            other(&format!("it starts with the bytes {}, and a Wasm binary with 00 61 73 6d", start.join(" ")))
        }
    }
}

fn is_wasm_text(upload: &[u8]) -> bool {
    let start = upload.trim_ascii_start();
    start.starts_with(b"(module") || start.starts_with(b"(component") || start.starts_with(b";;")
}

/// Reads what an upload is, and lifts a core module that is a command.
pub(crate) fn examine(upload: &[u8]) -> Result<Examined<'_>, Rejection> {
    check_magic(upload)?;
    if Parser::is_core_wasm(upload) {
        let component = lift(upload)?;
        let inspection = inspect(&component)?;
        return Ok(Examined { inspection, component: Cow::Owned(component) });
    }
    if !Parser::is_component(upload) {
        let message = "the file starts like WebAssembly, but its header is cut off or of an unknown version";
        return Err(Rejection::new(code::BROKEN_WASM, message));
    }
    Ok(Examined { inspection: inspect(upload)?, component: Cow::Borrowed(upload) })
}

/// The interfaces that an upload would import, with versions; none where it would be refused.
pub fn imports(upload: &[u8]) -> Option<Vec<String>> {
    Some(examine(upload).ok()?.inspection.imports)
}

/// The names at the surface of a component or a core module.
#[derive(Default)]
struct Surface {
    imports: Vec<String>,
    exports: Vec<String>,
    lifts_async: bool,
    /// What the SDK has written of the handlers; a composed component may hold more than one.
    handlers: Vec<Vec<u8>>,
}

fn broken(error: &wasmparser::BinaryReaderError) -> Rejection {
    let message = format!("the file is damaged or cut off at byte {}: {}", error.offset(), error.message());
    Rejection::new(code::BROKEN_WASM, message)
}

fn read_surface(wasm: &[u8]) -> Result<Surface, wasmparser::BinaryReaderError> {
    let mut surface = Surface::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ImportSection(imports) if depth == 0 => {
                for import in imports.into_imports() {
                    let import = import?;
                    surface.imports.push(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(exports) if depth == 0 => {
                for export in exports {
                    surface.exports.push(export?.name.to_owned());
                }
            }
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    surface.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    surface.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::CustomSection(section) if section.name() == HANDLERS_SECTION => {
                surface.handlers.push(section.data().to_vec());
            }
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions {
                    surface.lifts_async |= is_async_lift(&function?);
                }
            }
            _ => {}
        }
    }
    Ok(surface)
}

fn is_async_lift(function: &CanonicalFunction) -> bool {
    matches!(function, CanonicalFunction::Lift { options, .. } if options.contains(&CanonicalOption::Async))
}

fn inspect(component: &[u8]) -> Result<Inspection, Rejection> {
    let surface = read_surface(component).map_err(|error| broken(&error))?;
    if surface.imports.len() > MAX_NAMES || surface.exports.len() > MAX_NAMES {
        let message = format!("the component has more than {MAX_NAMES} imports or exports");
        return Err(Rejection::new(code::BROKEN_WASM, message));
    }
    let bytes: usize = surface.imports.iter().chain(&surface.exports).map(String::len).sum();
    if bytes > ALL_NAMES_BYTES {
        let message =
            format!("the names of its imports and exports have {bytes} bytes, and may have {ALL_NAMES_BYTES}");
        return Err(Rejection::new(code::BROKEN_WASM, message));
    }
    refuse_other_versions(&surface)?;
    let shape = shape(&surface.exports)?;
    if let Some(unknown) = surface.imports.iter().find(|name| !is_offered(name)) {
        return Err(unknown_import(unknown));
    }
    let handlers = match (shape, surface.handlers.as_slice()) {
        (Shape::Handler, [section]) => named_handlers(section)?,
        _ => None,
    };
    Ok(Inspection {
        shape,
        imports: surface.imports,
        exports: surface.exports,
        handlers,
        digest: Digest::of(component),
        bytes: component.len() as u64,
    })
}

/// The handlers that a component names itself; none where it takes any name. The section holds lines: the version of this
/// form, then the names.
fn named_handlers(section: &[u8]) -> Result<Option<Vec<HandlerName>>, Rejection> {
    let bad = |what: String| Rejection::new(code::BAD_HANDLERS, format!("the section `{HANDLERS_SECTION}` {what}"));
    if section.len() > ALL_NAMES_BYTES {
        return Err(bad(format!("has {} bytes (limit {ALL_NAMES_BYTES})", section.len())));
    }
    let text = std::str::from_utf8(section).map_err(|_| bad("is not UTF-8".to_owned()))?;
    let mut lines = text.lines();
    match lines.next() {
        Some(HANDLERS_FORM) => {}
        first => {
            let first = text::neutral(first.unwrap_or_default(), NAME_BYTES);
            return Err(bad(format!("has the form `{first}`, and this host reads `{HANDLERS_FORM}`")));
        }
    }
    let name = |line: &str| {
        HandlerName::new(line)
            .map_err(|error| bad(format!("names `{}`: {}", text::neutral(line, NAME_BYTES), error.why)))
    };
    let names: Vec<_> = lines.map(name).collect::<Result<_, _>>()?;
    if names.len() > MAX_NAMES {
        return Err(bad(format!("names {} handlers (limit {MAX_NAMES})", names.len())));
    }
    Ok((!names.is_empty()).then_some(names))
}

/// `namespace:package/interface@version` in its parts.
fn split(name: &str) -> (&str, &str, &str) {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    let (package, interface) = path.split_once('/').unwrap_or((path, ""));
    (package, interface, version)
}

/// Whether `version` is compatible with `track`: `0.2.6` with `0.2`; a draft only with itself.
fn is_on_track(version: &str, track: &str) -> bool {
    if version == track {
        return true;
    }
    let patch = version.strip_prefix(track).and_then(|rest| rest.strip_prefix('.'));
    patch.is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_offered(name: &str) -> bool {
    let (package, interface, version) = split(name);
    OFFERED.iter().any(|(offered, track, interfaces)| {
        *offered == package && is_on_track(version, track) && (interfaces.is_empty() || interfaces.contains(&interface))
    })
}

fn refuse_other_versions(surface: &Surface) -> Result<(), Rejection> {
    let names = || surface.exports.iter().chain(&surface.imports);
    if let Some(name) = names().find(|name| name.starts_with("wasi:") && split(name).2.starts_with("0.3")) {
        return Err(wasi_03(&format!("it uses `{}`", shown(name))));
    }
    if surface.lifts_async {
        return Err(wasi_03("it exports asynchronous functions"));
    }
    let is_other = |name: &&String| {
        let (package, _, version) = split(name);
        package == CONTRACT && !is_on_track(version, CONTRACT_TRACK)
    };
    if let Some(name) = names().find(is_other) {
        let message =
            format!("the component speaks `{}`, and this host speaks {CONTRACT}@{CONTRACT_TRACK}.0", shown(name));
        return Err(Rejection::new(code::WRONG_WIT_VERSION, message));
    }
    Ok(())
}

fn wasi_03(what: &str) -> Rejection {
    let message = format!("the component was built for WASI 0.3 ({what}), and this host speaks WASI 0.2");
    Rejection::new(code::WASI_03, message)
}

fn shape(exports: &[String]) -> Result<Shape, Rejection> {
    let has = |path: &str, track: &str| {
        exports.iter().any(|name| {
            let (package, interface, version) = split(name);
            path.strip_prefix(package).is_some_and(|rest| rest.strip_prefix('/') == Some(interface))
                && is_on_track(version, track)
        })
    };
    if has(HANDLER, CONTRACT_TRACK) {
        return Ok(Shape::Handler);
    }
    if has(COMMAND, "0.2") {
        return Ok(Shape::Command);
    }
    let instead = match exports {
        [] => "nothing at all".to_owned(),
        names => listed(names),
    };
    let message = format!(
        "the component exports neither `{HANDLER}@{CONTRACT_TRACK}.0` (a handler) nor `{COMMAND}@0.2` (a command); it exports {instead}"
    );
    Err(Rejection::new(code::WRONG_WORLD, message))
}

/// Refuses a component whose entry point lacks the function that the host calls.
pub(crate) fn check_entry_point(component: &Component, inspection: &Inspection) -> Result<(), Rejection> {
    let (interface, function) = match inspection.shape {
        Shape::Handler => (HANDLER, "handle"),
        Shape::Command => (COMMAND, "run"),
        // Nobody uploads one.
        Shape::Builtin => return Ok(()),
    };
    let is_entry = |name: &&String| name.split('@').next() == Some(interface);
    for name in inspection.exports.iter().filter(is_entry) {
        let instance = component.get_export_index(None, name);
        let Some(instance) = instance else { continue };
        if component.get_export_index(Some(&instance), function).is_none() {
            let message = format!("the component exports `{}`, but that has no function `{function}`", shown(name));
            let next =
                "Start from `backroom plugin new NAME`, or build it again with the `wit/` folder of this release.";
            return Err(Rejection { next: Some(next.to_owned()), ..Rejection::new(code::WRONG_WORLD, message) });
        }
    }
    Ok(())
}

fn unknown_import(name: &str) -> Rejection {
    let (package, _, version) = split(name);
    let known = OFFERED.iter().find(|(offered, ..)| *offered == package);
    let message = match known {
        Some((_, track, [])) => {
            format!("the component imports `{}`; of that package this host offers {track}", shown(name))
        }
        Some((_, track, interfaces)) if is_on_track(version, track) => format!(
            "the component imports `{}`; of that package this host offers {}",
            shown(name),
            interfaces.join(" and ")
        ),
        Some((_, track, _)) => {
            format!("the component imports `{}`; of that package this host offers {track}", shown(name))
        }
        None => format!("the component imports `{}`, which this host does not offer", shown(name)),
    };
    Rejection::new(code::UNKNOWN_IMPORT, message)
}

/// The first few of some names.
fn listed(names: &[String]) -> String {
    let first: Vec<String> = names.iter().take(5).map(|name| format!("`{}`", shown(name))).collect();
    let more = names.len().saturating_sub(first.len());
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}

fn shown(name: &str) -> String {
    text::neutral(name, NAME_BYTES)
}

/// Makes a component of a core module that is a command for WASI 0.1.
fn lift(module: &[u8]) -> Result<Vec<u8>, Rejection> {
    let surface = read_surface(module).map_err(|error| broken(&error))?;
    if let Some(rejection) = not_a_command(&surface) {
        return Err(rejection);
    }
    features::check(module)?;
    let mut encoder = wit_component::ComponentEncoder::default().validate(true);
    let encoded = (|| {
        encoder = std::mem::take(&mut encoder).module(module)?.adapter(WASIP1, COMMAND_ADAPTER)?;
        encoder.encode()
    })();
    encoded.map_err(|error| refused_lift(&format!("{error:#}")))
}

fn refused_lift(error: &str) -> Rejection {
    let message = format!("the core module cannot be turned into a component: {}", text::neutral(error, 500));
    Rejection::new(code::BROKEN_WASM, message)
}

fn not_a_command(surface: &Surface) -> Option<Rejection> {
    let core = |code: Code, message: String| Some(Rejection::new(code, message));
    let is_wasip1 = |name: &String| name.starts_with(&format!("{WASIP1}."));
    let foreign = surface.imports.iter().find(|name| !is_wasip1(name));
    let starts = surface.exports.iter().any(|name| name == "_start");
    match (starts, foreign) {
        (true, None) => None,
        (true, Some(name)) => core(
            code::UNKNOWN_IMPORT,
            format!("the core module imports `{}`; of a `wasip1` command only `{WASIP1}` may be imported", shown(name)),
        ),
        (false, _) if surface.imports.iter().any(is_wasip1) => core(
            code::CORE_MODULE,
            "the file is a `wasip1` library: it has no `_start`, so there is nothing to run. Only commands are lifted".into(),
        ),
        (false, _) => core(
            code::CORE_MODULE,
            "the file is a core module, as `wasm32-unknown-unknown` makes it, and neither a component nor a `wasip1` command".into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compatible_within_their_track() {
        assert!(is_on_track("0.2.6", "0.2"));
        assert!(is_on_track("0.2.0-rc.1", "0.2.0-rc.1"));
        assert!(!is_on_track("0.20.1", "0.2"));
        assert!(!is_on_track("0.2.0-rc-2023-11-10", "0.2"));
        assert!(!is_on_track("", "0.2"));
    }

    #[test]
    fn every_file_that_is_no_wasm_is_told_apart() {
        for (bytes, code) in [
            (&b"\x7fELF\x02\x01"[..], code::NATIVE_BINARY),
            (b"\xcf\xfa\xed\xfe", code::NATIVE_BINARY),
            (b"MZ\x90\x00", code::NATIVE_BINARY),
            (b"", code::NOT_WASM),
            (b"  (component)", code::NOT_WASM),
            (b"hello", code::NOT_WASM),
        ] {
            assert_eq!(check_magic(bytes).expect_err("it is refused").code, code, "{bytes:?}");
        }
        assert_eq!(check_magic(b"\0asm"), Ok(()));
    }

    #[test]
    fn endless_names_are_refused() {
        let name = |bytes: usize| format!("a{}", "b".repeat(bytes - 1));
        let component = |bytes| {
            let text = format!("(component (instance $i) (export \"{}\" (instance $i)))", name(bytes));
            wat::parse_str(text).expect("it is a component")
        };
        let rejection = inspect(&component(ALL_NAMES_BYTES + 1)).expect_err("the name is too long");
        assert!(rejection.message.contains("may have 65536"), "{}", rejection.message);
        let rejection = inspect(&component(ALL_NAMES_BYTES)).expect_err("it exports no handler");
        assert_eq!(rejection.code, code::WRONG_WORLD, "{}", rejection.message);
    }
}
