//! Containers as processes: how one is started inside a pod, watched, restarted and stopped.

pub mod run;

use std::process::Stdio;

use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::process::Command;

use crate::{
    env::{self, Data, EnvError},
    image::{self, BIN_DIR, ImageError},
    network::system_path,
    options::{DataPlane, Options, Privilege},
    state::ContainerLog,
};

/// User and group of containers that do not say; nobody else's on the machine.
const NOBODY: u32 = 65532;

/// Socket mark that tells a proxy's connections where all processes have one user id.
pub const SOCKET_MARK: u32 = 0x1337;

/// Annotation that chooses the data plane of a pod.
pub const DATA_PLANE_ANNOTATION: &str = "weft.dev/data-plane";

/// A container cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// Its image stands for no program.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Its environment cannot be computed.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// It has no command, and its image brings none.
    #[error("container \"{0}\" has no command, and its image brings no program")]
    NoCommand(String),
}

/// Everything needed to start a container any number of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Container name.
    pub name: String,
    /// Process that holds the pod's namespaces.
    pub pod_pid: u32,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory inside the pod.
    pub working_dir: Option<String>,
    /// User and group, where they can be chosen.
    pub user: Option<(u32, u32)>,
    /// Capabilities that are kept, in `setpriv`'s words.
    pub capabilities: Vec<String>,
    /// File that gets both output streams.
    pub log: ContainerLog,
}

impl Launch {
    /// How `container` of `pod` starts.
    pub fn new(
        pod: &Pod,
        container: &Container,
        pod_pid: u32,
        options: &Options,
        data: &dyn Data,
        log: ContainerLog,
    ) -> Result<Self, ContainerError> {
        let program = image::resolve(container.image.as_deref().unwrap_or_default(), options)?;
        let mut env = base_env(pod, options);
        for (name, value) in env::environment(pod, container, data)? {
            env.retain(|(known, _)| *known != name);
            env.push((name, value));
        }
        let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
            words
                .iter()
                .flatten()
                .map(|word| env::expand(word, &env))
                .collect()
        };
        let (command, args) = (expanded(&container.command), expanded(&container.args));
        let mut argv = if !command.is_empty() {
            command
        } else if args.first().is_some_and(|arg| arg == "istio-iptables") {
            vec![format!("{BIN_DIR}/weft-redirect")]
        } else {
            let path = program
                .file
                .as_deref()
                .ok_or_else(|| ContainerError::NoCommand(container.name.clone()))?;
            let entry = image::path_inside(path).to_string_lossy().into_owned();
            std::iter::once(entry).chain(program.args).collect()
        };
        argv.extend(args);
        if argv
            .first()
            .is_some_and(|program| program.ends_with("/weft-proxy"))
        {
            argv.extend(data_plane_args(pod, options));
        }
        let user = (options.privilege != Privilege::SingleUser).then(|| user_of(pod, container));
        Ok(Self {
            name: container.name.clone(),
            pod_pid,
            argv,
            env,
            working_dir: container.working_dir.clone(),
            user,
            capabilities: capabilities(container, options),
            log,
        })
    }

    /// The command line of another program in the same place, for `exec` and hooks.
    pub fn with_argv(&self, argv: Vec<String>) -> Self {
        Self {
            argv,
            ..self.clone()
        }
    }

    /// The process, without its standard streams: joins the pod's namespaces, drops privileges, runs.
    pub fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &self.pod_pid.to_string(),
            "--mount",
            "--net",
            "--uts",
        ]);
        if let Some(dir) = &self.working_dir {
            command.arg(format!("--wdns={dir}"));
        }
        command.args(["setpriv", "--no-new-privs", "--inh-caps=-all"]);
        let kept = self.capabilities.iter().map(|name| format!(",+{name}"));
        command.arg(format!("--bounding-set=-all{}", kept.collect::<String>()));
        if let Some((uid, gid)) = self.user {
            command.args([
                format!("--reuid={uid}"),
                format!("--regid={gid}"),
                "--clear-groups".to_owned(),
            ]);
        }
        command
            .arg("--")
            .args(&self.argv)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        // A group of its own: signals reach its children too, and Ctrl-C in a terminal does not.
        command.process_group(0).kill_on_drop(true);
        command
    }

    /// The process with its output going to the log.
    pub fn logged_command(&self) -> std::io::Result<Command> {
        let log = self.log.append()?;
        // Who opens /dev/stdout by name, as Envoy does for access logs, needs the file's own permission.
        if let Some((uid, gid)) = self.user {
            std::os::unix::fs::fchown(&log, Some(uid), Some(gid))?;
        }
        let mut command = self.command();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }
}

/// User and group of a container, by its own or the pod's security context.
pub fn user_of(pod: &Pod, container: &Container) -> (u32, u32) {
    let own = container.security_context.as_ref();
    let pods = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.as_ref());
    let user = own
        .and_then(|context| context.run_as_user)
        .or_else(|| pods.and_then(|context| context.run_as_user));
    let group = own
        .and_then(|context| context.run_as_group)
        .or_else(|| pods.and_then(|context| context.run_as_group));
    let id = |id: Option<i64>| id.and_then(|id| u32::try_from(id).ok());
    let uid = id(user).unwrap_or(NOBODY);
    (uid, id(group).unwrap_or(uid))
}

