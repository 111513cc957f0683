//! One request.

use http::{
    HeaderValue, Request, Response, Uri, Version, header,
    uri::{Authority, Scheme},
};
use hyper::body::Incoming;

use super::upstream::{Sender, Upstream};

/// Sends a request on and returns its response; bodies pass as they come.
pub(super) async fn forward(
    mut request: Request<Incoming>,
    upstream: &Upstream,
) -> anyhow::Result<Response<Incoming>> {
    match upstream.take().await? {
        Sender::Http1(mut sender) => {
            if request.version() == Version::HTTP_2 {
                to_http1(&mut request)?;
            }
            let response = sender.send_request(request).await?;
            upstream.put(sender);
            Ok(response)
        }
        Sender::Http2(mut sender) => {
            if request.version() != Version::HTTP_2 {
                to_http2(&mut request)?;
            }
            let mut response = sender.send_request(request).await?;
            *response.version_mut() = Version::HTTP_11;
            Ok(response)
        }
    }
}

fn to_http1(request: &mut Request<Incoming>) -> anyhow::Result<()> {
    let uri = std::mem::take(request.uri_mut()).into_parts();
    if let Some(authority) = uri.authority {
        let host = HeaderValue::from_str(authority.as_str())?;
        request.headers_mut().insert(header::HOST, host);
    }
    if let Some(path) = uri.path_and_query {
        *request.uri_mut() = path.into();
    }
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

fn to_http2(request: &mut Request<Incoming>) -> anyhow::Result<()> {
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    if let Some(host) = request.headers_mut().remove(header::HOST) {
        uri.authority = Some(Authority::try_from(host.as_bytes())?);
    }
    uri.scheme = Some(Scheme::HTTP);
    request.headers_mut().remove(header::CONNECTION);
    *request.uri_mut() = Uri::from_parts(uri)?;
    *request.version_mut() = Version::HTTP_2;
    Ok(())
}
