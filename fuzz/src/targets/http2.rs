//! HTTP/2: frames and header blocks as they come.

use proxy::http::server::hpack::Blocks;
use proxy::http::server::http2_scan::Scanner;

use crate::target::{Outcome, Target, magnitude, outcome};

pub(super) static TARGETS: &[Target] = &[
    Target::new("http2-frames", frames)
        .seeds(frame_seeds)
        .dictionary(&[
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\0\0\x01\x01\x05\0\0\0\x01\x02",
            "\0\0\0\x09\x04\0\0\0\x01",
            "\x02\x04",
            "\x06",
            "\x04\x05/",
        ]),
    Target::new("hpack", hpack)
        .seeds(|| vec![BLOCK.to_vec(), b"\x3f\xe1\x1f\x82".to_vec()])
        .dictionary(&["\x06", "\x07:scheme", "\x40", "\x20", "\x7f", "\u{0}"]),
];

/// `GET / http://a`, and a header that is inserted.
const BLOCK: &[u8] = b"\x82\x84\x86\x41\x01a\x40\x01x\x01y";

fn frame_seeds() -> Vec<Vec<u8>> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let head = |kind: u8, flags: u8, length: usize| {
        let length = u8::try_from(length).expect("seeds are short");
        [0, 0, length, kind, flags, 0, 0, 0, 1]
    };
    let headers = [&head(1, 5, BLOCK.len())[..], BLOCK].concat();
    let (first, second) = BLOCK.split_at(4);
    let continued = [&head(1, 1, 4)[..], first, &head(9, 4, second.len()), second].concat();
    let padded = [
        &head(1, 0x2d, BLOCK.len() + 8)[..],
        b"\x02\0\0\0\0\x10",
        BLOCK,
        b"\0\0",
    ]
    .concat();
    let trailers = [&headers[..], &head(0, 0, 2), b"hi", &headers].concat();
    [headers, continued, padded, trailers]
        .into_iter()
        .map(|frames| [&preface[..], &frames].concat())
        .collect()
}

/// The same is found, and at the same byte, however the bytes are cut.
fn frames(input: &[u8]) -> Outcome {
    let mut scanner = Scanner::new(20);
    let at_once = scanner.scan(input).map_err(|found| found.at);
    let header_frames = scanner.take_header_frames();
    let mut scanner = Scanner::new(20);
    let mut byte_by_byte = Ok(());
    for (at, byte) in input.iter().enumerate() {
        if scanner.scan(std::slice::from_ref(byte)).is_err() {
            byte_by_byte = Err(at);
            break;
        }
    }
    assert_eq!(at_once.is_ok(), byte_by_byte.is_ok());
    assert_eq!(header_frames, scanner.take_header_frames());
    outcome((at_once.is_ok(), header_frames.min(8)))
}

fn hpack(input: &[u8]) -> Outcome {
    let mut blocks = Blocks::default();
    let mut rest = input;
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let Ok((used, field)) = blocks.step(rest) else {
            seen.push((u8::MAX, false));
            break;
        };
        assert!(used > 0 && used <= rest.len());
        seen.extend(field.map(|field| (field.name as u8, field.empty)));
        rest = &rest[used..];
    }
    outcome((
        seen.iter().take(6).collect::<Vec<_>>(),
        magnitude(seen.len()),
    ))
}
