//! The product of values of options: a command for each combination.

use std::str::FromStr;

/// More combinations than this are taken for a mistake.
const MOST: usize = 1000;

/// An option and its values: `length=4K,32K`; or whole command lines, `cmd=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// The option without dashes, or `cmd`.
    pub name: String,
    /// Its values. `off` leaves the option out, `on` gives it without a value.
    pub values: Vec<String>,
}

/// The axis of command lines.
const COMMAND: &str = "cmd";

impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "must be OPTION=VALUE,VALUE…, such as length=4K,32K".to_owned();
        let (name, values) = text.split_once('=').ok_or_else(wrong)?;
        let name = name.trim_start_matches('-');
        // A command line may have commas.
        let values: Vec<String> = if name == COMMAND {
            vec![values.to_owned()]
        } else {
            values.split(',').map(str::to_owned).collect()
        };
        if name.is_empty() || values.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_owned(),
            values,
        })
    }
}

/// A combination of values, one of each axis, and its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Combination {
    /// The place on each axis.
    pub at: Vec<usize>,
    /// `length=4K zerocopy-rx=off`.
    pub name: String,
    /// For a shell.
    pub command: String,
    /// The words behind the program, unless an axis has whole command lines.
    pub words: Option<Vec<String>>,
}

/// Joins axes with the same name, as several `cmd=…` are.
pub fn merge(axes: &[Axis]) -> Vec<Axis> {
    let mut merged: Vec<Axis> = Vec::new();
    for axis in axes {
        match merged.iter_mut().find(|known| known.name == axis.name) {
            Some(known) => known.values.extend(axis.values.iter().cloned()),
            None => merged.push(axis.clone()),
        }
    }
    merged
}

/// All combinations, the last axis changing fastest. `program` with `options` is the command, unless an axis has
/// commands.
pub fn combinations(
    axes: &[Axis],
    program: &str,
    options: &[String],
) -> Result<Vec<Combination>, String> {
    let count = axes
        .iter()
        .try_fold(1_usize, |count, axis| count.checked_mul(axis.values.len()));
    let count = count
        .filter(|count| *count <= MOST)
        .ok_or_else(|| format!("--vary makes more than {MOST} combinations"))?;
    for axis in axes {
        for (at, value) in axis.values.iter().enumerate() {
            if axis.values[..at].contains(value) {
                return Err(format!("--vary {}: {value} is given twice", axis.name));
            }
        }
    }
    (0..count)
        .map(|mut number| {
            let mut at = vec![0; axes.len()];
            for (place, axis) in at.iter_mut().zip(axes).rev() {
                *place = number % axis.values.len();
                number /= axis.values.len();
            }
            let chosen: Vec<(&str, &str)> = axes
                .iter()
                .zip(&at)
                .map(|(axis, place)| (axis.name.as_str(), axis.values[*place].as_str()))
                .collect();
            let parts: Vec<String> = chosen
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let (command, words) = if let Some(command) = template(&chosen)? {
                (command, None)
            } else {
                let words = words(&chosen, options);
                (shell(program, &words), Some(words))
            };
            Ok(Combination {
                command,
                words,
                name: parts.join(" "),
                at,
            })
        })
        .collect()
}

/// The command line of an axis, with its placeholders filled in.
fn template(chosen: &[(&str, &str)]) -> Result<Option<String>, String> {
    let Some((_, template)) = chosen.iter().find(|(name, _)| *name == COMMAND) else {
        return Ok(None);
    };
    let mut command = (*template).to_owned();
    for (name, value) in chosen.iter().filter(|(name, _)| *name != COMMAND) {
        let placeholder = format!("{{{name}}}");
        if !command.contains(&placeholder) {
            return Err(format!("--vary cmd={template} has no {placeholder}"));
        }
        command = command.replace(&placeholder, value);
    }
    Ok(Some(command))
}

/// The options of all clients, and those that were chosen.
fn words(chosen: &[(&str, &str)], options: &[String]) -> Vec<String> {
    let mut words = options.to_vec();
    for (name, value) in chosen {
        let short = name.chars().count() == 1;
        let option = if short {
            format!("-{name}")
        } else {
            format!("--{name}")
        };
        match *value {
            "off" => {}
            "on" => words.push(option),
            value if short => words.push(format!("{option}{value}")),
            value => words.push(format!("{option}={value}")),
        }
    }
    words
}

fn shell(program: &str, words: &[String]) -> String {
    let words = words.iter().map(String::as_str);
    let quoted: Vec<String> = std::iter::once(program).chain(words).map(quoted).collect();
    quoted.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(texts: &[&str]) -> Vec<Axis> {
        let axes: Vec<Axis> = texts.iter().map(|text| text.parse().unwrap()).collect();
        merge(&axes)
    }

    #[test]
    fn options_are_combined_and_the_last_changes_fastest() {
        let axes = axes(&["l=4K,32K", "zerocopy-rx=off,mmap", "--verify=on"]);
        let all = combinations(&axes, "iperf", &["-c".into(), "a b".into()]).unwrap();
        let commands: Vec<&str> = all.iter().map(|one| one.command.as_str()).collect();
        assert_eq!(
            commands,
            [
                "iperf -c 'a b' -l4K --verify",
                "iperf -c 'a b' -l4K --zerocopy-rx=mmap --verify",
                "iperf -c 'a b' -l32K --verify",
                "iperf -c 'a b' -l32K --zerocopy-rx=mmap --verify",
            ]
        );
        assert_eq!(
            (all[2].name.as_str(), &*all[2].at),
            ("l=32K zerocopy-rx=off verify=on", &[1, 0, 0][..])
        );
    }

    #[test]
    fn command_lines_have_placeholders() {
        let lines = axes(&["cmd=a -l {length} x,y", "cmd=b {length}", "length=1,2"]);
        let all = combinations(&lines, "iperf", &[]).unwrap();
        let commands: Vec<&str> = all.iter().map(|one| one.command.as_str()).collect();
        assert_eq!(commands, ["a -l 1 x,y", "a -l 2 x,y", "b 1", "b 2"]);
        let wrong = combinations(&axes(&["cmd=a", "length=1"]), "iperf", &[]);
        assert!(wrong.unwrap_err().contains("has no {length}"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["length", "=1", "length=", "length=1,,2"] {
            assert!(
                text.parse::<Axis>().unwrap_err().contains("OPTION=VALUE"),
                "{text}"
            );
        }
        assert!(
            combinations(&axes(&["l=1,1"]), "iperf", &[])
                .unwrap_err()
                .contains("twice")
        );
        let many: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let many = many.join(",");
        let many = axes(&[&format!("l={many}"), &format!("w={many}")]);
        assert!(
            combinations(&many, "iperf", &[])
                .unwrap_err()
                .contains("more than 1000")
        );
    }

    #[test]
    fn words_reach_the_program_as_they_are() {
        let output = std::process::Command::new("sh")
            .args([
                "-c",
                &format!("printf '%s|' {} {}", quoted("it's $HOME"), quoted("")),
            ])
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"it's $HOME||");
    }
}
