//! The page of `iperf report --format html` in a browser: at the width of a desktop and of a phone, light and dark.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A browser that has not answered by then hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// Looks at the page as a person would, and leaves what it found in an element of its own.
const INSPECTION: &str = r#"
<script>
const faults = [];
const root = document.documentElement;
if (root.scrollWidth > window.innerWidth) faults.push(`the page is ${root.scrollWidth} wide`);
let points = 0;
for (const plot of document.querySelectorAll("figure > svg")) {
  const whole = plot.getBoundingClientRect();
  if (whole.height < 80) faults.push(`a plot is ${whole.height} high`);
  const text = plot.querySelector("text").getBoundingClientRect();
  if (text.height < 8) faults.push(`text of a plot is ${text.height} high`);
  for (const curve of plot.querySelectorAll("g.points")) {
    // The focus of another curve may have scrolled the page.
    const frame = plot.getBoundingClientRect();
    const seen = [...curve.querySelectorAll("circle")].map((point) => {
      const box = point.getBoundingClientRect();
      const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
      if (x < frame.left || x > frame.right || y < frame.top || y > frame.bottom) faults.push("a point is outside");
      return { x, y, time: Number(point.dataset.x), value: Number(point.dataset.y) };
    });
    points += seen.length;
    for (const a of seen) for (const b of seen) {
      if (a.time < b.time && a.x >= b.x) faults.push("a later point is not further right");
      if (a.value < b.value && a.y < b.y - 0.5) faults.push("a greater value is not further up");
    }
    const [first, second] = curve.querySelectorAll("circle");
    first.focus();
    // A window in the background gets no events of its focus.
    if (!document.hasFocus()) first.dispatchEvent(new FocusEvent("focus"));
    const shown = document.getElementById("value");
    if (shown.textContent !== first.getAttribute("aria-label")) faults.push("the focus shows no value");
    if (getComputedStyle(shown).display === "none") faults.push("the value is hidden");
    first.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true, cancelable: true }));
    if (document.activeElement !== second) faults.push("an arrow does not move along the curve");
  }
}
const page = getComputedStyle(document.body).backgroundColor;
window.parent.postMessage(JSON.stringify({ width: window.innerWidth, page, points, faults }), "*");
</script>
"#;

/// The page in a frame of a width: windows of a browser without a screen have a least width.
const FRAME: &str = r#"<!DOCTYPE html>
<script>
addEventListener("message", (message) => {
  const found = document.createElement("pre");
  found.id = "found";
  found.textContent = message.data;
  document.body.append(found);
});
</script>
<body style="margin: 0"><iframe src="page.html" width="WIDTH" height="900" style="border: 0"></iframe></body>
"#;

/// Runs the browser on a page; its output goes to the file `profile` with the extension `dom`.
fn browse(page: &Path, dark: bool, profile: &Path, words: &[&str]) {
    let mut browser = Command::new("chromium");
    browser
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-extensions",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg("--window-size=1400,1000")
        .arg(format!(
            "--blink-settings=preferredColorScheme={}",
            u8::from(!dark)
        ))
        .args(words)
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(profile.with_extension("dom")).unwrap())
        .stderr(Stdio::null());
    let mut child = browser
        .spawn()
        .expect("chromium runs; tests/run installs it");
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("chromium did not answer within {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Opens `page` and returns what the inspection found.
fn open(page: &Path, width: u32, dark: bool, profile: &Path) -> serde_json::Value {
    let frame = page.with_file_name("frame.html");
    std::fs::write(&frame, FRAME.replace("WIDTH", &width.to_string())).unwrap();
    let words = ["--virtual-time-budget=3000", "--dump-dom"];
    browse(&frame, dark, profile, &words);
    let dom = std::fs::read_to_string(profile.with_extension("dom")).unwrap();
    let (_, found) = dom
        .split_once("<pre id=\"found\">")
        .unwrap_or_else(|| panic!("nothing found in\n{dom}"));
    serde_json::from_str(found.split("</pre>").next().unwrap()).unwrap()
}

#[test]
fn the_plots_hold_the_data_at_every_width_in_light_and_dark() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.html");
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/tests/data/samples");
    let output = Command::new(env!("CARGO_BIN_EXE_iperf"))
        .args([
            "report",
            "iperf-vsock-json-P2-R-len.json",
            "neper-tcp-rr-percentiles-samples.csv",
        ])
        .args(["--format", "html", "--output", page.to_str().unwrap()])
        .current_dir(samples)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read_to_string(&page)
        .unwrap()
        .replace("</body>", &format!("{INSPECTION}</body>"));
    std::fs::write(&page, &text).unwrap();
    let points = text.matches("<circle").count();
    assert!(points > 20, "{points}");
    let mut colours = Vec::new();
    for (width, dark) in [(1280, false), (390, true)] {
        let profile = directory.path().join(format!("profile-{width}"));
        let found = open(&page, width, dark, &profile);
        assert_eq!(
            found["faults"],
            serde_json::json!([]),
            "at {width}: {found}"
        );
        assert_eq!(found["points"], points, "{found}");
        assert_eq!(found["width"], width, "{found}");
        colours.push(found["page"].as_str().unwrap().to_owned());
    }
    assert_ne!(colours[0], colours[1], "light and dark");
}

/// The output of a program of poppler-utils.
fn of_pdf(program: &str, words: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}; tests/run installs it"));
    assert!(output.status.success(), "{program}: {output:?}");
    output.stdout
}

#[test]
fn paper_has_every_column_and_plot_in_black_on_white() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.html");
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/tests/data/samples");
    // Many columns: more than a sheet is wide, unless they wrap.
    let status = Command::new(env!("CARGO_BIN_EXE_iperf"))
        .args([
            "report",
            "iperf-vsock-json-P2-R-len.json",
            "neper-tcp-rr-percentiles-samples.csv",
            "nuttcp-udp.txt",
            "netperf-tcp-rr-cpu.txt",
        ])
        .args(["--format", "html", "--output", page.to_str().unwrap()])
        .current_dir(samples)
        .status();
    assert!(status.unwrap().success());
    let paper = directory.path().join("page.pdf").display().to_string();
    let print = format!("--print-to-pdf={paper}");
    let profile = directory.path().join("profile");
    browse(&page, true, &profile, &["--no-pdf-header-footer", &print]);
    let text = String::from_utf8(of_pdf("pdftotext", &["-layout", &paper, "-"])).unwrap();
    let page = std::fs::read_to_string(&page).unwrap();
    for (begin, end) in [
        ("<th scope=\"col\">", "</th>"),
        ("<figcaption>", "</figcaption>"),
    ] {
        let parts: Vec<&str> = page.split(begin).skip(1).collect();
        assert!(parts.len() > 2, "{begin}");
        for part in parts {
            // A column's heading may be on several lines; its first word is on one.
            let word = part.split(end).next().unwrap().split(' ').next().unwrap();
            assert!(text.contains(word), "{word} in\n{text}");
        }
    }
    // The corner of the first sheet, as 8 bits of grey: white, although the screen is dark.
    let grey = of_pdf("pdftoppm", &["-r", "10", "-gray", "-singlefile", &paper]);
    assert_eq!((&grey[..2], grey.last()), (&b"P5"[..], Some(&255)));
}
