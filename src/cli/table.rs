//! Tables on a terminal: a row is one line, whatever the width. What does not fit is left out, column by column.

use std::io::{self, Write as _};

use unicode_width::UnicodeWidthStr as _;

use super::terminal::{Terminal, Tone, neutralised};
use crate::domain::id::JobId;

/// The columns of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a> {
    /// What stands above each.
    pub(crate) headings: &'a [&'a str],
    /// Those that a narrow terminal does without, the least useful first.
    pub(crate) spare: &'a [&'a str],
}

/// One field of a table.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    text: String,
    tone: Tone,
    is_state: bool,
}

impl Field {
    /// Text from anywhere, made safe and kept on one line.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        let text = neutralised(text.as_ref()).replace(['\n', '\t'], " ");
        Self { text, tone: Tone::Plain, is_state: false }
    }

    /// A state in its colour and with its shape.
    pub(crate) fn state(state: &str) -> Self {
        Self { tone: Tone::of_state(state), is_state: true, ..Self::new(state) }
    }

    /// A value, or a dash where there is none.
    pub(crate) fn or_dash(text: Option<impl AsRef<str>>) -> Self {
        text.map_or_else(|| Self::new("-"), Self::new)
    }
}

/// Blanks between two columns.
const COLUMN_GAP: usize = 2;

/// A column of prose is cut to this many characters before another column is left out, and to fewer only when none can be.
const PROSE_WHILE_SPARE: usize = 24;
const PROSE_LEAST: usize = 8;

/// What is left of an id where nothing else helps: as many characters as name the job all the same.
const ID_LEAST: usize = 8;

/// A column that is shown, and how wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    column: usize,
    width: usize,
    kind: Kind,
}

/// What may be done to a column that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// States, times, numbers, names: nothing.
    Whole,
    /// Ids of jobs: their ends stand for them.
    Ids,
    /// Text: its beginning is shown, with an ellipsis.
    Prose,
}

impl Terminal {
    /// Writes rows under their headings, each row on one line. On a narrow terminal prose is cut and spare columns are left out.
    pub(crate) fn table(self, columns: &Columns<'_>, mut rows: Vec<Vec<Field>>) -> io::Result<()> {
        for field in rows.iter_mut().flatten().filter(|field| field.is_state) {
            field.text = self.state(&field.text);
        }
        let shown = laid_out(columns, &rows, self.columns());
        let heading = |text: &&str| Field { tone: Tone::Heading, ..Field::new(text) };
        let headings: Vec<_> = columns.headings.iter().map(heading).collect();
        let lines = std::iter::once(&headings).chain(&rows).map(|row| self.row(row, &shown));
        let mut out = io::stdout().lock();
        out.write_all(lines.collect::<String>().as_bytes())?;
        out.flush()
    }

    fn row(self, row: &[Field], shown: &[Shown]) -> String {
        let mut line = String::new();
        for Shown { column, width, kind } in shown {
            let Some(field) = row.get(*column) else { continue };
            let text = match kind {
                Kind::Ids => end_of(&field.text, *width),
                Kind::Whole | Kind::Prose => cut(&field.text, *width),
            };
            line.push_str(&self.paint(field.tone, &text));
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(text.width()) + COLUMN_GAP));
        }
        format!("{}\n", line.trim_end())
    }
}

/// The columns that fit into `room` characters, and how wide each is; all of them whole where there is no bound.
fn laid_out(columns: &Columns<'_>, rows: &[Vec<Field>], room: Option<usize>) -> Vec<Shown> {
    let mut shown: Vec<_> = (0..columns.headings.len()).map(|column| whole(columns.headings, rows, column)).collect();
    let Some(room) = room else { return shown };
    for spare in columns.spare {
        if least(&shown, PROSE_WHILE_SPARE) <= room {
            break;
        }
        shown.retain(|shown| columns.headings[shown.column] != *spare);
    }
    narrow(&mut shown, Kind::Prose, PROSE_LEAST, room);
    narrow(&mut shown, Kind::Ids, ID_LEAST, room);
    shown
}

