//! What is kept of a plug-in is bounded.

use std::sync::Arc;

use backroom::clock::SimulatedClock;
use backroom::domain::admission::AdmissionPolicy;
use backroom::domain::id::{PluginName, TenantId, VersionName};
use backroom::domain::plugin::Wishes;
use backroom::domain::time::Timestamp;
use backroom::registry::{InstallError, Upload, VERSIONS_MAX};
use backroom::sandbox::scripted::Script;
use backroom::store::memory::MemoryStore;
use parking_lot::Mutex;

use crate::host::Host;
use crate::ledger::Ledger;

fn upload(number: usize) -> Upload {
    Upload {
        tenant: TenantId::DEFAULT,
        name: PluginName::new("mailer").expect("a slug"),
        version: VersionName::new(&format!("1.0.{number}")).expect("a good version"),
        bytes: format!("\0asm{number}").into(),
        wishes: Wishes::default(),
    }
}

#[test]
fn a_plugin_has_so_many_versions_and_no_more() {
    let clock = SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000));
    let (store, ledger) = (Arc::new(MemoryStore::new()), Arc::new(Mutex::new(Ledger::new(AdmissionPolicy::default()))));
    let host = Host::directed(1, &store, &clock, &ledger, AdmissionPolicy::default(), |_| Script::succeeds("done"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
    runtime.block_on(async {
        for number in 0..VERSIONS_MAX {
            host.registry.upload(upload(number)).await.expect("there may be so many");
        }
        let error = host.registry.upload(upload(VERSIONS_MAX)).await.expect_err("there are enough");
        let InstallError::Rejected(rejection) = error else { panic!("{error}") };
        assert_eq!(rejection.code.name, "BR0230");
        assert_eq!(rejection.next.as_deref(), Some("backroom plugin remove mailer"));
        let again = host.registry.upload(upload(0)).await.expect("the same bytes are there already");
        assert!(again.repeated);
    });
}
