//! A scene for people: `BACKROOM_SHOW=127.0.0.1:7272 cargo test --test ui show -- --nocapture` serves it for a while.

use std::sync::Arc;
use std::time::Duration;

use backroom::clock::SystemClock;
use backroom::domain::id::PluginName;
use backroom::domain::plugin::Wishes;
use backroom::jobs::NewJob;

use crate::site::{Site, ungranted};

/// How long the scene is served.
const SERVED: Duration = Duration::from_secs(1_200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shown_to_people_on_request() {
    let Ok(address) = std::env::var("BACKROOM_SHOW") else { return };
    let site = Site::open(Arc::new(SystemClock), &address).await;
    set_up(&site).await;
    println!("the console is at http://{}/", site.address);
    let mut beat = tokio::time::interval(Duration::from_millis(400));
    let busy = async {
        for number in 0_u32.. {
            beat.tick().await;
            play(&site, number).await;
        }
    };
    let _over = tokio::time::timeout(SERVED, busy).await;
    site.open_gate();
}

async fn set_up(site: &Site) {
    let described = |text: &str| Wishes { description: Some(text.to_owned()), ..Wishes::default() };
    site.upload("contact-cleaner", "0.1.0", described("Cleans messy rows of contacts and orders")).await;
    site.upload("contact-cleaner", "0.2.0", described("Cleans messy rows of contacts and orders, and sums them up"))
        .await;
    site.upload("markdown-renderer", "0.1.0", described("Renders Markdown as safe HTML")).await;
    site.upload("invoice-mailer", "1.4.0", ungranted()).await;
    for part in ["January", "February"] {
        let import = job("contact-cleaner", &format!("hold importing {part}"));
        site.submit(NewJob { name: Some(format!("Import of {part}")), tags: vec!["import".to_owned()], ..import })
            .await;
    }
    site.submit(job("markdown-renderer", "again the template server answered 503 Service Unavailable")).await;
    site.submit(job("markdown-renderer", "trap wasm trap: out of bounds memory access")).await;
    let later = site.host.now().after(Duration::from_secs(5_400));
    site.submit(NewJob { name: Some("Nightly report".to_owned()), at: Some(later), ..job("contact-cleaner", "{}") })
        .await;
}

async fn play(site: &Site, number: u32) {
    for row in 0..number % 7 + number % 3 * 4 {
        let input = match (number + row) % 23 {
            0 => format!("fail row {} of contacts.csv: no e-mail address and no phone number", number * 10 + row),
            1 => "fail the phone number \"+49 30 x\" cannot be read".to_owned(),
            _ => format!(
                "{{\"row\":{row},\"name\":\"Ada Lovelace\",\"phone\":\"+44 20 7946 0958\",\"tags\":[\"vip\",\"new\"]}}"
            ),
        };
        let named =
            NewJob { name: Some(format!("contacts row {}", number * 10 + row)), ..job("contact-cleaner", &input) };
        site.submit(named).await;
    }
    if number.is_multiple_of(5) {
        site.submit(job("markdown-renderer", "# Heading\n\nA *paragraph* with [a link](https://example.com).")).await;
    }
}

fn job(plugin: &str, input: &str) -> NewJob {
    NewJob::new(PluginName::new(plugin).expect("a slug"), input.to_owned())
}
