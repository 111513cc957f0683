//! `tests/golden/*.yaml` → `*.injected.yaml`, and the repository's samples, with Istio's where they are beside it.
//!
//! The first line of an input may carry settings: `# native`, `# cni`, `# hold`. With `WEFT_UPDATE_GOLDEN`
//! set the results are written instead of compared; read the difference before committing it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use injector::policy::Namespace;
use injector::{InjectorConfig, inject_object};
use serde_json::Value;

fn config(first_line: &str) -> InjectorConfig {
    InjectorConfig {
        image: "weft/proxy:test".to_owned(),
        native_sidecar: first_line.contains("native"),
        cni: first_line.contains("cni"),
        hold_application_until_proxy_starts: first_line.contains("hold"),
        ..InjectorConfig::default()
    }
}

fn namespace() -> Namespace {
    Namespace {
        name: "default".to_owned(),
        labels: None,
    }
}

fn documents(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect()
}

fn injected(text: &str) -> Vec<Value> {
    let config = config(text.lines().next().unwrap_or_default());
    documents(text)
        .iter()
        .map(|document| {
            inject_object(document, &namespace(), &config)
                .unwrap()
                .object
        })
        .collect()
}

fn yaml(documents: &[Value]) -> String {
    let texts: Vec<String> = documents
        .iter()
        .map(|document| serde_saphyr::to_string(document).unwrap())
        .collect();
    texts.join("---\n")
}

fn inputs(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut inputs: Vec<PathBuf> = entries
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.ends_with(".yaml") && !name.ends_with(".injected.yaml")
        })
        .collect();
    inputs.sort();
    inputs
}

#[test]
fn golden() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("WEFT_UPDATE_GOLDEN").is_some();
    let inputs = inputs(&directory);
    assert!(inputs.len() >= 10, "golden files are missing");
    for input in inputs {
        let actual = injected(&fs::read_to_string(&input).unwrap());
        let golden = input.with_extension("injected.yaml");
        if update {
            fs::write(&golden, yaml(&actual)).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&golden)
            .unwrap_or_else(|error| panic!("{}: {error}", golden.display()));
        assert_eq!(actual, documents(&expected), "{}", input.display());
    }
}

#[test]
fn every_pod_of_our_samples_gets_exactly_one_proxy() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    assert_eq!(injected_pods(&samples.join("bookinfo/bookinfo.yaml")), 6);
    assert_eq!(
        injected_pods(&samples.join("tcp-echo/tcp-echo-services.yaml")),
        2
    );
}

/// In addition: the repository does not depend on them.
#[test]
fn every_pod_of_istios_samples_gets_exactly_one_proxy() {
    let samples = std::env::var_os("WEFT_ISTIO_SAMPLES").map(PathBuf::from);
    let samples = samples
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/samples"));
    let files = [
        "bookinfo/platform/kube/bookinfo.yaml",
        "httpbin/httpbin.yaml",
        "sleep/sleep.yaml",
        "curl/curl.yaml",
        "tcp-echo/tcp-echo.yaml",
        "helloworld/helloworld.yaml",
    ];
    let tried: usize = match samples.is_dir() {
        true => files
            .iter()
            .map(|file| injected_pods(&samples.join(file)))
            .sum(),
        false => 0,
    };
    // Past the harness, which shows what a test prints only when it fails.
    let _ = writeln!(
        std::io::stderr(),
        "injector: {tried} pods of Istio's samples were tried"
    );
}

/// How many pods a file has; each must get one proxy, and nothing else may change.
fn injected_pods(file: &Path) -> usize {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut pods = 0;
    {
        for (before, after) in documents(&text).iter().zip(injected(&text)) {
            if before["kind"] != "Deployment" {
                assert_eq!(*before, after, "{}", file.display());
                continue;
            }
            let names = |object: &Value| -> Vec<String> {
                let containers = object["spec"]["template"]["spec"]["containers"].as_array();
                let names = containers
                    .unwrap()
                    .iter()
                    .map(|container| &container["name"]);
                names
                    .map(|name| name.as_str().unwrap().to_owned())
                    .collect()
            };
            let mut expected = names(before);
            expected.push("istio-proxy".to_owned());
            assert_eq!(names(&after), expected, "{}", file.display());
            pods += 1;
        }
    }
    pods
}
