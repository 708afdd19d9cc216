use std::collections::BTreeMap;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};
use serde::Serialize;

/// A rendered document.
#[derive(Debug, Serialize)]
pub struct Page {
    path: Option<String>,
    /// The first heading; the file's name if there is none.
    title: Option<String>,
    html: String,
    words: usize,
    headings: Vec<Heading>,
    links: Vec<Link>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Heading {
    level: usize,
    text: String,
    /// Unique on the page; the heading's `id` in the HTML.
    anchor: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Link {
    kind: LinkKind,
    /// As the author wrote it, even where the HTML leads nowhere.
    target: String,
    /// What stands in the link, or instead of the image.
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum LinkKind {
    Link,
    Image,
}

impl Page {
    pub fn render(path: Option<String>, markdown: &str) -> Page {
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_FOOTNOTES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_TASKLISTS
            | Options::ENABLE_GFM
            | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
        let mut reader = Reader::default();
        let mut events: Vec<Event<'_>> = Vec::new();
        for event in Parser::new_ext(markdown, options) {
            reader.read(event, &mut events);
        }
        let mut html = String::with_capacity(markdown.len() * 3 / 2);
        html::push_html(&mut html, events.into_iter());

        let Reader { headings, links, words, .. } = reader;
        let title = headings.first().map(|heading| heading.text.clone()).or_else(|| file_stem(path.as_deref()?));
        Page { path, title, html, words, headings, links }
    }
}

/// Follows the text, notes what is on the page, and makes each event safe.
#[derive(Default)]
struct Reader {
    headings: Vec<Heading>,
    links: Vec<Link>,
    words: usize,
    /// Where in `events` the open heading begins.
    open_heading: Option<usize>,
    /// Links and images that are open, the innermost last. An image may stand in a link.
    open_links: Vec<Link>,
    in_front_matter: bool,
    anchors: BTreeMap<String, usize>,
}

impl Reader {
    fn read<'a>(&mut self, event: Event<'a>, events: &mut Vec<Event<'a>>) {
        match event {
            Event::Start(Tag::MetadataBlock(_)) => self.in_front_matter = true,
            Event::End(TagEnd::MetadataBlock(_)) => self.in_front_matter = false,
            _ if self.in_front_matter => {}

            Event::Start(Tag::Heading { level, classes, .. }) => {
                self.headings.push(Heading { level: level as usize, text: String::new(), anchor: String::new() });
                self.open_heading = Some(events.len());
                events.push(Event::Start(Tag::Heading { level, id: None, classes, attrs: Vec::new() }));
            }
            Event::End(TagEnd::Heading(level)) => {
                if let (Some(start), Some(heading)) = (self.open_heading.take(), self.headings.last_mut()) {
                    heading.anchor = unique(&mut self.anchors, slug(&heading.text));
                    if let Event::Start(Tag::Heading { id, .. }) = &mut events[start] {
                        *id = Some(CowStr::from(heading.anchor.clone()));
                    }
                }
                events.push(Event::End(TagEnd::Heading(level)));
            }

            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                self.open(LinkKind::Link, &dest_url);
                events.push(Event::Start(Tag::Link { link_type, dest_url: safe_target(dest_url), title, id }));
            }
            Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
                self.open(LinkKind::Image, &dest_url);
                events.push(Event::Start(Tag::Image { link_type, dest_url: safe_target(dest_url), title, id }));
            }
            Event::End(end @ (TagEnd::Link | TagEnd::Image)) => {
                self.links.extend(self.open_links.pop());
                events.push(Event::End(end));
            }

            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                self.note(&text);
                events.push(Event::Text(text));
            }
            Event::Code(code) => {
                self.note(&code);
                events.push(Event::Code(code));
            }
            // The parts of an HTML block are shown as the text of a paragraph.
            Event::Start(Tag::HtmlBlock) => events.push(Event::Start(Tag::Paragraph)),
            Event::End(TagEnd::HtmlBlock) => events.push(Event::End(TagEnd::Paragraph)),
            other => {
                if matches!(other, Event::SoftBreak | Event::HardBreak) {
                    self.note(" ");
                }
                events.push(other);
            }
        }
    }

    fn open(&mut self, kind: LinkKind, target: &str) {
        self.open_links.push(Link { kind, target: target.to_owned(), text: String::new() });
    }

    fn note(&mut self, text: &str) {
        self.words += text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count();
        if self.open_heading.is_some()
            && let Some(heading) = self.headings.last_mut()
        {
            heading.text.push_str(text);
        }
        for link in &mut self.open_links {
            link.text.push_str(text);
        }
    }
}

