//! Whether the service runs.

use serde::{Deserialize, Serialize};

use super::queue::Pause;
use crate::domain::service;
use crate::stored::shape::{Unfit, shape};

/// The word for it.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::stored) enum Mode {
    Running,
    Draining,
    Paused,
}

shape! {
    /// The state of the service.
    ServiceState<'a> {
        always {
            mode: Mode,
        }
        later {
            pause: Option<Pause<'a>>,
        }
    }
}

impl<'a> From<&'a service::ServiceState> for ServiceState<'a> {
    fn from(state: &'a service::ServiceState) -> Self {
        match state {
            service::ServiceState::Running => Self { mode: Mode::Running, pause: None },
            service::ServiceState::Draining => Self { mode: Mode::Draining, pause: None },
            service::ServiceState::Paused(pause) => Self { mode: Mode::Paused, pause: Some(pause.into()) },
        }
    }
}

impl TryFrom<ServiceState<'_>> for service::ServiceState {
    type Error = Unfit;

    fn try_from(shape: ServiceState<'_>) -> Result<Self, Unfit> {
        match (shape.mode, shape.pause) {
            (Mode::Running, None) => Ok(Self::Running),
            (Mode::Draining, None) => Ok(Self::Draining),
            (Mode::Paused, Some(pause)) => Ok(Self::Paused(pause.into())),
            _ => Err(Unfit("a service that is paused has a `pause`, and no other has".to_owned())),
        }
    }
}
