//! The WebAssembly that guests may use, and how what they may not is called.

use wasmparser::{BinaryReaderError, Validator, WasmFeatures};

use crate::domain::code;
use crate::sandbox::{Rejection, text};

/// What the engine compiles. It is more than guests may use by one: the engine puts adapters of its own between composed
/// components, and these reach into the memories of both.
pub(crate) const ENGINE: WasmFeatures = WasmFeatures::WASM3.difference(OFF).union(WasmFeatures::COMPONENT_MODEL);

/// What guests may use.
const GUEST: WasmFeatures = ENGINE.difference(WasmFeatures::MULTI_MEMORY);

/// What is switched off in the engine: none is needed for WASI 0.2, and each would have to be limited.
pub(crate) const OFF: WasmFeatures = WasmFeatures::THREADS
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::GC)
    .union(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::EXCEPTIONS);

/// Proposals by the names that people know, and how to build without.
const NAMES: &[(WasmFeatures, &str, &str)] = &[
    (
        WasmFeatures::THREADS,
        "threads (shared memory and atomics)",
        "Build without threads: no `-pthread`, no target feature `atomics`, not for `wasm32-wasip1-threads`.",
    ),
    (
        WasmFeatures::SHARED_EVERYTHING_THREADS,
        "shared-everything threads",
        "Build without threads: no `-pthread`, no target feature `atomics`.",
    ),
    (
        WasmFeatures::EXCEPTIONS,
        "exception handling",
        "Build without it: `-fno-exceptions` in C++, `panic = \"abort\"` in Rust, no `-fwasm-exceptions`.",
    ),
    (
        WasmFeatures::LEGACY_EXCEPTIONS,
        "exception handling in its older form",
        "Build without it: `-fno-exceptions` in C++, no `-fwasm-exceptions`.",
    ),
    (
        WasmFeatures::GC,
        "garbage collection (GC)",
        "Use a compiler or a target that brings its own memory management, such as `wasm32-wasip2`.",
    ),
    (
        WasmFeatures::GC_TYPES,
        "references to objects of the host (`externref`) or of the garbage collector (GC)",
        "Use a compiler or a target that brings its own memory management, such as `wasm32-wasip2`.",
    ),
    (
        WasmFeatures::FUNCTION_REFERENCES,
        "typed function references",
        "Use a target without garbage collection, such as `wasm32-wasip2`.",
    ),
    (WasmFeatures::MEMORY64, "64-bit memory (memory64)", "Build for a 32-bit target, such as `wasm32-wasip2`."),
    (WasmFeatures::MULTI_MEMORY, "several memories in one module (multi-memory)", "Build with one memory a module."),
    (WasmFeatures::STACK_SWITCHING, "stack switching", "Build without it."),
    (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic", "Build without the target feature `wide-arithmetic`."),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes", "Build with pages of 64 KiB."),
    (WasmFeatures::MEMORY_CONTROL, "memory control", "Build without it."),
    (WasmFeatures::CUSTOM_DESCRIPTORS, "custom descriptors", "Build without it."),
    (WasmFeatures::COMPACT_IMPORTS, "compact import sections", "Build without it."),
    (WasmFeatures::CM_ASYNC, "asynchronous functions of components (WASI 0.3)", WASI_02),
    (WasmFeatures::CM_ASYNC_STACKFUL, "asynchronous functions of components (WASI 0.3)", WASI_02),
    (WasmFeatures::CM_MORE_ASYNC_BUILTINS, "asynchronous functions of components (WASI 0.3)", WASI_02),
    (WasmFeatures::CM_THREADING, "threads of components", WASI_02),
    (WasmFeatures::CM_ERROR_CONTEXT, "error contexts of components", WASI_02),
    (WasmFeatures::CM_VALUES, "values in components", WASI_02),
    (WasmFeatures::CM_NESTED_NAMES, "nested names of components", WASI_02),
    (WasmFeatures::CM_FIXED_LENGTH_LISTS, "lists of a fixed length in components", WASI_02),
    (WasmFeatures::CM_GC, "garbage collection in components", WASI_02),
    (WasmFeatures::CM_MAP, "maps in components", WASI_02),
    (WasmFeatures::CM64, "64-bit components", WASI_02),
    (WasmFeatures::CM_IMPLEMENTS, "`implements` in names of components", WASI_02),
    (WasmFeatures::CM_CANON_NAMES, "`versionsuffix` in names of components", WASI_02),
];

const WASI_02: &str = "Build for WASI 0.2: `--target wasm32-wasip2`.";

/// Refuses what is not valid, and what is valid with features that this host does not offer.
pub(crate) fn check(wasm: &[u8]) -> Result<(), Rejection> {
    let Err(error) = validate(wasm, GUEST) else { return Ok(()) };
    match missing(wasm, &error) {
        Missing::Nothing(error) => Err(not_valid(&error)),
        Missing::Features(features) => Err(not_offered(features, &error)),
    }
}

