//! A plot as inline SVG: grouped bars on a logarithmic axis, whiskers for the range of the
//! repetitions. Colours come from the page's style sheet, light and dark. Not here: which plots
//! there are (each part's `plots`), and the page (`html`).

use std::fmt::Write;

use super::table::{escape, figure};

#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) axis: &'static str,
    pub(crate) groups_axis: &'static str,
    pub(crate) groups: Vec<(String, Vec<Bar>)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) label: String,
    /// Which colour of the style sheet.
    pub(crate) class: &'static str,
    pub(crate) value: f64,
    pub(crate) range: Option<(f64, f64)>,
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 44.0;
/// Between groups, in bars.
const GROUP_GAP: f64 = 0.9;
const BAR_WIDTH_MAX: f64 = 30.0;

/// The logarithmic axis: whole powers of ten around everything that is drawn.
struct Axis {
    low: i32,
    high: i32,
}

impl Axis {
    fn around(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            low = low.min(value);
            high = high.max(value);
        }
        if !low.is_finite() {
            return Self { low: 0, high: 1 };
        }
        // A bar at the very foot of the axis would be invisible: it begins a little below.
        #[allow(clippy::cast_possible_truncation, reason = "an exponent of ten is a small number")]
        let (low, high) = ((low / 1.5).log10().floor() as i32, high.log10().ceil() as i32);
        Self { low, high: high.max(low + 1) }
    }

    fn y(&self, value: f64) -> f64 {
        let part = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        HEIGHT - BOTTOM - part.clamp(0.0, 1.0) * (HEIGHT - BOTTOM - TOP)
    }
}

impl Plot {
    /// The plot as one `<svg>` element.
    pub(crate) fn svg(&self) -> String {
        let mut out = String::new();
        let values = self.bars().flat_map(|bar| {
            let (min, max) = bar.range.unwrap_or((bar.value, bar.value));
            [min, max]
        });
        let axis = Axis::around(values);
        let _ = writeln!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(&self.title)
        );
        let _ = writeln!(
            out,
            "<text class=\"title\" x=\"{LEFT}\" y=\"16\">{}</text>",
            escape(&self.title)
        );
        self.legend(&mut out);
        self.grid(&mut out, &axis);
        self.draw_groups(&mut out, &axis);
        out.push_str("</svg>\n");
        out
    }

    fn bars(&self) -> impl Iterator<Item = &Bar> {
        self.groups.iter().flat_map(|(_, bars)| bars)
    }

    fn legend(&self, out: &mut String) {
        let mut seen: Vec<&str> = Vec::new();
        let mut x = LEFT;
        for bar in self.bars() {
            if seen.contains(&bar.label.as_str()) {
                continue;
            }
            seen.push(&bar.label);
            let _ = writeln!(
                out,
                "<rect class=\"{}\" x=\"{x:.0}\" y=\"24\" width=\"11\" height=\"11\"/>\
                 <text x=\"{:.0}\" y=\"34\">{}</text>",
                bar.class,
                x + 16.0,
                escape(&bar.label)
            );
            x += 34.0 + 6.6 * bar.label.chars().count() as f64;
        }
    }

    fn grid(&self, out: &mut String, axis: &Axis) {
        for exponent in axis.low..=axis.high {
            let y = axis.y(10_f64.powi(exponent));
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.0}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                power(exponent)
            );
        }
        let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
        let _ = writeln!(
            out,
            "<text class=\"axis\" transform=\"translate(12 {middle:.0}) rotate(-90)\">{}</text>\
             <text class=\"axis\" x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            self.axis,
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 6.0,
            self.groups_axis
        );
    }

    fn draw_groups(&self, out: &mut String, axis: &Axis) {
        let slots: f64 = self.groups.iter().map(|(_, bars)| bars.len() as f64 + GROUP_GAP).sum();
        let width = ((WIDTH - LEFT - RIGHT) / slots.max(1.0)).min(BAR_WIDTH_MAX);
        let mut x = LEFT + width * GROUP_GAP / 2.0;
        for (name, bars) in &self.groups {
            let middle = x + width * bars.len() as f64 / 2.0;
            let _ = writeln!(
                out,
                "<text class=\"group\" x=\"{middle:.1}\" y=\"{:.0}\">{}</text>",
                HEIGHT - BOTTOM + 16.0,
                escape(name)
            );
            for bar in bars {
                draw_bar(out, axis, bar, x, width);
                x += width;
            }
            x += width * GROUP_GAP;
        }
    }
}

