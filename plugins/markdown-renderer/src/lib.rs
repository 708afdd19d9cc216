//! Renders Markdown as safe HTML, with title, headings, links and a word count.
//!
//! The input is Markdown text as it is, or `{"path": "README.md", "markdown": "..."}`. The output:
//!
//! ```json
//! {
//!   "path": "README.md",
//!   "title": "Backroom",
//!   "html": "<h1 id=\"backroom\">Backroom</h1>...",
//!   "words": 812,
//!   "headings": [{ "level": 1, "text": "Backroom", "anchor": "backroom" }],
//!   "links": [{ "kind": "link", "target": "ARCHITECTURE.md", "text": "the design" }]
//! }
//! ```
//!
//! The author of a text is not trusted: HTML in it is shown as text, and a link or an image leads to `http`, `https`, `mailto` or
//! a place in the same site, or nowhere. Front matter is left out.

mod page;

use backroom_sdk::prelude::*;
use page::Page;
use serde::Deserialize;

backroom_sdk::export!(render);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    path: Option<String>,
    markdown: String,
}

fn render(input: Bytes) -> Result<Page> {
    let document = match serde_json::from_slice(&input) {
        Ok(document) => document,
        Err(_) => Document { path: None, markdown: text(input)? },
    };
    Ok(Page::render(document.path, &document.markdown))
}

fn text(input: Bytes) -> Result<String> {
    String::from_utf8(input.0).business().code("not-text").context("Markdown is text in UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use backroom_sdk::testing::TestHost;
    use serde_json::json;

    #[test]
    fn text_and_json_give_the_same_page() {
        let text = TestHost::new().run_bytes(render, "# Hello\n\nTwo words").output();
        let json = TestHost::new().run(render, json!({ "path": "a.md", "markdown": "# Hello\n\nTwo words" })).output();
        assert_eq!(text["html"], json["html"]);
        assert_eq!((&text["path"], &json["path"]), (&json!(null), &json!("a.md")));
    }

    #[test]
    fn what_only_looks_like_json_is_markdown() {
        let page = TestHost::new().run_bytes(render, "{ \"markdown\" }").output();
        assert_eq!(page["html"], "<p>{ \"markdown\" }</p>\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let run = TestHost::new().run_bytes(render, [0xff, 0xfe, 0x00]);
        assert_eq!(run.failure().code.as_deref(), Some("not-text"));
    }
}
