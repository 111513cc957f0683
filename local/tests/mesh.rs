//! Pods without a mesh: network, names, services, rolling updates, and nothing left behind.

#[path = "mesh/lab.rs"]
mod lab;

use std::{fs, time::Duration};

use lab::{Lab, eventually, manifest};
use local::{
    api::{ControlAction, ControlRequest, RestartRequest},
    controller::Outcome,
};

#[tokio::test]
async fn pods_reach_one_another_by_service_and_name() {
    let lab = Lab::up(&[
        ("web.yaml", &manifest("web", 2, "one")),
        ("client.yaml", &manifest("client", 1, "c")),
    ])
    .await;
    lab.wait_ready(3).await;
    // The search domain completes the name, the router chooses the pod.
    assert_eq!(lab.ask("client", "web", 80).await, "one\n");
    assert_eq!(
        lab.ask("client", "web.default.svc.cluster.local", 80).await,
        "one\n"
    );
    let address = lab.pods("web").await[0].address.clone().unwrap();
    assert_eq!(lab.ask("client", &address, 8080).await, "one\n");
    // A pod reaches itself through its service, from another address than its own.
    assert_eq!(lab.ask("client", "client", 80).await, "c\n");
    assert_eq!(
        lab.exec("client", "cat /etc/resolv.conf | head -1").await.0,
        "search default.svc.cluster.local svc.cluster.local cluster.local\n"
    );
    assert_eq!(
        lab.exec("client", "cat /etc/hostname").await.0.trim(),
        lab.pods("client").await[0].name
    );
    // A name outside does not exist, unless it was given; a service without pods refuses.
    assert_ne!(lab.exec("client", "getent hosts example.com").await.1, 0);
    assert_eq!(
        lab.exec("client", "getent hosts outside.example | cut -d' ' -f1")
            .await
            .0,
        "203.0.113.9\n"
    );
    lab.down().await;
}

#[tokio::test]
async fn a_pod_sees_only_what_is_its_own() {
    let lab = Lab::up(&[("web.yaml", &manifest("web", 1, "one"))]).await;
    lab.wait_ready(1).await;
    let state = lab.state.root().display().to_string();
    for hidden in [state.as_str(), "/home/.", "/root/."] {
        assert_ne!(
            lab.exec("web", &format!("ls {hidden} | grep .")).await.1,
            0,
            "{hidden}"
        );
    }
    assert_eq!(lab.exec("web", "cat /etc/settings/motto").await.0, "hello");
    assert_eq!(
        lab.exec("web", "echo x > /scratch/f && cat /scratch/f")
            .await
            .0,
        "x\n"
    );
    assert_ne!(lab.exec("web", "touch /usr/bin/x").await.1, 0);
    assert_eq!(
        lab.exec("web", "grep CapEff /proc/self/status | cut -f2")
            .await
            .0,
        "0000000000000000\n"
    );
    assert_eq!(
        lab.exec("web", "echo $POD_NAME; exit 7").await,
        (lab.pods("web").await[0].name.clone() + "\n", 7)
    );
    lab.down().await;
}

#[tokio::test]
async fn a_rolling_update_loses_no_request() {
    let lab = Lab::up(&[
        ("web.yaml", &manifest("web", 2, "one")),
        ("client.yaml", &manifest("client", 1, "c")),
    ])
    .await;
    lab.wait_ready(3).await;
    let old: Vec<_> = lab
        .pods("web")
        .await
        .into_iter()
        .map(|pod| pod.name)
        .collect();
    let load = lab.exec(
        "client",
        "for i in $(seq 400); do exec 3<>/dev/tcp/web/80 || echo FAILED; cat <&3; exec 3<&-; sleep 0.01; done | sort | uniq",
    );
    let change = async {
        fs::write(
            lab.dir.path().join("manifests/web.yaml"),
            manifest("web", 2, "two"),
        )
        .unwrap();
        eventually("new pods alone", async || {
            let pods = lab.pods("web").await;
            pods.len() == 2
                && pods
                    .iter()
                    .all(|pod| pod.serving && !old.contains(&pod.name))
        })
        .await;
    };
    let ((answers, _), ()) = tokio::join!(load, change);
    assert_eq!(answers, "one\ntwo\n");
    lab.down().await;
}

