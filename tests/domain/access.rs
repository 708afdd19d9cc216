//! What rights are, how they are written, and whose jobs they reach to.

use backroom::domain::access::{BadRights, BadTokens, Caller, Denied, Reach, Right, Rights, Token, check_tokens};
use backroom::domain::id::{Digest, JobId, OrderingKey, PluginName, TenantId, TokenName};
use backroom::domain::job::Submission;
use backroom::domain::query::JobFilter;
use backroom::domain::time::Timestamp;
use proptest::prelude::*;

fn name(text: &str) -> TokenName {
    TokenName::new(text).expect("a name")
}

fn caller(called: &str, rights: &str) -> Caller {
    Caller { name: Some(name(called)), rights: rights.parse().expect("rights"), ..Caller::STRANGER }
}

fn job_of(owner: Option<&str>) -> Submission {
    let plugin = PluginName::new("echo").expect("a name");
    Submission { owner: owner.map(name), ..Submission::new(JobId::default(), plugin, Timestamp::default()) }
}

fn token(called: &str, rights: &str, expires_on: Option<i64>) -> Token {
    Token {
        tenant: TenantId::DEFAULT,
        name: name(called),
        digest: Digest([7; 32]),
        rights: rights.parse().expect("rights"),
        created_on: Timestamp::default(),
        created_by: "api".to_owned(),
        expires_on: expires_on.map(Timestamp::from_millis),
    }
}

#[test]
fn rights_are_read_and_written_in_the_same_words() {
    for words in
        ["submit", "read", "submit, read:own, keys:all", "read, write:own", "read, write, payload:own", "admin"]
    {
        let rights: Rights = words.parse().expect(words);
        assert_eq!(rights.to_string(), words);
    }
    assert_eq!("admin,read:own".parse(), Ok(Rights::ALL), "an administrator may do everything");
    assert_eq!("submit,keys".parse::<Rights>(), "submit,keys:all".parse());
    assert_eq!("submit,keys:own".parse::<Rights>(), "submit".parse());
    assert_eq!("keys:all".parse::<Rights>(), Err(BadRights::None), "keys alone open nothing");
    assert_eq!("submit,keys,keys:own".parse::<Rights>(), Err(BadRights::Twice("keys".to_owned())));
}

#[test]
fn the_keys_of_a_caller_are_his_own_unless_he_shares_those_of_the_host() {
    assert_eq!(caller("shop", "submit").key_space(), Some(&name("shop")));
    assert_eq!(caller("shop", "submit,keys:all").key_space(), None);
    assert_eq!(caller("root", "admin").key_space(), None);
    assert_eq!((Caller::ANYBODY.key_space(), Caller::STRANGER.key_space()), (None, None));
    let shared = OrderingKey::new("customer 17").expect("a key");
    let own = shared.in_space(Some(&name("shop")));
    assert_ne!(own, shared);
    assert_ne!(own.as_str(), shared.in_space(Some(&name("bank"))).as_str());
    assert_eq!((own.given(), own.space(), own.to_string().as_str()), ("customer 17", Some("shop"), "customer 17"));
    assert_eq!((shared.space(), shared.as_str()), (None, "customer 17"));
    assert_eq!(OrderingKey::stored(own.as_str()).as_ref(), Ok(&own));
    assert!(OrderingKey::new(own.as_str()).is_err(), "nobody gives a key of another space by its text");
    assert!(OrderingKey::stored("Not A Name\nk").is_err() && OrderingKey::stored("shop\na\nb").is_err());
}

#[test]
fn rights_that_make_no_sense_are_refused_with_what_to_write() {
    let refused = |words: &str| words.parse::<Rights>().expect_err(words).to_string();
    let list = "submit, read, read:own, write, write:own, payload, payload:own, keys:all, admin";
    assert_eq!(refused("reed"), format!("`reed` is no right; there are {list}"));
    assert_eq!(refused("submit:own"), format!("`submit:own` is no right; there are {list}"));
    assert_eq!(refused(""), format!("give at least one right: {list}"));
    assert_eq!(refused("read,read:own"), "`read` is given twice");
    assert_eq!(refused("write:own"), "`write` reaches farther than `read`: add `read:own`");
    assert_eq!(refused("read:own,payload"), "`payload` reaches farther than `read`: add `read`");
    assert_eq!(Rights::read(&["write"]), Err(BadRights::Blind { right: Right::Write, reach: Reach::All }));
}

