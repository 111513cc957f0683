//! Kubernetes' rules for names, keys and paths (`apimachinery/pkg/util/validation`,
//! `pkg/apis/core/validation`). Each message says what to write instead.

/// Longest label of a DNS name.
const LABEL_BYTES_MAX: usize = 63;

/// Longest DNS name, and longest key of a ConfigMap or Secret.
const SUBDOMAIN_BYTES_MAX: usize = 253;

/// Longest path; the kernel's limit.
const PATH_BYTES_MAX: usize = 4096;

/// Directories of a pod's root that hold the machine's files while it is built.
const RESERVED_ROOTS: [&str; 2] = [".host", ".old"];

/// A DNS label: containers, volumes, namespaces, services.
pub(super) fn dns_label(text: &str) -> Result<(), String> {
    if text.len() <= LABEL_BYTES_MAX && is_label(text) {
        return Ok(());
    }
    let instead = suggestion(text, LABEL_BYTES_MAX, false);
    Err(format!(
        "{text:?} is not a DNS label: at most {LABEL_BYTES_MAX} lower-case letters, digits and \"-\", \
         with a letter or digit at either end; write \"{instead}\" instead"
    ))
}

/// DNS labels with dots between them: nearly all objects.
pub(super) fn dns_subdomain(text: &str) -> Result<(), String> {
    if text.len() <= SUBDOMAIN_BYTES_MAX && text.split('.').all(is_label) {
        return Ok(());
    }
    let instead = suggestion(text, SUBDOMAIN_BYTES_MAX, true);
    Err(format!(
        "{text:?} is not a DNS name: at most {SUBDOMAIN_BYTES_MAX} lower-case letters, digits, \"-\" and \".\", \
         with a letter or digit at either end of each part; write \"{instead}\" instead"
    ))
}

/// Roles and their bindings: anything that is one segment of a URL.
pub(super) fn path_segment(text: &str) -> Result<(), String> {
    let segment = !text.is_empty()
        && text.len() <= SUBDOMAIN_BYTES_MAX
        && !matches!(text, "." | "..")
        && !text.contains(['/', '%'])
        && !text.contains(char::is_control);
    if segment {
        return Ok(());
    }
    let instead = suggestion(text, SUBDOMAIN_BYTES_MAX, true);
    Err(format!(
        "{text:?} is not a name: neither \".\" nor \"..\", without \"/\" and \"%\"; write \"{instead}\" instead"
    ))
}

/// A kind, such as `VirtualService`.
pub(super) fn kind(text: &str) -> Result<(), String> {
    let letters = text.len() <= LABEL_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && text.starts_with(|first: char| first.is_ascii_alphabetic());
    match letters {
        true => Ok(()),
        false => Err(format!(
            "{text:?} is not a kind: letters and digits only, such as Deployment"
        )),
    }
}

/// A key of a ConfigMap or Secret, which becomes a file name.
pub(super) fn data_key(text: &str) -> Result<(), String> {
    let legible = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let allowed = !text.is_empty()
        && text.len() <= SUBDOMAIN_BYTES_MAX
        && text.bytes().all(legible)
        && text != "."
        && !text.starts_with("..");
    if allowed {
        return Ok(());
    }
    let kept = text.replace(|c: char| !u8::try_from(c).is_ok_and(legible), "-");
    let kept = kept.trim_start_matches(['.', '-']);
    let kept = &kept[..kept.len().min(SUBDOMAIN_BYTES_MAX)];
    let instead = if kept.is_empty() { "key" } else { kept };
    Err(format!(
        "{text:?} is not a key: at most {SUBDOMAIN_BYTES_MAX} letters, digits, \"-\", \"_\" and \".\", \
         not \".\", and not beginning with \"..\"; write \"{instead}\" instead \
         (\"items\" of a volume can give the file any path)"
    ))
}

