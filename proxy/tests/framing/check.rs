//! What must hold. The model is the script itself: what a client sent as a request, and what the origin said.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::client::{Outcome, Response};
use super::lane::Record;
use super::origin::plan::{Plan, Shown};
use super::origin::{Arrival, Connection, Origin, Server};
use super::script::{AnswerKind, Body, Cut, Exchange, Pace, Route, Upgrade};
use super::wire::Named;

/// A rule that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) rule: Rule,
    pub(crate) text: String,
}

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// The origin sees no request that no client sent.
    Smuggled,
    /// What arrives at the origin is HTTP.
    NotHttp,
    /// A connection whose framing is in doubt is not used again, and every connection ends.
    Doubt,
    /// A request arrives with the head and the body that its client sent.
    Altered,
    /// A request arrives whole only if it was sent so.
    Completed,
    /// A request arrives as often as retries and mirrors allow.
    Repeated,
    /// A client is shown its own response.
    Response,
    /// A response that broke off is not shown as complete.
    Truncated,
    /// What clients get is HTTP, and nothing but responses to their requests.
    Stray,
    /// A request in order gets its response.
    Unanswered,
    /// Everything ends.
    Hang,
}

impl Fault {
    /// The rule and how it was broken, without what differs from one sequence to the next.
    pub(crate) fn kind(&self) -> (Rule, String) {
        let words = self
            .text
            .split([' ', '/'])
            .filter(|word| word.bytes().all(|b| !b.is_ascii_digit()));
        (self.rule, words.take(6).collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.text)
    }
}

/// Holds a record against the rules.
pub(crate) fn check(record: &Record, origin: &Origin) -> Vec<Fault> {
    let mut faults = Vec::new();
    for connection in &record.connections {
        check_connection(connection, origin, &mut faults);
    }
    check_repetition(record, &mut faults);
    for (index, (named, seen)) in record.exchanges.iter().zip(&record.seen).enumerate() {
        let mut check = Client {
            index,
            named,
            faults: &mut faults,
        };
        check.outcome(&seen.outcome);
        let waited = seen.outcome != Outcome::Abandoned;
        if waited && must_be_answered(record, named) && !is_own_and_whole(&seen.outcome, named) {
            check.fault(Rule::Unanswered, format!("{:?}", seen.outcome));
        }
        if let Some(second) = &seen.second
            && let Some(id) = second.field("x-id")
        {
            let text = format!("the request behind the body is answered with x-id {id}");
            check.fault(Rule::Response, text);
        }
    }
    faults
}

/// True if nothing in the script may cost this request its response.
fn must_be_answered(record: &Record, named: &Named) -> bool {
    let exchange = &named.exchange;
    let in_order = exchange.body.whole().is_some()
        && !matches!(exchange.body, Body::LengthThenRequest(_))
        && exchange.upgrade == Upgrade::None
        && exchange.pace != Pace::Abandon
        && !matches!(
            exchange.route,
            Route::Direct | Route::Admin | Route::Timeout
        );
    let plans = |named: &Named| {
        let Exchange {
            upstream,
            method,
            answers,
            ..
        } = &named.exchange;
        let attempts = 0..answers.len();
        attempts
            .map(|attempt| Plan::of(named, *upstream, method, attempt))
            .collect::<Vec<_>>()
    };
    // A reset may overtake the response before it.
    let answered = plans(named).iter().all(|plan| {
        plan.as_ref()
            .is_some_and(|plan| plan.shown == Shown::Whole && plan.cut != Some(Cut::Reset))
    });
    // A request may cross the end of an idle connection.
    let silent = |other: &Arc<Named>| plans(other).iter().flatten().any(|plan| plan.silent);
    named.first && in_order && answered && !record.parallel && !record.exchanges.iter().any(silent)
}

fn is_own_and_whole(outcome: &Outcome, named: &Named) -> bool {
    match outcome {
        Outcome::Response(response) => {
            response.whole && response.field("x-id") == Some(&named.name)
        }
        _ => false,
    }
}

