//! A table as text for a terminal and as HTML: columns aligned, groups of rows set apart. Not
//! here: what is in the tables (`tables`).

use std::fmt::{self, Write};

#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// What the reader must know to read it, in a sentence or two.
    pub(crate) note: String,
    /// The first columns are names and stand left; figures stand right.
    pub(crate) names: usize,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) groups: Vec<Vec<Vec<String>>>,
}

/// As wide as a terminal that is not a small one.
pub(crate) const TEXT_WIDTH: usize = 112;

const GAP: &str = "  ";

impl Table {
    fn rows(&self) -> impl Iterator<Item = &Vec<String>> {
        self.groups.iter().flatten()
    }

    fn widths(&self) -> Vec<usize> {
        let widest = |column: usize| {
            let cells = self.rows().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let heads = self.columns.iter().enumerate();
        heads.map(|(column, head)| widest(column).max(head.chars().count())).collect()
    }

    pub(crate) fn html(&self) -> String {
        let mut out = String::new();
        let mut cells = |tag: &str, row: &mut dyn Iterator<Item = &str>, class: &str| {
            let _ = write!(out, "<tr{class}>");
            for (column, cell) in row.enumerate() {
                let side = if column < self.names { " class=\"name\"" } else { "" };
                let _ = write!(out, "<{tag}{side}>{}</{tag}>", escape(cell));
            }
            out.push_str("</tr>\n");
        };
        cells("th", &mut self.columns.iter().copied(), "");
        for group in &self.groups {
            for (at, row) in group.iter().enumerate() {
                let class = if at == 0 { " class=\"first\"" } else { "" };
                cells("td", &mut row.iter().map(String::as_str), class);
            }
        }
        format!(
            "<h3>{}</h3>\n<p>{}</p>\n<div class=\"scroll\"><table>\n{out}</table></div>\n",
            escape(&self.title),
            escape(&self.note)
        )
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let line = |f: &mut fmt::Formatter<'_>, cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::new();
            for ((column, cell), width) in cells.enumerate().zip(&widths) {
                let gap = if column == 0 { "" } else { GAP };
                if column < self.names {
                    write!(text, "{gap}{cell:<width$}")?;
                } else {
                    write!(text, "{gap}{cell:>width$}")?;
                }
            }
            writeln!(f, "{}", text.trim_end())
        };
        writeln!(f, "{}", self.title)?;
        if !self.note.is_empty() {
            writeln!(f, "{}\n", wrapped(&self.note, TEXT_WIDTH))?;
        }
        line(f, &mut self.columns.iter().copied())?;
        let rule: usize = widths.iter().sum::<usize>() + GAP.len() * (widths.len().max(1) - 1);
        writeln!(f, "{}", "-".repeat(rule))?;
        for (at, group) in self.groups.iter().enumerate() {
            if at > 0 && group.len() > 1 {
                writeln!(f)?;
            }
            for row in group {
                line(f, &mut row.iter().map(String::as_str))?;
            }
        }
        Ok(())
    }
}

/// `text` in lines of at most `width` characters, broken at blanks.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// `text` with what HTML and SVG give a meaning to replaced.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// A figure with three digits that count, and thousands apart.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        small if small < 0.01 => format!("{value:.1e}"),
        small if small < 10.0 => format!("{value:.2}"),
        medium if medium < 100.0 => format!("{value:.1}"),
        _ => thousands(&format!("{value:.0}")),
    }
}

/// A count, with thousands apart.
pub(crate) fn count(value: u64) -> String {
    thousands(&value.to_string())
}

fn thousands(digits: &str) -> String {
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && !out.ends_with('-') {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        Table {
            title: "T".to_owned(),
            note: "n < m".to_owned(),
            names: 1,
            columns: vec!["name", "ns"],
            groups: vec![
                vec![row("ä", "1"), row("longer", "22")],
                vec![row("c", "3"), row("d", "4")],
            ],
        }
    }

    #[test]
    fn aligns_by_characters_and_sets_groups_apart() {
        let text = table().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[3..7], ["name    ns", "----------", "ä        1", "longer  22"]);
        assert_eq!(lines[7], "");
    }

    #[test]
    fn html_is_escaped_and_balanced() {
        let html = table().html();
        assert!(html.contains("n &lt; m"));
        assert_eq!(html.matches("<tr").count(), html.matches("</tr>").count());
    }

    #[test]
    fn figures_keep_three_digits_and_part_thousands() {
        let written = [0.0, 0.123, 12.34, 123.4, 1234.0, 1_234_567.0].map(figure);
        assert_eq!(written, ["0", "0.12", "12.3", "123", "1 234", "1 234 567"]);
        assert_eq!(figure(-123.0), "-123");
    }

    #[test]
    fn wraps_at_blanks() {
        assert_eq!(wrapped("aa bb cc", 5), "aa bb\ncc");
        assert_eq!(wrapped("  aaaaaaa  b ", 3), "aaaaaaa\nb");
    }
}
