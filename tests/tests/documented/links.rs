//! Links between pages lead somewhere: to a file that is there, and to a heading that it has.

use std::fs;
use std::path::Path;

use iperf_harness::{Problems, paths};
use regex::Regex;

use crate::pages;

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|title| {
            title
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

#[test]
fn links_lead_to_files_and_headings() {
    let link = Regex::new(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)").unwrap();
    let mut problems = Problems::new();
    let mut links = 0;
    for page in pages() {
        let path = paths::workspace().join(&page);
        for found in link.captures_iter(&fs::read_to_string(&path).unwrap()) {
            let (file, anchor) = (&found[1], found.get(2).map(|anchor| anchor.as_str()));
            if file.starts_with("http") {
                continue;
            }
            links += 1;
            let target = match file {
                "" => path.clone(),
                _ => path.parent().unwrap().join(file),
            };
            let there = target.exists();
            problems.holds(format!("{page}: no file {file}"), there);
            if let Some(anchor) = anchor.filter(|_| there) {
                let has = anchors(&target).iter().any(|title| title == anchor);
                problems.holds(format!("{page}: {file} has no heading #{anchor}"), has);
            }
        }
    }
    problems.assert_none(format!("{links} links"));
    assert!(links > 100, "{links} links");
}
