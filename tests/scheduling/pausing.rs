//! Pauses that a handler asks for, by grant (a provider's limit that resets at midnight).

use backroom::domain::change::Change;
use backroom::domain::failure::ErrorClass;
use backroom::domain::host_call::HostCall;
use backroom::domain::id::{QueueName, TenantId};
use backroom::domain::job::Status;
use backroom::domain::pausing::{PER_RUN_MAX, Pausable, PauseEnd, PauseRequest};
use backroom::domain::plugin::{Grant, KeptGrant, Plugin, Source};
use backroom::domain::queue::{Pause, QueueState};
use backroom::domain::time::Timestamp;
use backroom::jobs::NewJob;
use backroom::sandbox::SliceEnd;
use backroom::sandbox::scripted::{Script, Step};
use backroom::store::Store;

use super::host::{Host, at_once, echo, fails, failure, in_queue, name, plugin, seconds, works};

/// The job that finds the limit used up.
fn limited() -> NewJob {
    NewJob { name: Some("limited".to_owned()), ..echo() }
}

fn pauses(what: Pausable, span: u64) -> Step {
    let reason = "the quota is used up".to_owned();
    Step::Call(HostCall::Pause(PauseRequest { what, end: PauseEnd::After(seconds(span)), reason }))
}

/// A host on which the first run of [`limited`] does what `script` says, and all else succeeds.
fn host(grants: &[Grant], script: impl Fn() -> Script + Send + Sync + 'static) -> Host {
    let host = Host::new(2, move |slice| match (slice.name.as_str(), slice.run) {
        ("limited", 1) => script(),
        _ => Script::succeeds("done"),
    });
    let mut echo = Plugin { revision: 2, ..plugin("echo", true) };
    echo.versions[0].wishes.source = Source::Operator;
    let kept = |grant: &Grant| KeptGrant {
        grant: grant.clone(),
        value: None,
        by: "admin".to_owned(),
        on: Timestamp::default(),
    };
    echo.grants = grants.iter().map(kept).collect();
    host.store.commit(vec![Change::put(echo)]).wait().expect("it follows what is stored");
    host
}

fn plugin_pause(host: &Host) -> Option<Pause> {
    host.registry.look_at(TenantId::DEFAULT, &name("echo")).expect("it is there").pause.clone()
}

fn queue_pause(host: &Host) -> Option<Pause> {
    let queues = host.store.queues().expect("memory can be read");
    queues.into_iter().find(|queue| queue.name == QueueName::default_queue())?.pause
}

#[test]
fn the_pause_of_an_attempt_that_is_tried_again_holds_and_ends_by_itself() {
    for (what, elsewhere_waits) in [(Pausable::Plugin, true), (Pausable::Queue, false)] {
        let throttled = failure(ErrorClass::Throttled, "429");
        let mut host = host(&[Grant::Pause(what)], move || {
            Script::of(SliceEnd::Retry(Some(seconds(60)), throttled.clone())).after(pauses(what, 3_600))
        });
        let began = host.now();
        let first = host.submit(limited());
        host.settle();
        let pause = match what {
            Pausable::Plugin => plugin_pause(&host),
            Pausable::Queue => queue_pause(&host),
        };
        let pause = pause.expect("it is paused although the attempt did not succeed");
        assert_eq!(pause.by, Some(format!("plug-in echo (job {first})")));
        assert_eq!(pause.reason.as_deref(), Some("the quota is used up"));
        assert_eq!(pause.until, Some(began.after(seconds(3_600))));

        let (second, elsewhere) = (host.submit(echo()), host.submit(in_queue("other")));
        host.pass(seconds(3_599));
        assert_eq!((host.starts(first).len(), host.starts(second).len()), (1, 0), "{what}");
        assert_eq!(host.starts(elsewhere).is_empty(), elsewhere_waits, "{what}");
        host.finish(&[first, second, elsewhere], seconds(10));
        assert_eq!(host.status(first), Status::Succeeded);
        assert!(host.starts(second)[0] >= began.after(seconds(3_600)));
    }
}

#[test]
fn a_pause_outlives_an_attempt_that_fails_and_the_host() {
    let mut host = host(&[Grant::Pause(Pausable::Plugin)], || {
        fails(ErrorClass::Fatal, "broken").after(pauses(Pausable::Plugin, 600))
    });
    let first = host.submit(limited());
    host.settle();
    assert_eq!(host.status(first), Status::Failed);
    let mut host = host.restarted();
    let second = host.submit(echo());
    host.pass(seconds(599));
    assert_eq!(host.starts(second), []);
    host.finish(&[second], seconds(10));
}

#[test]
fn without_the_grant_nothing_is_paused() {
    let both = |script: Script| script.after(pauses(Pausable::Plugin, 600)).after(pauses(Pausable::Queue, 600));
    for grants in [&[][..], &[Grant::Config("plugin".to_owned())]] {
        let mut host = host(grants, move || both(Script::succeeds("done")));
        let jobs = [host.submit(limited()), host.submit(echo())];
        host.finish(&jobs, seconds(10));
        assert_eq!((plugin_pause(&host), queue_pause(&host)), (None, None));
    }
}

#[test]
fn a_handler_makes_nobodys_pause_shorter() {
    let mut host = host(&[Grant::Pause(Pausable::Plugin), Grant::Pause(Pausable::Queue)], || {
        works(seconds(10)).after(pauses(Pausable::Plugin, 600)).after(pauses(Pausable::Queue, 600))
    });
    let job = host.submit(limited());
    host.settle();
    let until = host.now().after(seconds(100_000));
    let of_plugin = Pause { by: Some("ann".to_owned()), until: Some(until), ..Pause::default() };
    let of_queue = Pause { by: Some("ann".to_owned()), ..Pause::default() };
    at_once(host.registry.pause(TenantId::DEFAULT, &name("echo"), of_plugin.clone())).expect("it is there");
    let queue = QueueState { name: QueueName::default_queue(), revision: 1, pause: Some(of_queue.clone()) };
    host.store.commit(vec![Change::put(queue)]).wait().expect("it is the first");
    host.finish(&[job], seconds(20));
    assert_eq!((plugin_pause(&host), queue_pause(&host)), (Some(of_plugin), Some(of_queue)));
}

#[test]
fn a_run_that_asks_again_and_again_is_not_heard() {
    let mut host = host(&[Grant::Pause(Pausable::Queue)], || {
        let asks = 1..=u64::from(PER_RUN_MAX) + 5;
        asks.fold(Script::succeeds("done"), |script, number| script.after(pauses(Pausable::Queue, 100 * number)))
    });
    let began = host.now();
    let job = host.submit(limited());
    host.finish(&[job], seconds(10));
    let until = began.after(seconds(100 * u64::from(PER_RUN_MAX)));
    assert_eq!(queue_pause(&host).and_then(|pause| pause.until), Some(until));
}
