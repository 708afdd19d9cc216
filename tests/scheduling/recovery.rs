//! Hosts that die, jobs that kill them, and plug-ins that are not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backroom::domain::id::{TenantId, VersionName};
use backroom::domain::job::{RunEnd, Status, WaitReason};
use backroom::domain::plugin::Wishes;
use backroom::jobs::{NewJob, Order};
use backroom::registry::{Removal, Upload};
use backroom::sandbox::Signal;
use backroom::sandbox::scripted::{Gate, Manners, Script, Step};

use crate::host::*;

#[test]
fn f042_a_job_whose_host_was_killed_runs_again_at_once() {
    let mut host = Host::new(2, |_| works(seconds(10)));
    let job = host.submit(echo());
    host.pass(seconds(3));
    assert_eq!(host.status(job), Status::Running);
    let killed_on = host.now();
    let mut host = host.restarted();
    host.finish(&[job], seconds(20));
    let starts = host.starts(job);
    assert!(starts.len() == 2 && starts[1].since(killed_on) <= seconds(2), "{starts:?}");
    let found = host.job(job);
    assert_eq!((found.state.status, found.state.crashes, found.state.attempt), (Status::Succeeded, 1, 1));
    let ends: Vec<_> = host.jobs.runs(&found).expect("memory can be read").iter().map(|run| run.end).collect();
    assert_eq!(ends, [RunEnd::LeaseLost, RunEnd::Succeeded]);
}

#[test]
fn f042_the_late_write_of_a_host_that_was_taken_over_is_refused() {
    let gate = Gate::default();
    let held = gate.clone();
    let mut old = Host::new(2, move |slice| match slice.run {
        1 => Script::succeeds("of the old host").after(Step::Gate(held.clone())),
        _ => works(seconds(5)),
    });
    let job = old.submit(echo());
    old.settle();
    let mut new = old.taken_over();
    new.pass(seconds(1));
    assert_eq!((new.status(job), new.starts(job).len()), (Status::Running, 2));
    gate.open();
    old.runs.retain_mut(|run| {
        run.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
    });
    assert!(old.runs.is_empty(), "the old host is done");
    assert_eq!(new.status(job), Status::Running, "and has changed nothing");
    new.finish(&[job], seconds(10));
    let found = new.job(job);
    let output = found.state.output.as_ref().map(|output| new.jobs.payload(output).expect("it is there"));
    assert_eq!(output.as_deref(), Some(&b"done"[..]));
    assert_eq!(new.jobs.runs(&found).map(|runs| runs.len()), Ok(2));
}

#[test]
fn f044_a_job_that_kills_its_host_is_finalised_and_others_go_on() {
    let mut host = Host::new(4, |slice| match &*slice.input {
        b"poison" => works(seconds(3_600)),
        _ => works(seconds(2)),
    });
    let poison = host.submit(NewJob { input: "poison".into(), ..echo() });
    let mut crashes = 0;
    while !host.status(poison).is_final() {
        let other = host.submit(echo());
        host.finish(&[other], seconds(10));
        assert_eq!(host.status(other), Status::Succeeded);
        // The second crash in a row is waited for a little.
        for _ in 0..1_000 {
            if host.status(poison) == Status::Running {
                break;
            }
            host.pass(seconds(1));
        }
        crashes += 1;
        assert!(crashes < 10, "it kills its host for ever");
        host = host.restarted();
    }
    let found = host.job(poison);
    assert_eq!((found.state.status, crashes), (Status::Failed, 3));
    assert_eq!(found.state.failure().and_then(|failure| failure.code.as_deref()), Some("BR0311"));
    let other = host.submit(echo());
    host.finish(&[other], seconds(10));
}

#[test]
fn a_job_that_was_put_off_while_it_ran_starts_at_its_time_although_its_host_went_down() {
    for is_orderly in [true, false] {
        let mut host = Host::new(1, |slice| match slice.run {
            1 => works(seconds(20)).with_manners(Manners::Deaf),
            _ => Script::succeeds("done"),
        });
        let job = host.submit(echo());
        host.pass(seconds(3));
        let until = host.now().after(seconds(600));
        assert_eq!(host.order(job, Order::Postpone(until)).state.status, Status::Pausing);
        if is_orderly {
            host.running.raise_all(Signal::Kill);
            host.settle();
        }
        let mut host = host.restarted();
        host.pass(seconds(590));
        let found = host.job(job).state;
        assert_eq!((found.status, found.wait_reason), (Status::Waiting, Some(WaitReason::Postponed)), "{is_orderly}");
        assert_eq!((host.starts(job).len(), found.crashes), (1, u32::from(!is_orderly)));
        host.finish(&[job], seconds(20));
        assert!(host.starts(job)[1] >= until && host.status(job) == Status::Succeeded);
    }
}

