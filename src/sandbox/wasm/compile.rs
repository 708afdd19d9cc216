//! Validation and compilation, in a child process of the same program that may be killed: compiling is not a safe place.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{self, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use wasmtime::Engine;

use super::admit::{self, Examined};
use super::cache::bytes_of_kept;
use super::engine::{STACK_BYTES, base_config, settings_hash};
use super::{features, linker, needs, text};
use crate::domain::code;
use crate::domain::plugin::Inspection;
use crate::domain::uploads::{Needs, UploadLimits};
use crate::resources::Resource;
use crate::sandbox::Rejection;

/// The first argument that makes the program the compiler's child instead of itself.
pub const CHILD_ARGUMENT: &str = "__compile";

/// Files in the folder that the parent makes and the child works in.
pub(crate) const UPLOAD: &str = "upload";
pub(crate) const LIMITS: &str = "limits";
pub(crate) const COMPONENT: &str = "component";
pub(crate) const ARTEFACT: &str = "artefact";

const MIB: u64 = 1 << 20;

/// What the child may use. Address space and processor seconds hold whatever it does; the parent watches the wall clock.
const ADDRESS_SPACE: u64 = 2048 * MIB;
const CPU_SECONDS: u64 = 120;
const FILE_BYTES: u64 = 1024 * MIB;

/// What the child says first when it may use less than [`ADDRESS_SPACE`]: then a want of memory is the machine's.
const CONFINED: &str = "less address space than a compiler is meant to have";

/// How the child ends, and what it says before the reason, where the compiler itself panicked over an upload.
const GAVE_UP: i32 = 101;
const GAVE_UP_MARK: &str = "the compiler panicked: ";

/// Bytes of the child's answer and of what it says on standard error.
const ANSWER_BYTES: u64 = MIB;

/// Where and how to compile.
#[derive(Clone, Debug)]
pub struct CompileSettings {
    /// The program to start as child; it must call [`compile_child`] when its first argument is [`CHILD_ARGUMENT`].
    pub program: PathBuf,
    /// How long one compilation may take.
    pub wall: Duration,
}

impl CompileSettings {
    /// The program itself, and 150 seconds: what the child may compute is bounded apart, and a machine that is busy with
    /// something else is no fault of the component.
    pub fn of_this_program() -> std::io::Result<Self> {
        Ok(Self { program: std::env::current_exe()?, wall: Duration::from_secs(150) })
    }
}

/// What the child tells the parent.
#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    Compiled {
        inspection: Inspection,
        needs: Needs,
        lifted: bool,
        /// Whether it was compiled now, and not before under another name.
        is_new: bool,
        /// The settings that the artefact was compiled for; the parent's, unless the program was replaced under it.
        settings: u64,
    },
    Refused {
        code: String,
        message: String,
        next: Option<String>,
    },
}

/// Compiles `folder/upload` into `folder/artefact`, and writes `folder/component` when it had to be lifted.
pub(crate) async fn compile(settings: &CompileSettings, folder: &Path) -> Result<Answer, Rejection> {
    let mut command = Command::new(&settings.program);
    command.arg(CHILD_ARGUMENT).arg(folder).env_clear().envs([("RAYON_NUM_THREADS", "4"), ("MALLOC_ARENA_MAX", "2")]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed(&format!("it could not be started: {error}")))?;
    let mut stdout = child.stdout.take().expect("it was piped").take(ANSWER_BYTES);
    let mut stderr = child.stderr.take().expect("it was piped").take(ANSWER_BYTES);
    let (mut answer, mut said) = (Vec::new(), Vec::new());
    let ended = tokio::time::timeout(settings.wall, async {
        let _ = tokio::join!(stdout.read_to_end(&mut answer), stderr.read_to_end(&mut said));
        child.wait().await
    });
    match ended.await {
        Err(_) => Err(limit(&format!("compiling took longer than {} seconds", settings.wall.as_secs()))),
        Ok(Err(error)) => Err(failed(&error.to_string())),
        Ok(Ok(status)) if status.success() => serde_json::from_slice(&answer).map_err(|error| {
            let program = settings.program.display();
            host_fault(&format!("`{program}` did not answer as the compiler of this host: {error}"))
        }),
        Ok(Ok(status)) => Err(died(status, &String::from_utf8_lossy(&said))),
    }
}

