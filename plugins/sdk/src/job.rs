/// Milliseconds since the Unix epoch, UTC.
pub type UnixMillis = i64;

/// What the host tells a handler of the job that it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The job's identifier, a UUID.
    pub id: String,
    /// The name that people see in lists.
    pub name: String,
    /// The owner of the job.
    pub tenant: String,
    /// The plug-in that runs, by name.
    pub plugin: String,
    /// The plug-in's version.
    pub version: String,
    /// The entry point that was asked for; `handle` unless the submit named another.
    pub handler: String,
    /// 1 on the first attempt.
    pub attempt: u32,
    /// After this many attempts the job fails for good.
    pub max_attempts: u32,
    /// 1 on the first run; an attempt that yields or is released runs again under the same attempt.
    pub run: u32,
    /// The same for every attempt of this job: give it to whatever you call.
    pub idempotency_key: String,
    /// When the job was submitted.
    pub created_on: UnixMillis,
    /// The wall-clock limit of this run.
    pub deadline: UnixMillis,
    /// Shared by all jobs that one cause brought about.
    pub correlation_id: String,
    /// Calls since the first of this chain; the host stops a chain that grows too deep.
    pub depth: u32,
    /// Free words that the submit attached.
    pub tags: Vec<String>,
    /// The event that caused the job, when one did.
    pub event: Option<Event>,
}

/// The event that caused a job. Documents travel as JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened, such as `create` or `update`.
    pub message: String,
    /// The kind of record that it happened to.
    pub entity: String,
    /// The record, when there is one.
    pub id: Option<String>,
    /// The event's own document.
    pub data: Option<String>,
    /// Copies of the record that the subscription asked for, by name.
    pub images: Vec<(String, String)>,
}
