//! Requests that are refused because of how they are written, before any route is looked for: status, text and
//! details of each kind, exactly as Envoy's codecs have them.

use bytes::Bytes;
use http::StatusCode;

use super::local_reply::{LocalReply, Shape};
use crate::telemetry::stream_info::ResponseFlags;

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// It is not HTTP: the general case.
    Codec = 1,
    /// A host that is none (RFC 9112 section 3.2).
    InvalidAuthority,
    /// An absolute target of another scheme than `http` and `https`.
    InvalidScheme,
    /// A target of no form that RFC 9112 section 3.2 knows, or of a form that the method does not take.
    InvalidTarget,
    /// A target `https://...` on a connection without TLS.
    HttpsOnPlaintext,
    /// A target with a fragment, which is never sent (RFC 9112 section 3.2).
    Fragment,
    /// Both `content-length` and `transfer-encoding`: peers may disagree where the request ends (RFC 9112
    /// section 6.1).
    TwoLengths,
    /// A transfer coding other than `chunked` alone (RFC 9112 section 6.1 asks for 501).
    TransferCoding,
    /// A head beyond `max_request_headers_kb`.
    HeadTooLarge,
    /// More header lines than `max_headers_count`.
    TooManyHeaders,
    /// `connection` names a header that a sender must not take away.
    ConnectionHeader,
}

impl Refusal {
    const ALL: [Self; 11] = [
        Self::Codec,
        Self::InvalidAuthority,
        Self::InvalidScheme,
        Self::InvalidTarget,
        Self::HttpsOnPlaintext,
        Self::Fragment,
        Self::TwoLengths,
        Self::TransferCoding,
        Self::HeadTooLarge,
        Self::TooManyHeaders,
        Self::ConnectionHeader,
    ];

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number.checked_sub(1)?)).copied()
    }

    /// The status of the reply.
    pub fn status(self) -> StatusCode {
        match self {
            Self::HttpsOnPlaintext => StatusCode::FORBIDDEN,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::HeadTooLarge | Self::TooManyHeaders => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The body of the reply: the status in words.
    pub fn text(self) -> &'static str {
        match self {
            // Envoy refuses it later than the others, where replies have no text.
            Self::Fragment => "",
            _ => self.status().canonical_reason().unwrap_or_default(),
        }
    }

    /// `%RESPONSE_CODE_DETAILS%`.
    pub fn details(self) -> &'static str {
        match self {
            Self::Codec => "http1.codec_error",
            Self::InvalidAuthority => "http.invalid_authority",
            Self::InvalidScheme => "http1.invalid_scheme",
            Self::InvalidTarget => "http1.invalid_url",
            Self::HttpsOnPlaintext => "http1.https_url_on_plaintext_connection",
            Self::Fragment => "path_normalization_failed",
            Self::TwoLengths => "http1.content_length_and_chunked_not_allowed",
            Self::TransferCoding => "http1.invalid_transfer_encoding",
            Self::HeadTooLarge => "http1.headers_too_large",
            Self::TooManyHeaders => "http1.too_many_headers",
            Self::ConnectionHeader => "http1.connection_header_rejected",
        }
    }

    /// `%RESPONSE_FLAGS%`.
    pub fn flags(self) -> ResponseFlags {
        match self {
            Self::Fragment => ResponseFlags::default(),
            _ => ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
        }
    }

    /// The reply over HTTP/1. The connection ends with it: where the next request begins is not certain.
    pub fn reply(self) -> LocalReply {
        let body = Bytes::from_static(self.text().as_bytes());
        let reply = LocalReply::new(self.status(), body, self.details(), self.flags());
        // Never turned into gRPC: a request that is not understood is no gRPC request.
        reply.shaped(Shape::Plain).closing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_their_kinds() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::from_number(refusal as u8), Some(refusal));
        }
        assert_eq!(Refusal::from_number(0), None);
        assert_eq!(Refusal::from_number(12), None);
    }

    #[test]
    fn replies_are_envoys() {
        for (refusal, status, text) in [
            (Refusal::Codec, 400, "Bad Request"),
            (Refusal::TransferCoding, 501, "Not Implemented"),
            (
                Refusal::HeadTooLarge,
                431,
                "Request Header Fields Too Large",
            ),
            (Refusal::HttpsOnPlaintext, 403, "Forbidden"),
            (Refusal::Fragment, 400, ""),
        ] {
            let reply = refusal.reply();
            let found = (reply.status.as_u16(), &reply.body[..], reply.close);
            assert_eq!(found, (status, text.as_bytes(), true));
        }
    }
}
