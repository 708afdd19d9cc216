//! `backroom token`: give somebody a token with rights, see who has one, take it back.

use serde_json::json;

use super::client::{Client, ClientArgs};
use super::failure::Exit;
use super::table::{Columns, Field};
use super::terminal::Terminal;
use crate::api::view::{NewTokenView, TokenBody, TokenView};

/// What to do with tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token, and print its secret, once
    Create(CreateArgs),
    /// List the tokens
    List,
    /// Take a token back: it opens nothing from now on
    Revoke {
        /// The token
        name: String,
        /// Even if it is the last one: from then on the host lets everybody in
        #[arg(long)]
        last: bool,
    },
}

/// A token to be made.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// What its holder is called: what he does is noted under it, and the jobs that he submits are his
    name: String,
    /// What he may do, with commas between: submit, read, write, payload (each of these three also as read:own and so on,
    /// for his own jobs), or admin for everything
    #[arg(long, value_name = "RIGHTS", value_delimiter = ',', required = true)]
    rights: Vec<String>,
    /// When it ends: RFC 3339, or how long from now, such as 30d; never when left out
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

/// Does it.
pub(crate) fn run(args: &ClientArgs, command: &TokenCommand, terminal: Terminal) -> anyhow::Result<Exit> {
    let client = Client::new(args)?;
    match command {
        TokenCommand::Create(args) => create(&client, args, terminal),
        TokenCommand::List => list(&client, terminal),
        TokenCommand::Revoke { name, last } => revoke(&client, name, *last, terminal),
    }
}

fn create(client: &Client, args: &CreateArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let CreateArgs { name, rights, expires } = args;
    let rights = rights.iter().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect();
    let made = client.create_token(&TokenBody { name: name.clone(), rights, expires_on: expires.clone() })?;
    if terminal.is_json() {
        terminal.json(&made.text)?;
        return Ok(Exit::Done);
    }
    let NewTokenView { secret, token } = &made.view;
    terminal.facts(&[
        ("token", Some(token.name.clone())),
        ("rights", Some(token.rights.join(", "))),
        ("expires", Some(expiry(token))),
        ("secret", Some(secret.clone())),
    ])?;
    terminal.line("")?;
    terminal.line(
        "The secret is shown this once. Give it as BACKROOM_TOKEN or `--token`: a host with a token asks for one.",
    )?;
    Ok(Exit::Done)
}

fn list(client: &Client, terminal: Terminal) -> anyhow::Result<Exit> {
    let listed = client.tokens()?;
    if terminal.is_json() {
        terminal.json_list(&listed.text, "tokens")?;
        return Ok(Exit::Done);
    }
    let rows = listed.view.tokens.iter().map(|token| {
        vec![
            Field::new(&token.name),
            Field::new(token.rights.join(", ")),
            Field::new(expiry(token)),
            Field::new(&token.created_on),
            Field::new(&token.created_by),
        ]
    });
    let columns =
        Columns { headings: &["TOKEN", "RIGHTS", "EXPIRES", "CREATED", "BY"], spare: &["BY", "CREATED", "EXPIRES"] };
    terminal.table(&columns, rows.collect())?;
    Ok(Exit::Done)
}

fn revoke(client: &Client, name: &str, last: bool, terminal: Terminal) -> anyhow::Result<Exit> {
    client.revoke_token(name, last)?;
    match terminal.is_json() {
        true => terminal.json(&json!({ "name": name, "revoked": true }).to_string())?,
        false => terminal.line(&format!("token {name} opens nothing any more"))?,
    }
    Ok(Exit::Done)
}

fn expiry(token: &TokenView) -> String {
    match (&token.expires_on, token.expired) {
        (None, _) => "never".to_owned(),
        (Some(on), true) => format!("expired {on}"),
        (Some(on), false) => on.clone(),
    }
}
