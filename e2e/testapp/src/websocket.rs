//! WebSocket (RFC 6455), as much as an echo needs: the handshake's key and frames of one fragment.

use std::io;

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// RFC 6455, section 1.3: what is appended to the key before hashing.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const PAYLOAD_BYTES_MAX: u64 = 1024 * 1024;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
    /// The end.
    Close,
    /// A request for a pong.
    Ping,
    /// The answer to a ping.
    Pong,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub opcode: Opcode,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

/// The `sec-websocket-accept` value for a `sec-websocket-key`.
pub fn accept_key(key: &str) -> String {
    // SHA-1 is what the protocol prescribes; it protects nothing here.
    let hash = digest::digest(
        &digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{GUID}").as_bytes(),
    );
    STANDARD.encode(hash.as_ref())
}

/// Reads one frame.
pub async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let [first, second] = [from.read_u8().await?, from.read_u8().await?];
    if first & FINAL == 0 {
        return Err(invalid("fragmented messages are not supported"));
    }
    let opcode = Opcode::from_bits(first & 0x0f).ok_or_else(|| invalid("unknown opcode"))?;
    let length = match second & !MASKED {
        126 => u64::from(from.read_u16().await?),
        127 => from.read_u64().await?,
        short => u64::from(short),
    };
    if length > PAYLOAD_BYTES_MAX {
        return Err(invalid("the payload is too large"));
    }
    let mut mask = [0; 4];
    if second & MASKED != 0 {
        from.read_exact(&mut mask).await?;
    }
    let mut payload = vec![0; usize::try_from(length).expect("bounded above")];
    from.read_exact(&mut payload).await?;
    apply_mask(&mut payload, mask);
    Ok(Frame { opcode, payload })
}

/// Writes one frame; clients must mask theirs.
pub async fn write_frame(
    to: &mut (impl AsyncWrite + Unpin),
    frame: &Frame,
    mask: Option<[u8; 4]>,
) -> io::Result<()> {
    let masked = if mask.is_some() { MASKED } else { 0 };
    let mut bytes = vec![FINAL | frame.opcode.bits()];
    match frame.payload.len() {
        length @ 0..=125 => bytes.push(masked | length as u8),
        length @ 126..=0xffff => {
            bytes.push(masked | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(masked | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.iter().flatten());
    let payload_at = bytes.len();
    bytes.extend(&frame.payload);
    apply_mask(&mut bytes[payload_at..], mask.unwrap_or_default());
    to.write_all(&bytes).await?;
    to.flush().await
}

/// Sends every message back until the peer closes.
pub async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let mut frame = read_frame(&mut stream).await?;
        if frame.opcode == Opcode::Ping {
            frame.opcode = Opcode::Pong;
        }
        write_frame(&mut stream, &frame, None).await?;
        if frame.opcode == Opcode::Close {
            return Ok(());
        }
    }
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }
}

fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc_is_accepted_as_the_rfc_says() {
        assert_eq!(
            accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[tokio::test]
    async fn frames_of_every_length_form_come_back_whole() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let frame = Frame {
                opcode: Opcode::Binary,
                payload: vec![7; length],
            };
            let mut wire = Vec::new();
            write_frame(&mut wire, &frame, Some([1, 2, 3, 4]))
                .await
                .unwrap();
            assert_eq!(read_frame(&mut &wire[..]).await.unwrap(), frame);
        }
    }

    #[tokio::test]
    async fn a_length_beyond_the_bound_is_refused() {
        let wire = [FINAL | 2, 127, 0, 0, 1, 0, 0, 0, 0, 0];
        assert!(read_frame(&mut &wire[..]).await.is_err());
    }
}
