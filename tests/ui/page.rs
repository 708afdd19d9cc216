//! Reads a page as a strict browser would, and says what is wrong with it.

/// Elements that the console uses. Anything else came from somebody who should not be able to write any.
const ELEMENTS: &[&str] = &[
    "html", "head", "meta", "title", "link", "script", "body", "a", "header", "nav", "div", "span", "button", "main",
    "p", "footer", "kbd", "h1", "h2", "h3", "section", "form", "input", "label", "select", "option", "table", "thead",
    "tbody", "tr", "th", "td", "time", "code", "pre", "dl", "dt", "dd", "small", "svg", "rect", "path", "polygon",
    "polyline", "ol", "ul", "li", "details", "summary", "progress", "strong", "em",
];

/// Elements without an end.
const VOID: &[&str] = &["meta", "link", "input"];

/// Attributes that may be there; none runs a script or carries a style.
const ATTRIBUTES: &[&str] = &[
    "accept",
    "action",
    "aria-busy",
    "aria-current",
    "aria-hidden",
    "aria-label",
    "aria-labelledby",
    "aria-pressed",
    "autocomplete",
    "charset",
    "class",
    "colspan",
    "content",
    "d",
    "data-jump",
    "data-keep",
    "data-label",
    "data-live",
    "data-manifest",
    "data-refresh",
    "data-search",
    "data-shape",
    "datetime",
    "defer",
    "download",
    "enctype",
    "for",
    "height",
    "hidden",
    "href",
    "id",
    "lang",
    "max",
    "maxlength",
    "method",
    "name",
    "pattern",
    "placeholder",
    "points",
    "preserveAspectRatio",
    "rel",
    "required",
    "role",
    "rx",
    "scope",
    "selected",
    "spellcheck",
    "src",
    "tabindex",
    "title",
    "type",
    "value",
    "viewBox",
    "width",
];

/// One start tag.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
}

impl Tag {
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// The start tags of a page. Panics when the page is not well-formed, uses what the console does not use, repeats an id, or
/// holds a character that a browser would hide.
pub(crate) fn read(html: &str) -> Vec<Tag> {
    let hidden = html.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c));
    assert!(hidden.is_none(), "the page holds {hidden:?}");
    let mut rest = html.strip_prefix("<!doctype html>").expect("a page says that it is HTML");
    let mut open: Vec<String> = Vec::new();
    let mut tags: Vec<Tag> = Vec::new();
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(end) = rest.strip_prefix('/') {
            let (name, after) = end.split_once('>').expect("an end tag ends");
            assert_eq!(open.pop().as_deref(), Some(name), "before: {}", &after[..after.len().min(80)]);
            rest = after;
            continue;
        }
        let (tag, is_closed, after) = read_tag(rest);
        assert!(
            ELEMENTS.contains(&tag.name.as_str()),
            "the console has no <{}>: {}",
            tag.name,
            &rest[..rest.len().min(80)]
        );
        if !is_closed && !VOID.contains(&tag.name.as_str()) {
            open.push(tag.name.clone());
        }
        tags.push(tag);
        rest = after;
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    check(&tags);
    tags
}

fn check(tags: &[Tag]) {
    let mut ids: Vec<&str> = tags.iter().filter_map(|tag| tag.attribute("id")).collect();
    ids.sort_unstable();
    let repeated = ids.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(repeated, None, "an id stands for one element");
    for tag in tags {
        let strange = tag.attributes.iter().find(|(name, _)| !ATTRIBUTES.contains(&name.as_str()));
        assert!(strange.is_none(), "<{}> has {strange:?}", tag.name);
        let names = tag.attribute("aria-labelledby").into_iter().flat_map(str::split_whitespace);
        for name in names {
            assert!(ids.binary_search(&name).is_ok(), "aria-labelledby names `{name}`, which is not there");
        }
        for address in ["src", "href", "action"].into_iter().filter_map(|name| tag.attribute(name)) {
            assert!(address.starts_with(['/', '#', '?']) && !address.starts_with("//"), "`{address}` leads away");
        }
        if tag.name == "script" {
            assert!(tag.attribute("src").is_some(), "a script stands in a file of its own");
        }
    }
}

fn read_tag(text: &str) -> (Tag, bool, &str) {
    let end_of_name = text.find(|c: char| !c.is_ascii_alphanumeric()).expect("a tag ends");
    let (name, mut rest) = text.split_at(end_of_name);
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("/>") {
            return (Tag { name: name.to_owned(), attributes }, true, after);
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (Tag { name: name.to_owned(), attributes }, false, after);
        }
        let end = rest.find(|c: char| c == '=' || c == '>' || c == '/' || c.is_whitespace()).expect("a tag ends");
        let (attribute, after) = rest.split_at(end);
        assert!(!attribute.is_empty(), "a stray character in a tag: {}", &rest[..rest.len().min(80)]);
        let value = after.strip_prefix("=\"").map(|after| after.split_once('"').expect("a value ends"));
        let (value, after) = value.unwrap_or(("", after));
        attributes.push((attribute.to_owned(), unescaped(value)));
        rest = after;
    }
}

/// The text that an escaped one stands for.
pub(crate) fn unescaped(text: &str) -> String {
    let entities = [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&"), ("&amp;", "&")];
    entities.into_iter().fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain))
}

#[test]
fn a_stranger_on_a_page_is_seen() {
    for page in ["<p><b>x</b></p>", "<p onclick=\"x\">x</p>", "<p>x", "<a href=\"//x\">x</a>", "<p>\u{202e}</p>"] {
        let page = format!("<!doctype html>{page}");
        assert!(std::panic::catch_unwind(|| read(&page)).is_err(), "{page}");
    }
    assert_eq!(read("<!doctype html><p title=\"&#60;\">1 &#60; 2</p>")[0].attribute("title"), Some("<"));
}
