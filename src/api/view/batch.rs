//! Batches on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{JobView, form};
use crate::domain::batch::Summary;

/// A batch and how its jobs do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchView {
    /// The batch itself, a job.
    pub batch: JobView,
    /// How its jobs do.
    pub jobs: SummaryView,
    /// Its jobs in the order of the lines, where it was just submitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<form::JobId>, inline)]
    pub ids: Vec<String>,
}

/// How the jobs of a batch do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SummaryView {
    /// All of them.
    pub total: u64,
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were called off.
    pub canceled: u64,
}

impl From<Summary> for SummaryView {
    fn from(summary: Summary) -> Self {
        let Summary { total, succeeded, failed, canceled } = summary;
        Self { total, succeeded, failed, canceled }
    }
}
