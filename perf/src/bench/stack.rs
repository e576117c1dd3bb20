//! Stacked bars as inline SVG: how something whole divides into parts, one bar for each thing that is
//! divided, all of the same height. Not here: bars beside each other (`plot`).

use std::fmt::Write;

use super::table::escape;

#[derive(Clone, Debug)]
pub(crate) struct Stacks {
    pub(crate) title: String,
    pub(crate) axis: &'static str,
    pub(crate) stacks_axis: &'static str,
    pub(crate) stacks: Vec<Stack>,
}

#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) name: String,
    /// What stands above it.
    pub(crate) top: String,
    /// From the foot on; the same labels in each stack.
    pub(crate) parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) label: String,
    /// Of the whole: 0 to 1.
    pub(crate) share: f64,
}

/// How many colours the style sheet has; they begin again behind the last.
const COLOURS: usize = 10;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 64.0;
/// The legend stands there.
const RIGHT: f64 = 130.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 44.0;
const STACK_WIDTH_MAX: f64 = 64.0;
/// Between two stacks, in stacks.
const GAP: f64 = 0.5;
/// A part that is lower has no room for a word.
const WORD_HEIGHT: f64 = 12.0;

impl Stacks {
    /// The plot as one `<svg>` element.
    pub(crate) fn svg(&self) -> String {
        let mut out = String::new();
        let title = escape(&self.title);
        let _ = writeln!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"16\">{title}</text>"
        );
        self.grid(&mut out);
        self.legend(&mut out);
        let slots = self.stacks.len().max(1) as f64 * (1.0 + GAP);
        let width = ((WIDTH - LEFT - RIGHT) / slots).min(STACK_WIDTH_MAX);
        let mut x = LEFT + width * GAP / 2.0;
        for stack in &self.stacks {
            stack.draw(&mut out, x, width);
            x += width * (1.0 + GAP);
        }
        out.push_str("</svg>\n");
        out
    }

    fn grid(&self, out: &mut String) {
        for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
            let y = y(percent / 100.0);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.0}\" y=\"{:.1}\">{percent:.0} %</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0
            );
        }
        let _ = writeln!(
            out,
            "<text class=\"axis\" transform=\"translate(12 {:.0}) rotate(-90)\">{}</text>\
             <text class=\"axis\" x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            y(0.5),
            escape(self.axis),
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 6.0,
            escape(self.stacks_axis)
        );
    }

    /// In the order of the stacks, the last part above.
    fn legend(&self, out: &mut String) {
        let Some(first) = self.stacks.first() else { return };
        let x = WIDTH - RIGHT + 18.0;
        let mut y = TOP + 10.0 + 20.0 * first.parts.len() as f64;
        for (at, part) in first.parts.iter().enumerate() {
            y -= 20.0;
            let _ = writeln!(
                out,
                "<rect class=\"part-{}\" x=\"{x:.0}\" y=\"{:.0}\" width=\"11\" height=\"11\"/>\
                 <text x=\"{:.0}\" y=\"{y:.0}\">{}</text>",
                at % COLOURS,
                y - 10.0,
                x + 16.0,
                escape(&part.label)
            );
        }
    }
}

fn y(share: f64) -> f64 {
    HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - BOTTOM - TOP)
}

impl Stack {
    fn draw(&self, out: &mut String, x: f64, width: f64) {
        let middle = x + width / 2.0;
        let mut foot = 0.0;
        for (at, part) in self.parts.iter().enumerate() {
            let share = if part.share.is_finite() { part.share.max(0.0) } else { 0.0 };
            let (low, high) = (y(foot), y(foot + share));
            foot += share;
            let percent = format!("{:.0} %", share * 100.0);
            let _ = write!(
                out,
                "<g><title>{}, {}: {percent}</title><rect class=\"part-{}\" x=\"{x:.1}\" \
                 y=\"{high:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
                escape(&self.name),
                escape(&part.label),
                at % COLOURS,
                low - high
            );
            if low - high >= WORD_HEIGHT {
                let _ = write!(
                    out,
                    "<text class=\"part-word\" x=\"{middle:.1}\" y=\"{:.1}\">{percent}</text>",
                    f64::midpoint(low, high) + 3.0
                );
            }
            out.push_str("</g>\n");
        }
        let _ = writeln!(
            out,
            "<text class=\"value\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>\
             <text class=\"group\" x=\"{middle:.1}\" y=\"{:.0}\">{}</text>",
            y(1.0) - 5.0,
            escape(&self.top),
            HEIGHT - BOTTOM + 16.0,
            escape(&self.name)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::plot::tests::assert_well_formed;
    use super::*;

    fn stacks(shares: &[f64]) -> Stacks {
        let parts = shares.iter().map(|share| Part { label: "a & b".to_owned(), share: *share });
        let stack =
            Stack { name: "<1>".to_owned(), top: "5 us".to_owned(), parts: parts.collect() };
        Stacks { title: "T".to_owned(), axis: "share", stacks_axis: "x", stacks: vec![stack; 3] }
    }

    #[test]
    fn are_well_formed_whatever_the_names_and_shares() {
        for shares in [&[0.25, 0.75][..], &[f64::NAN, -1.0, 2.0], &[]] {
            let svg = stacks(shares).svg();
            assert_well_formed(&svg);
            assert!(!svg.contains("NaN"), "{svg}");
        }
        let none = Stacks { stacks: Vec::new(), ..stacks(&[]) };
        assert_well_formed(&none.svg());
    }

    #[test]
    fn a_part_is_as_high_as_its_share() {
        let svg = stacks(&[0.25, 0.75]).svg();
        let whole = HEIGHT - BOTTOM - TOP;
        for share in [0.25, 0.75] {
            assert!(svg.contains(&format!("height=\"{:.1}\"", whole * share)), "{svg}");
        }
    }

    #[test]
    fn a_low_part_has_no_word() {
        let svg = stacks(&[0.01, 0.99]).svg();
        assert_eq!(svg.matches("part-word").count(), 3);
    }
}
