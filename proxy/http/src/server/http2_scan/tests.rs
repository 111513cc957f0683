//! Header blocks in every form, whole and byte by byte.

use super::*;

const ENTRIES_MAX: usize = 3;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

/// A literal without indexing.
fn literal(name: &str, value: &str) -> Vec<u8> {
    written(0, name, value)
}

fn written(form: u8, name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![form];
    for text in [name, value] {
        bytes.push(u8::try_from(text.len()).unwrap());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// True if the frames after the preface are refused, whole and byte by byte.
fn is_refused(frames: &[Vec<u8>]) -> bool {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frames.concat());
    let whole = Scanner::new(ENTRIES_MAX).scan(&bytes).is_err();
    let mut scanner = Scanner::new(ENTRIES_MAX);
    let single = bytes.iter().any(|byte| scanner.scan(&[*byte]).is_err());
    assert_eq!(whole, single);
    whole
}

/// A request whose head has the block `head` and whose trailers have the block `trailers`.
fn request(head: &[u8], trailers: &[u8]) -> bool {
    is_refused(&[
        frame(4, 0, 0, &[]),
        frame(HEADERS, 4, 1, head),
        frame(0, 0, 1, b"body"),
        frame(HEADERS, 5, 1, trailers),
    ])
}

/// `:method: GET`, `:scheme: http`, `:path: /` of the static table.
const HEAD: &[u8] = &[0x82, 0x86, 0x84];

#[test]
fn headers_in_trailers_pass() {
    assert!(!request(HEAD, &literal("x-t", ":path")));
    assert!(!request(HEAD, &[0x90]));
    assert!(!request(HEAD, &[]));
    assert!(!request(&written(0x40, "x-t", "1"), &[0xbe]));
}

#[test]
fn pseudo_headers_in_trailers_do_not() {
    for trailers in [
        vec![0x84],
        literal(":path", "/x"),
        literal(":foo", "/x"),
        vec![0x04, 1, b'/'],
        vec![0x44, 1, b'/'],
        [literal("x-t", "1"), vec![0x81]].concat(),
        // A name in Huffman's code: `:path`.
        vec![0x00, 0x84, 0xb9, 0x58, 0xd3, 0x3f, 1, b'/'],
        // After a change of the table's size.
        vec![0x20, 0x84],
    ] {
        assert!(request(HEAD, &trailers), "{trailers:x?}");
    }
}

#[test]
fn entries_of_the_dynamic_table_keep_their_kind() {
    let head = [vec![0x44, 2, b'/', b'x'], written(0x40, "x-a", "1")].concat();
    assert!(!request(&head, &[0xbe]));
    assert!(request(&head, &[0xbf]));
    // A value for a name of the table.
    assert!(!request(&head, &[0x0f, 0x2f, 1, b'2']));
    assert!(request(&head, &[0x0f, 0x30, 1, b'2']));
    // A name of the table for a further entry.
    let again = [&head[..], &[0x7e, 1, b'2'], &[0x7f, 0x01, 2, b'/', b'y']].concat();
    assert!(!request(&again, &[0xbf]));
    assert!(request(&again, &[0xbe]));
    // An entry that does not fit empties the table.
    let mut large = [&head[..], &[0x3f, 0x31], &[0x40, 1, b'a', 60]].concat();
    large.extend_from_slice(&[b'b'; 60]);
    large.extend_from_slice(&written(0x40, "x-b", "1"));
    assert!(!request(&large, &[0xbe]));
}

#[test]
fn an_entry_that_may_not_fit_makes_the_table_uncertain() {
    // 40 bytes of room; a value of 20 bytes in Huffman's code may have up to 32.
    let mut head = vec![0x3f, 0x09, 0x40, 1, b'a', 0x80 | 8];
    head.extend_from_slice(&[0x1f; 8]);
    assert!(request(&head, &[0xbe]));
    assert!(!request(&head, &literal("x-t", "1")));
}

#[test]
fn a_scheme_is_not_empty() {
    for (head, expected) in [
        (literal(":scheme", ""), true),
        (vec![0x06, 0], true),
        (vec![0x07, 0x80], true),
        (vec![0x00, 0x85, 0xb8, 0x82, 0x4e, 0x5a, 0x4b, 0], true),
        (literal(":scheme", "http"), false),
        (literal("x-a", ""), false),
    ] {
        assert_eq!(
            is_refused(&[frame(HEADERS, 5, 1, &head)]),
            expected,
            "{head:x?}"
        );
    }
}

#[test]
fn padding_priority_and_continuation() {
    let padded = [&[2][..], &[0, 0, 0, 0, 7], HEAD, &[0, 0]].concat();
    let padded = frame(HEADERS, 0x4 | PADDED | PRIORITY, 1, &padded);
    assert!(!is_refused(std::slice::from_ref(&padded)));
    let trailers = literal(":path", "/x");
    assert!(is_refused(&[
        padded.clone(),
        frame(HEADERS, 1, 1, &trailers[..3]),
        frame(CONTINUATION, 4, 1, &trailers[3..]),
    ]));
    let too_much = frame(HEADERS, 0x4 | PADDED, 3, &[200, 0x84]);
    assert!(!is_refused(&[padded, too_much]));
}

#[test]
fn trailers_are_bounded() {
    assert!(!request(HEAD, &[0x90; 3]));
    assert!(request(HEAD, &[0x90; 4]));
    assert!(!is_refused(&[frame(HEADERS, 5, 1, &[0x90; 4])]));
}

#[test]
fn header_frames_are_counted() {
    let mut scanner = Scanner::new(ENTRIES_MAX);
    scanner.scan(&[0; PREFACE_BYTES]).unwrap();
    for stream in [1, 3, 5] {
        scanner.scan(&frame(HEADERS, 5, stream, HEAD)).unwrap();
        scanner.scan(&frame(0, 0, stream, b"x")).unwrap();
    }
    assert_eq!(scanner.take_header_frames(), 3);
    assert_eq!(scanner.take_header_frames(), 0);
}
