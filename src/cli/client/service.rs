//! The host as a whole: its state, queues and tokens.

use std::io::Read;

use serde::Serialize;

use super::{Answer, Client, segment};
use crate::api::view::{CountsView, NewTokenView, QueueListView, QueueView, ServiceView, TokenBody, TokenListView};
use crate::store::backup::Packing;

impl Client {
    /// How the host is doing.
    pub(crate) fn service(&self) -> anyhow::Result<Answer<ServiceView>> {
        self.get("/v1/service")
    }

    /// Pauses, resumes or drains the host.
    pub(crate) fn steer_service(&self, verb: &str, why: &impl Serialize) -> anyhow::Result<Answer<ServiceView>> {
        self.post_json(&format!("/v1/service/{verb}"), why)
    }

    /// How many jobs stand where.
    pub(crate) fn counts(&self) -> anyhow::Result<Answer<CountsView>> {
        self.get("/v1/counts")
    }

    /// Everything that the host remembers, as one file.
    pub(crate) fn backup(&self, packing: Packing) -> anyhow::Result<impl Read + Send + 'static> {
        let compress = match packing {
            Packing::Plain => "none",
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
        };
        let request = self.with_token(self.agent.post(self.url("/v1/store/backup")));
        let response = self.accepted(request.query("compress", compress).send_empty())?;
        Ok(response.into_body().into_reader())
    }

    /// Makes a token.
    pub(crate) fn create_token(&self, token: &TokenBody) -> anyhow::Result<Answer<NewTokenView>> {
        self.post_json("/v1/tokens", token)
    }

    /// Lists the tokens.
    pub(crate) fn tokens(&self) -> anyhow::Result<Answer<TokenListView>> {
        self.get("/v1/tokens")
    }

    /// Takes a token back; the last one only when that is said.
    pub(crate) fn revoke_token(&self, name: &str, last: bool) -> anyhow::Result<()> {
        let url = self.url(&format!("/v1/tokens/{}", segment(name)));
        let request = self.with_token(self.agent.delete(url));
        self.accepted(request.query_pairs(last.then_some(("last", "true"))).call()).map(drop)
    }

    /// How the queues do.
    pub(crate) fn queues(&self) -> anyhow::Result<Answer<QueueListView>> {
        self.get("/v1/queues")
    }

    /// Pauses or resumes a queue.
    pub(crate) fn steer_queue(
        &self,
        name: &str,
        verb: &str,
        why: &impl Serialize,
    ) -> anyhow::Result<Answer<QueueView>> {
        self.post_json(&format!("/v1/queues/{}/{verb}", segment(name)), why)
    }
}
