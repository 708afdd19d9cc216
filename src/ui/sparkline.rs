//! A small chart without axes, drawn by the server.

/// A line over equal steps, in the units of an SVG view box of [`Sparkline::WIDTH`] by [`Sparkline::HEIGHT`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sparkline {
    /// The points of the line: `x,y x,y ...`.
    pub(super) line: String,
    /// The same, closed along the bottom.
    pub(super) area: String,
    /// The greatest value.
    pub(super) peak: u64,
}

impl Sparkline {
    /// Units across.
    pub(super) const WIDTH: u64 = 600;
    /// Units from top to bottom.
    pub(super) const HEIGHT: u64 = 80;
    const MARGIN: u64 = 4;

    /// The line of some values, oldest first.
    pub(super) fn new(values: &[u64]) -> Self {
        let peak = values.iter().copied().max().unwrap_or(0);
        let last = values.len().saturating_sub(1).max(1) as u64;
        let room = Self::HEIGHT - 2 * Self::MARGIN;
        let points = values.iter().enumerate().map(|(at, value)| {
            let share = u128::from(*value) * u128::from(room) / u128::from(peak.max(1));
            let up = u64::try_from(share).unwrap_or(room);
            format!("{},{}", at as u64 * Self::WIDTH / last, Self::HEIGHT - Self::MARGIN - up)
        });
        let line = points.collect::<Vec<_>>().join(" ");
        let area = format!("0,{bottom} {line} {},{bottom}", Self::WIDTH, bottom = Self::HEIGHT);
        Self { line, area, peak }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_spans_the_box() {
        let drawn = Sparkline::new(&[0, 5, 10]);
        assert_eq!(drawn.line, "0,76 300,40 600,4");
        assert_eq!(drawn.peak, 10);
    }

    #[test]
    fn nothing_and_everything_can_be_drawn() {
        assert_eq!(Sparkline::new(&[]).line, "");
        assert_eq!(Sparkline::new(&[7]).line, "0,4");
        assert_eq!(Sparkline::new(&[0, 0]).line, "0,76 600,76");
        assert_eq!(Sparkline::new(&[u64::MAX, 0]).line, "0,4 600,76");
    }
}