fn validate(wasm: &[u8], features: WasmFeatures) -> Result<(), BinaryReaderError> {
    Validator::new_with_features(features).validate_all(wasm).map(drop)
}

/// What would make a file valid.
enum Missing {
    /// Nothing: it is damaged, as the error says.
    Nothing(BinaryReaderError),
    Features(WasmFeatures),
}

/// Adds what the validator asks for until it asks for nothing more.
fn missing(wasm: &[u8], first: &BinaryReaderError) -> Missing {
    let mut features = GUEST;
    let mut error = first.clone();
    while let Some(wanted) = error.missing_wasm_feature().filter(|wanted| !features.contains(*wanted)) {
        features |= wanted;
        match validate(wasm, features) {
            Ok(()) => return Missing::Features(features.difference(GUEST)),
            Err(next) => error = next,
        }
    }
    // Not every error says which feature it is about.
    match NAMES.iter().map(|(feature, ..)| features | *feature).find(|more| validate(wasm, *more).is_ok()) {
        Some(enough) => Missing::Features(enough.difference(GUEST)),
        None if validate(wasm, WasmFeatures::all()).is_ok() => Missing::Features(WasmFeatures::all().difference(GUEST)),
        None => Missing::Nothing(error),
    }
}

fn not_offered(features: WasmFeatures, error: &BinaryReaderError) -> Rejection {
    let known: Vec<_> = NAMES.iter().filter(|(feature, ..)| features.contains(*feature)).collect();
    let mut names: Vec<&str> = known.iter().map(|(_, name, _)| *name).collect();
    names.dedup();
    let (names, more) = (names.iter().take(3).copied().collect::<Vec<_>>().join(", "), names.len() > 3);
    let and_more = if more { " and more" } else { "" };
    let message = format!(
        "the file is valid WebAssembly, but it uses {names}{and_more}, which this host does not offer (at byte {}: {})",
        error.offset(),
        text::neutral(error.message(), 200)
    );
    let next = known.first().map(|(.., next)| (*next).to_owned());
    Rejection { next, ..Rejection::new(code::UNKNOWN_FEATURE, message) }
}

fn not_valid(error: &BinaryReaderError) -> Rejection {
    let said = text::neutral(error.message(), 1_000);
    Rejection::new(code::BROKEN_WASM, format!("the component is not valid: {said} (at offset 0x{:x})", error.offset()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(text: &str) -> Rejection {
        check(&wat::parse_str(text).expect("WAT")).expect_err("it is refused")
    }

    #[test]
    fn each_feature_that_is_off_is_named() {
        for (text, name) in [
            ("(module (memory 1 1 shared))", "threads"),
            ("(module (memory 1 1) (func (drop (i32.atomic.load (i32.const 0)))))", "threads"),
            ("(module (memory i64 1))", "memory64"),
            ("(module (table i64 1 funcref))", "memory64"),
            ("(module (memory 1) (memory 1))", "multi-memory"),
            ("(module (tag) (func (throw 0)))", "exception handling"),
            ("(module (func (block (try_table (catch_all 0)))))", "exception handling"),
            ("(module (func try catch_all end))", "older form"),
            ("(module (type (struct (field i32))))", "(GC)"),
            ("(module (func (param externref)))", "externref"),
            (
                "(module (type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0))))",
                "typed function references",
            ),
            ("(module (memory 1 (pagesize 1)))", "custom page sizes"),
            (
                "(module (func (param i64 i64 i64 i64) (result i64 i64) (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3))))",
                "wide arithmetic",
            ),
            ("(component (core module (memory 1 1 shared)))", "threads"),
            ("(component (type (future u32)))", "WASI 0.3"),
            ("(component (type (list u8 4)))", "lists of a fixed length"),
        ] {
            let rejection = rejection(text);
            assert_eq!(rejection.code, code::UNKNOWN_FEATURE, "{text}: {}", rejection.message);
            assert!(rejection.message.contains(name), "{text}: {}", rejection.message);
            assert!(rejection.next.is_some(), "{text}");
        }
    }

    #[test]
    fn what_no_feature_would_help_is_not_valid() {
        for text in [
            "(module (func (result i32) i64.const 0))",
            "(module (memory 1 1 shared) (func (result i32) i64.const 0))",
            "(component (core module (func (result i32) i64.const 0)))",
        ] {
            assert_eq!(rejection(text).code, code::BROKEN_WASM, "{text}");
        }
    }

    #[test]
    fn what_guests_use_every_day_is_on() {
        for text in [
            "(module (func (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))",
            "(module (func $f (return_call $f)))",
            "(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1))))",
            "(module (global i32 (i32.add (i32.const 1) (i32.const 2))))",
            "(module (func (result i32 i32) i32.const 0 i32.const 1))",
            "(module (func $f) (table 1 funcref) (elem (i32.const 0) func $f))",
        ] {
            check(&wat::parse_str(text).expect("WAT")).unwrap_or_else(|error| panic!("{text}: {}", error.message));
        }
    }
}
