//! The catalogue of the host's own errors: stable codes, each with its cause and what to do next.

use std::fmt;

/// One entry of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// `BR` and four digits; never reused for another error.
    pub name: &'static str,
    /// What happened, in a few words.
    pub title: &'static str,
    /// Why it happens.
    pub cause: &'static str,
    /// What to do next.
    pub remedy: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Finds an entry by its name; letter case does not count.
pub fn find(name: &str) -> Option<Code> {
    CATALOGUE.iter().copied().find(|code| code.name.eq_ignore_ascii_case(name))
}

/// What to do about a component that is too large.
pub const SMALLER: &str = "Make the component smaller: build with `--release`, `strip = true`, `opt-level = \"s\"` and \
                           `lto = true` under `[profile.release]`, fewer dependencies, and no data baked in.";

macro_rules! catalogue {
    ($($constant:ident = $name:literal, $title:literal, $cause:literal, $remedy:literal;)*) => {
        $(
            #[doc = $title]
            pub const $constant: Code = Code { name: $name, title: $title, cause: $cause, remedy: $remedy };
        )*

        /// Every code there is, in order.
        pub const CATALOGUE: &[Code] = &[$($constant),*];
    };
}

catalogue! {
    // Requests.
    BAD_JSON = "BR0101", "the request body is not valid JSON",
        "The body is cut off, is not UTF-8, or breaks the syntax of JSON at the place that the message names.",
        "Send a complete JSON document with `Content-Type: application/json`.";
    BAD_FIELD = "BR0102", "a field of the request is unknown or has a wrong value",
        "Unknown fields are refused so that a typo does not pass for a default.",
        "Correct the field that the message names. `/openapi.json` describes every request.";
    UNKNOWN_PLUGIN = "BR0103", "there is no such plug-in",
        "No plug-in of that name has been uploaded, or it was removed.",
        "See `backroom plugin list`; upload with `backroom plugin upload FILE.wasm`.";
    UNKNOWN_HANDLER = "BR0104", "the plug-in has no such handler",
        "The name is not among the handlers that the plug-in's manifest names.",
        "See `backroom plugin show NAME` for the handlers there are.";
    INPUT_TOO_LARGE = "BR0105", "the input is larger than the plug-in's limit",
        "Inputs are bounded so that a backlog stays predictable.",
        "Send less, or raise `input` of the plug-in in backroom.toml, as the message says.";
    BODY_TOO_LARGE = "BR0106", "the request body is too large",
        "Every body has a bound: uploads 64 MiB, bulk submits 64 MiB, all else 2 MiB.",
        "Split the request.";
    BULK_LINE = "BR0107", "a line of the bulk submit is not acceptable",
        "A bulk submit is taken whole or not at all; the message names the line and what is wrong with it.",
        "Mend the line and send the whole body again.";
    IDEMPOTENCY_MISMATCH = "BR0108", "this Idempotency-Key belongs to another request",
        "The key was used within the last 24 hours with another body.",
        "Use a new key for a new request.";
    UNKNOWN_JOB = "BR0109", "there is no such job",
        "It never existed, or it was deleted.",
        "See `backroom job list`.";
    WRONG_STATE = "BR0110", "the job's state does not allow this",
        "The transition table has no row for that command in the job's present status; nothing was changed.",
        "See `backroom job show ID` for its status and what can be done with it.";
    FOREIGN_ORIGIN = "BR0111", "the request comes from another site",
        "Its Host or Origin header names neither this host's address nor an allowed one: a web page must not steer this host.",
        "Add the name to `allowed_hosts` under `[server]` in backroom.toml if it is yours.";
    UNKNOWN_PATH = "BR0112", "there is nothing at this address",
        "The path is not one of the API's.",
        "See `/openapi.json`.";
    BODY_CUT_OFF = "BR0113", "the request body ended early",
        "The connection closed, or fewer bytes came than Content-Length said. Nothing was taken.",
        "Send it again, with the same Idempotency-Key if it has one.";
    UNAUTHORIZED = "BR0114", "the request carries no valid token",
        "This host listens beyond loopback or has tokens set, so every request must carry one.",
        "Send `Authorization: Bearer TOKEN`, or give `--token` to the command.";
    BUSY = "BR0115", "the host has more requests than it takes at once",
        "The bound keeps memory predictable.",
        "Send it again after the time in Retry-After.";
    WAIT_TOO_LONG = "BR0116", "the job has not ended within the time that you waited",
        "It goes on; only the waiting has ended.",
        "See `backroom job show ID`, or wait again.";
    INTERNAL = "BR0117", "the host stumbled over a fault of its own",
        "The request hit a defect of the host; it was contained, and other requests go on.",
        "See the host's log for the place, and report it.";
    DUPLICATE_JOB = "BR0118", "an unfinished job has the same dedup key",
        "At most one unfinished job has a dedup key. Another submit is answered with that job, but not in a bulk submit or a retry, \
         which make new jobs only, and not to somebody who may not read it.",
        "Leave the job out, or try again when the other has ended.";
    FORBIDDEN = "BR0119", "the token does not carry that far",
        "A token has the rights that it was made with: to submit, to read, to steer, to see payloads, of all jobs or its own, or \
         to administer the host. The message names the one that is missing.",
        "Ask whoever administers the host for a token with that right (`backroom token create NAME --rights ...`).";
    UNKNOWN_TOKEN = "BR0120", "there is no such token",
        "No token of that name was made, or it was revoked.",
        "See `backroom token list`.";
    TOKEN_EXISTS = "BR0121", "a token of that name exists",
        "What somebody did is noted under the name of his token, so a name stands for one token at a time.",
        "Choose another name, or revoke that token first (`backroom token revoke NAME`).";
    LOCKED_OUT = "BR0122", "the change would lock everybody out",
        "Once there is a token, the host asks everybody for one. Without a token that lasts and has the right `admin`, nobody \
         could make or revoke tokens any more.",
        "Make a token that lasts first: `backroom token create admin --rights admin`. Or set `token` under `[server]` in \
         backroom.toml, which opens everything.";
    TOO_MANY_TOKENS = "BR0123", "there are too many tokens",
        "Tokens are in memory, so a host takes a bounded number of them.",
        "Revoke those that nobody needs; `backroom token list` shows which have expired.";
    OPENS_THE_HOST = "BR0124", "the host would be open to everybody",
        "A host that has neither a token nor a secret in its settings lets everybody in who reaches it.",
        "If that is wanted: `backroom token revoke NAME --last`. Otherwise make another token first: \
         `backroom token create NAME --rights admin`.";
    DISABLED = "BR0150", "the plug-in is disabled",
        "Jobs of a disabled plug-in are canceled when their turn comes, so no new one is accepted.",
        "Enable it (`backroom plugin enable NAME`) and submit again.";
    AMBIGUOUS_ID = "BR0151", "several jobs have an id with this end",
        "The last 8 characters of an id name a job only while no other job has the same.",
        "Give the whole id of one of the jobs that the message lists.";
    UNKNOWN_QUEUE = "BR0125", "there is no such queue",
        "`default`, `bulk` and `maintenance` exist from the start; others stand in backroom.toml.",
        "See `backroom queue list`, or add a `[[queue]]` to backroom.toml and restart the host.";
    TOO_MUCH_UNDER_WAY = "BR0133", "you have too much under way at once",
        "One token, or one address without a token, gets a share of what the host does at a time, so that the others get theirs.",
        "Wait for what is under way, then send it again; the message says what there is too much of and how much you may have.";
    TOO_MANY_WRONG_TOKENS = "BR0134", "too many wrong tokens came from this address",
        "Whoever tries one token after another is slowed down. A right token is let in all the same.",
        "Check the token that you send; ask whoever administers the host for one.";
    PROXY_WITHOUT_TOKEN = "BR0135", "a request through a proxy needs a host with a token",
        "The request names the host by a name from elsewhere or carries a header that proxies add, and this host asks nobody for a \
         token: everybody whom the proxy lets through could do everything.",
        "On the machine of the host: `backroom token create admin --rights admin`, or set `token` under `[server]` in backroom.toml.";
    CHANGED_MEANWHILE = "BR0140", "others changed the same thing at the same time",
        "The request was decided again many times, and each time somebody else was first. Nothing was done.",
        "Send it again.";
    NO_KEY_TAKEN = "BR0141", "the request takes no Idempotency-Key",
        "The header says that a repeated request is to make nothing twice. Requests that make jobs take it: submits, bulk submits, \
         batches, retries, and the runs and back-fills of schedules.",
        "Leave the header out.";
    BAD_HEAD = "BR0142", "the request cannot be read",
        "Its first line, its address or one of its headers breaks the rules of HTTP, or its address has escapes that are not UTF-8.",
        "Send a request as RFC 9112 describes it, and write what is not ASCII as the escapes (`%C3%A9`) of its UTF-8.";
    BAD_HOST = "BR0143", "the request does not say which host it is for",
        "Every request names its host, once, as a name or an address and perhaps a port: in `Host`, and in the address where that is a \
         whole URL, which counts more. Nobody's name or password stands before it.",
        "Send one `Host` header, such as `Host: 127.0.0.1:7171`.";
    WRONG_METHOD = "BR0144", "the address does not take this method",
        "There is something at the address, but it is not asked for or changed in that way.",
        "Use one of the methods that the `Allow` header of the answer names. `/openapi.json` describes them.";
    WRONG_KIND = "BR0145", "the body is of a kind that the address does not take",
        "Its Content-Type or Content-Encoding says that it is something else than what is read there, or nothing is read there at all. \
         A body without a Content-Type is looked at, and so is what `curl` calls `application/x-www-form-urlencoded`.",
        "Send it as the message says; the headers `Accept` and `Accept-Encoding` of the answer say it to programs.";
    LARGE_HEAD = "BR0146", "the address or the headers of the request are too large",
        "All that comes before the body of a request is at most 64 KiB, and its address 8 KiB.",
        "Shorten the address, or leave headers out; a long filter goes into the body of `POST /v1/jobs/actions`.";
    // Uploads.
    NOT_WASM = "BR0201", "the file is not WebAssembly",
        "It does not start with the four bytes of a Wasm binary.",
        "Build with `cargo build --target wasm32-wasip2 --release` and upload the `.wasm` file under `target/wasm32-wasip2/release`.";
    NATIVE_BINARY = "BR0202", "the file is a native program, not WebAssembly",
        "It was built for this machine's processor.",
        "Build with `cargo build --target wasm32-wasip2 --release`.";
    CORE_MODULE = "BR0203", "the file is a core module that is neither a component nor a command",
        "It was built for `wasm32-unknown-unknown` or another target without the component model.",
        "Build with `cargo build --target wasm32-wasip2 --release` (`rustup target add wasm32-wasip2` once).";
    WRONG_WORLD = "BR0204", "the component exports nothing that the host can call",
        "It exports neither `backroom:plugin/handler` nor `wasi:cli/run`.",
        "Start from `backroom plugin new NAME`, or export one of the two.";
    WRONG_WIT_VERSION = "BR0205", "the component was built for another version of the contract",
        "It speaks a version of `backroom:plugin` that this host does not.",
        "Build it again with the `wit/` folder of this release, or use a host of that version.";
    WASI_03 = "BR0206", "the component was built for WASI 0.3",
        "This host speaks WASI 0.2.",
        "Build with `--target wasm32-wasip2`.";
    UNKNOWN_IMPORT = "BR0207", "the component imports something that the host does not offer",
        "The message names the import.",
        "Remove the dependency that needs it, or ask for it in an issue.";
    MISSING_GRANT = "BR0208", "the plug-in asks for a capability that is not granted",
        "What a plug-in may do is the operator's decision. The version is kept and runs nothing until then.",
        "Run the command that the message shows: `backroom plugin grant NAME ...`. The version becomes active by itself.";
    VERSION_EXISTS = "BR0209", "this version exists with other bytes",
        "A version is pinned by its digest and never changes.",
        "Raise the version in plugin.toml and upload again.";
    BROKEN_WASM = "BR0210", "the file is damaged or not valid WebAssembly",
        "It is cut off or does not pass validation at the place that the message names.",
        "Build and upload it again.";
    COMPILE_LIMIT = "BR0211", "compiling the component takes more time or memory than allowed",
        "Compilation runs in a child process with 2 GiB of memory, 120 seconds of processor time and 150 seconds in all.",
        "Make it smaller: in Rust `opt-level = \"s\"` and `lto = true`, anywhere fewer dependencies. If the machine is busy, try again.";
    BAD_MANIFEST = "BR0212", "plugin.toml is not acceptable",
        "The message names the line and what is wrong with it.",
        "Fix the manifest and upload again.";
    UNKNOWN_VERSION = "BR0213", "the plug-in has no such version",
        "It was never uploaded, or was removed.",
        "See `backroom plugin show NAME` for the versions there are.";
    PLUGIN_IN_USE = "BR0214", "the plug-in has jobs that have not ended",
        "Removing it would leave them without anything to run.",
        "Cancel them, or remove with `--force`: they wait until it is uploaded again.";
    UNKNOWN_FEATURE = "BR0215", "the component uses a feature of WebAssembly that the host does not offer",
        "The file is valid, but it needs a proposal that is switched off here: threads, exception handling, garbage collection, 64-bit \
         memory or another. The message names it.",
        "Build it without that feature; `cargo build --target wasm32-wasip2 --release` uses none of them.";
    NEEDS_TOO_MUCH = "BR0216", "the component needs more than a component may",
        "What an instance takes before any of its code runs, and what its compiled code takes, is bounded at upload, so that no job \
         finds out later. The message names the bound and both values.",
        "Build it smaller, or raise the bound as the refusal says: under `[uploads]` in backroom.toml.";
    COMPILER_GAVE_UP = "BR0217", "the compiler cannot make code of the component",
        "The component passed validation, but the compiler found a case that it does not handle. Nothing of it was kept.",
        "Build it with other optimisation settings or a newer toolchain. If it comes from a stock toolchain, report it with the file.";
    STRANGE_HANDLER = "BR0226", "plugin.toml lists a handler that the component does not have",
        "What is built with the SDK names its handlers itself, as `export!` does, and has no others; a single function is `handle`, too.",
        "Leave `handlers` out of plugin.toml, or write there the names that `export!` has.";
    GRANT_OF_SETTINGS = "BR0227", "the grant is in the settings",
        "A command takes back what a command has granted. This one is in the file of the settings.",
        "Remove it from the file that the message names, and restart the host.";
    NO_SUCH_GRANT = "BR0228", "the plug-in has no such grant",
        "It was never granted, or was taken back.",
        "See `backroom plugin show NAME` for what is granted, and by whom.";
    BAD_HANDLERS = "BR0229", "the component's list of its handlers cannot be read",
        "The custom section `backroom-handlers` holds something other than what the SDK writes.",
        "Build it again with the SDK of this release, or leave the section out.";
    VERSION_LIMIT = "BR0230", "the plug-in has as many versions as it may have",
        "All versions of a plug-in are kept, and there may be 100.",
        "Remove the plug-in and upload it again, or go on under another name.";
    GRANT_LIMIT = "BR0231", "the plug-in has as many grants as the host keeps",
        "Grants by command are kept with the plug-in, at most 256.",
        "Grant a pattern such as `https://*.example.com`, or take back what is not needed: `backroom plugin grant NAME --revoke ...`.";
    // Runs.
    OUT_OF_FUEL = "BR0301", "the handler used up its fuel",
        "It ran more instructions than `fuel` allows. The same input would do so again, so the job is not tried again.",
        "Do less per job, or raise `fuel` where the job's detail says: in plugin.toml, in backroom.toml, or both.";
    OUT_OF_MEMORY = "BR0302", "the handler used up its memory",
        "It asked for more linear memory than `memory` allows.",
        "Do less per job, or raise `memory` where the job's detail says: in plugin.toml, in backroom.toml, or both.";
    TIMED_OUT = "BR0303", "the handler ran longer than its wall-clock limit",
        "It was stopped; nothing that it wrote was kept.",
        "Work in slices with checkpoints, or raise `wall` where the job's detail says: in plugin.toml, in backroom.toml, or both.";
    GUEST_PANIC = "BR0304", "the handler panicked",
        "The message names the file and line.",
        "Mend the handler; the job's log holds what it printed.";
    GUEST_TRAP = "BR0305", "the handler trapped",
        "It executed something that WebAssembly forbids; the message names it.",
        "Look at the job's detail for the stack.";
    STACK_OVERFLOW = "BR0306", "the handler's stack overflowed",
        "It recursed deeper than the stack allows: the host's, or the one that its own linker laid out in linear memory; the \
         message says which.",
        "Bound the recursion, or raise `stack` under `[limits]` in backroom.toml; it is the same for every plug-in.";
    OUTPUT_TOO_LARGE = "BR0307", "the handler's output is larger than allowed",
        "The output was not kept.",
        "Return less, or raise `output` in backroom.toml as the job's detail says.";
    HOST_CALL_LIMIT = "BR0308", "the handler called the host too often or with too much",
        "Host calls and the bytes that they copy are bounded per attempt.",
        "Call less, or raise the limit in backroom.toml that the job's detail names.";
    TABLE_LIMIT = "BR0309", "the handler's tables or handles grew past their limit",
        "Elements of tables and resource handles are bounded.",
        "Hold fewer, or raise the limit in backroom.toml that the job's detail names.";
    EXIT_CODE = "BR0310", "the command ended with an exit code other than 0",
        "The program says that it failed; the job's log holds what it printed. WASI 0.2 tells success from failure; the number \
         itself is known where the program calls `exit-with-code` of `wasi:cli/exit`.",
        "Look at the log.";
    CRASH_BUDGET = "BR0311", "the host died repeatedly while it ran this job",
        "After as many lost leases as the policy allows the job is finalised, so that it cannot take the host down again.",
        "Look at the plug-in and at the host's log, then retry the job.";
    EXPIRED = "BR0312", "the job was not started before it expired",
        "Its `expires_on` passed while it waited.",
        "Submit it again with a later time, or find out why it waited.";
    PLUGIN_DISABLED = "BR0313", "the plug-in was disabled after the job was submitted",
        "Disabling a plug-in cancels its queued jobs when they are claimed.",
        "Enable the plug-in and submit again.";
    HOST_FAULT = "BR0314", "the host could not run the handler",
        "The fault is the host's, not the handler's; the message says which.",
        "The job is tried again by itself. If that goes on, see the host's log.";
    DEPTH_LIMIT = "BR0315", "the chain of jobs grew too deep",
        "A job that makes jobs that make jobs looks like a loop (0x80044182).",
        "Break the loop: a chain may be 8 jobs deep. See `backroom job list --chain` with the first of them.";
    INCOMPATIBLE_START = "BR0316", "the component could not be started",
        "Its start needs something that the sandbox refuses or does not have.",
        "See the message; build it again with the current SDK.";
    EMPTY_YIELD = "BR0317", "the handler yielded without a checkpoint",
        "A handler that yields goes on from its checkpoint; without one it would start over for ever.",
        "Call `control.checkpoint` before the handler yields, or let it suspend until a time.";
    PREDECESSOR_FAILED = "BR0318", "a job that this one waited for has not succeeded",
        "It was submitted with `on_predecessor_failure`, which says what becomes of it then.",
        "Resume it if it was blocked; submit it again if it was canceled.";
    LOOP_BY_RECORD = "BR0319", "the handler ran too often for one record",
        "So many runs of one handler for one record within an hour, which jobs of one chain have caused, look like a loop (0x80044182).",
        "Break the loop: what the handler does must not cause the handler to run again (`backroom job list --chain` with the job that \
         the message names). If it is none, raise `runs_per_record` as the job's detail says.";
    BATCH_FAILED = "BR0320", "more jobs of the batch failed than it allows",
        "A batch ends by how its jobs did: it fails when more of them have not succeeded than `allowed_failures`.",
        "See `backroom job list --batch ID --state failed,canceled`; retry those, or allow more failures.";
    GUEST_EXCEPTION = "BR0325", "the handler raised an exception",
        "Nothing in the handler caught it. The message is the exception's own, with the innermost place.",
        "Look at the job's log for the whole traceback; fix the handler or catch the exception.";
    RUN_LIMIT = "BR0330", "the job has run as often as a job may",
        "It yielded, slept or was tried again 10,000 times without an end. Each run is kept, so there is a last one.",
        "Do more per run, or let the handler submit a new job that goes on.";
    // Store.
    STORE_IN_USE = "BR0401", "the data directory is in use by another host",
        "Two hosts on one embedded store would destroy it, so the second one does not start.",
        "Stop the other host, or give this one a directory of its own with `--data`.";
    STORE_DAMAGED = "BR0402", "the store holds something that it cannot read",
        "A file was changed or lost outside the host.",
        "Run `backroom store verify`; restore from a backup with `backroom store restore`.";
    DISK_FULL = "BR0403", "the disk is full",
        "New jobs are refused before the store would have to lose anything; running jobs may end.",
        "Make room; the host takes jobs again by itself.";
    STORE_FAILED = "BR0404", "the store cannot write",
        "Writing or syncing failed, so nothing is taken that could be lost.",
        "See the host's log for the cause, mend it, and restart the host.";
    SHORT_OF_RESOURCES = "BR0406", "the host is short of something that comes back",
        "It has run out of descriptors, threads, memory or room for a moment. Nothing was taken, and what was taken before is safe.",
        "Try again; the host goes on by itself as soon as it can. If that takes long, see its log for what it is short of.";
    INDEX_BROKE = "BR0407", "the engine of the index broke",
        "The index is a cache of the journal, and its engine has met something that it cannot handle. What was acknowledged is safe.",
        "Restart the host: it sets an index aside that it cannot use and makes it again.";
    STORE_FORMAT = "BR0405", "the store was written by another release",
        "Its format version is not one that this release reads.",
        "Use the release that wrote it, or restore a logical backup.";
    // Config and command line.
    BAD_CONFIG = "BR0501", "backroom.toml is not acceptable",
        "Unknown keys and wrong values are refused, so that a typo does not pass for a default.",
        "Run `backroom config check`: it names every problem with its line.";
    NO_HOST = "BR0502", "no host answers",
        "Nothing listens at the address, or something else does.",
        "Start one with `backroom serve`, or give its address with `--server`.";
    TOKEN_NEEDED = "BR0503", "listening beyond loopback needs a token",
        "Without one, everybody on the network could run code here.",
        "Set `token` under `[server]`, or listen on 127.0.0.1.";
    PORT_IN_USE = "BR0504", "the address is in use",
        "Another program, perhaps another host, listens there.",
        "Stop it, or give another address with `--listen`.";
    NO_TARGET = "BR0505", "the compiler has no wasm32-wasip2 target",
        "The target is added once per toolchain.",
        "Run `rustup target add wasm32-wasip2`.";
    BUILD_FAILED = "BR0506", "building the plug-in failed",
        "The compiler's message says why.",
        "Mend the plug-in and build again.";
    NO_ANSWER = "BR0507", "the answer did not arrive",
        "The connection ended, or the time was up, before the host's answer was there.",
        "See whether it was done before you repeat it: `backroom job list` shows the newest jobs.";
    NOT_A_HOST = "BR0508", "something other than a host answers",
        "A proxy in front of the host, or another program at the address, sent the answer.",
        "Give the address of a host with `--server`; see what the proxy in front of it says.";
    MISSING_FILE = "BR0513", "a file that the settings name is missing or does not fit",
        "A component, its manifest, a list of authorities or a file of keys cannot be read, or is that of another plug-in.",
        "The message names the line of the settings and the file.";
    // Outbound HTTP.
    RESERVED_NAME = "BR0601", "the name belongs to a built-in handler",
        "The host plays `http` itself: there is nothing to upload, activate or remove.",
        "Take another name for a plug-in; what `http` may do stands in a [[plugin]] of that name in backroom.toml.";
    BAD_CALL = "BR0602", "the input is not what the handler `http` takes",
        "It takes a JSON object with `url` and, as wanted, `method`, `headers`, `body` or `body_text`, `timeout` and `expect`.",
        "Mend the field that the message names and submit again.";
    ORIGIN_NOT_GRANTED = "BR0603", "the handler `http` may not call this address",
        "Where requests may go is the operator's decision, and a name may not lead into a private network.",
        "Do what the message says: run `backroom plugin grant http --http ORIGIN`, or call the address itself; then submit again.";
    CALL_FAILED = "BR0604", "the call brought no answer, or one that asks to come back later",
        "The other side could not be reached, took too long, stumbled, or is busy.",
        "The job is tried again by itself, as its retry policy says.";
    CALL_REFUSED = "BR0605", "the call was answered with a status that is no success",
        "The other side refuses the request, or redirects it, which is not followed. The message holds the status; the detail where it \
         leads to, and the beginning of its body.",
        "Mend the request, call what a redirect leads to, or name the status under `expect` if it is welcome.";
    // Schedules.
    BAD_RULE = "BR0701", "the rule of the schedule is not acceptable",
        "A part of the rule, the cron text, the start, the time zone or an exception has a value that it cannot have, or does not go with another.",
        "The message names the part and what to write; try it with `backroom schedule preview RULE`.";
    NO_OCCURRENCE = "BR0702", "the rule of the schedule yields nothing",
        "It has no occurrence within fifty years from now: its start or its UNTIL has passed, or its parts can never hold at once.",
        "Look at it with `backroom schedule preview RULE --start TIME`.";
    UNKNOWN_SCHEDULE = "BR0703", "there is no such schedule",
        "No schedule of that name was made, or it was removed.",
        "See `backroom schedule list`.";
    SCHEDULE_STATE = "BR0704", "the schedule's state does not allow this",
        "A paused schedule waits for nothing, and one that has ended makes no jobs any more; nothing was changed.",
        "See `backroom schedule show NAME` for its state.";
    TOO_MANY_OCCURRENCES = "BR0705", "the span has more occurrences than may be filled back at once",
        "One back-fill makes at most 1000 jobs.",
        "Fill back a shorter span; the message names where the first thousand end.";
    TOO_MANY_SCHEDULES = "BR0706", "there are as many schedules as are taken",
        "At most 10,000 schedules are kept.",
        "Remove those that have ended: `backroom schedule list`, `backroom schedule remove NAME`.";
    OCCURRENCES_FORGOTTEN = "BR0707", "it is not known any more which occurrences had their jobs",
        "The schedule knows an occurrence by its job. Jobs that `[retention]` has removed are not known any more, so an occurrence of that time could run twice.",
        "Fill back from the time on that the message names, or say that they are to run again: `--again` (`\"again\": true`).";
}
