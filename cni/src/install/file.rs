//! Files that others read at any time: replaced in one step, and only if they change.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::Path;

use tempfile::NamedTempFile;

/// Programs may be run by everybody.
const PROGRAM: u32 = 0o755;

/// Makes `target` an executable copy of `source`; whether it was another before.
pub(super) fn copy(source: &Path, target: &Path) -> io::Result<bool> {
    let content = fs::read(source)?;
    if fs::read(target).is_ok_and(|found| found == content) && is_program(target) {
        return Ok(false);
    }
    let mut temporary = beside(target)?;
    temporary.write_all(&content)?;
    fs::set_permissions(temporary.path(), Permissions::from_mode(PROGRAM))?;
    persist(temporary, target)?;
    Ok(true)
}

/// Replaces the content of `path`.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    write_like(path, path, text)
}

/// Writes `target` with owner and mode of `model`.
pub(super) fn write_like(model: &Path, target: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    let metadata = fs::metadata(model)?;
    let mut temporary = beside(target)?;
    temporary.write_all(text.as_bytes())?;
    // Without the right to give files away they stay ours, which readers do not mind.
    let _ = fchown(
        temporary.as_file(),
        Some(metadata.uid()),
        Some(metadata.gid()),
    );
    fs::set_permissions(temporary.path(), metadata.permissions())?;
    persist(temporary, target)
}

/// The name begins with a dot and has no extension that a runtime would take for a configuration.
fn beside(target: &Path) -> io::Result<NamedTempFile> {
    let directory = target.parent().unwrap_or(Path::new("."));
    tempfile::Builder::new()
        .prefix(".weft-cni-")
        .tempfile_in(directory)
}

fn persist(temporary: NamedTempFile, target: &Path) -> io::Result<()> {
    temporary.as_file().sync_all()?;
    temporary.persist(target)?;
    Ok(())
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & PROGRAM == PROGRAM)
}