fn whole(headings: &[&str], rows: &[Vec<Field>], column: usize) -> Shown {
    let fields = || rows.iter().filter_map(|row| row.get(column));
    let is_id = |field: &Field| field.text.parse::<JobId>().is_ok();
    // What a person may have written; times have blanks, too.
    let is_prose = |field: &Field| field.text.contains(' ') && !field.is_state && !starts_like_a_time(&field.text);
    let kind = match (fields().next().is_some() && fields().all(is_id), fields().any(is_prose)) {
        (true, _) => Kind::Ids,
        (false, true) => Kind::Prose,
        (false, false) => Kind::Whole,
    };
    let width = fields().map(|field| field.text.width()).chain([headings[column].width()]).max();
    Shown { column, width: width.unwrap_or_default(), kind }
}

fn starts_like_a_time(text: &str) -> bool {
    text.get(..10).is_some_and(|date| date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
}

fn total(shown: &[Shown]) -> usize {
    shown.iter().map(|shown| shown.width).sum::<usize>() + COLUMN_GAP * shown.len().saturating_sub(1)
}

/// How wide it is when prose has been cut to so many characters.
fn least(shown: &[Shown], prose: usize) -> usize {
    let cut = |shown: &Shown| match shown.kind {
        Kind::Prose => Shown { width: shown.width.min(prose), ..*shown },
        Kind::Whole | Kind::Ids => *shown,
    };
    total(&shown.iter().map(cut).collect::<Vec<_>>())
}

/// Narrows the widest columns of a kind until all fit, or none of them can be narrower.
fn narrow(shown: &mut [Shown], kind: Kind, to: usize, room: usize) {
    while total(shown) > room {
        let of_kind = shown.iter_mut().filter(|shown| shown.kind == kind && shown.width > to);
        let Some(widest) = of_kind.max_by_key(|shown| shown.width) else { return };
        widest.width = if kind == Kind::Ids { to } else { widest.width - 1 };
    }
}

/// The text, or its beginning with an ellipsis.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        if kept.width() + c.encode_utf8(&mut [0; 4]).width() + 1 > width {
            break;
        }
        kept.push(c);
    }
    kept + "\u{2026}"
}

/// The end of an id, which stands for it; a heading as it is.
fn end_of(text: &str, width: usize) -> String {
    let from = text.len().saturating_sub(width);
    text.get(from..).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns<'_> = Columns {
        headings: &["ID", "STATE", "JOB", "ATTEMPT", "CREATED", "TOOK", "NOTE"],
        spare: &["TOOK", "ATTEMPT", "CREATED", "NOTE", "JOB"],
    };

    fn rows() -> Vec<Vec<Field>> {
        let row = |state: &str, note: &str| {
            let texts = [
                "01890a5d-ac96-774b-bcce-b302099a8057",
                state,
                "import/handle",
                "1/4",
                "2026-11-30 16:50:11",
                "12.4ms",
                note,
            ];
            texts.map(Field::new).to_vec()
        };
        vec![row("failed", "BAD_ROW: row 7 has no address, and neither has row 8"), row("succeeded", "")]
    }

    fn headings(room: usize) -> Vec<&'static str> {
        laid_out(&COLUMNS, &rows(), Some(room)).iter().map(|shown| COLUMNS.headings[shown.column]).collect()
    }

    #[test]
    fn the_least_useful_columns_go_first_and_the_id_stays() {
        assert_eq!(headings(200).len(), 7);
        assert_eq!(headings(120), ["ID", "STATE", "JOB", "ATTEMPT", "CREATED", "NOTE"]);
        assert_eq!(headings(95), ["ID", "STATE", "JOB", "NOTE"]);
        assert_eq!(headings(70), ["ID", "STATE", "JOB"]);
        assert_eq!(headings(50), ["ID", "STATE"]);
    }

    #[test]
    fn no_row_is_wider_than_the_terminal() {
        for room in 20..200 {
            let shown = laid_out(&COLUMNS, &rows(), Some(room));
            assert!(total(&shown) <= room, "{room}: {shown:?}");
            let id = shown.iter().find(|shown| shown.kind == Kind::Ids).expect("it is shown");
            assert!([36, ID_LEAST].contains(&id.width), "{room}: an id is whole, or its end");
        }
        assert_eq!(end_of("01890a5d-ac96-774b-bcce-b302099a8057", ID_LEAST), "099a8057");
    }

    #[test]
    fn without_a_bound_everything_is_shown_whole() {
        let shown = laid_out(&COLUMNS, &rows(), None);
        assert_eq!((shown.len(), shown[6].width), (7, 52));
        assert_eq!(cut("row 7 has no address", 8), "row 7 h\u{2026}");
    }
}
