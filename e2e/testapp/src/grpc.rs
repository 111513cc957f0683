//! The gRPC service `weft.test.v1.Echo`: its messages and its methods.
//!
//! Written by hand: four methods over two messages need no generator.

use prost::Message;

/// What to answer.
#[derive(Clone, PartialEq, Message)]
pub struct EchoRequest {
    /// Comes back in the reply.
    #[prost(string, tag = "1")]
    pub message: String,
    /// Server streaming: how many replies to send.
    #[prost(uint32, tag = "2")]
    pub replies: u32,
    /// A gRPC status to end with after the replies; 0 is OK.
    #[prost(int32, tag = "3")]
    pub status: i32,
    /// How long to wait before answering.
    #[prost(uint32, tag = "4")]
    pub delay_ms: u32,
}

/// The answer.
#[derive(Clone, PartialEq, Message)]
pub struct EchoReply {
    /// The request's message; for client streaming all of them joined by commas.
    #[prost(string, tag = "1")]
    pub message: String,
    /// The pod that answers.
    #[prost(string, tag = "2")]
    pub pod: String,
    /// Its version.
    #[prost(string, tag = "3")]
    pub version: String,
    /// The position of this reply in its stream, from 0.
    #[prost(uint32, tag = "4")]
    pub sequence: u32,
}

/// The path prefix of the service.
pub const SERVICE: &str = "/weft.test.v1.Echo/";

/// The methods, named by which side streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Method {
    /// One request, one reply.
    Unary,
    /// One request, many replies.
    ServerStream,
    /// Many requests, one reply.
    ClientStream,
    /// Many requests, each with a reply.
    Bidi,
}

impl Method {
    /// The method's path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Unary => "/weft.test.v1.Echo/Unary",
            Self::ServerStream => "/weft.test.v1.Echo/ServerStream",
            Self::ClientStream => "/weft.test.v1.Echo/ClientStream",
            Self::Bidi => "/weft.test.v1.Echo/Bidi",
        }
    }

    /// The method at `path`.
    pub fn from_path(path: &str) -> Option<Self> {
        [
            Self::Unary,
            Self::ServerStream,
            Self::ClientStream,
            Self::Bidi,
        ]
        .into_iter()
        .find(|method| method.path() == path)
    }
}
