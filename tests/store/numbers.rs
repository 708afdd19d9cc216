//! Numbers that are given out once.

use std::collections::BTreeSet;

use backroom::domain::change::Change;
use backroom::domain::id::HostId;
use backroom::store::Store;

use crate::common::*;

on_every_store!(reserved_sequences_never_repeat, a_host_number_grows);

fn reserved_sequences_never_repeat(store: &dyn Store) {
    let taken = std::thread::scope(|scope| {
        let take = || {
            let mut taken = Vec::new();
            for count in [1, 1000, 1, 70_000, 3] {
                let first = store.reserve(count).0;
                taken.extend([first, first + count - 1]);
            }
            taken
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it ends well")).collect::<Vec<_>>()
    });
    assert!(taken.iter().all(|sequence| *sequence > 0));
    // A range of one has the same first and last.
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 4 * 8);
}

fn a_host_number_grows(store: &dyn Store) {
    let first = store.next_host();
    let second = store.next_host();
    assert!(second > first);
    must(store, vec![Change::StartHost(HostId(second.0 + 5))]);
    assert!(store.next_host() > second);
}
