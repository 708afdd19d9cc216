//! What each kind of token sees and presses in the console: the jobs that its rights reach and nothing of others, and no
//! button that would be refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backroom::clock::SimulatedClock;
use backroom::domain::id::{JobId, QueueName, TenantId};
use backroom::domain::job::{Job, Status};
use backroom::domain::plugin::Wishes;
use backroom::domain::queue::Pause;
use backroom::domain::time::Timestamp;
use serde_json::json;

use crate::offers::until;
use crate::page;
use crate::pages::words;
use crate::site::{Answer, BROWSER, FORM, PATIENCE, Site, secret_of, ungranted};

/// The rights of the tokens that look, beside whether they see all jobs.
const KINDS: &[(&str, bool)] = &[
    ("admin", true),
    ("read", true),
    ("submit,read,write", true),
    ("read,payload", true),
    ("read,write,payload", true),
    ("read,write:own,payload:own", true),
    ("submit,read:own", false),
    ("submit,read:own,payload:own", false),
    ("submit,read:own,write:own", false),
    ("submit,read:own,write:own,payload:own,keys:all", false),
];

/// What stands in jobs of others, on pages of the host, and nowhere else.
const OF_OTHERS: &[&str] = &["bob", "secretive", "Throughput", "Durability", "/plugins", "/service/", "/queues/"];

/// A host with jobs of several holders in several states.
struct Scene {
    site: Site,
    own: Vec<Job>,
    others: Vec<Job>,
}

async fn submitted(site: &Site, holder: &str, body: serde_json::Value) -> Job {
    let bearer = format!("Bearer {}", secret_of(holder));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let answer = site.ask("POST", "/v1/jobs", &headers, &body.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let view: serde_json::Value = serde_json::from_slice(&answer.bytes).expect("JSON");
    let id: JobId = view["id"].as_str().expect("an id").parse().expect("an id");
    site.host.jobs.get(TenantId::DEFAULT, id).expect("it reads").expect("it was submitted")
}

/// Jobs of a holder: one that waits, one that runs, one that failed, one that succeeded.
async fn jobs_of(site: &Site, holder: &str, plugin: &str) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (input, at, status) in [
        ("{}", Some("2030-01-31T08:00:00Z"), Status::Waiting),
        ("hold", None, Status::Running),
        ("fail", None, Status::Failed),
        ("{}", None, Status::Succeeded),
    ] {
        let body = json!({
            "plugin": plugin, "input_text": format!("{input} of {holder}"), "at": at, "name": format!("work of {holder}"),
            "tags": [holder], "max_attempts": 1,
        });
        let job = submitted(site, holder, body).await;
        let job = until(site, job, status).await;
        // One whose handler has not begun would be given back by a pause.
        let has_begun = async {
            while status == Status::Running && site.host.jobs.progress(&job).is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, has_begun).await.expect("it begins soon");
        jobs.push(job);
    }
    jobs
}

/// A scene with a holder `ann` of these rights, whose own jobs were submitted with another token of hers before.
async fn scene(rights: &str) -> (Scene, String) {
    let site = Site::with_echo(Arc::new(SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000)))).await;
    site.upload("secretive", "0.1.0", Wishes::default()).await;
    site.upload("pending", "1.0.0", ungranted()).await;
    site.cookie_of("root", "admin").await;
    site.cookie_of("bob", "submit,read:own").await;
    site.cookie_of("ann", "submit,read:own").await;
    let (own, others) = (jobs_of(&site, "ann", "echo").await, jobs_of(&site, "bob", "secretive").await);
    let root = site.host.tokens.list(TenantId::DEFAULT);
    let root = root.iter().find(|token| token.rights.admin).expect("it is there").caller();
    let ann = "ann".parse().expect("a name");
    site.host.tokens.revoke(root, TenantId::DEFAULT, ann, backroom::app::LastToken::Kept).await.expect("it is there");
    let pause = Pause { by: Some("root".to_owned()), ..Pause::default() };
    site.host.pause_queue(&QueueName::default_queue(), Some(pause)).await.expect("it is paused");
    let cookie = site.cookie_of("ann", rights).await;
    (Scene { site, own, others }, cookie)
}

/// What somebody finds who starts at the first page and follows every link.
struct Walk {
    pages: BTreeMap<String, String>,
    /// Where the buttons post to.
    buttons: BTreeSet<String>,
}

