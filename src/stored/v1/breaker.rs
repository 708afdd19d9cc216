//! The circuit breaker of a plug-in.

use super::leaf::{Bits, Span, Text, Time, parsed};
use crate::domain::breaker;
use crate::domain::id::{PluginName, TenantId};
use crate::stored::shape::{Unfit, shape};

shape! {
    /// A breaker.
    PluginBreaker<'a> {
        always {
            plugin: Text<'a>,
        }
        later {
            tenant: u32,
            failures: Bits,
            ends: u32,
            pause: Option<Pause>,
        }
    }
}

shape! {
    /// What an open or half-open one waits for.
    Pause {
        always {
            until: Time,
            length: Span,
        }
        later {
            probe: Option<Time>,
        }
    }
}

impl<'a> From<&'a breaker::PluginBreaker> for PluginBreaker<'a> {
    fn from(kept: &'a breaker::PluginBreaker) -> Self {
        let breaker::PluginBreaker { tenant, plugin, breaker: breaker::Breaker { failures, ends, pause } } = kept;
        Self {
            plugin: plugin.as_str().into(),
            tenant: tenant.0,
            failures: Bits(*failures),
            ends: *ends,
            pause: pause.as_ref().map(|breaker::Pause { until, length, probe }| Pause {
                until: (*until).into(),
                length: (*length).into(),
                probe: probe.map(Time::from),
            }),
        }
    }
}

impl TryFrom<PluginBreaker<'_>> for breaker::PluginBreaker {
    type Error = Unfit;

    fn try_from(shape: PluginBreaker<'_>) -> Result<Self, Unfit> {
        let pause = shape.pause.map(|Pause { until, length, probe }| breaker::Pause {
            until: until.into(),
            length: length.into(),
            probe: probe.map(Into::into),
        });
        Ok(Self {
            tenant: TenantId(shape.tenant),
            plugin: parsed(&shape.plugin, PluginName::new)?,
            breaker: breaker::Breaker { failures: shape.failures.0, ends: shape.ends, pause },
        })
    }
}
