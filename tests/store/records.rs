//! Runs, plug-ins and the state of the service.

use std::collections::BTreeSet;

use backroom::domain::change::Change;
use backroom::domain::id::{Digest, TenantId, VersionName};
use backroom::domain::job::{JobState, Status};
use backroom::domain::plugin::{Inspection, Plugin, PluginVersion, Shape, Wishes};
use backroom::domain::queue::Pause;
use backroom::domain::service::ServiceState;
use backroom::store::{CommitError, RUNS_READ_MAX, Store};

use crate::common::*;

on_every_store!(
    runs_are_listed_oldest_first,
    of_very_many_runs_the_last_are_read,
    a_plugin_follows_its_revision,
    a_large_plugin_comes_back,
    plugins_are_by_tenant_and_name,
    the_service_state_is_kept,
    breakers_are_kept_while_they_are_not_closed,
    tokens_are_by_tenant_and_name,
);

fn runs_are_listed_oldest_first(store: &dyn Store) {
    must(store, vec![submit(1), submit(2)]);
    assert_eq!(store.runs(key(1)), Ok(Vec::new()));
    for number in 1..=12 {
        step(store, 1, running);
        let mut next = queued(&state(store, 1));
        next.last_run = Some(run(number));
        let earlier_run = (number > 1).then(|| run(number - 1));
        must(
            store,
            vec![Change::Advance { job: key(1), expected: next.revision - 1, next: Box::new(next), earlier_run }],
        );
    }
    step(store, 1, running);
    let found = store.runs(key(1)).expect("it can be read");
    assert_eq!(found.iter().map(|run| run.number).collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
    assert_eq!(found[3], run(4));
    step(store, 2, running);
    step(store, 2, |state| ended(state, Status::Succeeded));
    assert_eq!(store.runs(key(2)), Ok(vec![run(1)]));
    assert_eq!(store.runs(key(3)), Ok(Vec::new()));
}

fn of_very_many_runs_the_last_are_read(store: &dyn Store) {
    let (last, read) = (1_030, u32::try_from(RUNS_READ_MAX).expect("it is small"));
    must(store, vec![submit(1)]);
    let mut present = state(store, 1);
    let mut pending = Vec::new();
    for number in 1..=last {
        let started = running(&present);
        let ended = JobState { last_run: Some(run(number)), ..queued(&started) };
        let earlier_run = (number > 1).then(|| run(number - 1));
        pending.push(store.commit(vec![advance(key(1), started)]));
        let (expected, next) = (ended.revision - 1, Box::new(ended.clone()));
        pending.push(store.commit(vec![Change::Advance { job: key(1), expected, next, earlier_run }]));
        present = ended;
    }
    pending.into_iter().for_each(|pending| pending.wait().expect("it follows"));
    let found = store.runs(key(1)).expect("it can be read");
    let numbers: Vec<_> = found.iter().map(|run| run.number).collect();
    assert_eq!(numbers, (last - read + 1..=last).collect::<Vec<_>>());
}

fn a_plugin(tenant: u32, name: &str, revision: u32) -> Plugin {
    let version = |number: u32| PluginVersion {
        version: VersionName::new(&format!("1.0.{number}")).expect("it is a version"),
        inspection: Inspection {
            shape: Shape::Handler,
            imports: vec!["wasi:clocks/monotonic-clock@0.2.0".to_owned()],
            exports: vec!["backroom:plugin/handler@0.1.0".to_owned()],
            handlers: None,
            digest: Digest([u8::try_from(number % 256).expect("it is a remainder"); 32]),
            bytes: 1234,
        },
        wishes: Wishes { wants: BTreeSet::new(), ..Wishes::default() },
        uploaded_on: time(5),
        is_pending: false,
    };
    Plugin {
        tenant: TenantId(tenant),
        name: plugin(name),
        revision,
        versions: (1..=revision).map(version).collect(),
        active: None,
        previous: None,
        pause: Some(Pause::default()),
        disabled: false,
        grants: Vec::new(),
    }
}

fn a_plugin_follows_its_revision(store: &dyn Store) {
    let put = |revision| commit(store, vec![Change::put(a_plugin(0, "mailer", revision))]);
    let conflict = Err(CommitError::Conflict { index: 0 });
    assert_eq!(put(2), conflict);
    assert_eq!(put(1), Ok(()));
    assert_eq!(put(1), conflict);
    assert_eq!(put(2), Ok(()));
    assert_eq!(store.plugins(), Ok(vec![a_plugin(0, "mailer", 2)]));
    let remove = |expected| Change::remove(&a_plugin(0, "mailer", expected));
    assert_eq!(commit(store, vec![remove(1)]), conflict);
    assert_eq!(commit(store, vec![remove(2)]), Ok(()));
    assert_eq!(commit(store, vec![remove(2)]), conflict);
    assert_eq!(store.plugins(), Ok(Vec::new()));
    // Removed and made again in one commit.
    assert_eq!(put(1), Ok(()));
    must(store, vec![remove(1), Change::put(a_plugin(0, "mailer", 1))]);
    assert_eq!(store.plugins(), Ok(vec![a_plugin(0, "mailer", 1)]));
}

fn a_large_plugin_comes_back(store: &dyn Store) {
    for revision in 1..=150 {
        must(store, vec![Change::put(a_plugin(0, "mailer", revision))]);
    }
    assert_eq!(store.plugins(), Ok(vec![a_plugin(0, "mailer", 150)]));
}

fn plugins_are_by_tenant_and_name(store: &dyn Store) {
    let put = |tenant, name: &str| must(store, vec![Change::put(a_plugin(tenant, name, 1))]);
    put(1, "alpha");
    put(0, "beta");
    put(0, "alpha");
    let found = store.plugins().expect("it can be read");
    let names: Vec<_> = found.iter().map(|plugin| (plugin.tenant.0, plugin.name.as_str())).collect();
    assert_eq!(names, [(0, "alpha"), (0, "beta"), (1, "alpha")]);
}

fn the_service_state_is_kept(store: &dyn Store) {
    assert_eq!(store.service(), Ok(ServiceState::Running));
    must(store, vec![Change::put(ServiceState::Paused(Pause::default()))]);
    assert_eq!(store.service(), Ok(ServiceState::Paused(Pause::default())));
}

fn breakers_are_kept_while_they_are_not_closed(store: &dyn Store) {
    let put = |breaker| must(store, vec![Change::put(breaker)]);
    assert_eq!(store.breakers(), Ok(Vec::new()));
    put(breaker(1, "mailer", Some(3)));
    put(breaker(0, "poster", Some(4)));
    put(breaker(0, "mailer", Some(5)));
    put(breaker(0, "caller", None));
    let of_mailer = |second| breaker(0, "mailer", Some(second));
    let (poster, foreign) = (breaker(0, "poster", Some(4)), breaker(1, "mailer", Some(3)));
    assert_eq!(store.breakers(), Ok(vec![of_mailer(5), poster.clone(), foreign.clone()]));
    put(of_mailer(6));
    assert_eq!(store.breakers(), Ok(vec![of_mailer(6), poster, foreign.clone()]));
    must(store, vec![Change::put(breaker(0, "mailer", None)), Change::put(breaker(0, "poster", None))]);
    assert_eq!(store.breakers(), Ok(vec![foreign]));
}

fn tokens_are_by_tenant_and_name(store: &dyn Store) {
    assert_eq!(store.tokens(), Ok(Vec::new()));
    must(store, vec![put_token(token(1, "shop")), put_token(token(0, "shop"))]);
    must(store, vec![put_token(token(0, "bank"))]);
    assert_eq!(store.tokens(), Ok(vec![token(0, "bank"), token(0, "shop"), token(1, "shop")]));
    must(store, vec![remove_token(0, "shop")]);
    assert_eq!(store.tokens(), Ok(vec![token(0, "bank"), token(1, "shop")]));
}
