//! Case 5: mTLS between meshed pods without configuration, and PeerAuthentication.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{PROBES, all_reset, in_force};
use crate::{assert, mesh::Mesh};

const ECHO: &str = "http://echo.apps:8080/";
const CLIENT: &str = "apps/client";
const STRANGER: &str = "outside/stranger";
/// Travels in a header; must not be seen on the wire between pods.
const SECRET: &str = "plaintext-must-not-show-this";

const STRICT: &str = r#"
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: echo, namespace: apps}
spec:
  selector: {matchLabels: {app: echo}}
  mtls: {mode: STRICT}
"#;

const STRICT_BUT_8082: &str = r#"
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: echo, namespace: apps}
spec:
  selector: {matchLabels: {app: echo}}
  mtls: {mode: STRICT}
  portLevelMtls:
    8082: {mode: PERMISSIVE}
"#;

/// What `testapp capture` saw.
#[derive(Debug, Deserialize)]
struct Capture {
    segments: u64,
    matches: u64,
    tls_handshakes: u64,
    tls13_handshakes: u64,
}

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    identities(mesh)?;
    nothing_readable(mesh)?;
    modes(mesh)?;
    mesh.no_rejections()
}

/// The server's proxy tells the application who called, by certificates of both sides.
fn identities(mesh: &Mesh) -> Result<()> {
    let report = mesh.from(CLIENT, ECHO)?.count(PROBES).send()?;
    assert::all(&report, "200")?;
    let answer = report.first()?.json()?;
    let peer = answer["headers"]["x-forwarded-client-cert"]
        .as_str()
        .unwrap_or_default();
    assert::contains(peer, "By=spiffe://cluster.local/ns/apps/sa/echo")?;
    assert::contains(peer, "URI=spiffe://cluster.local/ns/apps/sa/client")?;
    // Without a sidecar there is no identity, and whoever claims one is not believed.
    let report = mesh
        .from(STRANGER, ECHO)?
        .header("x-forwarded-client-cert: By=spiffe://a;URI=spiffe://b")
        .send()?;
    assert::all(&report, "200")?;
    let answer = report.first()?.json()?;
    let claimed = &answer["headers"]["x-forwarded-client-cert"];
    ensure!(
        claimed.is_null(),
        "a claimed identity was passed on: {claimed}"
    );
    let report = mesh
        .from(CLIENT, "http://legacy.outside:8080/")?
        .count(5)
        .send()?;
    assert::all(&report, "200")
}

/// A capture at the client's pod sees handshakes of TLS 1.3 and not the header that was sent.
fn nothing_readable(mesh: &Mesh) -> Result<()> {
    let capture = |target: &str| -> Result<Capture> {
        let pod = mesh.pod(CLIENT)?;
        let command = ["testapp", "capture", "--seconds", "3", "--pattern", SECRET];
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let running = mesh.cluster().exec(&pod, &command)?;
        let report = mesh
            .from(CLIENT, target)?
            .count(30)
            .with("--rate", 20)
            .new_connections()
            .header(&format!("x-secret: {SECRET}"))
            .send()?;
        assert::all(&report, "200")?;
        let output = running.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(text.trim()).with_context(|| {
            format!(
                "no capture: {text}{}",
                String::from_utf8_lossy(&output.stderr)
            )
        })
    };
    // The same capture finds the header where there is no mTLS, so it can find it.
    let plain = capture("http://legacy.outside:8080/")?;
    ensure!(
        plain.matches > 0,
        "the capture does not see plaintext: {plain:?}"
    );
    let meshed = capture(ECHO)?;
    ensure!(
        meshed.segments > 0 && meshed.matches == 0,
        "plaintext between pods: {meshed:?}"
    );
    ensure!(
        meshed.tls_handshakes == meshed.tls13_handshakes,
        "handshakes older than TLS 1.3: {meshed:?}"
    );
    Ok(())
}

fn modes(mesh: &mut Mesh) -> Result<()> {
    let stranger = |mesh: &Mesh, port: u16| {
        let url = format!("http://echo.apps:{port}/");
        mesh.from(STRANGER, &url)?
            .count(PROBES)
            .new_connections()
            .send()
    };
    assert::all(&stranger(mesh, 8080)?, "200")?;
    mesh.apply(STRICT)?;
    in_force("STRICT", || all_reset(&stranger(mesh, 8080)?))?;
    all_reset(&stranger(mesh, 8082)?)?;
    assert::all(&mesh.from(CLIENT, ECHO)?.count(50).send()?, "200")?;
    mesh.apply(STRICT_BUT_8082)?;
    in_force("PERMISSIVE on one port", || {
        assert::all(&stranger(mesh, 8082)?, "200")
    })?;
    all_reset(&stranger(mesh, 8080)?)?;
    assert::all(&mesh.from(CLIENT, ECHO)?.count(50).send()?, "200")?;
    mesh.reset()?;
    in_force("PERMISSIVE again", || {
        assert::all(&stranger(mesh, 8080)?, "200")
    })
}