/// A target that a reader can follow without harm; anything that could run a script leads nowhere.
fn safe_target(target: CowStr<'_>) -> CowStr<'_> {
    // Browsers drop control characters and spaces before they look for the scheme.
    let bare: String = target.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect();
    let before_path = bare.split(['/', '?', '#']).next().unwrap_or_default();
    let allowed = match before_path.split_once(':') {
        None => true,
        Some((scheme, _)) => ["http", "https", "mailto"].iter().any(|known| scheme.eq_ignore_ascii_case(known)),
    };
    if allowed { target } else { CowStr::Borrowed("#") }
}

/// `Set-up, in 2 steps` becomes `set-up-in-2-steps`.
fn slug(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    for c in text.trim().chars().flat_map(char::to_lowercase) {
        match c {
            c if c.is_alphanumeric() || c == '-' || c == '_' => slug.push(c),
            c if c.is_whitespace() => slug.push('-'),
            _ => {}
        }
    }
    if slug.is_empty() { "section".into() } else { slug }
}

/// The second `set-up` on a page is `set-up-1`.
fn unique(anchors: &mut BTreeMap<String, usize>, slug: String) -> String {
    let mut anchor = slug.clone();
    while let Some(count) = anchors.get(&anchor).copied() {
        let next = anchors.get(&slug).copied().unwrap_or(count);
        anchors.insert(slug.clone(), next + 1);
        anchor = format!("{slug}-{next}");
    }
    anchors.insert(anchor.clone(), 1);
    anchor
}

fn file_stem(path: &str) -> Option<String> {
    let file = path.rsplit(['/', '\\']).next()?;
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    (!stem.is_empty()).then(|| stem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(markdown: &str) -> Page {
        Page::render(Some("docs/guide.md".into()), markdown)
    }

    #[test]
    fn a_page_has_title_headings_links_and_words() {
        let page = page(
            "# The *guide*\n\nRead [the `wit` files](wit/) or\n![a picture](logo.png).\n\n## Set-up, in 2 steps\n",
        );
        assert_eq!(page.title.as_deref(), Some("The guide"));
        assert_eq!(
            page.headings,
            [
                Heading { level: 1, text: "The guide".into(), anchor: "the-guide".into() },
                Heading { level: 2, text: "Set-up, in 2 steps".into(), anchor: "set-up-in-2-steps".into() },
            ]
        );
        assert_eq!(
            page.links,
            [
                Link { kind: LinkKind::Link, target: "wit/".into(), text: "the wit files".into() },
                Link { kind: LinkKind::Image, target: "logo.png".into(), text: "a picture".into() },
            ]
        );
        assert_eq!(page.words, 13);
        assert!(
            page.html.starts_with("<h1 id=\"the-guide\">The <em>guide</em></h1>\n<p>Read <a href=\"wit/\">"),
            "{}",
            page.html
        );
    }

    #[test]
    fn a_page_without_a_heading_is_called_after_its_file() {
        assert_eq!(page("text").title.as_deref(), Some("guide"));
        assert_eq!(Page::render(None, "text").title, None);
    }

    #[test]
    fn anchors_are_unique() {
        let anchors: Vec<String> =
            page("# A\n# A\n# A 1\n# A\n# !\n").headings.into_iter().map(|heading| heading.anchor).collect();
        assert_eq!(anchors, ["a", "a-1", "a-1-1", "a-2", "section"]);
    }

    #[test]
    fn html_is_shown_and_not_obeyed() {
        let markdown = "<script>alert(1)</script>\n\nA <img src=x onerror=alert(1)> and\n\n<div\nonclick='x'>\n</div>\n\n# T <b>x</b> {#x onclick=x}\n";
        let html = page(markdown).html;
        for forbidden in ["<script", "<img", "<div", "<b>", "id=\"x\""] {
            assert!(!html.contains(forbidden), "{forbidden} in {html}");
        }
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{html}");
    }

    #[test]
    fn links_that_could_run_something_lead_nowhere() {
        let cases = [
            ("[a](javascript:alert(1))", "#"),
            ("[a](JaVaScript:alert(1))", "#"),
            ("[a](java&#10;script:alert(1))", "#"),
            ("[a](data:text/html;base64,AAAA)", "#"),
            ("<javascript:alert(1)>", "#"),
            ("[a](https://example.com/a:b)", "https://example.com/a:b"),
            ("[a](mailto:amber@example.com)", "mailto:amber@example.com"),
            ("[a](docs/a:b.md)", "docs/a:b.md"),
            ("[a](#a:b)", "#a:b"),
        ];
        for (markdown, href) in cases {
            let html = page(markdown).html;
            assert!(html.contains(&format!("href=\"{href}\"")), "{markdown}: {html}");
        }
        assert!(page("![a](javascript:x)").html.contains("src=\"#\""));
    }

    #[test]
    fn front_matter_is_left_out() {
        let page = page("---\ntitle: Hidden\n---\n\nShown");
        assert_eq!((page.html.as_str(), page.words), ("<p>Shown</p>\n", 1));
    }

    #[test]
    fn tables_tasks_and_footnotes_are_rendered() {
        let html = page("| a | b |\n| - | - |\n| 1 | 2 |\n\n- [x] done\n\nText[^1]\n\n[^1]: Note\n").html;
        for part in ["<table>", "checkbox", "footnote-definition"] {
            assert!(html.contains(part), "{part} in {html}");
        }
    }
}
