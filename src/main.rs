//! The `backroom` program: a host, and the client that steers it.

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