fn host_fault(what: &str) -> Rejection {
    Rejection::new(code::HOST_FAULT, format!("the compiler's process failed: {what}"))
}

/// A refusal for now: what the host is short of comes back, and nothing is wrong with the component.
pub(super) fn short(resource: Resource, what: &str) -> Rejection {
    let message = format!("the component cannot be compiled just now, for want of {}: {what}", resource.word());
    Rejection::new(code::SHORT_OF_RESOURCES, message)
}

/// What a failure of the host means to whoever wants something compiled.
fn failed(what: &str) -> Rejection {
    match Resource::named_in(what) {
        Some(resource) => short(resource, what),
        None => host_fault(what),
    }
}

fn limit(what: &str) -> Rejection {
    Rejection::new(code::COMPILE_LIMIT, what.to_owned())
}

fn died(status: ExitStatus, said: &str) -> Rejection {
    use std::os::unix::process::ExitStatusExt as _;
    const SIGKILL: i32 = 9;
    const SIGXCPU: i32 = 24;
    if is_out_of_memory(said) {
        return out_of_memory(said.contains(CONFINED));
    }
    if let (Some(GAVE_UP), Some((_, why))) = (status.code(), said.rsplit_once(GAVE_UP_MARK)) {
        let message = format!("the compiler gave up: {}", text::neutral(why.trim(), 500));
        return Rejection::new(code::COMPILER_GAVE_UP, message);
    }
    match status.signal() {
        // Nobody else kills it than a system that runs out of memory.
        Some(SIGKILL) => short(Resource::Memory, "the compiler was killed"),
        Some(signal) if signal != SIGXCPU && said.contains(CONFINED) => out_of_memory(true),
        Some(SIGXCPU) => limit(&format!("compiling needs more than {CPU_SECONDS} seconds of processor time")),
        Some(signal) => limit(&format!("the compiler was stopped by signal {signal}")),
        None => failed(&format!("{status}: {}", text::neutral(said.trim(), 300))),
    }
}

fn out_of_memory(is_confined: bool) -> Rejection {
    match is_confined {
        true => short(Resource::Memory, "the process may use less than the compiler is meant to have"),
        false => limit("compiling needs more than 2 GiB of memory"),
    }
}

fn is_out_of_memory(said: &str) -> bool {
    // Of the standard library, the system, the engine, and the loader of programs.
    let words =
        ["memory allocation of", "os error 12", "annot allocate memory", "out of memory", "failed to map segment"];
    words.iter().any(|word| said.contains(word))
}

/// The child's whole life: limit itself, read, compile, write, answer. `main` calls it before anything else when the
/// first argument is [`CHILD_ARGUMENT`].
pub fn compile_child() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(2).map(PathBuf::from) else {
        return complain("no folder was given");
    };
    let is_confined = match limit_this_process() {
        Ok(is_confined) => is_confined,
        Err(error) => return complain(&format!("limits cannot be set: {error}")),
    };
    if is_confined {
        let _ = writeln!(std::io::stderr(), "{CONFINED}");
    }
    // A panic is the compiler's over what was uploaded: it has to be told as a refusal, and not as a fault of the host.
    std::panic::set_hook(Box::new(|panic| {
        let why = panic.payload_as_str().unwrap_or("it gave no reason");
        let _ = writeln!(std::io::stderr(), "{GAVE_UP_MARK}{why}");
    }));
    let answer = match compile_in(&folder, is_confined) {
        Ok(answer) => answer,
        Err(error) => return complain(&error),
    };
    let text = serde_json::to_vec(&answer).expect("an answer is plain data");
    match std::io::stdout().write_all(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string()),
    }
}

fn complain(what: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{what}");
    ExitCode::FAILURE
}

/// Returns whether the process has less address space than it is meant to have.
fn limit_this_process() -> rustix::io::Result<bool> {
    use process::Resource;
    let fixed = |value| Rlimit { current: Some(value), maximum: Some(value) };
    // Whoever has given the host less has meant it, for its children, too.
    let address_space = getrlimit(Resource::As).maximum.map_or(ADDRESS_SPACE, |there| there.min(ADDRESS_SPACE));
    setrlimit(Resource::As, fixed(address_space))?;
    setrlimit(Resource::Fsize, fixed(FILE_BYTES))?;
    setrlimit(Resource::Core, fixed(0))?;
    setrlimit(Resource::Cpu, Rlimit { current: Some(CPU_SECONDS), maximum: Some(CPU_SECONDS + 5) })?;
    Ok(address_space < ADDRESS_SPACE)
}

