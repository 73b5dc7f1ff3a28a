//! Splits the command line into options, in their order and with their values as text.
//!
//! clap splits words as getopt_long does: options in any order, bundled letters, unambiguous abbreviations of long
//! names, values that begin with a dash, optional values only after `=`. A program with getopt_long handles one
//! option after another until it meets a mistake; so options keep their order, and those before a mistake count.

use std::ffi::OsString;

use clap::ArgMatches;

use crate::definition;
use crate::getopt::{self, GetoptError};
use crate::options::{OPTIONS, Spec};

/// The options of a command line.
#[derive(Debug)]
pub(crate) struct Args {
    /// In order.
    pub(crate) given: Vec<Given>,
    /// Words that belong to no option.
    pub(crate) stray: Vec<OsString>,
    /// The first mistake; `given` has the options before it.
    pub(crate) error: Option<GetoptError>,
    /// The option that a mistyped one resembles.
    pub(crate) similar: Option<String>,
}

/// One option as it was given.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) spec: &'static Spec,
    /// Its value or default value; empty for an option that takes none.
    pub(crate) value: OsString,
}

impl Given {
    /// That the value is not valid, without a reason.
    pub(crate) fn invalid(&self) -> String {
        let value = self.value.to_string_lossy();
        format!("invalid value '{value}' for {}", self.spec.name())
    }
}

impl Args {
    /// Splits a command line: the words after the name of the program.
    pub(crate) fn read(words: &[OsString]) -> Self {
        let mut command = definition::options("iperf").no_binary_name(true);
        match command.try_get_matches_from_mut(words) {
            Ok(matches) => Self {
                given: in_order(&matches),
                stray: definition::stray(&matches),
                error: None,
                similar: None,
            },
            Err(error) => {
                // With this setting clap stops at the mistake as well, but keeps what it has read.
                let read = command.ignore_errors(true).try_get_matches_from(words);
                Self {
                    given: read.map(|matches| in_order(&matches)).unwrap_or_default(),
                    stray: Vec::new(),
                    similar: getopt::similar(&error),
                    error: Some(GetoptError::translate(&error, words)),
                }
            }
        }
    }
}

/// The options in the order of the command line.
fn in_order(matches: &ArgMatches) -> Vec<Given> {
    let mut given = Vec::new();
    for spec in OPTIONS {
        let places = matches.indices_of(spec.id).into_iter().flatten();
        let values = matches.get_many::<OsString>(spec.id).into_iter().flatten();
        given.extend(places.zip(values).map(|(place, value)| {
            (
                place,
                Given {
                    spec,
                    value: value.clone(),
                },
            )
        }));
    }
    given.sort_by_key(|(place, _)| *place);
    given.into_iter().map(|(_, given)| given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Takes;

    /// The options that are read, as `name=value`, and the message of the error.
    fn read(words: &[&str]) -> (Vec<String>, Option<String>) {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let args = Args::read(&words);
        let show = |given: &Given| {
            let name = given.spec.long.first().unwrap_or(&"d");
            match given.spec.takes {
                Takes::Nothing => (*name).to_owned(),
                _ => format!("{name}={}", given.value.to_string_lossy()),
            }
        };
        (
            args.given.iter().map(show).collect(),
            args.error.map(|e| e.to_string()),
        )
    }

    fn good(words: &[&str]) -> Vec<String> {
        let (given, error) = read(words);
        assert_eq!(error, None, "{words:?}");
        given
    }

    #[test]
    fn order_is_kept_over_all_spellings() {
        assert_eq!(
            good(&[
                "-i2", "-RNt5", "--bind=x", "word", "-c", "h", "-R", "--time", "7", "-sD"
            ]),
            [
                "interval=2",
                "reverse",
                "no-delay",
                "time=5",
                "bind=x",
                "client=h",
                "reverse",
                "time=7",
                "server",
                "daemon"
            ]
        );
    }

    #[test]
    fn values_may_look_like_options() {
        assert_eq!(
            good(&[
                "-t", "-1", "-c", "-s", "--title", "--json", "-T--", "-B", "--", "-J"
            ]),
            [
                "time=-1",
                "client=-s",
                "title=--json",
                "title=--",
                "bind=--",
                "json"
            ]
        );
        assert_eq!(good(&["-t", ""]), ["time="]);
    }

    #[test]
    fn two_dashes_end_the_options() {
        assert_eq!(good(&["-s", "--", "-p", "0", "--nosuch"]), ["server"]);
        assert_eq!(good(&["-", "-s"]), ["server"]);
    }

    #[test]
    fn long_names_may_be_abbreviated() {
        assert_eq!(
            good(&[
                "--parall",
                "3",
                "--bandw",
                "5m",
                "--json",
                "--linux=x",
                "--json-stream"
            ]),
            [
                "parallel=3",
                "bitrate=5m",
                "json",
                "congestion=x",
                "json-stream"
            ]
        );
    }

    #[test]
    fn optional_values_need_an_equals_sign() {
        assert_eq!(
            good(&[
                "--timestamps",
                "x",
                "--timestamps=%F ",
                "--timestamps=",
                "--debug",
                "--debug=2",
                "-d",
                "-d4"
            ]),
            [
                "timestamps=%c ",
                "timestamps=%F ",
                "timestamps=",
                "debug=4",
                "debug=2",
                "d",
                "d",
                "version4"
            ]
        );
        assert_eq!(
            good(&["--cntl-ka", "--cntl-ka=5/1/2"]),
            ["cntl-ka=", "cntl-ka=5/1/2"]
        );
    }

    #[test]
    fn options_before_a_mistake_are_kept() {
        let (given, error) = read(&["-p", "0", "-J", "--nosuch=1", "-s"]);
        assert_eq!(given, ["port=0", "json"]);
        assert_eq!(error.as_deref(), Some("unrecognized option '--nosuch=1'"));
        // getopt hands out the letters of a bundle one by one.
        let (given, error) = read(&["-s", "-Jt"]);
        assert_eq!(given, ["server", "json"]);
        assert_eq!(error.as_deref(), Some("option requires an argument -- 't'"));
        let (given, error) = read(&["-hx", "-J"]);
        assert_eq!(given, ["help"]);
        assert_eq!(error.as_deref(), Some("invalid option -- 'x'"));
        // A value that looks like the mistake is not taken for it.
        let (given, _) = read(&["-T", "--nosuch", "-J", "--nosuch", "-s"]);
        assert_eq!(given, ["title=--nosuch", "json"]);
    }

    #[cfg(unix)]
    #[test]
    fn words_need_not_be_utf8() {
        use std::os::unix::ffi::OsStringExt as _;
        let bad = OsString::from_vec(vec![b'x', 0xff]);
        let args = Args::read(&["-I".into(), bad.clone(), bad.clone()]);
        assert_eq!(args.given[0].value, bad);
        let option = OsString::from_vec(b"--x\xff".to_vec());
        assert!(Args::read(&[option]).error.is_some());
        let option = OsString::from_vec(b"-J\xff".to_vec());
        assert!(Args::read(&[option]).error.is_some());
    }
}
