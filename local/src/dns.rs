//! The cluster's DNS: services, headless services, external names and a static table.
//!
//! The zone is an immutable value that the controller replaces; the server answers from the current
//! one and never asks anybody else, so a name outside the mesh does not exist unless it was given.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::watch,
};

/// The cluster domain.
pub const DOMAIN: &str = "cluster.local";

/// How long clients may keep an answer; short, because endpoints of headless services move.
const TTL_SECONDS: u32 = 5;

/// Largest UDP query we read; larger ones come over TCP.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These addresses; possibly none.
    Addresses(BTreeSet<Ipv4Addr>),
    /// Another name.
    Alias(String),
}

/// All names that exist, without final dot, in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    names: BTreeMap<String, Answer>,
}

impl Zone {
    /// A zone with the static table only.
    pub fn with_hosts(hosts: &[(String, Ipv4Addr)]) -> Self {
        let mut zone = Self::default();
        for (name, address) in hosts {
            zone.add_address(name, *address);
        }
        zone
    }

    /// Adds one address to a name.
    pub fn add_address(&mut self, name: &str, address: Ipv4Addr) {
        let entry = self
            .names
            .entry(canonical(name))
            .or_insert_with(|| Answer::Addresses(BTreeSet::new()));
        if let Answer::Addresses(addresses) = entry {
            addresses.insert(address);
        }
    }

    /// Makes a name exist, even without addresses.
    pub fn add_name(&mut self, name: &str) {
        self.names
            .entry(canonical(name))
            .or_insert_with(|| Answer::Addresses(BTreeSet::new()));
    }

    /// Makes `name` stand for `target`.
    pub fn add_alias(&mut self, name: &str, target: &str) {
        self.names
            .insert(canonical(name), Answer::Alias(canonical(target)));
    }

