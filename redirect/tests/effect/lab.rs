//! A network namespace with a peer, and clients of every kind.

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, SockRef, Socket, Type};

/// Set in the copy of the test that runs inside the namespace.
const INSIDE: &str = "WEFT_EFFECT_INSIDE";

const OUTBOUND: u16 = 15001;
const INBOUND: u16 = 15006;

/// Ports on which ordinary servers listen, here and at the peer.
const SERVED: [u16; 6] = [22, 80, 443, 8080, 15021, 15090];

/// Who connects.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Client {
    App,
    Proxy,
    Marked,
    Passthrough,
    Peer,
}

/// Where a connection arrived; the address is the original destination.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    Direct,
    Outbound(&'static str),
    Inbound(&'static str),
    Transparent(&'static str),
}

pub(crate) struct Lab {
    peer: Peer,
    arrivals: mpsc::Receiver<Arrival>,
    single_user: bool,
}

impl Lab {
    /// `None` in the outer process, after the copy inside has passed.
    pub(crate) fn enter(test: &str) -> Option<Self> {
        if std::env::var_os(INSIDE).is_none() {
            let status = Command::new("unshare")
                .args(unshare_flags())
                .arg(std::env::current_exe().expect("the test binary has a path"))
                .args([test, "--exact", "--nocapture"])
                .env(INSIDE, if is_root() { "root" } else { "user" })
                .status()
                .expect("unshare is installed");
            assert!(status.success(), "inside the namespace: {status}");
            return None;
        }
        // An unprivileged user's namespace has one user id: the mark plays the proxy's user.
        let single_user = std::env::var_os(INSIDE).is_some_and(|value| value == "user");
        let peer = Peer::start();
        sh("ip link set lo up; ip link set eth0 up
            ip addr add 10.9.0.2/24 dev eth0; ip addr add fd09::2/64 dev eth0 nodad
            ip route add default via 10.9.0.1; ip -6 route add default via fd09::1");
        let (sender, arrivals) = mpsc::channel();
        for port in SERVED {
            serve(listen(port, false), sender.clone(), |_| Arrival::Direct);
            serve(
                peer.inside(move || listen(port, false)),
                sender.clone(),
                |_| Arrival::Direct,
            );
        }
        serve(listen(OUTBOUND, false), sender.clone(), |stream| {
            Arrival::Outbound(original_destination(stream))
        });
        serve(listen(INBOUND, true), sender, |stream| {
            let local = stream.local_addr().expect("connected");
            if local.port() == INBOUND {
                Arrival::Inbound(original_destination(stream))
            } else {
                Arrival::Transparent(text(local))
            }
        });
        Some(Self {
            peer,
            arrivals,
            single_user,
        })
    }

    pub(crate) fn weft_redirect(&self, flags: &[String]) {
        let mark = self.single_user.then_some(("WEFT_SOCKET_MARK", "4919"));
        let output = Command::new(env!("CARGO_BIN_EXE_weft-redirect"))
            .args(flags)
            .envs(mark)
            .output()
            .expect("built with the test");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Connects and waits for the server that got the connection to tell.
    pub(crate) fn connect(&self, client: Client, to: SocketAddr) -> Arrival {
        let mut stream = match client {
            Client::App => connect(to, |_| ()),
            Client::Marked => connect(to, |socket| socket.set_mark(4919).expect("CAP_NET_ADMIN")),
            Client::Passthrough => connect(to, |socket| {
                let source = SocketAddr::from(([127, 0, 0, 6], 0));
                socket.bind(&source.into()).expect("a loopback address");
            }),
            Client::Peer => self.peer.inside(move || connect(to, |_| ())),
            Client::Proxy if self.single_user => return self.connect(Client::Marked, to),
            Client::Proxy => return self.connect_as_proxy(to),
        };
        let arrival = self.arrival(to);
        let _ = stream.write_all(b"\n");
        arrival
    }

    /// Another user needs another process; bash opens the connection.
    fn connect_as_proxy(&self, to: SocketAddr) -> Arrival {
        let script = format!("exec 3<>/dev/tcp/{}/{}; read -r _ <&3", to.ip(), to.port());
        let mut child = Command::new("setpriv")
            .args([
                "--reuid=1337",
                "--regid=1337",
                "--clear-groups",
                "bash",
                "-c",
                &script,
            ])
            .spawn()
            .expect("setpriv is installed");
        let arrival = self.arrival(to);
        child.wait().expect("started above");
        arrival
    }

    fn arrival(&self, to: SocketAddr) -> Arrival {
        self.arrivals
            .recv_timeout(Duration::from_secs(5))
            .unwrap_or_else(|_| panic!("the connection to {to} arrived nowhere"))
    }
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

fn unshare_flags() -> &'static [&'static str] {
    if is_root() {
        &["--net"]
    } else {
        &["--net", "--map-root-user"]
    }
}

/// The outside: a process that holds a second namespace, with any address.
struct Peer {
    holder: Child,
}

impl Peer {
    fn start() -> Self {
        let holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is installed");
        let mut peer = Self { holder };
        let mut ready = [0];
        peer.holder
            .stdout
            .as_mut()
            .expect("piped")
            .read_exact(&mut ready)
            .expect("the namespace exists");
        let pid = peer.holder.id();
        sh(&format!(
            "ip link add eth0 type veth peer name eth0 netns {pid}"
        ));
        // The peer answers for every address, so that any destination can be reached.
        sh(&format!(
            "nsenter -t {pid} -n sh -ec 'ip link set lo up; ip link set eth0 up
             ip addr add 10.9.0.1/24 dev eth0; ip addr add 10.9.0.3/24 dev eth0; ip addr add fd09::1/64 dev eth0 nodad
             ip addr add 203.0.113.7/32 dev lo; ip addr add 2001:db8::7/128 dev lo nodad'"
        ));
        peer
    }

    /// Runs `work` on a thread of its own inside the namespace; sockets stay in it.
    fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace =
            File::open(format!("/proc/{}/ns/net", self.holder.id())).expect("the holder runs");
        let run = move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("same owner");
            work()
        };
        std::thread::spawn(run)
            .join()
            .expect("work inside does not panic")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn listen(port: u16, transparent: bool) -> TcpListener {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None).expect("IPv6 is there");
    socket.set_only_v6(false).expect("both families");
    if transparent {
        socket.set_ip_transparent_v4(true).expect("CAP_NET_ADMIN");
        socket.set_ip_transparent_v6(true).expect("CAP_NET_ADMIN");
    }
    socket
        .bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())
        .expect("the port is free");
    socket.listen(16).expect("bound");
    socket.into()
}

/// Reports each connection, then holds it until the client leaves.
fn serve(
    listener: TcpListener,
    arrivals: mpsc::Sender<Arrival>,
    report: impl Fn(&TcpStream) -> Arrival + Send + 'static,
) {
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if arrivals.send(report(&stream)).is_err() {
                return;
            }
            let _ = (&stream).write_all(b"\n");
        }
    });
}

fn connect(to: SocketAddr, prepare: impl FnOnce(&Socket)) -> TcpStream {
    let socket =
        Socket::new(Domain::for_address(to), Type::STREAM, None).expect("the family is there");
    prepare(&socket);
    socket
        .connect_timeout(&to.into(), Duration::from_secs(5))
        .unwrap_or_else(|error| panic!("connect to {to}: {error}"));
    socket.into()
}

fn original_destination(stream: &TcpStream) -> &'static str {
    let socket = SockRef::from(stream);
    let mapped = stream
        .local_addr()
        .expect("connected")
        .ip()
        .to_canonical()
        .is_ipv4();
    let found = if mapped {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    text(
        found
            .expect("the connection was redirected")
            .as_socket()
            .expect("an IP address"),
    )
}

/// Cases compare with literals; leaking a few strings in a test is the price.
fn text(address: SocketAddr) -> &'static str {
    let ip = address.ip().to_canonical();
    SocketAddr::new(ip, address.port()).to_string().leak()
}

fn sh(script: &str) {
    let status = Command::new("sh")
        .args(["-ec", script])
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .status();
    assert!(status.expect("sh is there").success(), "{script}");
}
