//! The cases, in the order they run.

mod api_server;
mod authority;
mod authorization;
mod bad_input;
mod bookinfo;
mod cni;
mod disruption;
mod egress;
mod fault;
mod gateways;
mod injection;
mod installation;
mod load_balancing;
mod locality;
mod mixed;
mod mtls;
mod permissions;
mod protocols;
mod restarts;
mod revisions;
mod routing;
mod telemetry;

use anyhow::{Context, Result, ensure};

use crate::{
    case::{Case, EACH, MIXED, Places, WEFT},
    mesh::Mesh,
    poll,
    traffic::Report,
};

/// Every case.
pub const ALL: &[Case] = &[
    Case {
        name: "bookinfo",
        about: "the product page through the ingress gateway, with all versions of reviews",
        data_planes: EACH,
        places: Places::Everywhere,
        run: bookinfo::run,
    },
    Case {
        name: "request-routing",
        about: "requests go to the version that route and user say, not one elsewhere",
        data_planes: EACH,
        places: Places::Everywhere,
        run: routing::request_routing,
    },
    Case {
        name: "traffic-shifting",
        about: "versions get their shares by weight",
        data_planes: EACH,
        places: Places::Everywhere,
        run: routing::traffic_shifting,
    },
    Case {
        name: "fault-injection",
        about: "delays, aborts, timeouts and retries",
        data_planes: EACH,
        places: Places::Everywhere,
        run: fault::run,
    },
    Case {
        name: "mutual-tls",
        about: "automatic mTLS, PERMISSIVE, STRICT and per-port modes",
        data_planes: EACH,
        places: Places::Everywhere,
        run: mtls::run,
    },
    Case {
        name: "mixed-fleet",
        about: "our proxy and Envoy talk to each other over mTLS, in both directions",
        data_planes: MIXED,
        places: Places::Everywhere,
        run: mixed::run,
    },
    Case {
        name: "authorization",
        about: "ALLOW and DENY by identity, namespace, method, path, port and header",
        data_planes: WEFT,
        places: Places::Everywhere,
        run: authorization::run,
    },
    Case {
        name: "protocols",
        about: "TCP, HTTP/1.0 to HTTP/2, gRPC, WebSocket, large bodies, trailers, 1xx",
        data_planes: WEFT,
        places: Places::Everywhere,
        run: protocols::run,
    },
    Case {
        name: "load-balancing",
        about: "balancers, circuit breakers and outlier detection",
        data_planes: WEFT,
        places: Places::Everywhere,
        run: load_balancing::run,
    },
    Case {
        name: "locality",
        about: "the nearest pods first, the next nearest when they fail, shares by locality",
        data_planes: EACH,
        places: Places::Everywhere,
        run: locality::run,
    },
    Case {
        name: "egress",
        about: "unknown destinations, REGISTRY_ONLY and ServiceEntry",
        data_planes: WEFT,
        places: Places::Everywhere,
        run: egress::run,
    },
    Case {
        name: "bad-input",
        about: "bad objects are refused or quarantined, and their neighbours are not affected",
        data_planes: WEFT,
        places: Places::Everywhere,
        run: bad_input::run,
    },
    Case {
        name: "telemetry",
        about: "metrics with all labels, access logs, request ids and trace headers",
        data_planes: WEFT,
        places: Places::Everywhere,
        run: telemetry::run,
    },
    Case {
        name: "disruption",
        about: "no request fails while configuration, pods, control plane and certificates change",
        data_planes: WEFT,
        places: Places::Everywhere,
        run: disruption::run,
    },
    Case {
        name: "injection",
        about: "every kind of workload gets its proxy, by the labels of namespace and pod; jobs end",
        data_planes: WEFT,
        places: Places::Kubernetes,
        run: injection::run,
    },
    Case {
        name: "gateways",
        about: "TLS by Secrets, passthrough, TCP, the Gateway API and Ingress at gateways",
        data_planes: WEFT,
        places: Places::Kubernetes,
        run: gateways::run,
    },
    Case {
        name: "restarts",
        about: "no request fails while control plane, gateway and applications are replaced",
        data_planes: WEFT,
        places: Places::Kubernetes,
        run: restarts::run,
    },
    Case {
        name: "revisions",
        about: "a namespace moves to a second control plane and back, without a failed request",
        data_planes: WEFT,
        places: Places::Kubernetes,
        run: revisions::run,
    },
    Case {
        name: "cni",
        about: "a namespace under the restricted pod security standard, captured by the CNI plugin",
        data_planes: WEFT,
        places: Places::Disposable,
        run: cni::run,
    },
    Case {
        name: "authority",
        about: "the mesh gets another certificate authority, without a failed request",
        data_planes: WEFT,
        places: Places::Disposable,
        run: authority::run,
    },
    Case {
        name: "api-server",
        about: "the API server and etcd are killed and come back; no request fails, and nothing is lost",
        data_planes: WEFT,
        places: Places::Disposable,
        run: api_server::run,
    },
    Case {
        name: "permissions",
        about: "the mesh's accounts use every permission that they have, and lack none",
        data_planes: WEFT,
        places: Places::Disposable,
        run: permissions::run,
    },
    Case {
        name: "installation",
        about: "meshctl upgrades, removes and installs the mesh; nothing is left behind",
        data_planes: WEFT,
        places: Places::Disposable,
        run: installation::run,
    },
];

