//! Values as they are written since format 3: today's code reads them, and writes the same. A change of a format needs
//! another version byte, and files of its own beside these. `BACKROOM_BLESS=1` writes the files of a new format.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{self, Record, block, bucket};
use super::journal::frame;
use crate::domain::access::{Reach, Rights, Token};
use crate::domain::audit::{Action, AuditRow};
use crate::domain::breaker::{Breaker, BreakerPolicy, PluginBreaker};
use crate::domain::change::{Change, RememberedSubmit};
use crate::domain::failure::{ErrorClass, Failure};
use crate::domain::id::{
    ConcurrencyKey, DedupKey, Digest, HandlerName, HostId, JobId, JobKey, OrderingKey, PluginName, QueueName,
    RecordName, ScheduleName, Sequence, TenantId, TokenName, VersionName,
};
use crate::domain::job::{
    FollowUp, Job, JobState, JobType, Lease, Occurrence, OnPredecessorFailure, Payload, Progress, Run, RunEnd, Status,
    Submission, Ties, Wait, WaitReason,
};
use crate::domain::limits::Usage;
use crate::domain::outline::{Content, Form, Key, Lines, Outline};
use crate::domain::plugin::{Grant, Inspection, KeptGrant, Plugin, PluginVersion, Shape, Source, Wishes};
use crate::domain::query::Counts;
use crate::domain::queue::{Pause, QueueState};
use crate::domain::schedule::{Definition, JobTemplate, Misfire, Overlap, Recurrence, Schedule, Start};
use crate::domain::service::ServiceState;
use crate::domain::time::Timestamp;

const NOW: Timestamp = Timestamp(1_790_000_000_123_456);

/// The bytes of a golden file, which holds them as hexadecimal text.
fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/store/golden").join(format!("{name}.hex"));
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).filter_map(byte).collect()
}

/// Panics with what is written today when that is something else.
fn assert_golden(name: &str, today: &[u8]) {
    let hex = |bytes: &[u8]| -> String {
        let lines = bytes.chunks(32).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        lines.map(|line| line + "\n").collect()
    };
    let (golden, today) = (hex(&golden(name)), hex(today));
    if std::env::var_os("BACKROOM_BLESS").is_some() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/store/golden").join(format!("{name}.hex"));
        return std::fs::write(path, today).expect("the golden file can be written");
    }
    assert!(golden == today, "{name} is written differently now: raise its version\nnow:\n{today}then:\n{golden}");
}

fn assert_value<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    assert_golden(name, &codec::encode(value));
    assert_eq!(codec::decode::<T>("a value", &golden(name)).as_ref(), Ok(value), "{name}");
}

fn blob() -> Payload {
    Payload::Blob { digest: Digest([0xab; 32]), bytes: 70_000 }
}

fn version() -> VersionName {
    VersionName::new("1.2.3-beta.1").expect("it is a version")
}

fn plugin_name() -> PluginName {
    PluginName::new("mailer").expect("it is a name")
}

fn usage() -> Usage {
    Usage { fuel: 1, cpu_micros: 200, wall_micros: 30_000, peak_memory_bytes: 4_000_000, host_calls: 5, log_bytes: 600 }
}

fn failure() -> Failure {
    Failure {
        class: ErrorClass::Throttled,
        code: Some("BR0303".to_owned()),
        message: "too slow".to_owned(),
        detail: Some("at line 3".to_owned()),
    }
}

fn run() -> Run {
    Run {
        number: 3,
        attempt: 2,
        host: HostId(7),
        version: Some(version()),
        started_on: NOW,
        ended_on: Timestamp(NOW.0 + 5),
        end: RunEnd::LeaseLost,
        failure: Some(failure()),
        usage: usage(),
        log: Some(blob()),
    }
}

