//! Metrics as text: Prometheus' own format (0.0.4) or OpenMetrics 1.0, as the scraper prefers.

use std::fmt::Write as _;

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// Version 0.0.4.
    Prometheus,
    /// Version 1.0.0.
    OpenMetrics,
}

impl TextFormat {
    /// The format that an `Accept` header prefers; without preference it is Prometheus'.
    pub fn accepted(accept: &str) -> Self {
        let mut open = 0.0;
        let mut plain = 0.0;
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f64>().ok());
            let quality = quality.unwrap_or(1.0);
            match name {
                "application/openmetrics-text" => open = f64::max(open, quality),
                "text/plain" | "text/*" | "*/*" => plain = f64::max(plain, quality),
                _ => {}
            }
        }
        if open > plain {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The `Content-Type` of a page.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family of samples is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; the names of its samples end with `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A page of metrics, family by family.
#[derive(Debug)]
pub struct Exposition {
    format: TextFormat,
    text: String,
    family: String,
}

impl Exposition {
    /// An empty page.
    pub fn new(format: TextFormat) -> Self {
        Self {
            format,
            text: String::new(),
            family: String::new(),
        }
    }

    /// Begins a family, which the next samples belong to. `name` is without `_total`.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) -> &mut Self {
        let (suffix, kind_name) = match kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
        };
        self.family = format!("{name}{suffix}");
        let shown = match self.format {
            TextFormat::Prometheus => self.family.as_str(),
            TextFormat::OpenMetrics => name,
        };
        // Writing to a string can't fail.
        let _ = write!(
            self.text,
            "# HELP {shown} {help}\n# TYPE {shown} {kind_name}\n"
        );
        self
    }

    /// Adds a sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.text.push_str(&self.family);
        for (index, (name, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{name}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
        self
    }

    /// Begins a family with one sample that has no labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: f64) -> &mut Self {
        self.family(name, kind, help).sample(&[], value)
    }

    /// The text of the page.
    pub fn finish(mut self) -> String {
        if self.format == TextFormat::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// The value of a label.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapers_get_what_they_prefer() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            (prometheus, TextFormat::OpenMetrics),
            ("text/plain;version=0.0.4", TextFormat::Prometheus),
            ("application/openmetrics-text", TextFormat::OpenMetrics),
            (
                "application/openmetrics-text;q=0.1, text/plain",
                TextFormat::Prometheus,
            ),
            ("*/*", TextFormat::Prometheus),
            ("", TextFormat::Prometheus),
        ] {
            assert_eq!(TextFormat::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn the_formats_differ_in_the_names_of_counters_and_in_the_end() {
        let page = |format| {
            let mut page = Exposition::new(format);
            page.family("a_tests", Kind::Counter, "Tests.")
                .sample(&[("x", "1\"\\\n"), ("y", "2")], 3.0)
                .single("a_seconds", Kind::Gauge, "Time.", 0.5);
            page.finish()
        };
        let samples = "a_tests_total{x=\"1\\\"\\\\\\n\",y=\"2\"} 3\n";
        assert_eq!(
            page(TextFormat::Prometheus),
            format!(
                "# HELP a_tests_total Tests.\n# TYPE a_tests_total counter\n{samples}# HELP a_seconds Time.\n# TYPE a_seconds gauge\na_seconds 0.5\n"
            )
        );
        assert_eq!(
            page(TextFormat::OpenMetrics),
            format!(
                "# HELP a_tests Tests.\n# TYPE a_tests counter\n{samples}# HELP a_seconds Time.\n# TYPE a_seconds gauge\na_seconds 0.5\n# EOF\n"
            )
        );
    }
}
