//! The end of a life: nothing goes wrong any more, and everything ends.

use std::time::Duration;

use backroom::clock::Clock as _;
use backroom::domain::id::{JobKey, TenantId};
use backroom::domain::job::{Status, WaitReason};
use backroom::domain::queue::Lane;
use backroom::domain::time::Timestamp;
use backroom::jobs::Order;
use backroom::scheduler::CANCEL_GRACE;
use backroom::store::Store as _;

use super::World;
use crate::ledger::Record;

/// Rounds that everything takes to end, at most.
const HEALING_ROUNDS: usize = 3_000;

impl World {
    pub(super) fn heal(&mut self) {
        // Half of the lives end well without a last restart: what went wrong while the host was up must mend by itself.
        if self.store_has_failed || self.draw.chance(50) {
            self.restart("killed for the last time", self.store.kill());
        }
        if self.draw.chance(40) {
            self.cancel_what_runs();
        }
        let healing_since = self.clock.now();
        self.note(|_| "everything heals".to_owned());
        for round in 0..HEALING_ROUNDS {
            self.let_go_on();
            self.end_schedules();
            self.claim_all();
            self.sync();
            while self.go_on_everywhere() {
                self.sync();
            }
            self.tick();
            self.sync();
            self.ledger.lock().check();
            self.check_cancels(healing_since);
            self.help_those_who_wait(round);
            if self.all_ended() {
                let mut ledger = self.ledger.lock();
                ledger.check_followers();
                ledger.check();
                return;
            }
            let next = self.host.scheduler.tick(self.clock.now()).expect("memory can be read").next;
            let is_busy = !self.tasks.is_empty() || !self.host.window.is_empty();
            let idle = next.since(self.clock.now()).max(Duration::from_millis(1));
            self.clock.advance(if is_busy { idle.min(Duration::from_secs(1)) } else { idle });
        }
        let ledger = self.ledger.lock();
        let left = ledger.records().filter(|(_, record)| !record.state().status.is_final());
        let told = |(key, record): (JobKey, &Record)| {
            let job = self.store.job(key).ok().flatten();
            let holds = job.map(|job| self.host.window.holds(&Lane::of(&job.submission)));
            format!("{}: {:?}, held by {holds:?}", key.sequence.0, record.state())
        };
        let left: Vec<_> = left.map(told).collect();
        panic!("I14: these jobs never end, although nothing goes wrong any more:\n{}", left.join("\n"));
    }

    /// Some of these have a host, but no slot yet.
    fn cancel_what_runs(&mut self) {
        self.sync();
        let running: Vec<JobKey> = {
            let ledger = self.ledger.lock();
            let running = ledger.records().filter(|(_, record)| record.state().status.is_locked());
            running.map(|(key, _)| key).collect()
        };
        let first = self.tasks.len();
        running.into_iter().for_each(|job| self.cancel(job));
        self.sync();
        for index in (first..self.tasks.len()).rev() {
            self.go_on(index);
        }
    }

    fn claim_all(&mut self) {
        while self.claim() > 0 {}
    }

    /// Lets every task go on once. True when one of them ended.
    fn go_on_everywhere(&mut self) -> bool {
        let before = self.tasks.len();
        for index in (0..before).rev() {
            self.go_on(index);
        }
        self.tasks.len() < before
    }

    /// People resume what waits for them, and call some of it off.
    fn help_those_who_wait(&mut self, round: usize) {
        let needs_help = |status, reason: Option<WaitReason>| {
            status == Status::Paused || reason.is_some_and(|reason| !reason.is_timed())
        };
        let waiting: Vec<JobKey> = {
            let ledger = self.ledger.lock();
            let waiting = ledger.records().filter(|(_, record)| {
                let state = record.state();
                needs_help(state.status, state.wait_reason)
            });
            waiting.map(|(key, _)| key).collect()
        };
        for job in waiting {
            // Some wait for a plug-in that nobody activates.
            if self.draw.chance(20) || round > 100 {
                self.cancel(job);
            } else {
                self.steer(job, Order::Resume);
            }
        }
        if self.draw.chance(5) {
            self.steer_any();
        }
    }

    /// I13: a cancel ends the job within the grace, once the host is there and time passes.
    fn check_cancels(&self, healing_since: Timestamp) {
        let now = self.clock.now();
        let slack = Duration::from_secs(2);
        for (key, record) in self.ledger.lock().records() {
            let state = record.state();
            let asked_on = state.cancel_requested_on.unwrap_or(now).max(healing_since);
            let is_late = state.status == Status::Canceling && now > asked_on.after(CANCEL_GRACE + slack);
            assert!(!is_late, "I13, {key:?}: still canceling {:?} after it was asked", now.since(asked_on));
        }
    }

    fn all_ended(&self) -> bool {
        self.submits > 0 && self.ledger.lock().records().all(|(_, record)| record.state().status.is_final())
    }

    /// Lets everything go on that somebody paused.
    fn let_go_on(&mut self) {
        let queues = self.store.queues().expect("memory can be read");
        queues.into_iter().filter(|queue| queue.pause.is_some()).for_each(|queue| self.pause_queue(queue.name, false));
        let plugins = self.host.registry.list(TenantId::DEFAULT);
        let paused = plugins.iter().filter(|plugin| plugin.pause.is_some());
        paused.for_each(|plugin| self.pause_plugin(plugin.name.clone(), false));
    }
}