#[tokio::test]
async fn objects_are_applied_restarted_and_deleted() {
    let lab = Lab::up(&[]).await;
    let web = manifest("web", 1, "one");
    let outcomes = |changes: Vec<local::controller::Change>| {
        changes
            .into_iter()
            .map(|change| change.outcome)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        outcomes(lab.apply(&web).await.unwrap()),
        vec![Outcome::Created; 3]
    );
    assert_eq!(
        outcomes(lab.apply(&web).await.unwrap()),
        vec![Outcome::Unchanged; 3]
    );
    lab.wait_ready(1).await;
    let error = lab
        .apply(&format!("{web}---\nkind: [\n"))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("test.yaml:"), "{error}");

    let before = lab.pods("web").await[0].name.clone();
    let restart = RestartRequest {
        kind: "deployment".into(),
        name: "web".into(),
        namespace: "default".into(),
    };
    lab.client.restart(&restart).await.unwrap();
    eventually("another pod", async || {
        let pods = lab.pods("web").await;
        pods.len() == 1 && pods[0].serving && pods[0].name != before
    })
    .await;

    let control = |action| ControlRequest {
        pod: lab.pod("web"),
        container: None,
        action,
    };
    lab.client
        .control(&control(ControlAction::Stop))
        .await
        .unwrap();
    eventually("the container is down", async || {
        !lab.pods("web").await[0].serving
    })
    .await;
    lab.client
        .control(&control(ControlAction::Start))
        .await
        .unwrap();
    lab.wait_ready(1).await;
    lab.client
        .control(&control(ControlAction::Signal(9)))
        .await
        .unwrap();
    eventually("it restarts", async || {
        let pod = &lab.pods("web").await[0];
        pod.serving && pod.restarts == 2
    })
    .await;

    assert_eq!(outcomes(lab.delete(&web).await), vec![Outcome::Deleted; 3]);
    eventually("no pods", async || lab.pods("").await.is_empty()).await;
    lab.down().await;
}

#[tokio::test]
async fn nothing_remains_after_a_crash() {
    let mut lab = Lab::up(&[("web.yaml", &manifest("web", 1, "one"))]).await;
    lab.wait_ready(1).await;
    let marker = lab.state.root().display().to_string();
    lab.process.kill().unwrap();
    lab.process.wait().unwrap();
    eventually("all processes are gone", async || {
        lab::processes_naming(&marker).is_empty()
    })
    .await;
    assert!(
        !fs::read_to_string("/proc/mounts")
            .unwrap()
            .contains(&marker)
    );
    // The next start clears what is left and works.
    let lab = lab.up_again().await;
    lab.wait_ready(1).await;
    lab.down().await;
}

#[tokio::test]
async fn a_running_mesh_is_not_cleared_away() {
    let lab = Lab::up(&[]).await;
    let error = lab.launch_second().expect_err("refused").to_string();
    assert!(error.starts_with("a mesh is running already"), "{error}");
    lab.down().await;
}

#[tokio::test]
async fn a_probe_decides_when_a_pod_serves() {
    let web = manifest("web", 1, "one").replace("readinessProbe: {tcpSocket: {port: 8080}}", "readinessProbe: {exec: {command: [test, -e, /scratch/ready]}, periodSeconds: 1, failureThreshold: 1}");
    let lab = Lab::up(&[
        ("web.yaml", &web),
        ("client.yaml", &manifest("client", 1, "c")),
    ])
    .await;
    lab.wait_ready(1).await;
    eventually("the container runs", async || {
        lab.pods("web")
            .await
            .first()
            .is_some_and(|pod| pod.status == "Running" && pod.ready.1 == 1)
    })
    .await;
    assert_ne!(lab.exec("client", "exec 3<>/dev/tcp/web/80").await.1, 0);
    lab.exec("web", "touch /scratch/ready").await;
    lab.wait_ready(2).await;
    tokio::time::timeout(Duration::from_secs(5), async {
        while lab.ask("client", "web", 80).await != "one\n" {}
    })
    .await
    .expect("the service has its pod again");
    lab.exec("web", "rm /scratch/ready").await;
    eventually("not ready", async || !lab.pods("web").await[0].serving).await;
    lab.down().await;
}

