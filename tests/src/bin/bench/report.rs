//! What was measured: rows with their bars, and charts.

use std::time::Duration;

/// Everything of one run.
#[derive(Default)]
pub struct Report {
    /// In the order of measuring.
    pub sections: Vec<Section>,
    /// Drawn beneath the rows.
    pub charts: Vec<Chart>,
}

/// Rows under one heading.
pub struct Section {
    /// What all of them are about.
    pub heading: String,
    /// At least one.
    pub rows: Vec<Row>,
}

/// One thing that was measured.
pub struct Row {
    /// What was done.
    pub work: String,
    /// How long it took, beside what it is compared with.
    pub measured: String,
    /// The number that the bar is about, where it is another one.
    pub ratio: String,
    /// What must be reached; empty where the row is for comparison alone.
    pub bar: String,
    /// Whether it was.
    pub met: bool,
}

/// Numbers to be seen beside each other.
pub struct Chart {
    /// What they are.
    pub title: String,
    /// How long the bars are.
    pub scale: Scale,
    /// Each with a name and with what is written beside it.
    pub bars: Vec<(String, f64, String)>,
}

/// How long a bar is.
#[derive(Clone, Copy)]
pub enum Scale {
    /// In proportion.
    Even,
    /// Each character doubles.
    Doubling,
}

impl Report {
    /// Opens a section; an empty heading stays in the one before.
    pub fn begin(&mut self, heading: &str) {
        if !heading.is_empty() {
            println!("\n{heading}");
            self.sections.push(Section { heading: heading.to_owned(), rows: Vec::new() });
        }
    }

    /// Adds a row, and prints it at once: the run is long.
    pub fn line(&mut self, work: &str, measured: &str, ratio: &str, bar: &str, met: bool) {
        let verdict = match (bar, met) {
            ("", _) => String::new(),
            (bar, true) => format!("bar {bar:<9} ok"),
            (bar, false) => format!("bar {bar:<9} MISSED"),
        };
        println!("{work}\n    {measured:<44} {ratio:<20} {verdict}");
        let [work, measured, ratio, bar] = [work, measured, ratio, bar].map(str::to_owned);
        if self.sections.is_empty() {
            self.sections.push(Section { heading: String::new(), rows: Vec::new() });
        }
        let last = self.sections.last_mut().unwrap();
        last.rows.push(Row { work, measured, ratio, bar, met });
    }

    /// Adds a chart, and prints it.
    pub fn chart(&mut self, chart: Chart) {
        println!("\n{}", chart.drawn());
        self.charts.push(chart);
    }

    /// How many bars were missed.
    pub fn missed(&self) -> usize {
        let rows = self.sections.iter().flat_map(|section| &section.rows);
        rows.filter(|row| !row.met).count()
    }
}

impl Chart {
    /// As lines of text.
    pub fn drawn(&self) -> String {
        let names = self.bars.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
        let texts = self.bars.iter().map(|(.., text)| text.chars().count()).max().unwrap_or(0);
        let values = || self.bars.iter().map(|(_, value, _)| *value);
        let least = values().fold(f64::INFINITY, f64::min);
        let most = values().fold(0.0, f64::max);
        let mut drawn = self.title.clone();
        for (name, value, text) in &self.bars {
            let length = match self.scale {
                Scale::Even => value / most * f64::from(WIDEST),
                Scale::Doubling => (value / least).log2() + 1.0,
            };
            let bar = "█".repeat((length.round() as usize).max(1));
            drawn += &format!("\n  {name:<names$}  {text:>texts$}  {bar}");
        }
        drawn
    }
}

/// The middle one.
pub fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// In milliseconds.
pub fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Megabytes of resident memory.
pub fn resident(pid: u32) -> f64 {
    megabytes(pid, "VmRSS")
}

/// Megabytes that were resident at most.
pub fn peak(pid: u32) -> f64 {
    megabytes(pid, "VmHWM")
}

fn megabytes(pid: u32, field: &str) -> f64 {
    let kib = ::tests::processes::memory(pid, field).expect("it runs");
    f64::from(u32::try_from(kib).unwrap()) / 1e3
}

/// Characters of the longest bar.
const WIDEST: u8 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_scale_says() {
        let bars = [("ours", 1.0), ("theirs", 4.0)];
        let drawn = |scale| {
            let bars = bars.map(|(name, value)| (name.to_owned(), value, format!("{value} s")));
            Chart { title: "time".to_owned(), scale, bars: bars.into() }.drawn()
        };
        assert_eq!(drawn(Scale::Doubling), "time\n  ours    1 s  █\n  theirs  4 s  ███");
        let (short, long) = ("█".repeat(10), "█".repeat(40));
        assert_eq!(
            drawn(Scale::Even),
            format!("time\n  ours    1 s  {short}\n  theirs  4 s  {long}")
        );
    }

    #[test]
    fn a_missed_bar_is_counted() {
        let mut report = Report::default();
        report.begin("section");
        report.line("work", "2 ms", "", "1 ms", false);
        report.line("work", "1 ms", "", "1 ms", true);
        report.begin("");
        report.line("for comparison", "3 ms", "", "", true);
        assert_eq!((report.missed(), report.sections.len()), (1, 1));
    }
}