fn check_connection(connection: &Connection, origin: &Origin, faults: &mut Vec<Fault>) {
    let server = connection.server;
    for what in &connection.faults {
        let rule = match what.starts_with("not HTTP") {
            true => Rule::NotHttp,
            false => Rule::Doubt,
        };
        faults.push(Fault {
            rule,
            text: format!("{server:?}: {what}"),
        });
    }
    for arrival in &connection.arrivals {
        let mut fault = |rule, text: String| {
            let text = format!("{server:?}: {} {}: {text}", arrival.method, arrival.path);
            faults.push(Fault { rule, text });
        };
        match origin.known(&arrival.path) {
            None => fault(Rule::Smuggled, "no client sent it".into()),
            Some(named) => {
                if let Err((rule, text)) = check_arrival(arrival, &named) {
                    fault(rule, text);
                }
            }
        }
    }
}

fn check_arrival(arrival: &Arrival, named: &Named) -> Result<(), (Rule, String)> {
    let exchange = &named.exchange;
    let upgrades = exchange.upgrade != Upgrade::None;
    if matches!(exchange.route, Route::Admin | Route::Direct) {
        return Err((Rule::Smuggled, "the proxy has to answer it".into()));
    }
    let ids: Vec<_> = arrival
        .fields
        .iter()
        .filter(|(name, _)| name == "x-id")
        .collect();
    let own = matches!(&ids[..], [(_, id)] if *id == named.name);
    if arrival.method != exchange.method || !own {
        return Err((Rule::Altered, format!("method or x-id {ids:?}")));
    }
    if arrival.has("x-hop") {
        return Err((Rule::Altered, "a header that Connection names".into()));
    }
    check_upgrade(arrival, exchange.upgrade)?;
    let trailers_sent = matches!(exchange.body, Body::Chunked { trailers: true, .. });
    let trailer = [("x-trailer".to_owned(), named.trailer())];
    if !(arrival.trailers.is_empty() || trailers_sent && arrival.trailers == trailer) {
        return Err((Rule::Altered, format!("trailers {:?}", arrival.trailers)));
    }
    // An upgrade may go on without its body, if it then announces none.
    let framed = arrival.has("content-length") || arrival.has("transfer-encoding");
    if upgrades && arrival.body.is_empty() && !framed {
        return check_tunnel(arrival, named);
    }
    let sent = sent(named);
    match (arrival.whole, exchange.body.whole()) {
        (true, None) => Err((Rule::Completed, "its client never sent all of it".into())),
        (true, Some(_)) if arrival.body != sent => Err((Rule::Altered, differs(arrival, &sent))),
        (false, _) if !sent.starts_with(&arrival.body) => {
            Err((Rule::Altered, differs(arrival, &sent)))
        }
        _ => check_tunnel(arrival, named),
    }
}

/// What the client sent of the body.
fn sent(named: &Named) -> Vec<u8> {
    match named.exchange.body {
        Body::LengthCut { sent, .. } => named.body(sent),
        Body::ChunkedCut { size, .. } => [named.body(size), b"half".to_vec()].concat(),
        Body::Malformed(_) => named.body(40),
        body => named.body(body.whole().unwrap_or_default()),
    }
}

fn differs(arrival: &Arrival, sent: &[u8]) -> String {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
    format!("body {:?} and not {:?}", shown(&arrival.body), shown(sent))
}

fn check_upgrade(arrival: &Arrival, asked: Upgrade) -> Result<(), (Rule, String)> {
    let upgrades = arrival.fields.iter().filter(|(name, _)| name == "upgrade");
    let upgrades: Vec<&str> = upgrades.map(|(_, value)| value.as_str()).collect();
    match (&upgrades[..], asked) {
        ([], _) | (["websocket"], Upgrade::WebSocket) => Ok(()),
        _ => Err((Rule::Altered, format!("upgrade {upgrades:?}"))),
    }
}

