//! Simpler scripts than one that fails.

use super::generate::settle;
use super::script::{
    After, Answer, AnswerKind, Body, Content, Exchange, Interim, Pace, Protocol, Route, Script,
    Upgrade, Upstream,
};

/// Scripts that are simpler in one respect, the simplest first.
pub(crate) fn simpler(script: &Script) -> Vec<Script> {
    let mut found = Vec::new();
    let mut add = |change: &dyn Fn(&mut Script)| {
        let mut changed = script.clone();
        change(&mut changed);
        settle(&mut changed);
        changed.visits.retain(|visit| !visit.exchanges.is_empty());
        if changed != *script && !changed.visits.is_empty() && !found.contains(&changed) {
            found.push(changed);
        }
    };
    for visit in 0..script.visits.len() {
        add(&|script| drop(script.visits.remove(visit)));
    }
    for (visit, exchange) in places(script) {
        add(&|script| drop(script.visits[visit].exchanges.remove(exchange)));
    }
    add(&|script| script.parallel = false);
    for visit in 0..script.visits.len() {
        add(&|script| script.visits[visit].burst = false);
        add(&|script| script.visits[visit].protocol = Protocol::Http1);
    }
    for (visit, index) in places(script) {
        for change in CHANGES {
            add(&|script| change(&mut script.visits[visit].exchanges[index]));
        }
        for smaller in bodies(script.visits[visit].exchanges[index].body) {
            add(&|script| script.visits[visit].exchanges[index].body = smaller);
        }
        for answer in 0..script.visits[visit].exchanges[index].answers.len() {
            for change in ANSWER_CHANGES {
                add(&|script| {
                    change(&mut script.visits[visit].exchanges[index].answers[answer]);
                });
            }
        }
    }
    found
}

fn places(script: &Script) -> Vec<(usize, usize)> {
    let visits = script.visits.iter().enumerate();
    visits
        .flat_map(|(visit, v)| (0..v.exchanges.len()).map(move |exchange| (visit, exchange)))
        .collect()
}

const CHANGES: &[fn(&mut Exchange)] = &[
    |exchange| *exchange = Exchange::get(Upstream::Http1),
    |exchange| exchange.upstream = Upstream::Http1,
    |exchange| exchange.route = Route::Plain,
    |exchange| exchange.method = "GET",
    |exchange| exchange.method = "POST",
    |exchange| exchange.smuggle = false,
    |exchange| exchange.upgrade = Upgrade::None,
    |exchange| exchange.nominate = false,
    |exchange| exchange.pace = Pace::Together,
    |exchange| exchange.answers.truncate(1),
    |exchange| {
        if exchange.answers.len() > 1 {
            exchange.answers.remove(0);
        }
    },
];

const ANSWER_CHANGES: &[fn(&mut Answer)] = &[
    |answer| *answer = Answer::ok(),
    |answer| *answer = Answer::early(),
    |answer| answer.early = false,
    |answer| answer.interim = Interim::None,
    |answer| {
        if let AnswerKind::Response { content, .. } = &mut answer.kind {
            *content = Content::Length(20);
        }
    },
    |answer| {
        if let AnswerKind::Response { after, .. } = &mut answer.kind {
            *after = After::Keep;
        }
    },
    |answer| {
        if let AnswerKind::Response { status, .. } = &mut answer.kind {
            *status = 200;
        }
    },
];

fn bodies(body: Body) -> Vec<Body> {
    match body {
        Body::None => Vec::new(),
        Body::Length(size) => vec![Body::None, Body::Length(size / 2), Body::Length(20)],
        Body::Chunked { size, .. } => vec![
            Body::None,
            Body::Length(size),
            Body::Chunked {
                size: 20,
                chunk: 20,
                trailers: false,
                extension: false,
            },
        ],
        Body::LengthCut {
            announced,
            sent,
            end,
        } => {
            let cut = |announced, sent| Body::LengthCut {
                announced,
                sent,
                end,
            };
            vec![
                Body::None,
                Body::Length(announced),
                cut(announced, 0),
                cut(20.max(sent + 1), sent),
                cut(20, 10),
            ]
        }
        Body::ChunkedCut { end, .. } => vec![Body::None, Body::ChunkedCut { size: 20, end }],
        Body::LengthThenRequest(size) => {
            vec![Body::None, Body::Length(size), Body::LengthThenRequest(0)]
        }
        Body::Malformed(_) => vec![Body::None],
    }
}