#[test]
fn a_right_reaches_to_all_jobs_or_to_ones_own() {
    let (own, foreign, nobodys) = (job_of(Some("shop")), job_of(Some("bank")), job_of(None));
    for (rights, right, reached) in [
        ("submit", Right::Read, [false, false, false]),
        ("read:own", Right::Read, [true, false, false]),
        ("read:own", Right::Write, [false, false, false]),
        ("read,write:own", Right::Read, [true, true, true]),
        ("read,write:own", Right::Write, [true, false, false]),
        ("read,write", Right::Payload, [false, false, false]),
        ("admin", Right::Payload, [true, true, true]),
    ] {
        let caller = caller("shop", rights);
        assert_eq!([&own, &foreign, &nobodys].map(|job| caller.may(right, job)), reached, "{rights}: {right}");
    }
    assert!(Caller::ANYBODY.may(Right::Write, &foreign));
    let nameless = Caller { name: None, ..caller("shop", "read:own") };
    assert!(!nameless.may(Right::Read, &nobodys), "what nobody owns is not everybody's");
}

#[test]
fn a_filter_is_narrowed_to_what_is_in_reach() {
    let of = |owner: &str| JobFilter { owner: Some(name(owner)), ..JobFilter::default() };
    let own = caller("shop", "read:own");
    assert_eq!(own.narrow(Right::Read, JobFilter::default()), Some(of("shop")));
    assert_eq!(own.narrow(Right::Read, of("shop")), Some(of("shop")));
    assert_eq!(own.narrow(Right::Read, of("bank")), None);
    assert_eq!(own.narrow(Right::Write, JobFilter::default()), None);
    assert_eq!(caller("shop", "read").narrow(Right::Read, of("bank")), Some(of("bank")));
}

#[test]
fn f006_what_may_not_be_read_does_not_exist_and_what_may_is_forbidden() {
    let (own, foreign) = (job_of(Some("shop")), job_of(Some("bank")));
    let check = |rights: &str, right, job: &Submission| caller("shop", rights).check(right, job);
    assert_eq!(check("read:own", Right::Write, &own), Err(Denied::Forbidden));
    assert_eq!(check("read:own,write:own", Right::Write, &own), Ok(()));
    assert_eq!(check("read:own,write:own", Right::Write, &foreign), Err(Denied::Unknown));
    assert_eq!(check("read,write:own", Right::Write, &foreign), Err(Denied::Forbidden));
    assert_eq!(check("submit", Right::Payload, &own), Err(Denied::Unknown));
    assert_eq!(Caller::STRANGER.check(Right::Read, &own), Err(Denied::Unknown));
}

#[test]
fn a_repeated_submit_is_answered_with_what_one_may_read_or_has_submitted() {
    let (own, foreign) = (job_of(Some("shop")), job_of(Some("bank")));
    let answered = |rights: &str| [&own, &foreign].map(|job| caller("shop", rights).is_answered_with(job));
    assert_eq!(
        [answered("submit"), answered("submit,read:own"), answered("submit,read")],
        [[true, false], [true, false], [true, true]]
    );
}

#[test]
fn tokens_lock_nobody_out_and_do_not_open_the_host_by_the_way() {
    let (admin, passing, reader) = (token("a", "admin", None), token("b", "admin", Some(1)), token("c", "read", None));
    assert_eq!(check_tokens(std::slice::from_ref(&admin), true), Ok(()));
    assert_eq!(check_tokens(&[reader.clone(), admin], false), Ok(()));
    assert_eq!(check_tokens(std::slice::from_ref(&reader), true), Err(BadTokens::FirstLocksOut));
    assert_eq!(check_tokens(std::slice::from_ref(&passing), true), Err(BadTokens::FirstLocksOut));
    assert_eq!(check_tokens(&[passing, reader], false), Err(BadTokens::LastLocksOut));
    assert_eq!(check_tokens(&[], false), Err(BadTokens::OpensTheHost));
}

proptest! {
    /// What somebody may do with a filtered list is what he may do with each job of it.
    #[test]
    fn a_narrowed_filter_holds_just_what_its_caller_may_reach(
        rights in prop::sample::subsequence(vec!["submit", "read", "write:own", "payload:own", "admin"], 1..5),
        own in any::<bool>(),
        owner in prop::sample::select(vec![None, Some("shop"), Some("bank")]),
    ) {
        let mut words = rights;
        if own {
            words.iter_mut().filter(|word| **word == "read").for_each(|word| *word = "read:own");
        }
        let Ok(rights) = Rights::read(&words) else { return Ok(()) };
        let caller = Caller { name: Some(name("shop")), rights, ..Caller::STRANGER };
        let submission = job_of(owner);
        for right in [Right::Read, Right::Write, Right::Payload] {
            let is_listed = caller.narrow(right, JobFilter::default()).is_some_and(|filter| {
                filter.owner.is_none() || filter.owner == submission.owner
            });
            prop_assert_eq!(is_listed, caller.may(right, &submission));
            prop_assert!(!caller.may(right, &submission) || caller.may(Right::Read, &submission), "nobody acts blindly");
        }
    }
}
