//! `exec` and `forward`: byte streams over upgraded connections.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsFd,
    process::Stdio,
    time::Duration,
};

use axum::{
    body::Body,
    extract::{RawQuery, Request, State},
    http::{StatusCode, header},
    response::Response,
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Child,
    sync::{mpsc, oneshot},
};

use super::{ControlState, query, refuse};
use crate::{
    api::{ExecRequest, ForwardRequest, Refusal},
    frame::Frame,
    lookup,
    process::Launch,
};

/// Protocol name in the upgrade headers.
const PROTOCOL: &str = "weft-stream";

/// How long a connection inside a pod may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Output frames waiting for the caller; a slow caller slows the program.
const OUTPUT_QUEUE: usize = 16;

/// Runs a program in a container's place.
pub(super) async fn exec(
    State(state): State<ControlState>,
    RawQuery(raw): RawQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let wanted: ExecRequest = query(raw.as_deref())?;
    let view = state.view();
    let (name, pod) = lookup::pod(&view, &wanted.pod)?;
    let container = lookup::container(pod, wanted.container.as_deref())?;
    let pid = pod
        .pid
        .ok_or_else(|| refuse(format!("pod \"{}\" is not up yet", name.1)))?;
    let spec = pod.pod.spec.clone().unwrap_or_default();
    let mut containers = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    let container = containers
        .find(|known| known.name == container)
        .ok_or_else(|| refuse("no such container"))?;
    let data = state.shared.data.borrow().clone();
    let log = state
        .shared
        .state
        .container_log(&name.0, &name.1, &container.name);
    let launch = Launch::new(&pod.pod, container, pid, &state.shared.options, &data, log)
        .map_err(|error| refuse(error.to_string()))?;
    let child = launch
        .with_argv(wanted.argv)
        .command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| refuse(error.to_string()))?;
    Ok(upgrade(request, move |stream| async move {
        if let Err(error) = exchange(child, stream).await {
            tracing::debug!(%error, "exec stream ended");
        }
    }))
}

/// Connects to a port as the pod's own processes would.
pub(super) async fn forward(
    State(state): State<ControlState>,
    RawQuery(raw): RawQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let wanted: ForwardRequest = query(raw.as_deref())?;
    let view = state.view();
    let (name, pod) = lookup::pod(&view, &wanted.pod)?;
    let (Some(pid), Some(address)) = (pod.pid, pod.address) else {
        return Err(refuse(format!("pod \"{}\" is not up yet", name.1)));
    };
    let mut inside = connect_inside(pid, address, wanted.port)
        .await
        .map_err(|error| {
            refuse(format!(
                "port {} of pod \"{}\": {error}",
                wanted.port, name.1
            ))
        })?;
    Ok(upgrade(request, move |mut stream| async move {
        // Either side may break off; that is the end of the tunnel.
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut inside).await;
    }))
}

/// Answers with an upgrade and hands the stream to `serve` once the caller has taken it.
fn upgrade<F: Future<Output = ()> + Send>(
    request: Request,
    serve: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static,
) -> Response {
    let upgraded = hyper::upgrade::on(request);
    // The connection's own task cannot wait for its upgrade, so this one stands beside it; it ends
    // with the stream.
    tokio::spawn(async move {
        if let Ok(stream) = upgraded.await {
            serve(TokioIo::new(stream)).await;
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, PROTOCOL)
        .body(Body::empty())
        .expect("constant parts")
}

async fn exchange(mut child: Child, stream: TokioIo<Upgraded>) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut stdin = child.stdin.take();
    let (output, mut frames) = mpsc::channel(OUTPUT_QUEUE);
    let stdout = pump(child.stdout.take(), output.clone(), Frame::Stdout);
    let stderr = pump(child.stderr.take(), output.clone(), Frame::Stderr);
    let program = async {
        let (_, _, status) = tokio::join!(stdout, stderr, child.wait());
        let code = status.map_or(1, |status| status.code().unwrap_or(137));
        let _ = output.send(Frame::Exit(code)).await;
    };
    let answers = async {
        while let Some(frame) = frames.recv().await {
            frame.write(&mut writer).await?;
            if matches!(frame, Frame::Exit(_)) {
                break;
            }
        }
        writer.shutdown().await
    };
    let input = async {
        while let Ok(Some(Frame::Stdin(bytes))) = Frame::read(&mut reader).await {
            match &mut stdin {
                Some(_) if bytes.is_empty() => stdin = None,
                Some(pipe) => match pipe.write_all(&bytes).await {
                    Ok(()) => {}
                    // The program does not read any more.
                    Err(_) => stdin = None,
                },
                None => {}
            }
        }
    };
    tokio::select! {
        (result, ()) = async { tokio::join!(answers, program) } => result,
        // The caller is gone; the program is killed with its handle.
        () = input => Ok(()),
    }
}

async fn pump(
    from: Option<impl AsyncRead + Unpin>,
    to: mpsc::Sender<Frame>,
    frame: fn(Vec<u8>) -> Frame,
) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if to.send(frame(buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
}

/// Opens a connection inside the network namespace of `pid`: to 127.0.0.1, else to the pod's address.
async fn connect_inside(pid: u32, address: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    let (sender, receiver) = oneshot::channel();
    // Namespaces belong to threads: one of its own enters, connects, and ends.
    std::thread::Builder::new()
        .name("connect".to_owned())
        .spawn(move || {
            let connect = || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                let to = |ip: Ipv4Addr| SocketAddr::new(IpAddr::V4(ip), port);
                std::net::TcpStream::connect_timeout(&to(Ipv4Addr::LOCALHOST), CONNECT_TIMEOUT)
                    .or_else(|_| {
                        std::net::TcpStream::connect_timeout(&to(address), CONNECT_TIMEOUT)
                    })
            };
            let _ = sender.send(connect());
        })?;
    let stream = receiver
        .await
        .map_err(|_| io::Error::other("the connecting thread ended"))??;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}
