//! `backroom demo`: builds the sample plug-ins, starts a host, runs real work through its HTTP API, and shows the result.

mod anywhere;
mod contacts;
mod pages;
mod show;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::carried::{self, Carried};
use super::client::{Client, ClientArgs, Component};
use super::failure::Exit;
use super::samples::{Samples, build_samples, checkout};
use super::serve::{answer, listen, told_to_end};
use super::settings::SettingsArgs;
use crate::api::view::SubmitBody;
use crate::config::{Settings, parse_manifest};
use crate::embedded::{Opened, open};

/// What the demo runs, besides the page renderer and the contact cleaner: the smallest plug-in there is.
const SAMPLES: [&str; 3] = ["contact-cleaner", "markdown-renderer", "echo"];

/// How long one of the longer jobs may take; the API waits no longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the host lets jobs end when the demo is over.
const GRACE: Duration = Duration::from_secs(5);

/// How to run the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// End when the work is done, even on a terminal
    #[arg(long)]
    exit: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// What the demo works with.
enum Material {
    /// The samples of a checkout.
    Samples(PathBuf, Samples),
    /// The plug-in that the program carries.
    Carried(Carried),
}

impl Material {
    fn find() -> Result<Self> {
        match (checkout(), carried::ECHO) {
            (Ok(checkout), _) => {
                show::heading("Building the sample plug-ins");
                let samples = build_samples(&checkout, &SAMPLES)?;
                Ok(Self::Samples(checkout, samples))
            }
            (Err(_), Some(echo)) => Ok(Self::Carried(echo)),
            (Err(no_checkout), None) => Err(no_checkout.context("this program carries no plug-in to show")),
        }
    }
}

/// Runs the demo: the whole in a checkout, a smaller one anywhere else.
pub(crate) fn run(args: &DemoArgs) -> Result<Exit> {
    let stays = std::io::stdout().is_terminal() && !args.exit;
    let material = Material::find()?;

    let mut settings = args.settings.load()?.settings;
    let removed_at_the_end = tempfile::Builder::new().prefix("backroom-demo-").tempdir()?;
    if args.settings.data.is_none() {
        settings.store.path = removed_at_the_end.path().to_owned();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let demo_host = DemoHost::start(&runtime, &settings)?;
    show::line(&format!("A host runs on {}, its data in {}.", demo_host.address, settings.store.path.display()));

    let token = settings.server.token.as_ref().map(|token| token.reveal().to_owned());
    let client = Client::new(&ClientArgs { server: Some(demo_host.address.clone()), token })?;
    let worked = match &material {
        Material::Samples(checkout, plugins) => work(&client, checkout, plugins),
        Material::Carried(echo) => anywhere::work(&client, *echo),
    };
    if worked.is_ok() {
        show::where_next(&demo_host.address, stays);
    }
    if worked.is_ok() && stays {
        runtime.block_on(told_to_end())?;
    }
    demo_host.stop(&runtime)?;
    worked.map(|()| Exit::Done)
}

/// Uploads, then both pieces of work, all through the API.
fn work(client: &Client, checkout: &Path, plugins: &Samples) -> Result<()> {
    show::heading("Uploading them");
    for name in SAMPLES {
        let version = upload(client, name, plugins)?;
        show::line(&format!("{name} {version}"));
    }
    let started = Instant::now();
    let cleaned = contacts::clean(client, &checkout.join("examples/contacts/contacts.csv"))?;
    let rendered = pages::render(client, checkout)?;
    show::contacts(&cleaned);
    show::pages(&rendered);
    show::line(&format!(
        "{} jobs in {:.1} s, each in a sandbox of its own, each durable before it was acknowledged.",
        cleaned.jobs + rendered.len(),
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Submits one job, waits for it, and reads its output whole.
fn output_of(client: &Client, job: &SubmitBody) -> Result<serde_json::Value> {
    let ended = client.submit(job, None, Some(PATIENCE))?.view;
    if ended.state != "succeeded" {
        let why = ended.error.map(|error| error.message).unwrap_or_default();
        bail!("job {} is {}: {why}", ended.id, ended.state);
    }
    Ok(serde_json::from_slice(&client.output(&ended.id)?)?)
}

fn upload(client: &Client, name: &str, plugins: &Samples) -> Result<String> {
    let manifest = std::fs::read_to_string(plugins.manifest(name))?;
    let bytes = std::fs::read(plugins.component(name)?)?;
    let parsed = parse_manifest(&manifest).map_err(|problems| anyhow!("plugin.toml of {name}: {problems:?}"))?;
    let version = parsed.version.as_str();
    let component = Component { name, version, manifest: Some(&manifest), bytes: &bytes };
    Ok(client.upload(component)?.view.version.version)
}

struct DemoHost {
    address: String,
    opened: Opened,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<Result<()>>,
}

impl DemoHost {
    /// Where the usual address is taken, any free one will do.
    fn start(runtime: &Runtime, settings: &Settings) -> Result<Self> {
        let address = settings.server.listen;
        runtime.block_on(async {
            let listener = match listen(address).await {
                Ok(listener) => listener,
                Err(taken) if address.port() == 0 => return Err(taken),
                Err(_taken) => listen(SocketAddr::new(address.ip(), 0)).await?,
            };
            let address = format!("http://{}", listener.local_addr()?);
            let opened = open(settings).await?;
            let (stop, stopped) = oneshot::channel();
            let serving = tokio::spawn(answer(listener, Arc::clone(&opened.host), settings.clone(), stopped));
            Ok(Self { address, opened, stop, serving })
        })
    }

    fn stop(self, runtime: &Runtime) -> Result<()> {
        runtime.block_on(async {
            self.opened.shut_down(GRACE).await;
            if self.stop.send(()).is_err() {
                bail!("the demo's host ended early: {:?}", self.serving.await);
            }
            self.serving.await?
        })
    }
}
