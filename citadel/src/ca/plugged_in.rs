//! The CA directory: reads the four files, and writes them when citadel makes its own root.
//!
//! Writing goes through a temporary file and a rename, the key with mode 0600, and roots come before what
//! they must verify: a reader in between sees a CA whose certificates are already trusted.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::key_cert_bundle::CaFiles;

/// The file that carries the signing certificate.
pub const CA_CERT: &str = "ca-cert.pem";
/// The file that carries the signing key.
pub const CA_KEY: &str = "ca-key.pem";
/// The file that carries the roots.
pub const ROOT_CERT: &str = "root-cert.pem";
/// The file that carries what is between.
pub const CERT_CHAIN: &str = "cert-chain.pem";

/// Why the directory could not be read or written.
#[derive(Debug, Error)]
#[error("cannot {verb} \"{}\"", path.display())]
pub struct FileError {
    verb: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Reads the CA; `None` where there is no `ca-cert.pem` and no `ca-key.pem`.
///
/// One of them without the other is an error: making a new root beside half a CA would lose somebody's key.
pub fn read(directory: &Path) -> Result<Option<CaFiles>, FileError> {
    let (cert, key) = (directory.join(CA_CERT), directory.join(CA_KEY));
    if !cert.exists() && !key.exists() {
        return Ok(None);
    }
    Ok(Some(CaFiles {
        ca_cert: read_text(&cert)?,
        ca_key: read_text(&key)?,
        root_cert: read_text(&directory.join(ROOT_CERT))?,
        cert_chain: read_optional(&directory.join(CERT_CHAIN))?,
    }))
}

/// Writes the CA, making the directory if needed.
pub fn write(directory: &Path, files: &CaFiles) -> Result<(), FileError> {
    fs::create_dir_all(directory).map_err(failed("make", directory))?;
    write_atomically(&directory.join(ROOT_CERT), &files.root_cert, 0o644)?;
    write_atomically(&directory.join(CERT_CHAIN), &files.cert_chain, 0o644)?;
    write_atomically(&directory.join(CA_KEY), &files.ca_key, 0o600)?;
    write_atomically(&directory.join(CA_CERT), &files.ca_cert, 0o644)
}

/// Replaces the file at `path` as a whole: readers see the old text or the new, never half.
pub fn write_atomically(path: &Path, text: &str, mode: u32) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    written.map_err(failed("write", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("write", path))
}

fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(failed("read", path))
}

fn read_optional(path: &Path) -> Result<String, FileError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other.map_err(failed("read", path)),
    }
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError { verb, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn files() -> CaFiles {
        CaFiles {
            ca_cert: "cert".into(),
            ca_key: "key".into(),
            root_cert: "root".into(),
            cert_chain: "chain".into(),
        }
    }

    #[test]
    fn what_was_written_is_read_and_the_key_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("deep/ca");
        assert_eq!(read(&ca).unwrap(), None);
        write(&ca, &files()).unwrap();
        assert_eq!(read(&ca).unwrap(), Some(files()));
        let mode = fs::metadata(ca.join(CA_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&ca).unwrap().count(), 4);
    }

    #[test]
    fn half_a_ca_is_an_error_and_a_missing_chain_is_not() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &files()).unwrap();
        fs::remove_file(directory.path().join(CERT_CHAIN)).unwrap();
        assert_eq!(read(directory.path()).unwrap().unwrap().cert_chain, "");
        fs::remove_file(directory.path().join(CA_KEY)).unwrap();
        let error = read(directory.path()).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read") && error.ends_with("ca-key.pem\""),
            "{error}"
        );
    }
}
