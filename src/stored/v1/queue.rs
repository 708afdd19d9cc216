//! What people have asked of a queue; and a pause, as plug-ins and the service have one, too.

use super::leaf::{Text, Time, parsed};
use crate::domain::id::QueueName;
use crate::domain::queue;
use crate::stored::shape::{Unfit, shape};

shape! {
    /// A queue.
    QueueState<'a> {
        always {
            name: Text<'a>,
            revision: u32,
        }
        later {
            pause: Option<Pause<'a>>,
        }
    }
}

shape! {
    /// That nothing starts for now.
    Pause<'a> {
        always {
            since: Time,
        }
        later {
            by: Option<Text<'a>>,
            reason: Option<Text<'a>>,
            until: Option<Time>,
        }
    }
}

impl<'a> From<&'a queue::QueueState> for QueueState<'a> {
    fn from(queue: &'a queue::QueueState) -> Self {
        let queue::QueueState { name, revision, pause } = queue;
        Self { name: name.as_str().into(), revision: *revision, pause: pause.as_ref().map(Pause::from) }
    }
}

impl TryFrom<QueueState<'_>> for queue::QueueState {
    type Error = Unfit;

    fn try_from(shape: QueueState<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            name: parsed(&shape.name, QueueName::new)?,
            revision: shape.revision,
            pause: shape.pause.map(Into::into),
        })
    }
}

impl<'a> From<&'a queue::Pause> for Pause<'a> {
    fn from(pause: &'a queue::Pause) -> Self {
        let queue::Pause { since, by, reason, until } = pause;
        Self {
            since: (*since).into(),
            by: by.as_ref().map(Text::from),
            reason: reason.as_ref().map(Text::from),
            until: until.map(Time::from),
        }
    }
}

impl From<Pause<'_>> for queue::Pause {
    fn from(shape: Pause<'_>) -> Self {
        Self {
            since: shape.since.into(),
            by: shape.by.map(String::from),
            reason: shape.reason.map(String::from),
            until: shape.until.map(Into::into),
        }
    }
}