#[test]
fn a_job_that_kills_its_host_is_finalised_although_people_pause_it_each_time() {
    let mut host = Host::new(1, |_| works(seconds(3_600)));
    let poison = host.submit(echo());
    let mut crashes = 0;
    while !host.status(poison).is_final() {
        if host.status(poison) == Status::Paused {
            host.order(poison, Order::ResumeNow);
        }
        host.settle();
        assert_eq!(host.order(poison, Order::Pause).state.status, Status::Pausing);
        crashes += 1;
        assert!(crashes < 10, "it kills its host for ever");
        host = host.restarted();
    }
    let found = host.job(poison);
    assert_eq!((found.state.status, crashes), (Status::Failed, 3));
    assert_eq!(found.state.failure().and_then(|failure| failure.code.as_deref()), Some("BR0311"));
}

/// The clock is three days ahead while something starts, and is set right then.
fn while_ahead(host: &mut Host, what: impl FnOnce(&mut Host)) {
    let right = host.now();
    host.clock.set(right.after(seconds(3 * 86_400)));
    host.settle();
    what(host);
    host.settle();
    host.clock.set(right);
    host.settle();
}

#[test]
fn a_run_that_nobody_holds_is_rescued_within_seconds_also_after_the_clock_was_ahead() {
    for was_ahead in [false, true] {
        let mut host = Host::new(1, |slice| match slice.run {
            1 => works(seconds(3_600)).with_manners(Manners::Deaf),
            _ => Script::succeeds("done"),
        });
        let job = host.submit(echo());
        if was_ahead {
            while_ahead(&mut host, Host::settle);
        }
        host.settle();
        assert_eq!((host.status(job), host.starts(job).len()), (Status::Running, 1));
        // Its end could not be written: nobody holds it any more.
        host.runs.clear();
        host.pass(seconds(6));
        let found = host.job(job).state;
        assert_eq!((found.status, found.crashes), (Status::Succeeded, 1), "was the clock ahead: {was_ahead}");
    }
}

#[test]
fn a_handler_that_ignores_its_cancel_is_stopped_after_the_grace_also_when_the_clock_was_ahead_meanwhile() {
    let mut host = Host::new(1, |_| works(seconds(3_600)).with_manners(Manners::Deaf));
    let job = host.submit(echo());
    while_ahead(&mut host, |host| {
        host.settle();
        host.order(job, Order::Cancel);
    });
    assert_eq!(host.status(job), Status::Canceling);
    host.pass(seconds(6));
    assert_eq!(host.status(job), Status::Canceled);
}

#[test]
fn f045_jobs_of_a_removed_plugin_are_held_and_run_when_it_is_back() {
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ran);
    let mut host = Host::new(0, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Script::succeeds("done")
    });
    let jobs: Vec<_> = (0..5).map(|_| host.submit(echo())).collect();
    let removed = at_once(host.registry.remove(TenantId::DEFAULT, &name("echo"), Removal::Unused));
    assert!(removed.is_err(), "jobs wait for it");
    at_once(host.registry.remove(TenantId::DEFAULT, &name("echo"), Removal::Forced)).expect("it is there");
    host.slots = 2;
    host.pass(seconds(3_600));
    for job in &jobs {
        let state = host.job(*job).state;
        assert_eq!((state.status, state.wait_reason), (Status::Waiting, Some(WaitReason::MissingComponent)));
    }
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    let upload = Upload {
        tenant: TenantId::DEFAULT,
        name: name("echo"),
        version: VersionName::new("2.0.0").expect("a good version"),
        bytes: bytes::Bytes::from_static(b"\0asm1"),
        wishes: Wishes::default(),
    };
    // An upload keeps its bytes on a thread of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
    runtime.block_on(host.registry.upload(upload)).expect("it looks like Wasm");
    host.finish(&jobs, seconds(5));
    assert!(jobs.iter().all(|job| host.status(*job) == Status::Succeeded));
    assert_eq!(ran.load(Ordering::Relaxed), 5);
}
