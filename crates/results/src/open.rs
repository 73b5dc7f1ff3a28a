//! Opening inputs: files, the files of directories, and stdin.

use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::detect::{format_of, recognise};
use crate::error::{ReadError, ReadErrorKind};
use crate::input::{Input, ReadOptions, peek};
use crate::readers;
use crate::record::Record;

/// Enough to recognise a format: titles, warnings and debugging lines may precede it.
const HEAD: u64 = 64 * 1024;
/// More files than this in a directory are taken for a mistake.
const MAX_FILES: usize = 10_000;

/// Reads `paths` in order: files, directories (their files, by name), and `-` for stdin. Inputs that cannot be read are
/// skipped, and their errors returned.
pub fn read_all(paths: &[PathBuf], options: &ReadOptions) -> (Vec<Record>, Vec<ReadError>) {
    let (mut records, mut errors) = (Vec::new(), Vec::new());
    let mut take = |read: Result<Vec<Record>, ReadError>| match read {
        Ok(mut read) => records.append(&mut read),
        Err(error) => errors.push(error),
    };
    for path in paths {
        if path.as_os_str() == "-" {
            take(read_stream("-", &mut std::io::stdin().lock(), options));
        } else if path.is_dir() {
            match files_of(path) {
                Ok(files) => files.iter().for_each(|file| take(read_file(file, options))),
                Err(error) => take(Err(error)),
            }
        } else {
            take(read_file(path, options));
        }
    }
    (records, errors)
}

/// Reads `bytes` as if they were in `file`.
pub fn read_bytes(
    file: &str,
    bytes: &[u8],
    options: &ReadOptions,
) -> Result<Vec<Record>, ReadError> {
    read_stream(file, &mut &bytes[..], options)
}

fn read_file(path: &Path, options: &ReadOptions) -> Result<Vec<Record>, ReadError> {
    let name = path.to_string_lossy();
    let mut file = std::fs::File::open(path).map_err(|error| fault(&name, error.into()))?;
    read_stream(&name, &mut file, options)
}

/// The files of a directory, without hidden ones and those of programs that were writing.
fn files_of(directory: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let name = directory.to_string_lossy();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| fault(&name, error.into()))? {
        let path = entry.map_err(|error| fault(&name, error.into()))?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_file() && !hidden {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            let reason = format!("more than {MAX_FILES} files in the directory");
            return Err(fault(&name, ReadErrorKind::Refused(reason)));
        }
    }
    if files.is_empty() {
        let reason = "no file in the directory";
        return Err(fault(&name, ReadErrorKind::refused(reason)));
    }
    files.sort();
    Ok(files)
}

fn read_stream(
    name: &str,
    reader: &mut dyn Read,
    options: &ReadOptions,
) -> Result<Vec<Record>, ReadError> {
    let head = peek(reader, HEAD).map_err(|error| fault(name, error.into()))?;
    let format = match options.tool {
        Some(tool) => format_of(tool, &head),
        None => {
            recognise(&head).map_err(|reason| fault(name, ReadErrorKind::Unknown(reason.into())))?
        }
    };
    let bytes: Box<dyn BufRead + '_> = Box::new(BufReader::new(Cursor::new(head).chain(reader)));
    readers::read(
        format,
        Input {
            file: Arc::from(name),
            bytes,
        },
        options,
        read_bytes,
    )
}

fn fault(file: &str, kind: ReadErrorKind) -> ReadError {
    ReadError::new(&Arc::from(file), None, kind)
}
