//! Rows under headings, in the columns that a terminal has.

use textwrap::core::display_width;

use crate::ctl::output::{Line, heading};

/// A table whose last columns give way where there is no room.
pub(super) struct Table<const N: usize> {
    headings: [&'static str; N],
    rows: Vec<[String; N]>,
    /// How many columns at the end may be cut.
    elastic: usize,
    /// The column of numbers, set to the right.
    numbers: usize,
}

impl<const N: usize> Table<N> {
    /// An empty table. `elastic` columns at its end may be cut; the one at `numbers` is set to the
    /// right.
    pub(super) const fn new(headings: [&'static str; N], elastic: usize, numbers: usize) -> Self {
        Self { headings, rows: Vec::new(), elastic, numbers }
    }

    /// Adds a row, safe to print.
    pub(super) fn push(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    /// Headings and rows within `columns`; None cuts nothing.
    pub(super) fn lines(&self, columns: Option<usize>) -> Vec<Line> {
        let widths = self.widths(columns);
        let head = self.line(&self.headings, &widths);
        let mut lines = Vec::with_capacity(self.rows.len().saturating_add(1));
        lines.push(Line::Whole(heading(&head)));
        lines.extend(self.rows.iter().map(|row| {
            let cells: [&str; N] =
                std::array::from_fn(|column| row.get(column).map_or("", |cell| cell));
            Line::Whole(self.line(&cells, &widths))
        }));
        lines
    }

    fn line(&self, cells: &[&str; N], widths: &[usize; N]) -> String {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if column > 0 {
                line.push_str(GAP);
            }
            let mut used = display_width(cell);
            let mut cell = std::borrow::Cow::Borrowed(*cell);
            if used > *width {
                cell = cut(&cell, *width).into();
                used = display_width(&cell);
            }
            let space = width.saturating_sub(used);
            let (before, behind) = if column == self.numbers { (space, 0) } else { (0, space) };
            line.extend(std::iter::repeat_n(' ', before));
            line.push_str(&cell);
            line.extend(std::iter::repeat_n(' ', behind));
        }
        line.truncate(line.trim_end().len());
        line
    }

    fn widths(&self, columns: Option<usize>) -> [usize; N] {
        let mut widths = self.headings.map(display_width);
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = display_width(cell).max(*width);
            }
        }
        let Some(columns) = columns else { return widths };
        let gaps = N.saturating_sub(1).saturating_mul(GAP.len());
        let (fixed, elastic) = widths.split_at_mut(N.saturating_sub(self.elastic));
        let taken = fixed.iter().fold(gaps, |sum, width| sum.saturating_add(*width));
        share(elastic, columns.saturating_sub(taken));
        widths
    }
}

/// Cuts the widest until all have room: what is narrow stays whole.
fn share(widths: &mut [usize], room: usize) {
    let mut order: Vec<&mut usize> = widths.iter_mut().collect();
    order.sort();
    let (mut room, mut others) = (room, order.len());
    for width in order {
        let part = room.checked_div(others).unwrap_or_default();
        *width = (*width).min(part.max(NARROWEST));
        room = room.saturating_sub(*width);
        others = others.saturating_sub(1);
    }
}

/// The beginning of a text that is too wide, and a mark for the rest.
fn cut(text: &str, width: usize) -> String {
    let mut short = String::new();
    let mut room = width.saturating_sub(1);
    for character in text.chars() {
        let columns = display_width(character.encode_utf8(&mut [0; 4]));
        let Some(left) = room.checked_sub(columns) else { break };
        room = left;
        short.push(character);
    }
    short.push('…');
    short
}

/// Between two columns.
const GAP: &str = "  ";
/// Columns that a cell keeps; with the longest IPv6 network all fits in 80.
const NARROWEST: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(columns: Option<usize>, rows: &[[&str; 4]]) -> Vec<String> {
        let mut table = Table::new(["NAME", "NO", "WHO", "WHY"], 2, 1);
        rows.iter().for_each(|row| table.push(row.map(str::to_owned)));
        table.lines(columns).iter().map(Line::plain).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let expected = ["NAME   NO  WHO  WHY", "a       7  b    c", "aaaaa  10  -    d"];
        assert_eq!(lines(None, &[["a", "7", "b", "c"], ["aaaaa", "10", "-", "d"]]), expected);
    }

    #[test]
    fn where_there_is_no_room_the_widest_is_cut_and_what_is_narrow_stays_whole() {
        let long = "x".repeat(60);
        let rows = lines(Some(40), &[["abc", "7", "narrow", &long], ["abc", "8", "b", "c"]]);
        assert_eq!(rows[1], format!("abc    7  narrow  {}…", "x".repeat(21)));
        assert!(rows.iter().all(|row| display_width(row) <= 40), "{rows:#?}");
        let rows = lines(Some(40), &[["abc", "7", &long, &long]]);
        assert!(rows[1].chars().filter(|letter| *letter == '…').count() == 2, "{rows:#?}");
        assert_eq!(display_width(&rows[1]), 40);
        // Letters of two columns.
        let rows = lines(Some(30), &[["abc", "7", "b", &"漢".repeat(40)]]);
        assert!(display_width(&rows[1]) <= 30 && rows[1].ends_with("漢…"), "{rows:#?}");
        let whole = lines(None, &[["abc", "7", "b", &long]]);
        assert!(whole[1].ends_with(&long));
    }
}
