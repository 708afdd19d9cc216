//! Requests that come again: by what the same submit is known, and what the first one has made.

use std::time::Duration;

use super::{Jobs, NewJob, SubmitError};
use crate::domain::change::RememberedSubmit;
use crate::domain::id::{ConcurrencyKey, DedupKey, HandlerName, JobId, OrderingKey, RecordName, TenantId, VersionName};
use crate::domain::idempotency::{IdempotencyKey, RequestHash, key_of_end};
use crate::domain::job::{Job, Occurrence, OnPredecessorFailure, Ties};
use crate::domain::time::Timestamp;
use crate::store::ReadError;

impl Jobs {
    /// What the first request of a key was answered with; nothing when this is the first.
    pub(super) fn first_answer(
        &self,
        tenant: TenantId,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<RememberedSubmit>, SubmitError> {
        let Some(key) = key else { return Ok(None) };
        Ok(key.first(self.store.remembered(tenant, key.kept())?, self.clock.now())?)
    }

    /// A job that a key stands for: as it is, or as it ended where it went with its end.
    pub(super) fn job_of(&self, tenant: TenantId, key: &IdempotencyKey, id: JobId) -> Result<Job, SubmitError> {
        let there = self.get(tenant, id)?;
        let found = there.map_or_else(|| self.end_of(tenant, id), |job| Ok(Some(job)))?;
        found.ok_or_else(|| key.of_deleted(id).into())
    }

    /// How a job ended that was deleted with its end, where that is kept.
    fn end_of(&self, tenant: TenantId, id: JobId) -> Result<Option<Job>, ReadError> {
        let kept = self.store.remembered(tenant, &key_of_end(id))?.filter(|kept| kept.until > self.clock.now());
        Ok(kept.and_then(|kept| kept.end).map(|end| *end))
    }
}

impl NewJob {
    /// What the caller asks for: the same said again is the same submit. The names of the fields are kept with the keys, as their
    /// hash; a new one gets a name of its own, and is absent where nobody asks for it.
    pub(super) fn asked(&self) -> RequestHash {
        let micros = |span: Duration| span.as_micros().to_le_bytes();
        let time = |time: Timestamp| time.as_micros().to_le_bytes();
        let asked = RequestHash::of("a job")
            .with("plugin", self.plugin.as_str())
            .with_if("handler", self.handler.as_ref().map(HandlerName::as_str))
            .with_if("input", Some(&self.input).filter(|input| !input.is_empty()))
            .with_if("name", self.name.as_ref())
            .with_list("args", &self.args)
            .with_list("env", self.env.iter().flat_map(|(name, value)| [name, value]))
            .with("queue", self.queue.as_str())
            .with_if("priority", Some(self.priority.to_le_bytes()).filter(|_| self.priority != 0))
            // A span counts as it was said: the time that it leads to is another one when it is said again.
            .with_if("at", self.at.filter(|_| self.at_in.is_none()).map(time))
            .with_if("at_in", self.at_in.map(micros))
            .with_if("expires_on", self.expires_on.filter(|_| self.expires_in.is_none()).map(time))
            .with_if("expires_in", self.expires_in.map(micros))
            .with_list("tags", &self.tags)
            .with_if("max_attempts", self.max_attempts.map(u32::to_le_bytes))
            .with_if("version", self.version.as_ref().map(VersionName::as_str))
            .with_if("deadline", self.deadline.map(micros))
            .with_if("auto_delete", self.auto_delete.then_some([1]))
            .with_if("parent", self.parent.map(|id| id.0.into_bytes()));
        with_ties(asked, &self.ties)
    }