async fn ask(site: &Site, cookie: &str, method: &str, path: &str, body: &str) -> Answer {
    site.ask(method, path, &[BROWSER, FORM, ("cookie", cookie)], body).await
}

async fn walk(site: &Site, cookie: &str) -> Walk {
    let mut found = Walk { pages: BTreeMap::new(), buttons: BTreeSet::new() };
    let mut to_visit = vec!["/".to_owned()];
    while let Some(path) = to_visit.pop() {
        if found.pages.contains_key(&path) {
            continue;
        }
        assert!(found.pages.len() < 400, "the console leads in circles: {:?}", found.pages.keys());
        let answer = ask(site, cookie, "GET", &path, "").await;
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.bytes));
        if !answer.header("content-type").starts_with("text/html") {
            continue;
        }
        for tag in page::read(answer.text()) {
            if tag.name == "form" && tag.attribute("method") == Some("post") {
                found.buttons.extend(tag.attribute("action").map(str::to_owned));
            }
            let link = tag.attribute("href").and_then(|link| link.split('#').next());
            let is_page = |link: &&str| {
                link.starts_with('/')
                    && !["/errors/", "/openapi.json", "/console/"].iter().any(|other| link.starts_with(other))
            };
            to_visit.extend(link.filter(is_page).map(str::to_owned));
        }
        found.pages.insert(path, answer.text().to_owned());
    }
    found
}

/// Presses a button, and returns the status.
async fn press(site: &Site, cookie: &str, button: &str) -> u16 {
    ask(site, cookie, "POST", button, "until=2h&version=1.0.0").await.status
}

/// Those that end or remove something come last, so that the others meet what they were offered for.
fn in_order(buttons: &BTreeSet<String>) -> Vec<&String> {
    let mut ordered: Vec<_> = buttons.iter().filter(|button| *button != "/logout").collect();
    let rank = |button: &&String| {
        ["/pause", "/cancel", "/disable", "/delete", "/remove"].iter().position(|end| button.ends_with(end))
    };
    ordered.sort_by_key(rank);
    ordered
}

#[tokio::test]
async fn every_page_is_narrowed_to_what_its_visitor_may_see() {
    for (rights, sees_all) in KINDS {
        let (scene, cookie) = scene(rights).await;
        let found = walk(&scene.site, &cookie).await;
        let all: String = found.pages.values().cloned().collect();
        for job in &scene.own {
            assert!(found.pages.contains_key(&format!("/jobs/{}", job.submission.id)), "{rights}");
        }
        for other in &scene.others {
            assert_eq!(found.pages.contains_key(&format!("/jobs/{}", other.submission.id)), *sees_all, "{rights}");
            assert_eq!(all.contains(&other.submission.id.to_string()), *sees_all, "{rights}");
        }
        for word in OF_OTHERS {
            let found = found.pages.iter().find(|(_, page)| page.contains(word));
            let is_host_button = word.ends_with('/');
            if !sees_all || !is_host_button {
                assert_eq!(found.is_some(), *sees_all, "{rights}: `{word}` in {:?}", found.map(|(path, _)| path));
            }
        }
        let overview = words(&found.pages["/"]);
        let each = if *sees_all { 2 } else { 1 };
        for group in ["Running", "Waiting", "Succeeded", "Failed"] {
            assert!(overview.contains(&format!("{each} {group}")), "{rights}: {overview}");
        }
        let payloads = scene.own.iter().chain(scene.others.iter().filter(|_| *sees_all));
        for job in payloads {
            let page = &found.pages[&format!("/jobs/{}", job.submission.id)];
            let holder = job.submission.owner.as_ref().expect("it has one").to_string();
            let opens = rights.contains("admin")
                || rights.split(',').any(|word| word == "payload")
                || (rights.contains("payload:own") && holder == "ann");
            let input = format!(" of {holder}</pre>");
            assert_eq!(page.contains(&input), opens, "{rights}: {page}");
            assert_eq!(page.contains("lacks the right"), !opens, "{rights}: {page}");
        }
        scene.site.open_gate();
    }
}

