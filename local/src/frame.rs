//! Frames of an `exec` stream: one byte for the channel, four for the length, then the bytes.

use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest frame that is accepted; writers send what one read returned.
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// What flows between a program and its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// To the program's standard input; empty closes it.
    Stdin(Vec<u8>),
    /// From its standard output.
    Stdout(Vec<u8>),
    /// From its standard error.
    Stderr(Vec<u8>),
    /// It ended with this code.
    Exit(i32),
}

impl Frame {
    /// Reads one frame; `None` at the end of the stream.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let channel = match from.read_u8().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            channel => channel?,
        };
        let length = from.read_u32().await?;
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        from.read_exact(&mut bytes).await?;
        match channel {
            0 => Ok(Some(Self::Stdin(bytes))),
            1 => Ok(Some(Self::Stdout(bytes))),
            2 => Ok(Some(Self::Stderr(bytes))),
            3 => {
                let code = bytes
                    .try_into()
                    .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "exit frame"))?;
                Ok(Some(Self::Exit(i32::from_be_bytes(code))))
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "unknown frame")),
        }
    }

    /// Writes one frame.
    pub async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let code;
        let (channel, bytes): (u8, &[u8]) = match self {
            Self::Stdin(bytes) => (0, bytes),
            Self::Stdout(bytes) => (1, bytes),
            Self::Stderr(bytes) => (2, bytes),
            Self::Exit(status) => {
                code = status.to_be_bytes();
                (3, &code)
            }
        };
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        to.write_u8(channel).await?;
        to.write_u32(length).await?;
        to.write_all(bytes).await?;
        to.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_survive_the_wire() {
        let frames = [
            Frame::Stdin(b"a".to_vec()),
            Frame::Stdin(vec![]),
            Frame::Stdout(vec![0; 9000]),
            Frame::Stderr(b"e".to_vec()),
            Frame::Exit(-1),
        ];
        let mut wire = Vec::new();
        for frame in &frames {
            frame.write(&mut wire).await.unwrap();
        }
        let mut reader = wire.as_slice();
        let mut found = Vec::new();
        while let Some(frame) = Frame::read(&mut reader).await.unwrap() {
            found.push(frame);
        }
        assert_eq!(found, frames);
    }

    #[tokio::test]
    async fn a_length_is_not_believed() {
        let mut wire: &[u8] = &[1, 0xff, 0xff, 0xff, 0xff];
        assert!(Frame::read(&mut wire).await.is_err());
    }
}