/// A path inside a volume: `subPath`.
pub(super) fn path_inside(text: &str) -> Result<(), String> {
    let inside = !text.starts_with('/') && !text.split('/').any(|part| part == "..");
    if inside && is_path(text) {
        return Ok(());
    }
    Err(format!(
        "{text:?} leads out of the volume: write a relative path without \"..\", such as \"{}\"",
        without_escape(text)
    ))
}

/// A path inside a volume whose names that begin with `..` belong to whoever fills it: `items[].path`
/// and `serviceAccountToken.path`.
pub(super) fn file_inside(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("a path is missing: write the name of the file, such as \"file\"".to_owned());
    }
    path_inside(text)?;
    match text.starts_with("..") {
        false => Ok(()),
        true => Err(format!(
            "{text:?} begins with \"..\", which is reserved: write \"{}\" instead",
            without_escape(text)
        )),
    }
}

/// A path in the container's file system: `mountPath`.
pub(super) fn mount_path(text: &str) -> Result<(), String> {
    absolute_path(text)?;
    let mut parts = text.split('/').filter(|part| !part.is_empty());
    let first = parts.next().unwrap_or_default();
    if text.contains(':') {
        return Err(format!("{text:?} contains \":\": write a path without it"));
    }
    if first.is_empty() || text.split('/').any(|part| part == "." || part == "..") {
        return Err(format!(
            "{text:?} is no place for a volume: write the path without \".\" and \"..\", such as \"/{}\"",
            without_escape(text)
        ));
    }
    match RESERVED_ROOTS.contains(&first) {
        false => Ok(()),
        true => Err(format!(
            "{text:?} is reserved: write a path outside \"/{first}\""
        )),
    }
}

/// A path that does not depend on where a program was started: `workingDir`.
pub(super) fn absolute_path(text: &str) -> Result<(), String> {
    if text.starts_with('/') && is_path(text) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is not an absolute path: write \"/{}\" instead",
        without_escape(text)
    ))
}

/// Permission bits; set-user-id and its like are not among them.
pub(super) fn file_mode(mode: i32) -> Result<(), String> {
    match (0..=0o777).contains(&mode) {
        true => Ok(()),
        false => Err(format!(
            "{mode} is not a file mode: write a number from 0 to 0777 (octal) or 511 (decimal)"
        )),
    }
}

/// Seconds that a token may live; Kubernetes has the same limits.
pub(super) fn token_lifetime(seconds: i64) -> Result<(), String> {
    match (600..=1 << 32).contains(&seconds) {
        true => Ok(()),
        false => Err(format!(
            "{seconds} s is not the life of a token: write a number from 600 to 4294967296"
        )),
    }
}

fn is_label(text: &str) -> bool {
    let ends = |byte: Option<u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let mut bytes = text.bytes();
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.bytes().all(inner) && ends(bytes.clone().next()) && ends(bytes.next_back())
}

fn is_path(text: &str) -> bool {
    text.len() < PATH_BYTES_MAX && !text.contains(char::is_control)
}

/// The nearest name that is allowed.
fn suggestion(text: &str, bytes_max: usize, dots: bool) -> String {
    let legible = |c: char| c.is_ascii_alphanumeric() || (dots && c == '.');
    let kept = text.replace(|c: char| !legible(c), "-").to_lowercase();
    let parts = kept.split('.').map(|part| part.trim_matches('-'));
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    let joined = parts.join(".");
    let end = joined.len().min(bytes_max);
    let kept = joined[..end].trim_end_matches(['-', '.']);
    match kept {
        "" => "my-name".to_owned(),
        kept => kept.to_owned(),
    }
}

/// The path without the parts that lead elsewhere.
fn without_escape(text: &str) -> String {
    let clean: String = text
        .chars()
        .filter(|c| !c.is_control() && *c != ':')
        .take(200)
        .collect();
    let parts: Vec<_> = clean
        .split('/')
        .map(|part| part.trim_start_matches('.'))
        .filter(|part| !part.is_empty())
        .collect();
    match parts.as_slice() {
        [] => "dir".to_owned(),
        parts => parts.join("/"),
    }
}
