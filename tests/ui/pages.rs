//! Every page in every condition: well-formed, bounded, and harmless whatever plug-ins and users have written.

use std::collections::BTreeSet;
use std::sync::Arc;

use backroom::clock::SimulatedClock;
use backroom::domain::id::{PluginName, TenantId};
use backroom::domain::job::Status;
use backroom::domain::outbound::http_plugin;
use backroom::domain::plugin::Wishes;
use backroom::domain::queue::Pause;
use backroom::domain::time::Timestamp;
use backroom::jobs::{Command, NewBatch, NewJob, Order, Rerun};
use backroom::registry::Removal;

use crate::page;
use crate::site::{BROWSER, FORM, GRANTED_ORIGIN, HOSTILE, PATIENCE, Site, job, tool, ungranted};

/// The largest page: a log and two payloads of 64 KiB each, escaped, and what is around them.
const PAGE_BYTES_MAX: usize = 2 << 20;

fn clock() -> Arc<SimulatedClock> {
    Arc::new(SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000)))
}

/// The text of a page's elements, without the elements.
pub(crate) fn words(html: &str) -> String {
    let mut words = String::new();
    for part in html.split('<').skip(1) {
        words.push_str(part.split_once('>').map_or("", |(_, text)| text));
        words.push(' ');
    }
    page::unescaped(&words).split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn shown(site: &Site, path: &str) -> String {
    let answer = site.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", words(answer.text()));
    assert!(answer.bytes.len() < PAGE_BYTES_MAX, "{path} has {} bytes", answer.bytes.len());
    page::read(answer.text());
    answer.text().to_owned()
}

#[tokio::test]
async fn an_empty_host_says_how_to_begin() {
    let site = Site::empty(clock()).await;
    let overview = words(&shown(&site, "/").await);
    assert!(overview.contains("Nothing is installed yet"), "{overview}");
    assert!(overview.contains("backroom plugin upload"), "{overview}");
    assert!(words(&shown(&site, "/jobs").await).contains("Upload one first"));
    assert!(words(&shown(&site, "/plugins").await).contains("No plug-in yet"));

    site.upload("echo", "0.1.0", Wishes::default()).await;
    assert!(words(&shown(&site, "/jobs").await).contains("backroom run echo '{\"any\": \"json\"}'"));
}

#[tokio::test]
async fn the_overview_counts_and_names_what_fails() {
    let site = Site::with_echo(clock()).await;
    for input in ["{}", "{}", "fail row 7 has no address"] {
        site.run(input).await;
    }
    let overview = words(&shown(&site, "/").await);
    assert!(overview.contains("2 Succeeded"), "{overview}");
    assert!(overview.contains("1 Failed"), "{overview}");
    assert!(overview.contains("33 % row 7 has no address"), "{overview}");
}

#[tokio::test]
async fn a_job_tells_its_story() {
    let site = Site::with_echo(clock()).await;
    let failed = site.run("fail row 7 has no address").await;
    assert_eq!(failed.state.status, Status::Failed);
    let page = words(&shown(&site, &format!("/jobs/{}", failed.submission.id)).await);
    for told in [
        "echo/handle failed",
        "Submitted",
        "Run 1 failed",
        "BAD_ROW business: the handler refuses the work",
        "row 7 has no address",
        "What to do next: Correct the input and submit it again.",
        "INFO: attempt 1 of echo/handle",
        "1.2M 3.0 MiB 42",
        "Run again",
    ] {
        assert!(page.contains(told), "`{told}` is missing: {page}");
    }

    let trapped = site.submit(NewJob { max_attempts: Some(1), ..job("trap unreachable") }).await;
    let trapped = site.host.jobs.wait(trapped, PATIENCE).await.expect("it reads");
    let html = shown(&site, &format!("/jobs/{}", trapped.submission.id)).await;
    assert!(html.contains("href=\"/errors/BR0305\""), "{html}");
    assert!(words(&html).contains("Look at the job's detail for the stack."));
}

#[tokio::test]
async fn a_waiting_job_says_what_it_waits_for() {
    let site = Site::with_echo(clock()).await;
    let scheduled = NewJob { at: Some(Timestamp::from_millis(1_700_000_300_000)), ..job("{}") };
    let scheduled = site.submit(scheduled).await;
    let page = words(&shown(&site, &format!("/jobs/{}", scheduled.submission.id)).await);
    assert!(page.contains("Its first start was set for later. in 5 min"), "{page}");

    let again = site.submit(job("again the mail server is busy")).await;
    let mut watch = site.host.jobs.watch(again.submission.key());
    let retrying = async { while watch.changed().await.status != Some(Status::Retrying) {} };
    let is_there = |job: backroom::domain::job::Job| job.state.status == Status::Retrying;
    if !site.host.jobs.find(again.submission.key()).expect("it reads").is_some_and(is_there) {
        tokio::time::timeout(PATIENCE, retrying).await.expect("the first attempt fails soon");
    }
    let page = words(&shown(&site, &format!("/jobs/{}", again.submission.id)).await);
    assert!(page.contains("Attempt 1 of 4 has failed: the mail server is busy. in 1 h"), "{page}");
    assert!(page.contains("the mail server is busy"), "{page}");
}

#[tokio::test]
async fn a_running_job_shows_how_far_it_is() {
    let site = Site::with_echo(clock()).await;
    let held = site.submit(job("hold the line")).await;
    let path = format!("/jobs/{}", held.submission.id);
    let looked = async {
        while !words(&shown(&site, &path).await).contains("37 of 120 (30 %)") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.expect("the job starts soon");
    assert!(shown(&site, &path).await.contains("<progress value=\"37\" max=\"120\""));
    assert!(words(&shown(&site, "/").await).contains("1 Running"));
    site.open_gate();
    let ended = site.host.jobs.wait(held, PATIENCE).await.expect("it reads");
    assert_eq!(ended.state.status, Status::Succeeded);
}

#[tokio::test]
async fn hostile_text_stays_text() {
    let site = Site::with_echo(clock()).await;
    let wishes = Wishes { description: Some(HOSTILE.repeat(100)), ..ungranted() };
    site.upload("pending", "1.0.0", wishes).await;
    site.upload("tool", "1.0.0", Wishes::default()).await;
    let hostile = |input: &str| NewJob {
        name: Some(HOSTILE.repeat(200)),
        tags: vec![HOSTILE.to_owned(), "x".repeat(4_000)],
        args: vec![HOSTILE.to_owned()],
        env: vec![(HOSTILE.to_owned(), "secret value".to_owned())],
        by: Some(HOSTILE.to_owned()),
        max_attempts: Some(1),
        ..tool(input)
    };
    let mut paths: Vec<_> =
        ["/", "/jobs", "/plugins", "/plugins/echo", "/plugins/pending", "/plugins/tool"].map(str::to_owned).into();
    for word in ["ok", "fail", "trap", "log"] {
        let job = site.submit(hostile(&format!("{word} {}", HOSTILE.repeat(3)))).await;
        let ended = site.host.jobs.wait(job, PATIENCE).await.expect("it reads");
        assert!(ended.state.status.is_final(), "{word}: {:?}", ended.state);
        paths.push(format!("/jobs/{}", ended.submission.id));
    }
    let held = site.submit(hostile(&format!("hold {HOSTILE}"))).await;
    paths.push(format!("/jobs/{}", held.submission.id));
    let searched = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%27%00%E2%80%AE";
    paths.extend([format!("/jobs?q={searched}"), format!("/jobs?tag={searched}&state=failed")]);
    for path in paths {
        let html = shown(&site, &path).await;
        assert!(!html.contains("<script>alert") && !html.contains("<img"), "{path}");
        assert!(!html.contains("secret value"), "{path} shows the value of an environment variable");
    }
    site.open_gate();
}

/// Batches, calls of the built-in handler, which is paused then, and jobs whose plug-in or predecessor has gone; of each one
/// that failed and one that did not.
async fn what_has_no_plug_in_of_its_own(site: &Site) {
    for input in ["fail in a batch", "{}"] {
        let (batch, _) =
            site.host.jobs.submit_batch(NewBatch::default(), vec![job(input)]).await.expect("it is accepted");
        site.host.jobs.wait(batch, PATIENCE).await.expect("it reads");
    }
    site.upload("passing", "1.0.0", Wishes::default()).await;
    let passing = PluginName::new("passing").expect("a slug");
    for plugin in [http_plugin(), passing.clone()] {
        for word in ["fail", "ok"] {
            let input = format!("{{\"url\": \"{GRANTED_ORIGIN}/{word}\"}}");
            let input = if plugin == passing { word.to_owned() } else { input };
            let ended = site.host.jobs.wait(site.submit(NewJob::new(plugin.clone(), input)).await, PATIENCE).await;
            assert!(ended.expect("it reads").state.status.is_final());
        }
    }
    site.host.registry.pause(TenantId::DEFAULT, &http_plugin(), Pause::default()).await.expect("it is paused");
    site.host.registry.remove(TenantId::DEFAULT, &passing, Removal::Unused).await.expect("nothing uses it");
    let failed = site.run("fail and be forgotten").await.submission.id;
    let again = Rerun::new("somebody");
    let again = site.host.jobs.rerun(TenantId::DEFAULT, failed, again).await.expect("it is run again");
    site.host.jobs.wait(again, PATIENCE).await.expect("it reads");
    let delete = Command::new(Order::Delete, "somebody");
    site.host.jobs.steer(TenantId::DEFAULT, failed, &delete).await.expect("it is deleted");
}

#[tokio::test]
async fn what_is_built_in_has_a_page_with_the_buttons_that_it_takes() {
    let site = Site::with_echo(clock()).await;
    let html = shown(&site, "/plugins/http").await;
    let told = words(&html);
    assert!(told.contains("built in") && told.contains(GRANTED_ORIGIN) && !told.contains("needs grants"), "{told}");
    let buttons = |html: &str| -> Vec<String> {
        let forms = page::read(html).into_iter().filter(|tag| tag.name == "form");
        forms.filter_map(|form| form.attribute("action").map(str::to_owned)).collect()
    };
    assert_eq!(buttons(&html), ["/plugins/http/pause"]);
    assert_eq!(site.post("/plugins/http/pause", "").await.header("location"), "/plugins/http?done=plugin-paused");
    assert_eq!(buttons(&shown(&site, "/plugins/http").await), ["/plugins/http/resume"]);
    assert_eq!(site.post("/plugins/http/resume", "").await.header("location"), "/plugins/http?done=plugin-resumed");
}

#[tokio::test]
async fn the_end_of_an_id_will_do() {
    let site = Site::with_echo(clock()).await;
    let members = vec![NewJob { name: Some("member".to_owned()), ..job("fail") }];
    let (batch, _) = site.host.jobs.submit_batch(NewBatch::default(), members).await.expect("it is accepted");
    let batch = site.host.jobs.wait(batch, PATIENCE).await.expect("it reads");
    let id = batch.submission.id.to_string();
    let end = &id[id.len() - 8..];
    for spelling in [end.to_owned(), id.to_uppercase()] {
        let led = site.get(&format!("/jobs/{spelling}?run=1")).await;
        assert_eq!((led.status, led.header("location")), (303, format!("/jobs/{id}?run=1").as_str()), "{spelling}");
    }
    assert!(shown(&site, &format!("/jobs/{id}?run=1")).await.contains(&id));
    assert_eq!(site.get("/jobs/ffffffff").await.status, 404);
    assert!(words(&shown(&site, &format!("/jobs?batch={end}")).await).contains("member"));
    let listed = shown(&site, &format!("/jobs?batch={end}&state=failed")).await;
    assert!(listed.contains(&format!("batch={id}")), "the page leads on by the whole id: {listed}");
    let again = site.post(&format!("/jobs/{end}/retry-failed"), "").await;
    assert_eq!(again.status, 303, "{}", again.text());
    for (batch, status) in [("ffffffff", 404), ("nonsense", 422)] {
        assert_eq!(site.get(&format!("/jobs?batch={batch}")).await.status, status, "{batch}");
    }
}

#[tokio::test]
async fn every_link_and_button_leads_somewhere() {
    let site = Site::with_echo(clock()).await;
    site.upload("pending", "1.0.0", ungranted()).await;
    site.upload("echo", "0.2.0", Wishes::default()).await;
    site.run("fail once").await;
    site.run("{\"a\": 1}").await;
    what_has_no_plug_in_of_its_own(&site).await;
    let mut to_visit = vec!["/".to_owned()];
    let mut visited = BTreeSet::new();
    while let Some(path) = to_visit.pop() {
        if !visited.insert(path.clone()) {
            continue;
        }
        assert!(visited.len() < 200, "the console leads in circles: {visited:?}");
        let answer = site.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        let is_of_the_console = answer.header("content-type").starts_with("text/html") && !path.starts_with("/errors/");
        if !is_of_the_console {
            continue;
        }
        for tag in page::read(answer.text()) {
            let link = tag.attribute("href").or(tag.attribute("src")).filter(|link| link.starts_with('/'));
            let Some(link) = link.and_then(|link| link.split('#').next()) else { continue };
            to_visit.push(link.to_owned());
        }
    }
    assert!(visited.contains("/plugins/pending") && visited.contains("/plugins/http"), "{visited:?}");
    assert!(visited.iter().any(|path| path.ends_with("/output")), "{visited:?}");
}

#[tokio::test]
async fn the_list_is_paged_and_filtered() {
    let site = Site::with_echo(clock()).await;
    let named = |number: u32| NewJob { name: Some(format!("row-{number:03}")), ..job("{}") };
    let jobs = (0..120).map(named).collect();
    let ids = site.host.jobs.submit_bulk(jobs).await.expect("they are acceptable");
    for id in ids {
        let job = site.host.jobs.get(Default::default(), id).expect("it reads").expect("it was submitted");
        site.host.jobs.wait(job, PATIENCE).await.expect("it reads");
    }
    let mut path = "/jobs".to_owned();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let html = shown(&site, &path).await;
        let names = words(&html);
        let rows: BTreeSet<_> = names.split(' ').filter(|word| word.starts_with("row-")).map(str::to_owned).collect();
        assert!(rows.len() <= 50);
        seen.extend(rows);
        let next = page::read(&html).into_iter().find(|tag| tag.attribute("rel") == Some("next"));
        path = next.and_then(|tag| Some(tag.attribute("href")?.to_owned())).unwrap_or_default();
    }
    assert_eq!(seen.len(), 120);
    assert_eq!(path, "", "the last page has no next one");

    let found = words(&shown(&site, "/jobs?q=row-007&state=succeeded").await);
    assert!(found.contains("row-007") && !found.contains("row-008"), "{found}");
    assert!(words(&shown(&site, "/jobs?q=nothing-like-it").await).contains("No such job"));
    assert!(words(&shown(&site, "/jobs?state=failed").await).contains("No such job"));
}

#[tokio::test]
async fn long_payloads_are_bounded_and_can_be_saved() {
    let site = Site::with_echo(clock()).await;
    let long = site.run(&format!("log {}", "0123456789 <b>\n".repeat(40_000))).await;
    let id = long.submission.id;
    let page = words(&shown(&site, &format!("/jobs/{id}")).await);
    assert!(page.contains("The first 64.0 KiB of 585.9 KiB are shown."), "{page:.2000}");
    assert!(page.contains("The last 63."), "{page:.2000}");

    let saved = site.get(&format!("/jobs/{id}/input")).await;
    assert_eq!(saved.bytes.len(), 600_004);
    assert_eq!(saved.header("content-type"), "application/octet-stream");
    assert_eq!(saved.header("content-disposition"), format!("attachment; filename=\"{id}.input\""));

    let binary = site.run("binary").await;
    let page = words(&shown(&site, &format!("/jobs/{}", binary.submission.id)).await);
    assert!(page.contains("00000000 00 ff 80 3c 62 3e"), "{page}");
    assert_eq!(site.get(&format!("/jobs/{}/output", binary.submission.id)).await.bytes, b"\0\xff\x80<b>");
}

#[tokio::test]
async fn what_is_not_there_is_explained() {
    let site = Site::with_echo(clock()).await;
    let wrong = [
        ("/jobs/nonsense", 404, "BR0109"),
        ("/jobs/018bcfe5-6800-7000-8000-0000000000ff", 404, "BR0109"),
        ("/jobs/%3Cscript%3E", 404, "BR0109"),
        ("/jobs?state=asleep", 422, "asleep is not a state of a job"),
        ("/jobs?plugin=NOT%20A%20NAME", 422, "BR0102"),
        ("/jobs?before=soon", 422, "BR0102"),
        ("/jobs?done=nonsense", 422, "BR0102"),
        ("/jobs/%ff", 422, "BR0102"),
        ("/plugins/ecko", 404, "did you mean echo ?"),
        ("/plugins/%3Cimg%3E", 422, "BR0102"),
    ];
    for (path, status, told) in wrong {
        let answer = site.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        page::read(answer.text());
        let page = words(answer.text());
        assert!(page.contains(told) && page.contains("What to do next:"), "{path}: {page}");
    }
}

#[tokio::test]
async fn a_wrong_address_is_a_page_for_a_browser_and_a_problem_for_a_program() {
    let site = Site::with_echo(clock()).await;
    let browser = [("accept", "text/html,application/xhtml+xml")];
    for path in ["/nowhere", "/job", "/v2/jobs", "/errors/BR9999"] {
        let page = site.ask("GET", path, &browser, "").await;
        assert_eq!((page.status, page.header("content-type")), (404, "text/html; charset=utf-8"), "{path}");
        assert!(page.text().contains("href=\"/\""), "{path}: {}", page.text());
        let problem = site.ask("GET", path, &[], "").await;
        assert_eq!((problem.status, problem.header("content-type")), (404, "application/problem+json"), "{path}");
    }
    let page = site.ask("GET", "/%3Cscript%3Ealert(1)%3C/script%3E", &browser, "").await;
    assert!(page.status == 404 && !page.text().contains("<script>"), "{}", page.text());
}

#[tokio::test]
async fn every_answer_forbids_foreign_content() {
    let site = Site::with_echo(clock()).await;
    for path in ["/", "/jobs", "/plugins", "/jobs/nonsense", "/console/console.js", "/console/style.css"] {
        let answer = site.get(path).await;
        assert!(answer.header("content-security-policy").starts_with("default-src 'self';"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
    }
    assert_eq!(site.get("/").await.header("cache-control"), "no-store");
}

#[tokio::test]
async fn what_a_browser_gets_wrong_is_told_on_a_page_and_a_program_in_a_problem() {
    let site = Site::with_echo(clock()).await;
    let id = site.run("{}").await.submission.id;
    for (method, path, headers, body, status) in [
        ("GET", "/jobs/%ff".to_owned(), [].as_slice(), "", 400),
        ("GET", "/plugins/%ff".to_owned(), &[], "", 400),
        ("GET", "/console/nothing.css".to_owned(), &[], "", 404),
        ("POST", format!("/jobs/{id}/cancel"), &[("content-type", "application/json")], "{}", 415),
        ("POST", format!("/jobs/{id}/cancel"), &[FORM], "%ff=%", 400),
        ("POST", "/plugins/echo/pause".to_owned(), &[("content-type", "text/plain")], "x", 415),
        ("DELETE", "/plugins/echo".to_owned(), &[], "", 405),
    ] {
        let of_browser = [headers, &[BROWSER]].concat();
        let page = site.ask(method, &path, &of_browser, body).await;
        assert!(page.header("content-type").starts_with("text/html"), "{method} {path}: {page:?}");
        let problem = site.ask(method, &path, headers, body).await;
        if problem.header("content-type").starts_with("text/html") {
            // The console's own page of an error says the same to everybody.
            assert!((400..500).contains(&problem.status), "{method} {path}: {problem:?}");
        } else {
            assert_eq!(
                (problem.status, problem.header("content-type")),
                (status, "application/problem+json"),
                "{path}"
            );
        }
        for answer in [page, problem] {
            assert!((400..500).contains(&answer.status), "{method} {path}: {answer:?}");
            let guarded = (answer.header("cache-control"), answer.header("x-content-type-options"));
            assert_eq!(guarded, ("no-store", "nosniff"), "{method} {path}");
        }
    }
}
