//! Putting programs of this machine into an [`Image`], with all that they need to start there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::image::Image;

/// Puts a program at `place`, without its symbols, and its libraries where it looks for them.
pub fn add(image: &mut Image, program: &Path, place: &str) {
    image.file(place, stripped(program));
    let mut ldd = Command::new("ldd");
    ldd.arg(program);
    // ldd fails for a program that is linked statically.
    for library in libraries(&mut ldd) {
        if !image.has(&library) {
            image.file(&library, read(&library));
        }
    }
}

/// Puts a program that was unpacked with libraries of its own (`bin/NAME`, `lib/`) below `place`, and a `NAME`
/// beside them that runs it.
pub fn add_unpacked(image: &mut Image, folder: &Path, name: &str, place: &str) {
    let loader = find_loader(&folder.join("lib"));
    let program = folder.join("bin").join(name);
    let mut list = Command::new(&loader);
    list.arg("--library-path")
        .arg(folder.join("lib"))
        .arg("--list")
        .arg(&program);
    let mut libraries = libraries(&mut list);
    libraries.push(loader);
    for library in libraries {
        let inside = library
            .strip_prefix(folder)
            .unwrap_or_else(|_| panic!("{} is none of its own", library.display()));
        image.file(Path::new(place).join(inside), read(&library));
    }
    image.file(format!("{place}/bin/{name}"), read(&program));
    image.file(format!("{place}/{name}"), read(&folder.join(name)));
}

fn find_loader(folder: &Path) -> PathBuf {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|e| panic!("cannot read {}: {e}", folder.display()));
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let loader = paths.into_iter().find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("ld-linux")
    });
    loader.unwrap_or_else(|| panic!("{} holds no dynamic loader", folder.display()))
}

/// The files in a list of libraries: `name => path (address)` or `path (address)`.
fn libraries(list: &mut Command) -> Vec<PathBuf> {
    let output = list
        .output()
        .unwrap_or_else(|e| panic!("{list:?} does not start: {e}"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("not found"), "{list:?}:\n{text}");
    let files = text.lines().filter_map(|line| {
        let path = line.rsplit("=> ").next()?.trim();
        let path = path.split(" (").next()?;
        path.starts_with('/').then(|| PathBuf::from(path))
    });
    files.collect()
}

fn stripped(program: &Path) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let copy = folder.path().join("stripped");
    let output = Command::new("strip")
        .arg("-o")
        .arg(&copy)
        .arg(program)
        .output()
        .unwrap_or_else(|e| panic!("strip does not start ({e}): apt-get install binutils"));
    if output.status.success() {
        read(&copy)
    } else {
        // A script, for example.
        read(program)
    }
}

/// The bytes of a file that must be there.
pub fn read(file: &Path) -> Vec<u8> {
    fs::read(file).unwrap_or_else(|e| panic!("cannot read {}: {e}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_comes_with_its_libraries_and_loader() {
        let mut image = Image::new();
        add(&mut image, Path::new("/bin/cat"), "/bin/cat");
        assert!(image.has("/bin/cat"));
        let mut ldd = Command::new("ldd");
        let libraries = libraries(ldd.arg("/bin/cat"));
        let is = |part: &str| libraries.iter().any(|l| l.to_string_lossy().contains(part));
        assert!(is("libc.so") && is("ld-linux"), "{libraries:?}");
        assert!(libraries.iter().all(|library| image.has(library)));
    }
}
