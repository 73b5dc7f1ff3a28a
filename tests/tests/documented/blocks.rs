//! The code blocks of a page, and what their markers decide.

/// Languages of blocks with commands or code that could become wrong.
const CODE: [&str; 5] = ["sh", "yaml", "groovy", "rust", "toml"];
/// Languages of blocks that only show something.
const SHOWN: [&str; 4] = ["text", "json", "c", "xml"];

/// A code block.
#[derive(Debug)]
pub(crate) struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// Its content without the indentation of the fence.
    pub text: String,
    pub language: String,
    pub fate: Fate,
}

/// What becomes of a block.
#[derive(Debug, PartialEq)]
pub(crate) enum Fate {
    /// It shows something.
    Text,
    /// It is run here.
    Run {
        /// A server that runs beside it.
        beside: Option<String>,
        /// What its commands print.
        prints: Option<String>,
        /// The exit codes that they may have, unless one is written beside the command.
        exits: Vec<i32>,
    },
    /// It is not run here, for this reason.
    NotRun(String),
}

/// Finds the blocks of a page. The error begins with a line number.
pub(crate) fn parse(page: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    let mut before = "";
    while let Some((number, line)) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let Some(language) = line.trim_start().strip_prefix("```") else {
            before = line;
            continue;
        };
        let at = |what: &str| format!("{}: {what}", number + 1);
        let mut text = String::new();
        loop {
            let (_, line) = lines.next().ok_or_else(|| at("the block has no end"))?;
            if line.trim_start().starts_with("```") {
                break;
            }
            text.push_str(line.get(indent..).unwrap_or_default());
            text.push('\n');
        }
        let fate = fate(before.trim(), language).map_err(|what| at(&what))?;
        before = "";
        blocks.push(Block {
            line: number + 1,
            text,
            language: language.to_owned(),
            fate,
        });
    }
    Ok(blocks)
}

/// What the line before a block decides.
fn fate(before: &str, language: &str) -> Result<Fate, String> {
    if SHOWN.contains(&language) {
        return Ok(Fate::Text);
    }
    if !CODE.contains(&language) {
        return Err(format!("the block's language is \"{language}\""));
    }
    let marker = before
        .strip_prefix("<!-- ")
        .and_then(|rest| rest.strip_suffix(" -->"))
        .ok_or("no <!-- run --> or <!-- not run: … --> stands above the block")?;
    if let Some(reason) = marker.strip_prefix("not run: ") {
        return Ok(Fate::NotRun(reason.to_owned()));
    }
    let mut parts = marker.split("; ");
    if parts.next() != Some("run") {
        return Err(format!("an unknown marker: {marker}"));
    }
    let (mut beside, mut prints, mut exits) = (None, None, vec![0]);
    for part in parts {
        match part.split_once(": ") {
            Some(("beside", command)) => beside = Some(command.to_owned()),
            Some(("prints", text)) => prints = Some(text.to_owned()),
            Some(("exits", codes)) => {
                let codes = codes.split(' ').map(str::parse);
                exits = codes
                    .collect::<Result<_, _>>()
                    .map_err(|error| format!("{part}: {error}"))?;
            }
            _ => return Err(format!("an unknown part: {part}")),
        }
    }
    Ok(Fate::Run {
        beside,
        prints,
        exits,
    })
}

#[test]
fn a_block_without_a_marker_is_an_error() {
    let page = "# T\n\n```sh\niperf -s\n```\n";
    assert!(parse(page).unwrap_err().starts_with("3: no <!-- run -->"));
    assert!(parse("```\nx\n```\n").unwrap_err().contains("language"));
    assert!(
        parse("<!-- rum -->\n```sh\nx\n```\n")
            .unwrap_err()
            .contains("rum")
    );
    assert!(
        parse("<!-- run -->\n```sh\nx\n")
            .unwrap_err()
            .contains("no end")
    );
}

#[test]
fn markers_say_what_happens() {
    let page = "- a\n  <!-- run; beside: iperf -s -1; prints: x y -->\n  ```sh\n  a \\\n    b\n  ```\n\
                ```text\nshown\n```\n<!-- not run: needs a host -->\n```sh\nx\n```\n";
    let blocks = parse(page).unwrap();
    assert_eq!(blocks[0].text, "a \\\n  b\n");
    let run = Fate::Run {
        beside: Some("iperf -s -1".to_owned()),
        prints: Some("x y".to_owned()),
        exits: vec![0],
    };
    assert_eq!(blocks[0].fate, run);
    assert_eq!(blocks[1].fate, Fate::Text);
    assert_eq!(blocks[2].fate, Fate::NotRun("needs a host".to_owned()));
}
