//! Random sequences, each from a seed.

use fastrand::Rng;

use super::script::{
    After, Answer, AnswerKind, Body, Content, Cut, End, Exchange, Interim, Malformed, Pace,
    Protocol, Route, Script, Upgrade, Upstream, Visit,
};

/// The most exchanges of a sequence, besides the last visit.
const EXCHANGES_MAX: usize = 6;

/// The sequence of a seed: some visits, and at the end clients that have done nothing wrong.
pub(crate) fn script(seed: u64) -> Script {
    let mut rng = Rng::with_seed(seed);
    let mut visits = Vec::new();
    let mut left = rng.usize(1..=EXCHANGES_MAX);
    while left > 0 {
        let count = rng.usize(1..=left);
        left -= count;
        visits.push(Visit {
            protocol: one_of(
                &mut rng,
                &[
                    (4, Protocol::Http1),
                    (2, Protocol::Http1Only),
                    (3, Protocol::Http2),
                ],
            ),
            burst: count > 1 && rng.u8(..3) == 0,
            exchanges: (0..count).map(|_| exchange(&mut rng)).collect(),
        });
    }
    let mut script = Script {
        visits,
        parallel: rng.u8(..10) == 0,
    };
    if !script.parallel {
        script.visits.push(bystander(&mut rng));
    }
    settle(&mut script);
    script
}

/// A client whose requests are in order.
fn bystander(rng: &mut Rng) -> Visit {
    let upstream = upstream(rng);
    let post = Exchange {
        method: "POST",
        body: Body::Length(rng.usize(..400)),
        smuggle: true,
        ..Exchange::get(upstream)
    };
    Visit {
        protocol: one_of(rng, &[(2, Protocol::Http1), (1, Protocol::Http2)]),
        burst: false,
        exchanges: vec![Exchange::get(upstream), post],
    }
}

fn exchange(rng: &mut Rng) -> Exchange {
    let upgrade = one_of(
        rng,
        &[
            (40, Upgrade::None),
            (7, Upgrade::WebSocket),
            (1, Upgrade::List),
            (1, Upgrade::TwoLines),
            (1, Upgrade::Other),
        ],
    );
    let method = one_of(
        rng,
        &[
            (6, "GET"),
            (6, "POST"),
            (2, "HEAD"),
            (2, "PUT"),
            (2, "DELETE"),
            (1, "OPTIONS"),
            (1, "PATCH"),
        ],
    );
    let upgrades = upgrade != Upgrade::None;
    Exchange {
        upstream: upstream(rng),
        route: one_of(
            rng,
            &[
                (12, Route::Plain),
                (5, Route::Retry),
                (3, Route::Mirror),
                (2, Route::Timeout),
                (2, Route::RetryMirror),
                (1, Route::NoUpgrade),
                (1, Route::Direct),
                (2, Route::Admin),
            ],
        ),
        method: if upgrades { "GET" } else { method },
        body: body(rng),
        smuggle: rng.bool(),
        upgrade,
        nominate: rng.u8(..12) == 0,
        pace: one_of(
            rng,
            &[
                (10, Pace::Together),
                (3, Pace::Split),
                (3, Pace::AfterResponse),
                (2, Pace::AfterContinue),
                (1, Pace::ExpectTogether),
                (1, Pace::Abandon),
            ],
        ),
        answers: (0..rng.usize(1..=3))
            .map(|_| answer(rng, upgrades))
            .collect(),
    }
}

fn upstream(rng: &mut Rng) -> Upstream {
    one_of(rng, &[(3, Upstream::Http1), (1, Upstream::Http2)])
}

fn body(rng: &mut Rng) -> Body {
    let end = one_of(
        rng,
        &[
            (2, End::Close),
            (2, End::HalfClose),
            (1, End::Reset),
            (3, End::Wait),
        ],
    );
    let size = size(rng);
    match rng.u8(..20) {
        0..5 => Body::None,
        5..10 => Body::Length(size),
        10..13 => Body::Chunked {
            size,
            chunk: rng.usize(1..=size.max(1)).max(size / 50),
            trailers: rng.bool(),
            extension: rng.bool(),
        },
        13..16 => {
            let announced = size.max(1);
            let sent = match rng.bool() {
                true => 0,
                false => rng.usize(..announced),
            };
            Body::LengthCut {
                announced,
                sent,
                end,
            }
        }
        16 => Body::ChunkedCut { size, end },
        17 => Body::LengthThenRequest(size),
        _ => Body::Malformed(malformed(rng)),
    }
}

fn malformed(rng: &mut Rng) -> Malformed {
    one_of(
        rng,
        &[
            (1, Malformed::ChunkSize),
            (1, Malformed::ChunkLong),
            (1, Malformed::ChunkHuge),
            (1, Malformed::ChunkBareLf),
            (2, Malformed::LengthAndChunked),
            (1, Malformed::TwoLengths),
            (1, Malformed::SignedLength),
            (1, Malformed::GzipChunked),
            (1, Malformed::ChunkedTwice),
            (1, Malformed::ChunkedTwoLines),
            (1, Malformed::Identity),
            (1, Malformed::OddCoding),
        ],
    )
}