/// A tunnel carries what the client sent behind its request, and what it sent for a body if that did not go
/// before.
fn check_tunnel(arrival: &Arrival, named: &Named) -> Result<(), (Rule, String)> {
    let tunnel = &arrival.tunnel;
    let behind = match named.exchange.body {
        Body::LengthThenRequest(_) => named.smuggled(),
        _ => Vec::new(),
    };
    let said = [behind, named.tunnel().0].concat();
    let with_body = [sent(named), said.clone()].concat();
    if said.starts_with(tunnel) || with_body.starts_with(tunnel) {
        return Ok(());
    }
    let shown = String::from_utf8_lossy(tunnel).into_owned();
    Err((Rule::Altered, format!("tunnel {shown:?}")))
}

fn check_repetition(record: &Record, faults: &mut Vec<Fault>) {
    let mut counts: HashMap<(bool, &str), usize> = HashMap::new();
    for connection in &record.connections {
        for arrival in &connection.arrivals {
            let shadow = connection.server == Server::Shadow;
            *counts.entry((shadow, &arrival.path)).or_default() += 1;
        }
    }
    for named in &record.exchanges {
        let path = named.path();
        let (main, shadow) = named.exchange.route.attempts_max();
        let seen = [false, true].map(|at| counts.get(&(at, path.as_str())).copied().unwrap_or(0));
        if seen[0] > main || seen[1] > shadow {
            faults.push(Fault {
                rule: Rule::Repeated,
                text: format!("{path}: {seen:?} times and not at most {main} and {shadow}"),
            });
        }
    }
}

/// The check of what a client saw of one exchange.
struct Client<'a> {
    index: usize,
    named: &'a Arc<Named>,
    faults: &'a mut Vec<Fault>,
}

impl Client<'_> {
    fn fault(&mut self, rule: Rule, text: String) {
        let text = format!("exchange {} ({}): {text}", self.index, self.named.name);
        self.faults.push(Fault { rule, text });
    }

    fn outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Abandoned | Outcome::Ended => {}
            Outcome::Hang => self.fault(Rule::Hang, "neither response nor end".into()),
            Outcome::Broken(what) => self.fault(Rule::Stray, what.clone()),
            Outcome::Response(response) => match response.field("x-id") {
                None => self.local_reply(response),
                Some(id) if id == self.named.name => self.own(response),
                Some(id) => self.fault(Rule::Response, format!("the response of {id}")),
            },
        }
    }

    fn local_reply(&mut self, response: &Response) {
        let direct = self.named.exchange.route == Route::Direct;
        if response.status < 300 && !direct {
            let text = format!("a response of nobody: {response:?}");
            self.fault(Rule::Response, text);
        }
    }

    fn own(&mut self, response: &Response) {
        let exchange = &self.named.exchange;
        let attempt = response
            .field("x-attempt")
            .and_then(|attempt| attempt.parse().ok());
        let Some(attempt) = attempt else {
            return self.tunnel(response);
        };
        let plan = Plan::of(self.named, exchange.upstream, exchange.method, attempt);
        let Some(plan) = plan else {
            return self.fault(Rule::Response, format!("nobody said {response:?}"));
        };
        let shown = String::from_utf8_lossy(&response.body).into_owned();
        if response.status != plan.status || !plan.body.starts_with(&response.body) {
            let text = format!("status {} with {shown:?}", response.status);
            self.fault(Rule::Response, text);
        } else if response.whole && plan.shown == Shown::Never {
            self.fault(Rule::Truncated, format!("shown as complete: {shown:?}"));
        } else if response.whole && response.body.len() < plan.body.len() {
            self.fault(Rule::Truncated, format!("cut by the proxy: {shown:?}"));
        }
    }

    fn tunnel(&mut self, response: &Response) {
        let exchange = &self.named.exchange;
        let granted = exchange.upgrade == Upgrade::WebSocket
            && exchange
                .answers
                .iter()
                .any(|a| a.kind == AnswerKind::Switch("websocket"));
        let heard = self.named.tunnel().1;
        match &response.tunnel {
            Some(bytes) if granted && heard.starts_with(bytes) => {}
            _ => self.fault(
                Rule::Response,
                format!("a tunnel that nobody dug: {response:?}"),
            ),
        }
    }
}