fn submission(sequence: u64) -> Submission {
    Submission {
        id: JobId::new(NOW, Sequence(sequence), 7),
        tenant: TenantId(3),
        job_type: JobType::HANDLER,
        name: Some("greet".to_owned()),
        plugin: plugin_name(),
        handler: HandlerName::new("ns:pkg/iface#handle").expect("it is a name"),
        input: Payload::Inline(b"hello".to_vec().into()),
        args: vec!["-v".to_owned()],
        env: vec![("KEY".to_owned(), "value".to_owned())],
        queue: QueueName::new("slow").expect("it is a name"),
        priority: -100,
        created_on: NOW,
        created_by: Some("somebody".to_owned()),
        owner: Some(token_name()),
        not_before: Some(Timestamp(NOW.0 + 1)),
        expires_on: Some(Timestamp(NOW.0 + 2)),
        correlation_id: Some(JobId::new(NOW, Sequence(1), 9)),
        depth: 4,
        tags: vec!["red".to_owned(), "blue".to_owned()],
        max_attempts: Some(9),
        version: Some(version()),
        deadline: Some(Duration::from_millis(1_500)),
        auto_delete: true,
        ties: Some(Arc::new(ties())),
    }
}

fn ties() -> Ties {
    Ties {
        ordering_key: OrderingKey::new("customer 17").ok().map(|key| key.in_space(Some(&token_name()))),
        concurrency_key: ConcurrencyKey::new("region 4").ok(),
        after: vec![JobId::new(NOW, Sequence(2), 9), JobId::new(NOW, Sequence(3), 9)],
        on_predecessor_failure: OnPredecessorFailure::Block,
        dedup_key: DedupKey::new("invoice 4").ok(),
        regarding: RecordName::new("invoice/4").ok(),
        batch: Some(JobId::new(NOW, Sequence(4), 9)),
        occurrence: ScheduleName::new("nightly").ok().map(|schedule| Occurrence { schedule, scheduled_for: NOW }),
        retry_of: Some(JobId::new(NOW, Sequence(5), 9)),
        on_complete: Some(FollowUp {
            plugin: plugin_name(),
            handler: HandlerName::default_handle(),
            queue: QueueName::default_queue(),
            url: Some("https://example.com/done".to_owned()),
        }),
        is_remembered: true,
    }
}

fn audit_row() -> AuditRow {
    AuditRow {
        job: JobKey { tenant: TenantId(3), sequence: Sequence(12) },
        revision: 300,
        on: NOW,
        by: "somebody".to_owned(),
        action: Action::Postpone,
        from: Status::Queued,
        to: Status::Waiting,
        reason: Some("the bank is closed".to_owned()),
    }
}

fn schedule() -> Schedule {
    let rule = Recurrence::parse("FREQ=WEEKLY;BYDAY=MO,FR", Start::At(NOW), Some("Europe/Berlin"), &["2026-12-25"]);
    let target = JobTemplate {
        plugin: plugin_name(),
        handler: Some(HandlerName::default_handle()),
        input: Payload::Inline(b"{}".to_vec().into()),
        args: vec!["-v".to_owned()],
        env: vec![("KEY".to_owned(), "value".to_owned())],
        queue: QueueName::new("slow").expect("it is a name"),
        priority: 5,
        ordering_key: Some("customer 17".to_owned()),
        tags: vec!["red".to_owned()],
        max_attempts: Some(2),
        expires_after: Some(Duration::from_secs(60)),
        name: Some("report".to_owned()),
        version: Some(version()),
    };
    let definition = Definition {
        recurrence: rule.expect("it is a rule"),
        target,
        misfire: Misfire::RunAll(3),
        overlap: Overlap::CancelPrevious,
        jitter: Duration::from_secs(30),
        start_left_out: false,
        at_once: false,
    };
    let name = ScheduleName::new("nightly").expect("it is a name");
    Schedule::new(TenantId(3), name, definition, Some("somebody".to_owned()), NOW).expect("the rule yields something")
}

fn pause() -> Pause {
    Pause {
        since: NOW,
        by: Some("somebody".to_owned()),
        reason: Some("a limit".to_owned()),
        until: Some(NOW.after(Duration::from_secs(60))),
    }
}

fn queue_state() -> QueueState {
    QueueState { name: QueueName::new("slow").expect("it is a name"), revision: 2, pause: Some(pause()) }
}

fn token_name() -> TokenName {
    TokenName::new("reporter").expect("it is a name")
}

fn token() -> Token {
    let rights = Rights {
        submit: true,
        read: Reach::All,
        write: Reach::Own,
        payload: Reach::None,
        admin: false,
        keys: Reach::Own,
    };
    Token {
        tenant: TenantId(3),
        name: token_name(),
        digest: Digest([0xef; 32]),
        rights,
        created_on: NOW,
        created_by: "somebody".to_owned(),
        expires_on: Some(NOW),
    }
}