#[tokio::test]
async fn no_button_is_shown_that_is_refused_and_what_is_not_shown_is_refused() {
    let (first, cookie) = scene("admin").await;
    let of_the_host: BTreeSet<_> = walk(&first.site, &cookie).await.buttons;
    let of_the_host: BTreeSet<_> = of_the_host.into_iter().filter(|button| !button.starts_with("/jobs/")).collect();
    assert!(
        of_the_host.contains("/service/pause") && of_the_host.contains("/queues/default/resume"),
        "{of_the_host:?}"
    );
    assert!(of_the_host.contains("/plugins") && of_the_host.contains("/plugins/echo/disable"), "{of_the_host:?}");
    first.site.open_gate();
    for (rights, _) in KINDS {
        let (scene, cookie) = scene(rights).await;
        let Scene { site, own, others } = &scene;
        let shown = walk(site, &cookie).await.buttons;
        for button in of_the_host.iter().filter(|button| !shown.contains(*button)) {
            assert!(button == "/logout" || press(site, &cookie, button).await == 403, "{rights}: {button}");
        }
        for job in own.iter().chain(others) {
            for word in ["resume", "retry", "pause", "postpone", "cancel", "delete"] {
                let button = format!("/jobs/{}/{word}", job.submission.id);
                if !shown.contains(&button) {
                    let status = press(site, &cookie, &button).await;
                    assert!([403, 404, 409].contains(&status), "{rights}: {button}: {status}");
                }
            }
        }
        let is_of_jobs = |button: &&String| button.starts_with("/jobs/");
        assert_eq!(shown.iter().any(|button| is_of_jobs(&button)), rights.contains("write") || *rights == "admin");
        for button in in_order(&shown) {
            let status = press(site, &cookie, button).await;
            assert!(![401, 403].contains(&status), "{rights}: {button}: {status}");
            assert!(status == 303 || !is_of_jobs(&button) || status == 409, "{rights}: {button}: {status}");
        }
        site.open_gate();
    }
}

#[tokio::test]
async fn whoever_may_see_no_job_is_told_so_and_not_led_in_a_circle() {
    let (scene, cookie) = scene("submit,keys:all").await;
    for path in ["/", "/jobs", "/plugins", &format!("/jobs/{}", scene.own[0].submission.id)] {
        let told = ask(&scene.site, &cookie, "GET", path, "").await;
        assert_eq!(told.status, 403, "{path}");
        let links: Vec<_> = page::read(told.text()).into_iter().filter(|tag| tag.name == "a").collect();
        let leads: Vec<_> = links.iter().filter_map(|tag| tag.attribute("href")).collect();
        assert!(leads.contains(&"/login"), "{leads:?}");
        for link in leads.iter().filter(|link| link.starts_with('/')) {
            let followed = ask(&scene.site, &cookie, "GET", link, "").await;
            assert_eq!(followed.status, 200, "{path} leads to {link}");
        }
        let told = words(told.text());
        assert!(told.contains("the token ann has no right read ; it has submit, keys:all"), "{told}");
        assert!(told.contains("Log out"), "{told}");
    }
    scene.site.open_gate();
}

#[tokio::test]
async fn f007_payloads_are_for_those_who_may_see_them() {
    let (scene, cookie) = scene("submit,read,write").await;
    let site = &scene.site;
    let failed = &scene.others[2];
    let path = format!("/jobs/{}", failed.submission.id);
    let page = ask(site, &cookie, "GET", &path, "").await;
    assert!(!page.text().contains("detail: of bob") && !page.text().contains("INFO: attempt"), "{}", page.text());
    for what in ["input", "output"] {
        let refused = ask(site, &cookie, "GET", &format!("{path}/{what}"), "").await;
        assert_eq!(refused.status, 403, "{what}");
        page::read(refused.text());
        assert!(refused.text().contains("href=\"/login\""), "the page leads to another token");
    }
    let again = ask(site, &cookie, "POST", &format!("{path}/retry"), "").await;
    assert_eq!(again.status, 303, "{}", again.text());
    let path = again.header("location").split('?').next().unwrap_or_default().to_owned();
    let id = path.trim_start_matches("/jobs/").parse().expect("the new job");
    let again = site.host.jobs.get(TenantId::DEFAULT, id).expect("it reads").expect("it is there");
    assert_eq!(again.submission.created_by.as_deref(), Some("ann"), "the name of the token is noted");
    site.open_gate();
    site.host.jobs.wait(again, PATIENCE).await.expect("it reads");
}
