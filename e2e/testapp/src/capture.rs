//! `capture`: looks at the TCP segments that enter and leave this network namespace, and counts.
//!
//! Needs the right to open packet sockets. Frames on the loopback are left out: there application and proxy
//! speak in clear text by design.

use std::{
    io::{ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};

/// `ETH_P_ALL`, in network byte order as the socket call wants it.
const ALL_PROTOCOLS: i32 = (3_u16.to_be()) as i32;
const ETHERNET_BYTES: usize = 14;
const TCP: u8 = 6;
const READ_TIMEOUT: Duration = Duration::from_millis(100);

/// How long to look, and for what.
#[derive(Debug, Clone, Args)]
pub struct CaptureArgs {
    /// Seconds to look.
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// The text to look for.
    #[arg(long)]
    pub pattern: String,
}

/// What was seen.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capture {
    /// TCP segments with payload.
    pub segments: u64,
    /// Segments that contain the text.
    pub matches: u64,
    /// TLS ServerHello messages.
    pub tls_handshakes: u64,
    /// Those that choose TLS 1.3.
    pub tls13_handshakes: u64,
}

/// Looks, and prints one JSON object.
pub fn run(args: &CaptureArgs) -> anyhow::Result<()> {
    let mut socket = Socket::new(
        Domain::PACKET,
        Type::RAW,
        Some(Protocol::from(ALL_PROTOCOLS)),
    )
    .context("cannot open a packet socket")?;
    socket.set_read_timeout(Some(READ_TIMEOUT))?;
    let deadline = Instant::now() + Duration::from_secs_f64(args.seconds);
    let (mut capture, mut frame) = (Capture::default(), vec![0; 128 * 1024]);
    while Instant::now() < deadline {
        match socket.read(&mut frame) {
            Ok(length) => capture.look(&frame[..length], args.pattern.as_bytes()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error).context("cannot read packets"),
        }
    }
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&capture)?)?;
    Ok(())
}

impl Capture {
    fn look(&mut self, frame: &[u8], pattern: &[u8]) {
        let Some(payload) = tcp_payload(frame).filter(|payload| !payload.is_empty()) else {
            return;
        };
        self.segments += 1;
        if payload.windows(pattern.len()).any(|part| part == pattern) {
            self.matches += 1;
        }
        // A record of type handshake that holds a ServerHello.
        if let [0x16, 3, _, _, _, 2, ..] = payload {
            self.tls_handshakes += 1;
            // The extension supported_versions (43) with the version that was chosen.
            let tls13 = [0, 43, 0, 2, 3, 4];
            if payload.windows(tls13.len()).any(|part| part == tls13) {
                self.tls13_handshakes += 1;
            }
        }
    }
}

/// The TCP payload of an Ethernet frame that did not come over the loopback.
fn tcp_payload(frame: &[u8]) -> Option<&[u8]> {
    let addresses = frame.get(..12)?;
    if addresses.iter().all(|byte| *byte == 0) {
        return None;
    }
    let packet = frame.get(ETHERNET_BYTES..)?;
    let segment = match frame.get(12..ETHERNET_BYTES)? {
        [0x08, 0x00] => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
            // Segments that the kernel has merged are longer than their header can say.
            let end = if total == 0 {
                packet.len()
            } else {
                total.min(packet.len())
            };
            (*packet.get(9)? == TCP).then(|| packet.get(header..end))??
        }
        [0x86, 0xdd] => (*packet.get(6)? == TCP).then(|| packet.get(40..))??,
        _ => return None,
    };
    let header = usize::from(segment.get(12)? >> 4) * 4;
    segment.get(header..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend([8, 0]);
        let total = u16::try_from(40 + payload.len()).unwrap().to_be_bytes();
        frame.extend([0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, TCP]);
        frame.extend([0; 10]);
        let mut segment = [0; 20];
        segment[12] = 0x50;
        frame.extend(segment);
        frame.extend(payload);
        frame
    }

    #[test]
    fn plaintext_and_handshakes_are_told_apart() {
        let mut capture = Capture::default();
        let hello = |version: u8| {
            let mut hello = vec![0x16, 3, 3, 0, 90, 2, 0, 0, 86];
            hello.extend([0, 43, 0, 2, 3, version]);
            hello
        };
        for payload in [&b"GET / secret"[..], &hello(4), &hello(3), b""] {
            capture.look(&frame(payload), b"secret");
        }
        let mut on_loopback = frame(b"secret");
        on_loopback[..12].fill(0);
        capture.look(&on_loopback, b"secret");
        let expected = Capture {
            segments: 3,
            matches: 1,
            tls_handshakes: 2,
            tls13_handshakes: 1,
        };
        assert_eq!(capture, expected);
    }

    #[test]
    fn short_frames_are_left_out() {
        let whole = frame(b"x");
        for length in 0..whole.len() - 1 {
            let mut capture = Capture::default();
            capture.look(&whole[..length], b"x");
            assert_eq!(capture.matches, 0);
        }
    }
}
