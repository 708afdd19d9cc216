//! Schedules that cannot fire for a while: nothing else waits for them.

use std::time::Duration;

use backroom::domain::change::Change;
use backroom::domain::id::{ScheduleName, TenantId};
use backroom::domain::query::{JobFilter, JobQuery};
use backroom::domain::schedule::{Definition, JobTemplate, Misfire, Overlap, Recurrence, Schedule, Start};
use backroom::sandbox::scripted::Script;
use backroom::store::Store;
use backroom::store::memory::Room;

use crate::host::*;

fn every_second(text: &str, host: &Host) -> Schedule {
    let now = host.now();
    let definition = Definition {
        recurrence: Recurrence::parse("FREQ=SECONDLY", Start::At(now), None, &[] as &[&str]).expect("a good rule"),
        target: JobTemplate::new(name("echo")),
        misfire: Misfire::RunOnce,
        overlap: Overlap::Skip,
        jitter: seconds(0),
        start_left_out: false,
        at_once: false,
    };
    let schedule = ScheduleName::new(text).expect("a good name");
    Schedule::new(TenantId::DEFAULT, schedule, definition, None, now).expect("a good rule")
}

fn made(host: &Host) -> usize {
    let filter = JobFilter { schedule: ScheduleName::new("busy").ok(), ..JobFilter::default() };
    let query = JobQuery { tenant: TenantId::DEFAULT, filter, before: None, limit: 1_000 };
    host.store.jobs(&query).expect("memory can be read").jobs.len()
}

#[test]
fn a_schedule_that_cannot_fire_holds_nothing_up_and_fires_when_it_can() {
    let mut host = Host::new(4, |_| Script::succeeds("done"));
    let chain: Vec<_> = (0..20).map(|_| host.submit(keyed("k"))).collect();
    let busy = (0..200).map(|number| match number {
        0 => every_second("busy", &host),
        _ => every_second(&format!("busy-{number}"), &host),
    });
    let busy: Vec<_> = busy.map(Change::put).collect();
    at_once(host.store.commit(busy)).expect("memory can be written");
    host.store.set_room(Room::Kept);
    for _ in 0..3 {
        let tick = host.scheduler.tick(host.now()).expect("memory can be read");
        assert!(!tick.has_failed, "the loop would wait, and hear nothing meanwhile");
    }
    host.finish(&chain, seconds(1));
    for _ in 0..20 {
        host.clock.advance(seconds(1));
        host.settle();
        let tick = host.scheduler.tick(host.now()).expect("memory can be read");
        let wait = tick.next.since(host.now());
        assert!(!tick.has_failed && wait >= Duration::from_millis(10), "it looks again after {wait:?}");
    }
    assert_eq!(made(&host), 0);
    host.store.set_room(Room::Plenty);
    host.pass(seconds(6));
    assert!(made(&host) >= 1, "it fires when there is room");
}
