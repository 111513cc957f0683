//! Case 12: bad objects are refused with their place and reason, or quarantined where they are already there.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

use super::in_force;
use crate::{assert, mesh::Mesh};

const CLIENT: &str = "apps/client";
const ECHO: &str = "http://echo:8080/";

/// What is wrong, the manifest, and what the refusal must say: where (line:column), which field, and why.
const REFUSED: [(&str, &str, &[&str]); 5] = [
    (
        "an unknown field",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bad, namespace: apps}\nspec:\n  hosts: [echo]\n  http:\n  - rote:\n    - destination: {host: echo}\n",
        &[":7:5", "rote"],
    ),
    (
        "a bad regular expression",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bad, namespace: apps}\nspec:\n  hosts: [echo]\n  http:\n  - match:\n    - uri:\n        regex: \"a(b\"\n    route:\n    - destination: {host: echo}\n",
        &[":9:", "spec.http[0].match[0].uri.regex", "a(b"],
    ),
    (
        "a weight of 300 %",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bad, namespace: apps}\nspec:\n  hosts: [echo]\n  http:\n  - route:\n    - destination: {host: echo}\n      weight: 300\n    - destination: {host: legacy.outside.svc.cluster.local}\n      weight: 10\n",
        &["weight"],
    ),
    (
        "a destination without a host",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bad, namespace: apps}\nspec:\n  hosts: [echo]\n  http:\n  - route:\n    - destination: {subset: v1}\n",
        &["destination", "host"],
    ),
    (
        "broken YAML beside a good document",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: good, namespace: apps}\nspec:\n  hosts: [echo]\n  http:\n  - route:\n    - destination: {host: echo}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bad\nspec: [\n",
        &[":1"],
    ),
];

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    refused(mesh)?;
    quarantined(mesh)
}

fn refused(mesh: &mut Mesh) -> Result<()> {
    for (what, manifest, signs) in REFUSED {
        let path = mesh.scratch_file(manifest)?;
        let said = mesh.cluster().try_apply(&path)?.refused().context(what)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // An API server has seen no file, and cannot say where in it something stands.
        let reads_files = mesh.cluster().watched_dir().is_some();
        if reads_files {
            assert::contains(&said, &name).context(what)?;
        }
        let known = signs
            .iter()
            .filter(|sign| reads_files || !sign.starts_with(':'));
        for sign in known {
            assert::contains(&said, sign).context(what)?;
        }
        let said = mesh
            .cluster()
            .meshctl(&["validate", "-f", &path.to_string_lossy()])?;
        said.refused().context(what)?;
    }
    // kubectl applies what it can read before it complains about the rest.
    mesh.delete("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: good, namespace: apps}\n")?;
    let report = mesh.from(CLIENT, ECHO)?.count(20).send()?;
    assert::all(&report, "200")
}

/// A route that marks its answers.
fn marked(name: &str, host: &str, mark: &str, route: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: {name}, namespace: apps}}\n\
         spec:\n  hosts: [{host}]\n  http:\n  - headers: {{response: {{set: {{x-mark: {mark}}}}}}}\n\
         \x20   {route}\n"
    )
}

/// Files that are written beside the ones `up` was given, as somebody's editor would. Where the mesh reads no files,
/// bad objects do not get past admission.
fn quarantined(mesh: &mut Mesh) -> Result<()> {
    let Some(dir) = mesh.cluster().watched_dir().map(Path::to_owned) else {
        return Ok(());
    };
    let (ours, neighbour) = (dir.join("ours.yaml"), dir.join("neighbour.yaml"));
    let result = change_in_place(mesh, &ours, &neighbour);
    for file in [ours, neighbour] {
        let _ = fs::remove_file(file);
    }
    result
}

fn change_in_place(mesh: &mut Mesh, ours: &Path, neighbour: &Path) -> Result<()> {
    let echo = |mark: &str, route: &str| marked("ours", "echo", mark, route);
    let legacy = |mark: &str| {
        let host = "legacy.outside.svc.cluster.local";
        let route = format!("route: [{{destination: {{host: {host}}}}}]");
        marked("neighbour", host, mark, &route)
    };
    let route = "route: [{destination: {host: echo, port: {number: 8080}}}]";
    fs::write(ours, echo("good", route))?;
    fs::write(neighbour, legacy("before"))?;
    in_force("the good version", || mark_is(mesh, ECHO, "good"))?;
    in_force("the neighbour", || {
        mark_is(mesh, "http://legacy.outside:8080/", "before")
    })?;
    let bad = format!("{route}\n    match: [{{uri: {{regex: \"a(b\"}}}}]");
    fs::write(ours, echo("bad", &bad))?;
    fs::write(neighbour, legacy("after"))?;
    in_force("the neighbour's change", || {
        mark_is(mesh, "http://legacy.outside:8080/", "after")
    })?;
    for _ in 0..3 {
        mark_is(mesh, ECHO, "good").context("the last good version")?;
    }
    let said = mesh.cluster().analyze()?;
    let text = format!("{}{}", said.out, said.err);
    assert::contains(&text, "ours")?;
    assert::contains(&text, "regex")?;
    fs::write(ours, echo("repaired", route))?;
    in_force("the repaired version", || mark_is(mesh, ECHO, "repaired"))
}

fn mark_is(mesh: &Mesh, url: &str, mark: &str) -> Result<()> {
    let report = mesh
        .from(CLIENT, url)?
        .count(10)
        .group_by("header:x-mark")
        .send()?;
    assert::all(&report, "200")?;
    let counted = report.groups.get(mark).copied();
    ensure!(counted == Some(10), "{:?} instead of {mark}", report.groups);
    Ok(())
}
