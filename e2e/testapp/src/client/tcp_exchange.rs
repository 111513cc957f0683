//! One TCP connection: send lines and read as many back, or push bytes through and count what returns.

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{Answer, ClientArgs, Failure, http_connection};

static CHUNK: [u8; 64 * 1024] = [b'u'; 64 * 1024];

/// What to do on each connection.
pub(super) struct TcpExchange {
    address: String,
    line: String,
    lines: u32,
    upload: Option<u64>,
    server_first: bool,
}

impl TcpExchange {
    pub(super) fn new(args: &ClientArgs, address: &str) -> Self {
        Self {
            address: args.connect.clone().unwrap_or_else(|| address.to_owned()),
            line: format!("{}\n", args.body.as_deref().unwrap_or("hello")),
            lines: args.messages,
            upload: args.upload,
            server_first: args.server_first,
        }
    }

    pub(super) async fn once(&self) -> Result<Answer, Failure> {
        let stream = http_connection::tcp(&self.address).await?;
        let mut stream = BufReader::new(stream);
        let exchanged = match self.upload {
            Some(bytes) => push(stream.into_inner(), bytes).await,
            None => self.talk(&mut stream).await,
        };
        exchanged.map_err(|error| Failure::at("tcp", &error))
    }

    async fn talk(&self, stream: &mut BufReader<TcpStream>) -> std::io::Result<Answer> {
        let mut answer = Answer {
            status: "ok".to_owned(),
            protocol: "TCP".to_owned(),
            ..Answer::default()
        };
        if self.server_first {
            read_line(stream, &mut answer).await?;
        }
        for _ in 0..self.lines {
            stream.write_all(self.line.as_bytes()).await?;
            read_line(stream, &mut answer).await?;
        }
        Ok(answer)
    }
}

async fn read_line(stream: &mut BufReader<TcpStream>, answer: &mut Answer) -> std::io::Result<()> {
    let bytes = stream.read_line(&mut answer.body).await?;
    if bytes == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    answer.body_bytes += bytes as u64;
    answer.messages += 1;
    Ok(())
}

/// Sends and receives at the same time, so that neither side's buffers decide how much can be sent.
async fn push(mut stream: TcpStream, bytes: u64) -> std::io::Result<Answer> {
    let (mut read, mut write) = stream.split();
    let send = async {
        let mut left = bytes;
        while left > 0 {
            let size = left.min(CHUNK.len() as u64);
            write.write_all(&CHUNK[..size as usize]).await?;
            left -= size;
        }
        write.shutdown().await
    };
    let receive = async {
        let (mut buffer, mut received) = (vec![0; CHUNK.len()], 0);
        loop {
            match read.read(&mut buffer).await? {
                0 => return Ok(received),
                count => received += count as u64,
            }
        }
    };
    let ((), body_bytes) = tokio::try_join!(send, receive)?;
    Ok(Answer {
        status: "ok".to_owned(),
        protocol: "TCP".to_owned(),
        body_bytes,
        ..Answer::default()
    })
}
