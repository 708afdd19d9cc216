//! The feed hears of every commit, once, in order, before anybody is answered.

use std::sync::{Arc, Mutex};

use backroom::domain::change::Change;
use backroom::domain::job::JobState;
use backroom::store::{News, Store};

use crate::common::*;

on_every_store!(
    the_feed_hears_of_accepted_commits_in_order,
    the_feed_comes_before_the_answer,
    what_was_answered_can_be_read,
);

fn listen(store: &dyn Store) -> Arc<Mutex<Vec<Vec<Change>>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&heard);
    store.feed(Arc::new(move |news: News<'_>| {
        if let News::Committed(changes) = news {
            ear.lock().expect("no test panics here").push(changes.to_vec());
        }
    }));
    heard
}

fn the_feed_hears_of_accepted_commits_in_order(store: &dyn Store) {
    let heard = listen(store);
    let commits = [
        vec![submit(1), submit(2)],
        vec![submit(1)],
        vec![advance(key(1), running(&JobState::default()))],
        vec![submit(3)],
    ];
    let pending: Vec<_> = commits.iter().map(|commit| store.commit(commit.clone())).collect();
    let results: Vec<_> = pending.into_iter().map(|pending| pending.wait().is_ok()).collect();
    assert_eq!(results, [true, false, true, true]);
    let heard = heard.lock().expect("no test panics here");
    assert_eq!(*heard, [commits[0].clone(), commits[2].clone(), commits[3].clone()]);
}

fn the_feed_comes_before_the_answer(store: &dyn Store) {
    let heard = listen(store);
    for sequence in 1..=50 {
        must(store, vec![submit(sequence)]);
        assert_eq!(heard.lock().expect("no test panics here").len() as u64, sequence);
    }
}

fn what_was_answered_can_be_read(store: &dyn Store) {
    std::thread::scope(|scope| {
        for writer in 0..4 {
            scope.spawn(move || {
                for step in 0..50 {
                    let sequence = store.reserve(1).0;
                    must(store, vec![submit(sequence)]);
                    assert!(job(store, sequence).is_some(), "writer {writer}, step {step}");
                    let claimed = running(&JobState::default());
                    must(store, vec![advance(key(sequence), claimed.clone())]);
                    assert_eq!(state(store, sequence), claimed);
                }
            });
        }
    });
    assert_eq!(store.locked().map(|jobs| jobs.len()), Ok(200));
}