    /// What `name` means; `None` if it does not exist. A name above an existing one exists as well.
    pub fn lookup(&self, name: &str) -> Option<Answer> {
        let name = canonical(name);
        if let Some(answer) = self.names.get(&name) {
            return Some(answer.clone());
        }
        let suffix = format!(".{name}");
        let above = self.names.keys().any(|known| known.ends_with(&suffix));
        above.then(|| Answer::Addresses(BTreeSet::new()))
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// A pod's `/etc/resolv.conf`.
pub fn resolv_conf(namespace: &str, server: Ipv4Addr) -> String {
    format!(
        "search {namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}\nnameserver {server}\noptions ndots:5\n"
    )
}

/// Answers one query; `None` if the bytes are no query.
pub fn respond(zone: &Zone, query: &[u8]) -> Option<Vec<u8>> {
    let request = Message::from_vec(query).ok()?;
    if request.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.metadata.authoritative = true;
    let question = request.queries.first();
    let (Some(question), OpCode::Query) = (question, request.metadata.op_code) else {
        response.metadata.response_code = ResponseCode::NotImp;
        return response.to_vec().ok();
    };
    response.add_query(question.clone());
    answer(zone, question.name(), question.query_type(), &mut response);
    response.to_vec().ok()
}

fn answer(zone: &Zone, name: &Name, kind: RecordType, response: &mut Message) {
    let mut name = name.clone();
    // Aliases are followed here, as resolvers expect; the bound stops loops.
    for _ in 0..8 {
        match zone.lookup(&name.to_ascii()) {
            None => {
                response.metadata.response_code = ResponseCode::NXDomain;
                return;
            }
            Some(Answer::Addresses(addresses)) => {
                if kind == RecordType::A {
                    let record = |address| {
                        Record::from_rdata(name.clone(), TTL_SECONDS, RData::A(rdata::A(address)))
                    };
                    response.add_answers(addresses.into_iter().map(record));
                }
                return;
            }
            Some(Answer::Alias(target)) => {
                let Ok(target) = Name::from_str(&format!("{target}.")) else {
                    return;
                };
                let alias = RData::CNAME(rdata::CNAME(target.clone()));
                response.add_answer(Record::from_rdata(name, TTL_SECONDS, alias));
                name = target;
            }
        }
    }
}

/// Serves `zone` on UDP and TCP at `address` until dropped.
pub async fn serve(address: SocketAddr, zone: watch::Receiver<Arc<Zone>>) -> io::Result<()> {
    let udp = UdpSocket::bind(address).await?;
    let tcp = TcpListener::bind(address).await?;
    let datagrams = serve_udp(udp, zone.clone());
    let streams = serve_tcp(tcp, zone);
    tokio::try_join!(datagrams, streams).map(|_| ())
}

async fn serve_udp(socket: UdpSocket, zone: watch::Receiver<Arc<Zone>>) -> io::Result<()> {
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    loop {
        // Errors here are earlier answers that a client no longer wanted.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let current = zone.borrow().clone();
        if let Some(reply) = respond(&current, &buffer[..length]) {
            let _ = socket.send_to(&reply, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: watch::Receiver<Arc<Zone>>) -> io::Result<()> {
    let mut streams = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    streams.spawn(serve_stream(stream, zone.clone()));
                }
            }
            Some(_) = streams.join_next() => {}
        }
    }
}

async fn serve_stream(mut stream: TcpStream, zone: watch::Receiver<Arc<Zone>>) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; usize::from(length)];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        let current = zone.borrow().clone();
        let Some(reply) = respond(&current, &query) else {
            return;
        };
        let Ok(length) = u16::try_from(reply.len()) else {
            return;
        };
        if stream.write_u16(length).await.is_err() || stream.write_all(&reply).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;

    use super::*;

    fn zone() -> Zone {
        let mut zone = Zone::with_hosts(&[("httpbin.org".into(), Ipv4Addr::new(203, 0, 113, 5))]);
        zone.add_address(
            "reviews.default.svc.cluster.local",
            Ipv4Addr::new(10, 96, 0, 16),
        );
        zone.add_name("empty.default.svc.cluster.local");
        zone.add_alias("out.default.svc.cluster.local", "httpbin.org");
        zone.add_alias(
            "loop.default.svc.cluster.local",
            "loop.default.svc.cluster.local",
        );
        zone
    }

    /// Code and the answers' last columns.
    fn ask(name: &str, kind: RecordType) -> (ResponseCode, Vec<String>) {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_str(name).unwrap(), kind));
        let reply = respond(&zone(), &message.to_vec().unwrap()).expect("a query is answered");
        let reply = Message::from_vec(&reply).unwrap();
        let answers = reply
            .answers
            .iter()
            .map(|record| record.data.to_string())
            .collect();
        (reply.metadata.response_code, answers)
    }

    #[test]
    fn names_of_the_mesh_are_answered_and_no_others() {
        let found = |addresses: &[&str]| {
            (
                ResponseCode::NoError,
                addresses.iter().map(|a| (*a).to_owned()).collect(),
            )
        };
        assert_eq!(
            ask("reviews.default.svc.cluster.local.", RecordType::A),
            found(&["10.96.0.16"])
        );
        assert_eq!(
            ask("REVIEWS.default.svc.cluster.local.", RecordType::A),
            found(&["10.96.0.16"])
        );
        assert_eq!(
            ask("reviews.default.svc.cluster.local.", RecordType::AAAA),
            found(&[])
        );
        assert_eq!(
            ask("empty.default.svc.cluster.local.", RecordType::A),
            found(&[])
        );
        assert_eq!(ask("default.svc.cluster.local.", RecordType::A), found(&[]));
        assert_eq!(
            ask("out.default.svc.cluster.local.", RecordType::A),
            found(&["httpbin.org.", "203.0.113.5"])
        );
        assert_eq!(
            ask("example.com.", RecordType::A),
            (ResponseCode::NXDomain, vec![])
        );
    }

    #[test]
    fn an_alias_of_itself_ends() {
        let (code, answers) = ask("loop.default.svc.cluster.local.", RecordType::A);
        assert_eq!((code, answers.len()), (ResponseCode::NoError, 8));
    }

    #[test]
    fn noise_is_not_answered() {
        assert_eq!(respond(&zone(), b"\0\x01garbage"), None);
    }
}
