//! The window of ready jobs never loses one, whatever comes while the scheduler reads the store.

use std::sync::Arc;

use backroom::domain::change::Change;
use backroom::domain::id::{HandlerName, JobId, PluginName, QueueName, Sequence, TenantId};
use backroom::domain::job::{Job, JobState, JobType, Payload, Submission};
use backroom::domain::time::Timestamp;
use backroom::worker::{Lanes, Window};

fn job(sequence: u64) -> Job {
    let submission = Submission {
        id: JobId::new(Timestamp::default(), Sequence(sequence), 0),
        tenant: TenantId::DEFAULT,
        job_type: JobType::HANDLER,
        name: None,
        plugin: PluginName::new("echo").expect("a slug"),
        handler: HandlerName::default_handle(),
        input: Payload::default(),
        args: Vec::new(),
        env: Vec::new(),
        queue: QueueName::default_queue(),
        priority: 0,
        created_on: Timestamp::default(),
        created_by: None,
        not_before: None,
        expires_on: None,
        correlation_id: None,
        depth: 0,
        tags: Vec::new(),
        max_attempts: None,
    };
    Job { submission: Arc::new(submission), state: JobState::default() }
}

fn commit(window: &Window, job: &Job) {
    window.committed(&[Change::Submit(Arc::clone(&job.submission), Box::new(job.state.clone()))]);
}

fn wants_more(window: &Window) -> bool {
    window.wanted().iter().any(|(queue, _)| *queue == QueueName::default_queue())
}

#[test]
fn a_job_that_comes_while_the_store_is_read_is_looked_for_again() {
    let window = Window::new(Lanes::default());
    let queue = QueueName::default_queue();
    assert!(wants_more(&window), "a new window expects the store to hold jobs");
    commit(&window, &job(1));
    window.refill(&queue, Vec::new(), 8_192);
    assert!(wants_more(&window), "the reading was older than the job");
    window.refill(&queue, vec![job(1)], 8_192);
    assert!(!wants_more(&window));
    assert_eq!(window.take(9).len(), 1);
    commit(&window, &job(2));
    assert_eq!(window.take(9).len(), 1, "from now on new jobs come by the feed");
}
