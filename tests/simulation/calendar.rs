//! Schedules among what people do: made, paused, resumed, run beside their rule, postponed, removed.

use std::sync::Arc;
use std::time::Duration;

use backroom::clock::Clock;
use backroom::domain::id::{ScheduleName, TenantId};
use backroom::domain::schedule::{Definition, JobTemplate, Misfire, Overlap, Recurrence, Start};
use backroom::domain::time::Timestamp;
use backroom::schedules::ScheduleError;

use crate::draw::Draw;
use crate::tasks::{Note, Task};
use crate::wishes::{PLUGINS, QUEUES, plugin_name, queue_name};
use crate::world::World;

/// Schedules that a life makes, at most. No name is used again: an occurrence is known by it.
const SCHEDULES_MAX: usize = 4;

impl World {
    /// Somebody makes a schedule, or does something with one that is there.
    pub(crate) fn schedule_something(&mut self) {
        let there = self.host.schedules.list(TenantId::DEFAULT).expect("memory can be read");
        match there.is_empty() || self.draw.chance(15) {
            true => self.make_schedule(),
            false => {
                let name = there[self.draw.index(there.len())].name.clone();
                self.steer_schedule(name);
            }
        }
    }

    fn make_schedule(&mut self) {
        if self.schedules_made >= SCHEDULES_MAX {
            return;
        }
        self.schedules_made += 1;
        let name = ScheduleName::new(&format!("schedule-{}", self.schedules_made)).expect("a slug");
        let now = self.clock.now();
        let definition = definition(&mut self.draw, now);
        self.note(|_| format!("{name}: {:?}, {:?}", definition.misfire, definition.overlap));
        let schedules = Arc::clone(&self.host.schedules);
        self.tasks.push(Task::new(format!("{name} is made"), async move {
            let input = Vec::new().into();
            done(schedules.create(TenantId::DEFAULT, name, definition, input, "somebody", now).await)
        }));
        self.go_on(self.tasks.len() - 1);
    }

    fn steer_schedule(&mut self, name: ScheduleName) {
        let choice = self.draw.choose(&[(2, "pause"), (4, "resume"), (4, "run"), (2, "postpone"), (1, "remove")]);
        let until = self.clock.now().after(Duration::from_secs(self.draw.below(3_600)));
        self.note(|_| format!("{choice} of {name}"));
        let schedules = Arc::clone(&self.host.schedules);
        self.tasks.push(Task::new(format!("{choice} of {name}"), async move {
            let tenant = TenantId::DEFAULT;
            match choice {
                "pause" => done(schedules.pause(tenant, &name, "somebody").await),
                "resume" => done(schedules.resume(tenant, &name, "somebody").await),
                "run" => done(schedules.run_now(tenant, &name, None).await),
                "postpone" => done(schedules.postpone(tenant, &name, until, "somebody").await),
                _ => done(schedules.remove(tenant, &name).await),
            }
        }));
        self.go_on(self.tasks.len() - 1);
    }

    /// A life ends only when nothing makes jobs any more.
    pub(crate) fn end_schedules(&mut self) {
        let there = self.host.schedules.list(TenantId::DEFAULT).expect("memory can be read");
        for name in there.into_iter().map(|schedule| schedule.name) {
            let schedules = Arc::clone(&self.host.schedules);
            self.tasks.push(Task::new(format!("end of {name}"), async move {
                done(schedules.remove(TenantId::DEFAULT, &name).await)
            }));
        }
    }
}

/// Somebody else may have been first, the state may not allow it, or the store may fail: all that shows in what is stored.
fn done<T>(_told: Result<T, ScheduleError>) -> Note {
    Note::Done
}

fn definition(draw: &mut Draw, now: Timestamp) -> Definition {
    let rules = ["FREQ=MINUTELY;INTERVAL=7", "FREQ=HOURLY", "FREQ=SECONDLY;INTERVAL=20;COUNT=30"];
    let rule = rules[draw.index(rules.len())];
    let recurrence = Recurrence::parse(rule, Start::At(now), None, &[] as &[&str]).expect("a good rule");
    let overlaps = [Overlap::Skip, Overlap::Queue, Overlap::Allow, Overlap::CancelPrevious];
    let target = JobTemplate {
        queue: queue_name(QUEUES[draw.index(QUEUES.len())]),
        ..JobTemplate::new(plugin_name(PLUGINS[0]))
    };
    Definition {
        recurrence,
        target,
        misfire: draw.choose(&[(2, Misfire::RunOnce), (1, Misfire::RunAll(3)), (1, Misfire::Skip)]),
        overlap: overlaps[draw.index(overlaps.len())],
        jitter: Duration::ZERO,
        start_left_out: false,
        at_once: false,
    }
}
