//! A value of each family with every field set: what the golden files hold.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::access::{Reach, Rights, Token};
use crate::domain::audit::{Action, AuditRow};
use crate::domain::breaker::{self, Breaker, PluginBreaker};
use crate::domain::change::RememberedSubmit;
use crate::domain::failure::{ErrorClass, Failure};
use crate::domain::id::{
    ConcurrencyKey, DedupKey, Digest, HandlerName, HostId, JobId, JobKey, OrderingKey, PluginName, QueueName,
    RecordName, ScheduleName, Sequence, TenantId, TokenName, VersionName,
};
use crate::domain::job::{
    BrokenKey, FollowUp, Job, JobState, JobType, Lease, Occurrence, OnPredecessorFailure, Payload, Progress, Run,
    RunEnd, Status, Submission, Ties, Wait, WaitReason,
};
use crate::domain::limits::Usage;
use crate::domain::outline::{Content, Form, Key, Lines, Outline};
use crate::domain::plugin::{Grant, Inspection, KeptGrant, Plugin, PluginVersion, Shape, Source, Wishes};
use crate::domain::query::Counts;
use crate::domain::queue::{Pause, QueueState};
use crate::domain::schedule::{Definition, JobTemplate, Misfire, Overlap, Recurrence, Schedule, Start};
use crate::domain::service::ServiceState;
use crate::domain::time::Timestamp;

pub(crate) const NOW: Timestamp = Timestamp(1_790_000_000_123_456);

pub(crate) fn blob() -> Payload {
    Payload::Blob { digest: Digest([0xab; 32]), bytes: 70_000 }
}

pub(crate) fn version() -> VersionName {
    VersionName::new("1.2.3-beta.1").expect("it is a version")
}

pub(crate) fn plugin_name() -> PluginName {
    PluginName::new("mailer").expect("it is a name")
}

pub(crate) fn usage() -> Usage {
    Usage { fuel: 1, cpu_micros: 200, wall_micros: 30_000, peak_memory_bytes: 4_000_000, host_calls: 5, log_bytes: 600 }
}

pub(crate) fn failure() -> Failure {
    Failure {
        class: ErrorClass::Throttled,
        code: Some("BR0303".to_owned()),
        message: "too slow".to_owned(),
        detail: Some("at line 3".to_owned()),
    }
}

pub(crate) fn run() -> Run {
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

pub(crate) fn submission(sequence: u64) -> Submission {
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

pub(crate) fn ties() -> Ties {
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

pub(crate) fn audit_row() -> AuditRow {
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

pub(crate) fn schedule() -> Schedule {
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
    let by = Some("somebody".to_owned());
    let new = Schedule::new(TenantId(3), name, definition, by, NOW).expect("the rule yields something");
    Schedule {
        last_occurrence: Some(Timestamp(NOW.0 + 1)),
        last_run: Some(Timestamp(NOW.0 + 2)),
        last_job: Some(JobId::new(NOW, Sequence(6), 9)),
        last_extra: Some(Timestamp(NOW.0 + 3)),
        fired: 70,
        left_out: 8,
        last_left_out: Some(Timestamp(NOW.0 + 4)),
        modified_on: Timestamp(NOW.0 + 5),
        modified_by: Some("somebody else".to_owned()),
        decided_on: Timestamp(NOW.0 + 6),
        ..new
    }
}

pub(crate) fn pause() -> Pause {
    Pause {
        since: NOW,
        by: Some("somebody".to_owned()),
        reason: Some("a limit".to_owned()),
        until: Some(NOW.after(Duration::from_secs(60))),
    }
}

pub(crate) fn queue_state() -> QueueState {
    QueueState { name: QueueName::new("slow").expect("it is a name"), revision: 2, pause: Some(pause()) }
}

pub(crate) fn token_name() -> TokenName {
    TokenName::new("reporter").expect("it is a name")
}

pub(crate) fn token() -> Token {
    let rights = Rights {
        submit: true,
        read: Reach::All,
        write: Reach::Own,
        payload: Reach::All,
        admin: true,
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

pub(crate) fn breaker() -> PluginBreaker {
    let pause = breaker::Pause { until: NOW, length: Duration::from_millis(90_250), probe: Some(Timestamp(NOW.0 - 1)) };
    let breaker = Breaker { failures: 0x8000_0000_0000_0003, ends: 64, pause: Some(pause) };
    PluginBreaker { tenant: TenantId(3), plugin: plugin_name(), breaker }
}

pub(crate) fn state() -> JobState {
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

pub(crate) fn plugin() -> Plugin {
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

pub(crate) fn outline() -> Outline {
    let lines = Lines { first: 3, last: 4 };
    let key = |name: &str, value| Key { name: name.to_owned(), lines, value };
    let limits = vec![key("fuel", Content::One("1_000_000".to_owned())), key("secret", Content::Hidden)];
    let limits = Outline { form: Form::Braces, lines, keys: limits };
    let wants = Content::List(vec!["\"region\"".to_owned()]);
    Outline { form: Form::Document, lines, keys: vec![key("limits", Content::Table(limits)), key("wants", wants)] }
}

pub(crate) fn remembered() -> RememberedSubmit {
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

pub(crate) fn counts() -> Counts {
    Counts([20, 1, 2, 3, 4, 5, 6, 7, 8, 900])
}

pub(crate) fn broken_key() -> BrokenKey {
    let key = OrderingKey::new("customer 17").expect("it is a key").in_space(Some(&token_name()));
    BrokenKey { job: JobKey { tenant: TenantId(3), sequence: Sequence(12) }, key }
}

pub(crate) fn service() -> ServiceState {
    ServiceState::Paused(pause())
}