fn breaker() -> PluginBreaker {
    let (policy, mut breaker) =
        (BreakerPolicy { window: 1, least_failures: 1, ..Default::default() }, Breaker::default());
    breaker.ended(&policy, false, NOW, NOW);
    PluginBreaker { tenant: TenantId(3), plugin: plugin_name(), breaker }
}

fn state() -> JobState {
    JobState {
        status: Status::Waiting,
        wait_reason: Some(WaitReason::MissingComponent),
        awaited_event: Some("paid".to_owned()),
        earlier_wait: Some(Box::new(Wait::until_time(WaitReason::Sleep, NOW))),
        revision: 300,
        fence: 11,
        attempt: 2,
        runs: 3,
        crashes: 1,
        same_attempt: true,
        postpone_until: Some(Timestamp(NOW.0 + 3)),
        pending_postpone_until: Some(Timestamp(NOW.0 + 4)),
        lease: Some(Lease { host: HostId(8), until: Timestamp(NOW.0 + 5) }),
        started_on: Some(NOW),
        run_started_on: Some(Timestamp(NOW.0 + 6)),
        throttled_since: Some(Timestamp(NOW.0 + 7)),
        completed_on: Some(Timestamp(NOW.0 + 8)),
        is_overruled: true,
        cancel_requested_on: Some(Timestamp(-1)),
        modified: Some((NOW, "somebody".to_owned())),
        version: Some(version()),
        earlier_usage: usage(),
        last_run: Some(run()),
        failure: Some(failure()),
        progress: Some(Progress { done: 1, total: Some(2), note: Some("half".to_owned()) }),
        checkpoint: Some(blob()),
        output: Some(Payload::Inline(b"done".to_vec().into())),
    }
}

fn plugin() -> Plugin {
    let name = HandlerName::default_handle();
    let wants = [Grant::Http("https://api.example.com".to_owned()), Grant::Config("region".to_owned())];
    let wishes = Wishes {
        description: Some("sends letters".to_owned()),
        handlers: vec![name],
        wants: wants.into(),
        fuel: Some(1_000_000),
        wall_ms: Some(2_000),
        memory_bytes: Some(3_000_000),
        source: Source::Manifest { file: Some("mailer.plugin.toml".to_owned()), outline: outline() },
    };
    let inspection = Inspection {
        shape: Shape::Command,
        imports: vec!["wasi:cli/stdin@0.2.3".to_owned()],
        exports: vec!["wasi:cli/run@0.2.3".to_owned()],
        handlers: Some(vec![HandlerName::default_handle()]),
        digest: Digest([0xcd; 32]),
        bytes: 123_456,
    };
    let uploaded = PluginVersion { version: version(), inspection, wishes, uploaded_on: NOW, is_pending: true };
    let grant = Grant::Config("region".to_owned());
    Plugin {
        tenant: TenantId(3),
        name: plugin_name(),
        revision: 5,
        versions: vec![uploaded],
        active: Some(version()),
        previous: Some(version()),
        disabled: true,
        pause: Some(pause()),
        grants: vec![KeptGrant { grant, value: Some("north".to_owned()), by: "admin".to_owned(), on: NOW }],
    }
}

fn outline() -> Outline {
    let lines = Lines { first: 3, last: 4 };
    let key = |name: &str, value| Key { name: name.to_owned(), lines, value };
    let limits = vec![key("fuel", Content::One("1_000_000".to_owned())), key("secret", Content::Hidden)];
    let limits = Outline { form: Form::Braces, lines, keys: limits };
    let wants = Content::List(vec!["\"region\"".to_owned()]);
    Outline { form: Form::Document, lines, keys: vec![key("limits", Content::Table(limits)), key("wants", wants)] }
}

fn remembered() -> RememberedSubmit {
    RememberedSubmit {
        tenant: TenantId(3),
        key: "order-17".to_owned(),
        fingerprint: u64::MAX,
        jobs: vec![JobId::new(NOW, Sequence(12), 7)],
        next: Some(Sequence(11)),
        end: Some(Box::new(Job { submission: submission(12).into(), state: state() })),
        on: NOW,
        until: Timestamp(NOW.0 + 9),
    }
}