fn base_env(pod: &Pod, options: &Options) -> Vec<(String, String)> {
    let hostname = pod.metadata.name.clone().unwrap_or_default();
    let mut env = vec![
        (
            "PATH".to_owned(),
            format!("{BIN_DIR}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ),
        ("HOSTNAME".to_owned(), hostname),
        ("HOME".to_owned(), "/tmp".to_owned()),
    ];
    if options.privilege == Privilege::SingleUser {
        env.push(("WEFT_SOCKET_MARK".to_owned(), SOCKET_MARK.to_string()));
    }
    if let Ok(backtrace) = std::env::var("RUST_BACKTRACE") {
        env.push(("RUST_BACKTRACE".to_owned(), backtrace));
    }
    env
}

/// Capabilities that the container asked for, and, with a single user id, the one to mark sockets.
fn capabilities(container: &Container, options: &Options) -> Vec<String> {
    let context = container.security_context.as_ref();
    let added = context
        .and_then(|context| context.capabilities.as_ref())
        .and_then(|capabilities| capabilities.add.clone());
    let mut kept: Vec<_> = added
        .into_iter()
        .flatten()
        .map(|name| name.to_lowercase())
        .collect();
    if options.privilege == Privilege::SingleUser && container.name == "istio-proxy" {
        kept.push("net_admin".to_owned());
    }
    kept.sort();
    kept.dedup();
    kept
}

/// The data plane of a pod: its annotation, else the mesh's.
pub fn data_plane(pod: &Pod, options: &Options) -> DataPlane {
    let annotation = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(DATA_PLANE_ANNOTATION));
    match annotation.map(String::as_str) {
        Some("envoy") => DataPlane::Envoy,
        Some("weft") => DataPlane::Weft,
        _ => options.data_plane,
    }
}

fn data_plane_args(pod: &Pod, options: &Options) -> Vec<String> {
    match (data_plane(pod, options), &options.envoy_path) {
        (DataPlane::Envoy, Some(path)) => {
            let inside = image::path_inside(path).to_string_lossy().into_owned();
            ["--data-plane", "envoy", "--envoy-path", &inside]
                .map(str::to_owned)
                .into()
        }
        _ => Vec::new(),
    }
}

/// Where programs of the supervisor itself are looked up.
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", system_path());
    command
}

/// The same for code without tasks.
pub fn tool_now(name: &str) -> std::process::Command {
    let mut command = std::process::Command::new(name);
    command.env("PATH", system_path());
    command
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use serde_json::json;

    use super::*;
    use crate::state::StateDir;

    struct NoData;

    impl Data for NoData {
        fn config_map(&self, _: &str, _: &str) -> Option<BTreeMap<String, Vec<u8>>> {
            None
        }
        fn secret(&self, _: &str, _: &str) -> Option<BTreeMap<String, Vec<u8>>> {
            None
        }
    }

    fn launch(
        bin_dir: &Path,
        privilege: Privilege,
        container: serde_json::Value,
    ) -> Result<Launch, ContainerError> {
        std::fs::write(bin_dir.join("weft-proxy"), "").unwrap();
        std::fs::write(bin_dir.join("envoy"), "").unwrap();
        let options = Options {
            name: "t".into(),
            dir: None,
            data_plane: DataPlane::Weft,
            envoy_path: Some(bin_dir.join("envoy")),
            ingress_port: 0,
            bin_dir: bin_dir.to_owned(),
            images: BTreeMap::new(),
            hosts: vec![],
            mesh: true,
            privilege,
        };
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "annotations": {DATA_PLANE_ANNOTATION: "envoy"}},
            "spec": {"containers": [container]},
        }))
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let log = StateDir::new("/none").container_log("n", "p", "c");
        Launch::new(&pod, container, 42, &options, &NoData, log)
    }

    fn line(command: &Command) -> String {
        let words = command
            .as_std()
            .get_args()
            .map(|word| word.to_string_lossy().into_owned());
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_application_has_no_privileges_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let container = json!({"name": "c", "image": "curl", "command": ["/bin/sleep", "$(SECONDS)"],
            "env": [{"name": "SECONDS", "value": "9"}]});
        let launch = launch(dir.path(), Privilege::Root, container).unwrap();
        assert_eq!(
            line(&launch.command()),
            "--target 42 --mount --net --uts setpriv --no-new-privs --inh-caps=-all --bounding-set=-all \
             --reuid=65532 --regid=65532 --clear-groups -- /bin/sleep 9"
        );
    }

    #[test]
    fn a_proxy_runs_the_data_plane_that_its_pod_asks_for() {
        let dir = tempfile::tempdir().unwrap();
        let container = json!({"name": "istio-proxy", "image": "auto", "args": ["sidecar"],
            "securityContext": {"runAsUser": 1337}});
        let root = launch(dir.path(), Privilege::Root, container.clone()).unwrap();
        assert_eq!(root.user, Some((1337, 1337)));
        assert_eq!(
            root.argv.join(" "),
            "/weft/bin/weft-proxy sidecar --data-plane envoy --envoy-path /weft/bin/envoy"
        );
        let single = launch(dir.path(), Privilege::SingleUser, container).unwrap();
        assert_eq!(
            (single.user, single.capabilities),
            (None, vec!["net_admin".to_owned()])
        );
    }

    #[test]
    fn an_image_without_program_needs_a_command() {
        let dir = tempfile::tempdir().unwrap();
        let error = launch(
            dir.path(),
            Privilege::Root,
            json!({"name": "c", "image": "curl"}),
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "container \"c\" has no command, and its image brings no program"
        );
    }
}
