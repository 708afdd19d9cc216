//! The window of ready jobs never loses one, whatever comes while the scheduler reads the store.

use std::sync::Arc;

use backroom::clock::SimulatedClock;
use backroom::domain::admission::AdmissionPolicy;
use backroom::domain::change::Change;
use backroom::domain::id::{JobId, PluginName, Sequence};
use backroom::domain::job::{Job, JobState, Submission};
use backroom::domain::queue::Lane;
use backroom::domain::time::Timestamp;
use backroom::store::News;
use backroom::worker::Window;

fn job(sequence: u64) -> Job {
    let id = JobId::new(Timestamp::default(), Sequence(sequence), 0);
    let submission = Submission::new(id, PluginName::new("echo").expect("a slug"), Timestamp::default());
    Job { submission: Arc::new(submission), state: JobState::default() }
}

fn commit(window: &Window, job: &Job) {
    let change = Change::Submit(Arc::clone(&job.submission), Box::new(job.state.clone()));
    window.heard(News::Committed(&[change]));
}

fn wants_more(window: &Window) -> bool {
    window.wanted().iter().any(|(wanted, _)| *wanted == lane())
}

fn lane() -> Lane {
    Lane::of(&job(1).submission)
}

#[test]
fn a_job_that_comes_while_the_store_is_read_is_looked_for_again() {
    let window = Arc::new(Window::new(AdmissionPolicy::default(), Arc::new(SimulatedClock::default())));
    assert!(window.wants_lanes(), "a new window expects the store to hold jobs");
    commit(&window, &job(1));
    assert!(wants_more(&window), "a lane that comes before the first look may have more in the store");
    window.note_lanes(vec![lane()]);
    commit(&window, &job(2));
    window.refill(&lane(), Vec::new(), 8_192);
    assert!(wants_more(&window), "the reading was older than the job");
    window.refill(&lane(), vec![job(1), job(2)], 8_192);
    assert!(!wants_more(&window));
    assert_eq!(window.take(9).len(), 2);
    commit(&window, &job(3));
    assert_eq!(window.take(9).len(), 1, "from now on new jobs come by the feed");
}
