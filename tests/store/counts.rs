//! Counts by plug-in are kept up with every change.

use backroom::domain::change::Change;
use backroom::domain::id::TenantId;
use backroom::domain::job::Status;
use backroom::store::Store;

use crate::common::*;

on_every_store!(counts_follow_every_change, tenants_are_counted_apart);

fn counts(store: &dyn Store, tenant: u32) -> Vec<(String, Vec<(Status, u64)>)> {
    let counts = store.counts(TenantId(tenant)).expect("it can be read");
    let by_status = |counts: backroom::domain::query::Counts| {
        let all = Status::ALL.into_iter().map(|status| (status, counts.of(status)));
        all.filter(|(_, count)| *count > 0).collect()
    };
    counts.into_iter().map(|(plugin, counts)| (plugin.to_string(), by_status(counts))).collect()
}

fn counts_follow_every_change(store: &dyn Store) {
    let mut other = submission(9);
    other.plugin = plugin("billing");
    must(store, (1..=4).map(submit).chain([submit_as(other)]).collect());
    let billing = ("billing".to_owned(), vec![(Status::Queued, 1)]);
    assert_eq!(counts(store, 0), [billing.clone(), ("mailer".to_owned(), vec![(Status::Queued, 4)])]);
    step(store, 1, running);
    step(store, 2, |state| waiting(state, 9));
    step(store, 3, |state| ended(state, Status::Failed));
    let wanted = vec![(Status::Queued, 1), (Status::Waiting, 1), (Status::Running, 1), (Status::Failed, 1)];
    assert_eq!(counts(store, 0), [billing.clone(), ("mailer".to_owned(), wanted)]);
    for sequence in 1..=4 {
        let expected = state(store, sequence).revision;
        must(store, vec![Change::Delete { job: key(sequence), expected }]);
    }
    assert_eq!(counts(store, 0), [billing]);
}

fn tenants_are_counted_apart(store: &dyn Store) {
    let mut other = submission(2);
    other.tenant = TenantId(3);
    must(store, vec![submit(1), submit_as(other)]);
    let wanted = [("mailer".to_owned(), vec![(Status::Queued, 1)])];
    assert_eq!(counts(store, 0), wanted);
    assert_eq!(counts(store, 3), wanted);
    assert_eq!(counts(store, 1), []);
}