/// A refusal is an answer; an error is a fault of the host.
fn compile_in(folder: &Path, is_confined: bool) -> Result<Answer, String> {
    let io = |error: std::io::Error| error.to_string();
    let upload = std::fs::read(folder.join(UPLOAD)).map_err(io)?;
    let limits = std::fs::read(folder.join(LIMITS)).map_err(io)?;
    let limits: UploadLimits = serde_json::from_slice(&limits).map_err(|error| error.to_string())?;
    let compiled = admit::examine(&upload)
        .and_then(|examined| Ok((compile_examined(&examined, &limits, folder.parent(), is_confined)?, examined)));
    let (Code { artefact, settings, needs }, examined) = match compiled {
        Ok(compiled) => compiled,
        Err(Rejection { code, message, next }) => {
            return Ok(Answer::Refused { code: code.name.to_owned(), message, next });
        }
    };
    let lifted = matches!(examined.component, std::borrow::Cow::Owned(_));
    if lifted {
        write_synced(&folder.join(COMPONENT), &examined.component).map_err(io)?;
    }
    if let Some(artefact) = &artefact {
        write_synced(&folder.join(ARTEFACT), artefact).map_err(io)?;
    }
    Ok(Answer::Compiled { inspection: examined.inspection, needs, lifted, is_new: artefact.is_some(), settings })
}

/// Synced before it gets its name, because code that a power cut left half-written must never be run.
fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// What is kept of a compilation.
struct Code {
    /// None where there is one already.
    artefact: Option<Vec<u8>>,
    settings: u64,
    needs: Needs,
}

/// Checks what it needs, compiles, and links once, so that what does not fit the host is found at upload. What was compiled
/// before, under whatever name, is not compiled again.
fn compile_examined(
    examined: &Examined<'_>,
    limits: &UploadLimits,
    kept: Option<&Path>,
    is_confined: bool,
) -> Result<Code, Rejection> {
    let (wasm, inspection) = (&examined.component, &examined.inspection);
    let outlined = needs::outlined(wasm, limits)?;
    features::check(wasm)?;
    let needs = needs::measure(wasm, outlined, limits)?;
    let engine = Engine::new(&base_config(STACK_BYTES)).map_err(|error| failed(&format!("{error:#}")))?;
    let settings = settings_hash(&engine);
    let kept = kept.and_then(|folder| bytes_of_kept(folder, &inspection.digest, settings));
    if let Some(there) = kept {
        let needs = needs::compiled(needs, there, wasm.len() as u64, limits)?;
        return Ok(Code { artefact: None, settings, needs });
    }
    let component =
        wasmtime::component::Component::from_binary(&engine, wasm).map_err(|error| invalid(&error, is_confined))?;
    let linker = linker::linker(&engine).map_err(|error| failed(&format!("{error:#}")))?;
    linker.instantiate_pre(&component).map_err(|error| does_not_fit(&error))?;
    admit::check_entry_point(&component, inspection)?;
    linker::entry(&linker, &component, inspection.shape).map_err(|error| does_not_fit(&error))?;
    let artefact = component.serialize().map_err(|error| invalid(&error, is_confined))?;
    let needs = needs::compiled(needs, artefact.len() as u64, wasm.len() as u64, limits)?;
    Ok(Code { artefact: Some(artefact), settings, needs })
}

fn invalid(error: &wasmtime::Error, is_confined: bool) -> Rejection {
    let said = format!("{error:#}");
    if is_out_of_memory(&said) {
        return out_of_memory(is_confined);
    }
    // It passed validation, so it is the compiler that does not handle it.
    Rejection::new(code::COMPILER_GAVE_UP, format!("the compiler gave up: {}", text::neutral(&said, 1_000)))
}

fn does_not_fit(error: &wasmtime::Error) -> Rejection {
    let message = format!("the component does not fit this host: {}", text::neutral(&format!("{error:#}"), 1_000));
    Rejection::new(code::UNKNOWN_IMPORT, message)
}