/// Bookinfo's networking files that cases use, by name.
pub const BOOKINFO_FILES: &[&str] = &[
    "bookinfo-gateway",
    "destination-rule-all",
    "virtual-service-all-v1",
    "virtual-service-reviews-test-v2",
    "virtual-service-reviews-v3",
    "virtual-service-reviews-jason-v2-v3",
    "virtual-service-reviews-v2-v3",
    "virtual-service-reviews-90-10",
    "virtual-service-reviews-80-20",
    "virtual-service-reviews-50-v3",
    "virtual-service-ratings-test-delay",
    "virtual-service-ratings-test-abort",
    "fault-injection-details-v1",
];

/// Files of tcp-echo that cases use, by name.
pub const TCP_ECHO_FILES: &[&str] = &["tcp-echo-services", "tcp-echo-all-v1", "tcp-echo-20-v2"];

/// What the product page answers with by asking reviews.
const REVIEWS: &str = "/api/v1/products/0/reviews";
/// The version of reviews in an answer that names the pod.
const REVIEWS_VERSION: &str = r#"body:podname": ?"reviews-(v[0-9])"#;
/// The version of the echo server in its answers.
const ECHO_VERSION: &str = "header:x-version";
/// The header that signs jason in at the product page.
const JASON: &str = "cookie: session=jason";
/// How many answers in a row show that a configuration is in force.
const PROBES: u64 = 20;

/// A part of a case, with its name.
type Step = (&'static str, fn(&mut Mesh) -> Result<()>);

/// Takes all steps in order; the first failure ends the case and says in which step it was.
fn take_steps(mesh: &mut Mesh, steps: &[Step]) -> Result<()> {
    steps
        .iter()
        .try_for_each(|(name, step)| step(mesh).context(*name))
}

/// Opens bookinfo to the ingress gateway and waits until it answers.
fn open_bookinfo(mesh: &mut Mesh) -> Result<()> {
    mesh.apply_bookinfo("bookinfo-gateway")?;
    in_force("the product page through the gateway", || {
        let report = mesh.ingress("/productpage").count(3).send()?;
        crate::assert::all(&report, "200")
    })
}

/// Waits until `probe` finds what it wants.
fn in_force(what: &str, probe: impl FnMut() -> Result<()>) -> Result<()> {
    poll::until(what, poll::IN_FORCE, probe)
}

/// A pod that misbehaves until this is dropped.
struct Misbehaving<'a> {
    mesh: &'a Mesh,
    pod: &'static str,
}

impl<'a> Misbehaving<'a> {
    fn new(mesh: &'a Mesh, pod: &'static str, order: &str) -> Result<Self> {
        let url = format!("http://127.0.0.1:8080/control?{order}");
        crate::assert::all(&mesh.from(pod, &url)?.send()?, "200")?;
        Ok(Self { mesh, pod })
    }
}

impl Drop for Misbehaving<'_> {
    fn drop(&mut self) {
        let url = "http://127.0.0.1:8080/control";
        let _ = self
            .mesh
            .from(self.pod, url)
            .and_then(|traffic| traffic.send());
    }
}

/// Versions of reviews, all of them and no others, answer through the gateway.
fn answered_by(mesh: &Mesh, versions: &[&str]) -> Result<()> {
    let report = mesh
        .ingress(REVIEWS)
        .count(30)
        .group_by(REVIEWS_VERSION)
        .send()?;
    crate::assert::only(&report, versions)
}

/// Every request failed without an HTTP answer, as when the other side resets the connection.
fn all_reset(report: &Report) -> Result<()> {
    let statuses = &report.statuses;
    ensure!(
        report.answered == 0 && report.sent > 0,
        "some were answered: {statuses:?}"
    );
    Ok(())
}