/// Mostly about the size of a head: then a head may be taken for a body and the other way round.
fn size(rng: &mut Rng) -> usize {
    match rng.u8(..12) {
        0 => 0,
        1..4 => rng.usize(1..40),
        4..9 => rng.usize(40..500),
        9 | 10 => rng.usize(500..5_000),
        _ => rng.usize(5_000..150_000),
    }
}

fn answer(rng: &mut Rng, upgrades: bool) -> Answer {
    let switch = match rng.u8(..40) {
        0..18 => upgrades.then_some("websocket"),
        18..20 => upgrades.then_some("other"),
        20 => Some("websocket"),
        _ => None,
    };
    let kind = match (switch, rng.u8(..40)) {
        (Some(protocol), _) => AnswerKind::Switch(protocol),
        (None, 0) => AnswerKind::Abort(Cut::Close),
        (None, 1) => AnswerKind::Abort(Cut::Reset),
        (None, 2) => AnswerKind::HalfHead,
        (None, 3) => AnswerKind::Silence,
        (None, _) => response(rng),
    };
    Answer {
        early: rng.u8(..5) == 0,
        interim: one_of(
            rng,
            &[
                (12, Interim::None),
                (1, Interim::Continue),
                (1, Interim::Hints),
            ],
        ),
        kind,
    }
}

fn response(rng: &mut Rng) -> AnswerKind {
    let size = size(rng).min(20_000);
    let cut = one_of(rng, &[(2, Cut::Close), (1, Cut::Reset)]);
    let trailers = rng.bool();
    let content = match rng.u8(..40) {
        0..18 => Content::Length(size),
        18..26 => Content::Chunked { size, trailers },
        26..30 => Content::UntilClose(size),
        30..33 => Content::LengthCut {
            announced: size + 1,
            sent: rng.usize(..=size),
            cut,
        },
        33..35 => Content::ChunkedCut { size, cut },
        35 => Content::ChunkedBroken { size },
        36 => Content::TwoLengths(size),
        37 => Content::LengthAndChunked(size),
        38 => Content::Forbidden(size),
        _ => Content::Bare,
    };
    AnswerKind::Response {
        status: one_of(rng, &[(20, 200), (2, 404), (4, 503), (2, 204), (2, 304)]),
        content,
        after: one_of(
            rng,
            &[
                (20, After::Keep),
                (2, After::CloseAnnounced),
                (1, After::Close),
                (2, After::Garbage),
                (2, After::SecondResponse),
            ],
        ),
    }
}

/// Makes a script one that ends whatever the proxy does: no side waits for what the other only says later.
pub(crate) fn settle(script: &mut Script) {
    for visit in &mut script.visits {
        let pipelined = visit.burst && visit.protocol != Protocol::Http2;
        let last = visit.exchanges.len().saturating_sub(1);
        for (index, exchange) in visit.exchanges.iter_mut().enumerate() {
            if visit.burst {
                exchange.pace = Pace::Together;
            }
            // What follows on the same connection would be part of it.
            if pipelined && index < last {
                exchange.upgrade = Upgrade::None;
                exchange.body = plain(exchange.body);
            }
            settle_exchange(exchange);
        }
    }
}

fn plain(body: Body) -> Body {
    match body.end() {
        Some(_) => Body::Length(20),
        None if matches!(body, Body::LengthThenRequest(_)) => Body::Length(20),
        None => body,
    }
}

fn settle_exchange(exchange: &mut Exchange) {
    if exchange.upgrade != Upgrade::None {
        exchange.method = "GET";
    }
    let end = exchange.body.end();
    if end.is_some() && exchange.pace == Pace::Abandon {
        exchange.pace = Pace::Together;
    }
    let upgrades = exchange.upgrade != Upgrade::None;
    let switches = |answer: &Answer| matches!(answer.kind, AnswerKind::Switch(_));
    // A client speaks the other protocol only when its request is complete (RFC 9110 section 7.8).
    if upgrades && exchange.pace == Pace::AfterResponse && exchange.answers.iter().any(switches) {
        exchange.pace = Pace::Split;
    }
    let gives_up = exchange.pace == Pace::Abandon
        || matches!(end, Some(End::Close | End::Reset | End::HalfClose));
    let malformed = matches!(exchange.body, Body::Malformed(_));
    let late = exchange.pace == Pace::AfterResponse;
    let waits = late || end == Some(End::Wait) && !malformed;
    for answer in &mut exchange.answers {
        if upgrades && end.is_some() && switches(answer) {
            *answer = Answer::ok();
        }
        // The response may be all that makes the client go on.
        answer.early |= waits;
        let asks = exchange.pace == Pace::AfterContinue;
        let may_wait = !waits && !asks && !malformed;
        let ends = gives_up || exchange.route == Route::Timeout;
        if answer.kind == AnswerKind::Silence && !(may_wait && ends) {
            answer.kind = AnswerKind::Abort(Cut::Close);
        }
    }
}

fn one_of<T: Copy>(rng: &mut Rng, choices: &[(u32, T)]) -> T {
    let sum: u32 = choices.iter().map(|(weight, _)| weight).sum();
    let mut drawn = rng.u32(..sum);
    for (weight, choice) in choices {
        match drawn.checked_sub(*weight) {
            Some(rest) => drawn = rest,
            None => return *choice,
        }
    }
    unreachable!("it is less than the sum")
}