/// The fields of a value, without its version byte.
fn fields<T: Serialize>(value: &T) -> Vec<u8> {
    codec::encode(value).split_off(1)
}

#[test]
fn single_values_are_written_and_read_as_ever() {
    assert_value("submission", &submission(12));
    assert_value("job-state", &state());
    assert_value("run", &run());
    assert_value("plugin", &plugin());
    assert_value("remembered-submit", &remembered());
    assert_value("counts", &Counts([0, 1, 2, 3, 4, 5, 6, 7, 8, 900]));
    assert_value("service-state", &ServiceState::Paused(pause()));
    assert_value("audit-row", &audit_row());
    assert_value("queue-state", &queue_state());
    assert_value("breaker", &breaker());
    assert_value("token", &token());
    assert_value("schedule", &schedule());
}

#[test]
fn a_block_of_submissions_is_written_and_read_as_ever() {
    let members = [fields(&submission(12)), Vec::new(), fields(&submission(14))];
    let mut value = block::start(block::Kind::Fresh);
    members.iter().for_each(|member| block::push(&mut value, member));
    assert_golden("submission-block", &value);
    let golden = golden("submission-block");
    let (kind, entries) = block::read(&golden).expect("it can be read");
    assert_eq!((kind, entries.len()), (block::Kind::Fresh, 3));
    assert_eq!(codec::read_submission(entries[2]), Ok(submission(14)));
}

#[test]
fn a_bucket_of_outcomes_is_written_and_read_as_ever() {
    let ended = fields(&state());
    let entries = [(1, bucket::Entry::Ended(&ended)), (2, bucket::Entry::Elsewhere), (15, bucket::Entry::Gone)];
    let mut value = bucket::start();
    entries.iter().for_each(|(offset, entry)| bucket::push(&mut value, *offset, *entry));
    assert_golden("outcome-bucket", &value);
    assert_eq!(bucket::read(&golden("outcome-bucket")).as_deref(), Ok(&entries[..]));
}

#[test]
fn a_journal_frame_is_written_and_read_as_ever() {
    let job = JobKey { tenant: TenantId(3), sequence: Sequence(12) };
    let name = plugin_name();
    let changes = [
        Change::Submit(submission(12).into(), JobState::default().into()),
        Change::Submit(submission(13).into(), state().into()),
        Change::Advance { job, expected: 0, next: state().into(), earlier_run: None },
        Change::Advance { job, expected: 300, next: state().into(), earlier_run: Some(run()) },
        Change::Delete { job, expected: 301 },
        Change::Remember(remembered()),
        Change::PutPlugin(plugin()),
        Change::RemovePlugin { tenant: TenantId(3), name, expected: 5 },
        Change::Audit(audit_row()),
        Change::PutSchedule(Box::new(schedule())),
        Change::RemoveSchedule { tenant: TenantId(3), name: schedule().name, expected: 1 },
        Change::PutQueue(queue_state()),
        Change::PutService(ServiceState::Draining),
        Change::StartHost(HostId(8)),
        Change::PutBreaker(breaker()),
        Change::PutToken(Box::new(token())),
        Change::RemoveToken { tenant: TenantId(3), name: token_name() },
        Change::NoteBroken { job, key: OrderingKey::new("customer 17").expect("it is a key") },
    ];
    let mut bytes = Vec::new();
    frame::start(&mut bytes);
    for change in &changes {
        codec::append_change(&mut bytes, change);
    }
    codec::append_sequence(&mut bytes, 65_536);
    codec::append_host(&mut bytes, 9);
    frame::seal(&mut bytes, 42, 41);
    assert_golden("journal-frame", &bytes);
    let golden = golden("journal-frame");
    let frame = frame::at(&golden, 0).expect("it is whole");
    assert_eq!((frame.lsn, frame.durable, frame.end), (42, 41, golden.len()));
    let records = codec::read_records(&golden[frame.payload]).expect("it can be read");
    let mut wanted: Vec<_> = changes.into_iter().map(Record::Change).collect();
    wanted.extend([Record::Sequence(65_536), Record::Host(9)]);
    assert_eq!(records.into_iter().map(|(record, _)| record).collect::<Vec<_>>(), wanted);
}
