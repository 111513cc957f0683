//! Images as local programs: which binary an image stands for, and with which first arguments.

use std::path::{Path, PathBuf};

use crate::options::Options;

/// Directory in every pod where programs from outside the system directories appear.
pub const BIN_DIR: &str = "/weft/bin";

/// What an image's entry point is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The file outside; `None` for images that only bring the system's programs.
    pub file: Option<PathBuf>,
    /// Arguments before those of the container.
    pub args: Vec<String>,
}

/// No program stands for an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Unknown image.
    #[error("no local program stands for image \"{0}\": name one with --image {0}=PATH")]
    Unknown(String),
    /// The program is not there.
    #[error("image \"{image}\" stands for \"{}\", which does not exist", .file.display())]
    Missing {
        /// The image.
        image: String,
        /// The file.
        file: PathBuf,
    },
}

/// Images whose containers bring their own command and use the system's programs.
const SYSTEM_IMAGES: [&str; 6] = ["curl", "busybox", "alpine", "debian", "ubuntu", "python"];

/// The program for `image`.
pub fn resolve(image: &str, options: &Options) -> Result<Program, ImageError> {
    let name = base_name(image);
    let exact = [image, untagged(image), name];
    if let Some(file) = exact.iter().find_map(|key| options.images.get(*key)) {
        return existing(image, file.clone(), Vec::new());
    }
    let ours = |binary: &str, args: &[&str]| {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        existing(image, options.bin_dir.join(binary), args)
    };
    if let Some((service, version)) = bookinfo(name) {
        return ours("bookinfo", &[service, "--version", version]);
    }
    match name {
        "tcp-echo-server" => ours("testapp", &["tcp-echo"]),
        "go-httpbin" | "httpbin" => ours("testapp", &["httpbin"]),
        "testapp" => ours("testapp", &[]),
        "auto" | "proxy" | "proxyv2" => ours("weft-proxy", &[]),
        "meshd" | "pilot" => ours("meshd", &[]),
        "redirect" => ours("weft-redirect", &[]),
        _ if SYSTEM_IMAGES.contains(&name) => Ok(Program {
            file: None,
            args: Vec::new(),
        }),
        _ => Err(ImageError::Unknown(image.to_owned())),
    }
}

/// Our binaries that a container's command may name whatever its image is.
pub fn known_binaries(options: &Options) -> impl Iterator<Item = PathBuf> {
    ["weft-proxy", "weft-redirect", "testapp", "bookinfo"]
        .into_iter()
        .map(|name| options.bin_dir.join(name))
        .filter(|file| file.is_file())
        .chain(options.envoy_path.clone())
}

/// Where a program appears inside a pod.
pub fn path_inside(file: &Path) -> PathBuf {
    Path::new(BIN_DIR).join(file.file_name().unwrap_or_default())
}

fn existing(image: &str, file: PathBuf, args: Vec<String>) -> Result<Program, ImageError> {
    if file.is_file() {
        return Ok(Program {
            file: Some(file),
            args,
        });
    }
    Err(ImageError::Missing {
        image: image.to_owned(),
        file,
    })
}

/// `registry/path/name:tag@digest` without tag and digest.
fn untagged(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

fn base_name(image: &str) -> &str {
    let name = untagged(image);
    name.rsplit('/').next().unwrap_or(name)
}

/// `examples-bookinfo-reviews-v1` as service and version.
fn bookinfo(name: &str) -> Option<(&str, &str)> {
    let (service, version) = name.strip_prefix("examples-bookinfo-")?.rsplit_once('-')?;
    let known = ["productpage", "details", "reviews", "ratings"].contains(&service);
    known.then_some((service, version))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::options::{DataPlane, Privilege};

    fn options(bin_dir: &Path) -> Options {
        for name in ["bookinfo", "testapp", "weft-proxy", "mine"] {
            std::fs::write(bin_dir.join(name), "").unwrap();
        }
        Options {
            name: "t".into(),
            dir: None,
            data_plane: DataPlane::Weft,
            envoy_path: None,
            ingress_port: 0,
            bin_dir: bin_dir.to_owned(),
            images: [("acme/app".to_owned(), bin_dir.join("mine"))].into(),
            hosts: vec![],
            mesh: false,
            privilege: Privilege::Root,
        }
    }

    #[rstest]
    #[case("registry.istio.io/release/examples-bookinfo-reviews-v3:1.20.3", "bookinfo", &["reviews", "--version", "v3"])]
    #[case("docker.io/istio/tcp-echo-server:1.3", "testapp", &["tcp-echo"])]
    #[case("docker.io/mccutchen/go-httpbin:v2.15.0", "testapp", &["httpbin"])]
    #[case("auto", "weft-proxy", &[])]
    #[case("weft/proxy:0.1.0", "weft-proxy", &[])]
    #[case("acme/app:latest", "mine", &[])]
    fn images_stand_for_binaries(#[case] image: &str, #[case] binary: &str, #[case] args: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let program = resolve(image, &options(dir.path())).unwrap();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        assert_eq!(
            program,
            Program {
                file: Some(dir.path().join(binary)),
                args
            }
        );
    }

    #[test]
    fn images_without_program_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path());
        let program = resolve("docker.io/curlimages/curl:8.16.0", &options);
        assert_eq!(
            program,
            Ok(Program {
                file: None,
                args: vec![]
            })
        );
        assert_eq!(
            resolve("mongo:7", &options),
            Err(ImageError::Unknown("mongo:7".into()))
        );
        let missing = ImageError::Missing {
            image: "weft/meshd".into(),
            file: dir.path().join("meshd"),
        };
        assert_eq!(resolve("weft/meshd", &options), Err(missing));
    }
}
