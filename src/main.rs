//! The `backroom` program: a host, and the client that steers it.

/// Records are made on one thread and freed on another all the time, which the system's allocator is slow at.
#[cfg(feature = "host")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(feature = "host")]
fn main() -> std::process::ExitCode {
    use backroom::sandbox::wasm;

    if std::env::args_os().nth(1).is_some_and(|argument| argument == wasm::CHILD_ARGUMENT) {
        return wasm::compile_child();
    }
    backroom::cli::main()
}

#[cfg(not(feature = "host"))]
fn main() {}
