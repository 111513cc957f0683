//! The whole proxy on static bootstraps, inside this process, over real sockets.

mod edge {
    pub(crate) mod harness;
    pub(crate) mod pki;

    mod drain;
    mod tcp;
    mod tls;
}
