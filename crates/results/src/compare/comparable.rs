//! Which runs may be compared: those with the same parameters. Environments that differ are worth a warning.

use std::collections::BTreeMap;

use crate::record::Record;

/// A parameter in which two runs differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The parameter, as `--ignore` takes it.
    pub name: String,
    /// One value.
    pub base: String,
    /// The other.
    pub new: String,
}

/// The parameters in which two runs differ, without those that `ignored` names. What a tool does not print may have
/// any value, so it differs only from output of the same tool.
pub fn differences(base: &Record, new: &Record, ignored: impl Fn(&str) -> bool) -> Vec<Difference> {
    let same_tool = base.tool == new.tool;
    let (left, right) = (base.parameters.named(), new.parameters.named());
    let right: BTreeMap<&str, Option<String>> = right.into_iter().collect();
    let left: BTreeMap<&str, Option<String>> = left.into_iter().collect();
    let mut names: Vec<&str> = left.keys().chain(right.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    let value =
        |side: &BTreeMap<&str, Option<String>>, name: &str| side.get(name).cloned().flatten();
    names
        .into_iter()
        .filter(|name| !ignored(name))
        .filter_map(|name| {
            let (base, new) = (value(&left, name), value(&right, name));
            let differ = if same_tool {
                base != new
            } else {
                base.is_some() && new.is_some() && base != new
            };
            let text = |value: Option<String>| value.unwrap_or_else(|| "none".into());
            differ.then(|| Difference {
                name: name.to_owned(),
                base: text(base),
                new: text(new),
            })
        })
        .collect()
}

/// Runs with the same parameters, in the order of their first.
pub fn groups<'a>(records: &'a [Record], ignored: &dyn Fn(&str) -> bool) -> Vec<Vec<&'a Record>> {
    let mut groups: Vec<Vec<&Record>> = Vec::new();
    for record in records {
        let same = |group: &&mut Vec<&Record>| {
            group[0].tool == record.tool && differences(group[0], record, ignored).is_empty()
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(record),
            None => groups.push(vec![record]),
        }
    }
    groups
}

/// What of the environments differs, as warnings: a value that one side has and the other has not.
pub(super) fn environments(base: &[&Record], new: &[&Record]) -> Vec<String> {
    let values = |side: &[&Record]| {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for record in side {
            for (name, value) in &record.environment {
                let known = values.entry(name.clone()).or_default();
                if !known.contains(value) && !measured(name) {
                    known.push(value.clone());
                }
            }
        }
        values
    };
    let (left, right) = (values(base), values(new));
    let differ = left.iter().filter_map(|(name, before)| {
        let after = right.get(name)?;
        (before != after).then(|| {
            format!(
                "{name} differs: {} and {}",
                before.join(", "),
                after.join(", ")
            )
        })
    });
    let mut warnings: Vec<String> = differ.collect();
    for (side, records) in [("base", base), ("new", new)] {
        let stolen = records
            .iter()
            .filter_map(|record| steal(record))
            .fold(0.0, f64::max);
        if stolen > 1.0 {
            warnings.push(format!(
                "{side}: the hypervisor took {stolen:.1} % of the processors' time"
            ));
        }
    }
    warnings
}

/// Whether a fact is measured during the run, so that no two runs have the same.
fn measured(name: &str) -> bool {
    name.contains("steal")
        || name.contains("load")
        || name.contains("free")
        || name.contains("available")
}

/// Steal time in percent, of the end that lost more.
fn steal(record: &Record) -> Option<f64> {
    record
        .environment
        .iter()
        .filter(|(name, _)| name.contains("steal") && name.contains("percent"))
        .filter_map(|(_, value)| crate::figures::amount(value))
        .reduce(f64::max)
}