#[tokio::test]
async fn a_manifest_that_leads_out_is_refused_and_its_neighbours_run() {
    let evil = manifest("evil", 1, "x").replace("- name: server", "- name: ../../../../outside");
    let lab = Lab::up(&[(
        "all.yaml",
        &format!("{evil}---\n{}", manifest("web", 1, "one")),
    )])
    .await;
    lab.wait_ready(1).await;
    let names: Vec<_> = lab.pods("").await.into_iter().map(|pod| pod.name).collect();
    assert!(names[0].starts_with("web-"), "{names:?}");
    let errors = lab.client.status().await.unwrap().errors;
    assert!(
        errors.len() == 1
            && errors[0].contains("all.yaml:25: spec.template.spec.containers[0].name: "),
        "{errors:?}"
    );

    // What is applied takes the same door.
    let error = lab.apply(&evil).await.unwrap_err().to_string();
    assert!(
        error.starts_with("test.yaml:25: spec.template.spec.containers[0].name: "),
        "{error}"
    );
    let namespace = local::api::ApplyRequest {
        text: manifest("web", 1, "one"),
        file: "test.yaml".into(),
        namespace: "../../outside".into(),
    };
    let error = lab.client.apply(&namespace).await.unwrap_err().to_string();
    assert!(error.contains("metadata.namespace: "), "{error}");
    lab.down().await;
}

#[tokio::test]
async fn a_container_cannot_make_the_supervisor_write_elsewhere() {
    let lab = Lab::up(&[]).await;
    let outside = lab.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    // The volume belongs to user 0, so this container can change it.
    let web = manifest("web", 1, "one")
        .replace(
            "image: debian",
            "image: debian\n        securityContext: {runAsUser: 0}",
        )
        .replace(
            "configMap: {name: web-settings}",
            "configMap: {name: web-settings, items: [{key: motto, path: sub/motto}]}",
        );
    lab.apply(&web).await.unwrap();
    lab.wait_ready(1).await;
    for kernel in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/sys",
    ] {
        let writable = lab.exec("web", &format!("test -w {kernel}")).await.1;
        assert_eq!(writable, 1, "{kernel}");
    }
    // The names that files had while they were written, then the directory that they are written into.
    let to = outside.display();
    let link = format!("ln -s {to}/f /etc/settings/..sub_motto && cat /etc/settings/sub/motto");
    assert_eq!(lab.exec("web", &link).await, ("hello".to_owned(), 0));
    lab.apply(&web.replace("motto: hello", "motto: second"))
        .await
        .unwrap();
    eventually("the second motto", async || {
        lab.exec("web", "cat /etc/settings/sub/motto").await.0 == "second"
    })
    .await;
    let link = format!(
        "rm -r /etc/settings/sub && ln -s {to} /etc/settings/sub && readlink /etc/settings/sub"
    );
    assert_eq!(lab.exec("web", &link).await, (format!("{to}\n"), 0));
    let witness = manifest("witness", 1, "w");
    lab.apply(&web.replace("motto: hello", "motto: third"))
        .await
        .unwrap();
    lab.apply(&witness).await.unwrap();
    let log = lab.state.supervisor_log();
    eventually("the supervisor says so", async || {
        fs::read_to_string(&log)
            .unwrap()
            .contains("volume not refreshed")
    })
    .await;
    lab.wait_ready(2).await;
    let left: Vec<_> = fs::read_dir(&outside).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    lab.down().await;
}

#[tokio::test]
async fn the_control_socket_is_its_owners() {
    use std::os::unix::fs::PermissionsExt;

    let lab = Lab::up(&[]).await;
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&lab.state.control_socket()), 0o600);
    assert_eq!(mode(lab.state.root()), 0o700);
    lab.down().await;
}