    /// What a request for many jobs asks for.
    pub fn all_asked(kind: RequestHash, news: &[Self]) -> RequestHash {
        kind.with_list("jobs", news.iter().map(|new| new.asked().number().to_le_bytes()))
    }
}

fn with_ties(asked: RequestHash, ties: &Ties) -> RequestHash {
    let Ties {
        ordering_key,
        concurrency_key,
        after,
        on_predecessor_failure,
        dedup_key,
        regarding,
        batch,
        occurrence,
        retry_of,
        on_complete,
        // It follows from the key itself.
        is_remembered: _,
    } = ties;
    let minds = *on_predecessor_failure != OnPredecessorFailure::default();
    let occurrence = occurrence.as_ref().map(|Occurrence { schedule, scheduled_for }| {
        [schedule.as_str().as_bytes(), &scheduled_for.as_micros().to_le_bytes()].map(<[u8]>::to_vec)
    });
    asked
        .with_if("ordering_key", ordering_key.as_ref().map(OrderingKey::as_str))
        .with_if("concurrency_key", concurrency_key.as_ref().map(ConcurrencyKey::as_str))
        .with_list("after", after.iter().map(|id| id.0.into_bytes()))
        .with_if("on_predecessor_failure", minds.then_some(on_predecessor_failure.word()))
        .with_if("dedup_key", dedup_key.as_ref().map(DedupKey::as_str))
        .with_if("regarding", regarding.as_ref().map(RecordName::as_str))
        .with_if("batch", batch.map(|id| id.0.into_bytes()))
        .with_list("occurrence", occurrence.into_iter().flatten())
        .with_if("retry_of", retry_of.map(|id| id.0.into_bytes()))
        .with_if("on_complete_plugin", on_complete.as_ref().map(|next| next.plugin.as_str()))
        .with_if("on_complete_handler", on_complete.as_ref().map(|next| next.handler.as_str()))
        .with_if("on_complete_queue", on_complete.as_ref().map(|next| next.queue.as_str()))
        .with_if("on_complete_url", on_complete.as_ref().and_then(|next| next.url.as_ref()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::id::{PluginName, QueueName, ScheduleName, Sequence};
    use crate::domain::job::FollowUp;

    fn plain() -> NewJob {
        NewJob::new(PluginName::new("echo").expect("a name"), "")
    }

    fn id(number: u64) -> JobId {
        JobId::new(Timestamp(1_790_000_000_123_456), Sequence(number), 7)
    }

    /// A way to ask for something more.
    type Ask = fn(&mut NewJob);

    /// Each field that a caller may ask for, with the number of a submit that asks for it alone. They are kept on people's disks.
    const ASKS: &[(&str, Ask, u64)] = &[
        ("nothing", |_| {}, 0xf360e09fc736e446),
        ("plugin", |new| new.plugin = PluginName::new("other").expect("a name"), 0xea550e0facf08ee9),
        ("handler", |new| new.handler = HandlerName::new("x").ok(), 0xcced084bc4d518fe),
        ("input", |new| new.input = "x".into(), 0x9dfd3cb4ee0614dc),
        ("name", |new| new.name = Some("x".to_owned()), 0xbf39af3c221efe92),
        ("args", |new| new.args = vec!["x".to_owned()], 0x46f34c569a4ace73),
        ("env", |new| new.env = vec![("x".to_owned(), "y".to_owned())], 0xd585dcf061dda5ec),
        ("queue", |new| new.queue = QueueName::new("x").expect("a name"), 0x3bd622443a191bc3),
        ("priority", |new| new.priority = 1, 0xbe5ae9cb5f6103ab),
        ("at", |new| new.at = Some(Timestamp(1)), 0x62f71a65493431e7),
        ("at_in", |new| (new.at, new.at_in) = (Some(Timestamp(2)), Some(Duration::from_micros(1))), 0xb9c81ecf6e5d0064),
        ("expires_on", |new| new.expires_on = Some(Timestamp(1)), 0x9cc3f9934c896a28),
        (
            "expires_in",
            |new| (new.expires_on, new.expires_in) = (Some(Timestamp(2)), Some(Duration::from_micros(1))),
            0xba57f48052d30390,
        ),
        ("tags", |new| new.tags = vec!["x".to_owned()], 0xff277f27bfa26ac5),
        ("max_attempts", |new| new.max_attempts = Some(1), 0x5260a534ebe7ede1),
        ("version", |new| new.version = VersionName::new("1.0.0").ok(), 0x2cf64ebee605144d),
        ("deadline", |new| new.deadline = Some(Duration::from_micros(1)), 0xd6e6bb5e290518f0),
        ("auto_delete", |new| new.auto_delete = true, 0xb471c92183215cdb),
        ("parent", |new| new.parent = Some(id(1)), 0x2467954b12964d0a),
        ("ordering_key", |new| new.ties.ordering_key = OrderingKey::new("x/y").ok(), 0x912dc90e3049306d),
        ("concurrency_key", |new| new.ties.concurrency_key = ConcurrencyKey::new("x/y").ok(), 0x3e5bb068a6d8acd1),
        ("after", |new| new.ties.after = vec![id(1)], 0xab1fd592dee247dd),
        (
            "on_predecessor_failure",
            |new| new.ties.on_predecessor_failure = OnPredecessorFailure::Block,
            0x7653773e581d8e8b,
        ),
        ("dedup_key", |new| new.ties.dedup_key = DedupKey::new("x/y").ok(), 0x643bedb1a9773062),
        ("regarding", |new| new.ties.regarding = RecordName::new("x/y").ok(), 0x3c4a82c7838c1721),
        ("batch", |new| new.ties.batch = Some(id(1)), 0xfdf815e6aec7c0bb),
        (
            "occurrence",
            |new| {
                let schedule = ScheduleName::new("x").expect("a name");
                new.ties.occurrence = Some(Occurrence { schedule, scheduled_for: Timestamp(1) });
            },
            0x97ca7c8abb595cc6,
        ),
        ("retry_of", |new| new.ties.retry_of = Some(id(1)), 0x1efc559b915a605a),
        ("on_complete", |new| new.ties.on_complete = Some(follow_up("other")), 0xede637a61af52eb6),
        ("on_complete_plugin", |new| new.ties.on_complete = Some(follow_up("another")), 0x374637572e194ebe),
        (
            "on_complete_url",
            |new| new.ties.on_complete = Some(FollowUp { url: Some("x".to_owned()), ..follow_up("other") }),
            0x90a7768f5c7560af,
        ),
    ];

    fn follow_up(plugin: &str) -> FollowUp {
        let plugin = PluginName::new(plugin).expect("a name");
        FollowUp { plugin, handler: HandlerName::default_handle(), queue: QueueName::default_queue(), url: None }
    }

    fn number(asks: &[Ask]) -> u64 {
        let mut new = plain();
        asks.iter().for_each(|ask| ask(&mut new));
        new.asked().number()
    }

    #[test]
    fn what_a_submit_is_known_by_stays_from_release_to_release() {
        let today: Vec<_> = ASKS.iter().map(|(name, ask, _)| (*name, number(&[*ask]))).collect();
        let pinned: Vec<_> = ASKS.iter().map(|(name, _, number)| (*name, *number)).collect();
        assert_eq!(today, pinned);
    }

    #[test]
    fn each_field_counts_and_the_same_value_in_another_field_is_another_submit() {
        let mut asked = BTreeMap::new();
        for (name, ask, _) in ASKS {
            let earlier = asked.insert(number(&[*ask]), *name);
            assert_eq!(earlier, None, "{name}");
        }
        // Two at a time: each pair is another submit, in whatever order they are asked for.
        for (index, (first, ask_first, _)) in ASKS.iter().enumerate().skip(1) {
            for (second, ask_second, _) in &ASKS[index + 1..] {
                let (one, other) = (number(&[*ask_first, *ask_second]), number(&[*ask_second, *ask_first]));
                let replaces = one != other || asked.contains_key(&one);
                let alike = ["at", "expires", "on_complete"]
                    .iter()
                    .any(|name| first.starts_with(name) && second.starts_with(name));
                assert_eq!(replaces, alike, "{first} and {second}");
            }
        }
    }

    #[test]
    fn what_is_said_of_the_caller_and_the_key_counts_nothing() {
        let mut new = plain();
        new.by = Some("somebody".to_owned());
        new.ties.is_remembered = true;
        new.at = None;
        assert_eq!(new.asked().number(), plain().asked().number());
    }
}