fn draw_bar(out: &mut String, axis: &Axis, bar: &Bar, x: f64, width: f64) {
    let foot = HEIGHT - BOTTOM;
    let middle = x + width / 2.0;
    let (min, max) = bar.range.unwrap_or((bar.value, bar.value));
    let top = if bar.value > 0.0 { axis.y(bar.value) } else { foot };
    let _ = write!(
        out,
        "<g><title>{}: {} ({}-{})</title><rect class=\"{}\" x=\"{:.1}\" y=\"{top:.1}\" \
         width=\"{:.1}\" height=\"{:.1}\"/>",
        escape(&bar.label),
        figure(bar.value),
        figure(min),
        figure(max),
        bar.class,
        x + 1.0,
        width - 2.0,
        foot - top
    );
    let mut label_y = top;
    if max > min && min > 0.0 {
        let (low, high) = (axis.y(min), axis.y(max));
        label_y = high;
        let _ = write!(
            out,
            "<path class=\"whisker\" d=\"M{middle:.1} {low:.1}V{high:.1}M{:.1} {high:.1}h6M{:.1} \
             {low:.1}h6\"/>",
            middle - 3.0,
            middle - 3.0
        );
    }
    let _ = writeln!(
        out,
        "<text class=\"value\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text></g>",
        label_y - 3.0,
        short(bar.value)
    );
}

/// A figure that fits above a bar.
fn short(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        v if v < 10.0 => format!("{v:.1}"),
        v if v < 1000.0 => format!("{v:.0}"),
        v if v < 10_000.0 => format!("{:.1}k", v / 1e3),
        v if v < 1e6 => format!("{:.0}k", v / 1e3),
        v => format!("{:.1}M", v / 1e6),
    }
}

fn power(exponent: i32) -> String {
    match exponent {
        ..0 => format!("{}", 10_f64.powi(exponent)),
        0..=2 => format!("{:.0}", 10_f64.powi(exponent)),
        3..=5 => format!("{:.0}k", 10_f64.powi(exponent - 3)),
        _ => format!("{:.0}M", 10_f64.powi(exponent - 6)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Checks that tags nest and attributes are quoted: what a browser's XML parser insists on.
    pub(crate) fn assert_well_formed(svg: &str) {
        let mut open: Vec<&str> = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (tag, text) = tag.split_once('>').expect("a tag ends");
            assert!(!text.contains('>'), "{text}");
            let name = tag.split([' ', '/']).find(|part| !part.is_empty()).expect("a name");
            if let Some(closed) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(closed));
            } else if !tag.ends_with('/') {
                open.push(name);
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        }
        assert!(open.is_empty(), "{open:?}");
    }

    fn plot(groups: Vec<(String, Vec<Bar>)>) -> Plot {
        Plot { title: "T".to_owned(), axis: "ns", groups_axis: "shape", groups }
    }

    #[test]
    fn are_well_formed_whatever_the_names() {
        let bar = |label: &str, value: f64| Bar {
            label: label.to_owned(),
            class: "ours",
            value,
            range: Some((value * 0.9, value * 1.1)),
        };
        let bars = vec![bar("a <b> & \"c\"", 1e6), bar("none", 0.0)];
        let plot = plot(vec![("<capture> & co".to_owned(), bars)]);
        assert_well_formed(&plot.svg());
        assert!(!plot.svg().contains("NaN"), "{}", plot.title);
    }

    #[test]
    fn an_empty_plot_is_drawn_too() {
        assert_well_formed(&plot(Vec::new()).svg());
    }

    #[test]
    fn the_axis_holds_every_value_and_shows_the_smallest() {
        let axis = Axis::around([12.0, 900.0].into_iter());
        assert!(axis.y(12.0) < HEIGHT - BOTTOM && axis.y(900.0) > TOP);
        let exact = Axis::around([10.0].into_iter());
        assert!(exact.y(10.0) < HEIGHT - BOTTOM - 10.0);
    }

    #[test]
    fn values_fit_above_their_bars() {
        let written = [0.0, 3.0, 66.0, 1234.0, 609_268.0, 2e6].map(short);
        assert_eq!(written, ["0", "3.0", "66", "1.2k", "609k", "2.0M"]);
    }
}
