//! How much of the mesh a caller may see.
//!
//! The listener decides who is calling and leaves a [`Scope`] in the request's extensions. Without one
//! nothing is shown: a page that is reached past the listener's check is a mistake in the assembly.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// What a caller may see; put into the request's extensions by the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: the caller is on the machine, or of the control plane's namespace.
    Mesh,
    /// The proxies of one namespace.
    Namespace(Arc<str>),
}

impl Scope {
    /// Whether proxies of `namespace` may be shown.
    pub fn admits(&self, namespace: &str) -> bool {
        match self {
            Self::Mesh => true,
            Self::Namespace(own) => **own == *namespace,
        }
    }
}

/// Middleware of pages that show or change the whole mesh.
pub async fn whole_mesh(request: Request, next: Next) -> Response {
    let refused = match request.extensions().get::<Scope>() {
        Some(Scope::Mesh) => return next.run(request).await,
        Some(Scope::Namespace(namespace)) => format!(
            "an identity of namespace \"{namespace}\" sees its own proxies alone, in /debug/syncz and \
             /debug/config_dump: for this page use a port-forward, or an identity of the control \
             plane's namespace\n"
        ),
        None => "nobody is known to ask\n".to_owned(),
    };
    (StatusCode::FORBIDDEN, refused).into_response()
}

/// Middleware of pages that show proxies and look at the scope themselves.
pub(super) async fn some_scope(request: Request, next: Next) -> Response {
    match request.extensions().get::<Scope>() {
        Some(_) => next.run(request).await,
        None => (StatusCode::FORBIDDEN, "nobody is known to ask\n").into_response(),
    }
}
