//! One HTTP request and its answer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version, header};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};

use super::{
    Answer, ClientArgs, Failure,
    http_connection::{Body, Connection, Target},
    name_and_value,
};

const CHUNK: Bytes = Bytes::from_static(&[b'u'; 64 * 1024]);
/// How much of a body is kept as text; the rest is counted.
const BODY_BYTES_KEPT: usize = 8 * 1024 * 1024;

/// A worker's request and its connection.
pub(super) struct HttpExchange {
    target: Target,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
    trailers: Option<HeaderMap>,
    body: Option<Bytes>,
    upload: Option<u64>,
    version: Version,
    keepalive: bool,
    connection: Option<Connection>,
}

impl HttpExchange {
    pub(super) fn new(args: &ClientArgs, url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url
            .parse()
            .with_context(|| format!("not a URL: \"{url}\""))?;
        let mut headers = HeaderMap::new();
        for field in &args.headers {
            let (name, value) = name_and_value(field)?;
            headers.append(name, value);
        }
        let trailer = args.trailer.as_deref().map(name_and_value).transpose()?;
        Ok(Self {
            target: Target::new(&uri, args, args.http2)?,
            method: args.method.parse().context("not a method")?,
            headers,
            trailers: trailer.map(|field| HeaderMap::from_iter([field])),
            body: args.body.clone().map(Bytes::from),
            upload: args.upload,
            version: match (args.http1_0, args.http2) {
                (true, _) => Version::HTTP_10,
                (_, true) => Version::HTTP_2,
                _ => Version::HTTP_11,
            },
            keepalive: !args.no_keepalive,
            connection: None,
            uri,
        })
    }

    pub(super) async fn once(&mut self) -> Result<Answer, Failure> {
        let mut connection = match self.kept_connection().await {
            Some(kept) => kept,
            None => self.target.connect().await?,
        };
        let informational = Arc::new(Mutex::new(Vec::new()));
        let request = self.request(informational.clone())?;
        let response = connection.send(request).await?;
        let mut answer = read(response).await?;
        let seen = informational.lock().expect("no holder of this lock panics");
        answer.informational.clone_from(&seen);
        self.connection = Some(connection);
        Ok(answer)
    }

    async fn kept_connection(&mut self) -> Option<Connection> {
        let mut kept = self.connection.take().filter(|_| self.keepalive)?;
        kept.is_usable().await.then_some(kept)
    }

    fn request(&self, informational: Arc<Mutex<Vec<u16>>>) -> Result<Request<Body>, Failure> {
        let is_http2 = self.version == Version::HTTP_2;
        let uri = match self.uri.path_and_query() {
            Some(path) if !is_http2 => Uri::from(path.clone()),
            _ => self.uri.clone(),
        };
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(uri)
            .version(self.version)
            .body(self.body())
            .map_err(|error| Failure::at("request", &error))?;
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        if let (false, false, Some(authority)) = (
            is_http2,
            headers.contains_key(header::HOST),
            self.uri.authority(),
        ) {
            let host = authority.as_str().parse();
            headers.insert(header::HOST, host.expect("an authority is a header value"));
        }
        if let Some(name) = self.trailers.iter().flat_map(HeaderMap::keys).next() {
            headers.insert(header::TRAILER, name.clone().into());
        }
        hyper::ext::on_informational(&mut request, move |answer| {
            let mut seen = informational.lock().expect("no holder of this lock panics");
            seen.push(answer.status().as_u16());
        });
        Ok(request)
    }

    fn body(&self) -> Body {
        if let Some(bytes) = self.upload {
            let length = CHUNK.len() as u64;
            let chunks = (0..bytes.div_ceil(length)).map(move |index| {
                let size = length.min(bytes - index * length) as usize;
                Ok(Frame::data(CHUNK.slice(..size)))
            });
            return StreamBody::new(tokio_stream::iter(chunks)).boxed_unsync();
        }
        match (&self.body, &self.trailers) {
            (body, Some(trailers)) => {
                let frames = [
                    Ok(Frame::data(body.clone().unwrap_or_default())),
                    Ok(Frame::trailers(trailers.clone())),
                ];
                StreamBody::new(tokio_stream::iter(frames)).boxed_unsync()
            }
            (Some(body), None) => Full::new(body.clone()).boxed_unsync(),
            (None, None) => Empty::new().boxed_unsync(),
        }
    }
}

/// Reads an answer to its end; a large body passes through without being kept.
pub(super) async fn read(response: Response<Incoming>) -> Result<Answer, Failure> {
    let (parts, mut body) = response.into_parts();
    let mut answer = Answer {
        status: parts.status.as_str().to_owned(),
        protocol: format!("{:?}", parts.version),
        headers: fields(&parts.headers),
        ..Answer::default()
    };
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame
            .map_err(|error| Failure::at("body", &error))?
            .into_data()
        {
            Ok(data) => {
                answer.body_bytes += data.len() as u64;
                let room = BODY_BYTES_KEPT - kept.len();
                kept.extend_from_slice(&data[..data.len().min(room)]);
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    answer.trailers = fields(&trailers);
                }
            }
        }
    }
    answer.body = String::from_utf8_lossy(&kept).into_owned();
    Ok(answer)
}

/// Names and values, several values of one name joined by commas.
pub(super) fn fields(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let values = fields.entry(name.to_string()).or_default();
        if !values.is_empty() {
            values.push(',');
        }
        values.push_str(&String::from_utf8_lossy(value.as_bytes()));
    }
    fields
}
