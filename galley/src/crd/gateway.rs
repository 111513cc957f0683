//! `Gateway`, networking.istio.io.

use std::collections::BTreeMap;

use super::{Port, wire};
use crate::decode::jsonpb::wire_enum;

wire! {
    Gateway {
        /// What the gateway listens for
        servers: Vec<Server>,
        /// Labels of the pods that are this gateway
        selector: BTreeMap<String, String>,
    }

    #[schemars(extend("required" = ["port", "hosts"]))]
    Server {
        /// Where it listens
        port: Option<Port>,
        /// The address it listens on, all by default
        bind: String,
        /// The hosts it serves, as HOST or NAMESPACE/HOST
        hosts: Vec<String>,
        /// How TLS is ended
        tls: Option<ServerTls>,
        default_endpoint: String,
        /// A name for statistics
        name: String,
    }

    ServerTls {
        /// Answer plain HTTP with a redirect to HTTPS
        https_redirect: bool,
        /// Whether TLS is ended here, and whether clients need certificates
        mode: Option<ServerTlsMode>,
        /// File with the certificate
        server_certificate: String,
        /// File with its key
        private_key: String,
        /// File with the roots of clients
        ca_certificates: String,
        ca_crl: String,
        /// Secret with certificate, key and roots
        credential_name: String,
        credential_names: Vec<String>,
        tls_certificates: Vec<TlsCertificate>,
        ca_cert_credential_name: String,
        /// Names of which a client must have one
        subject_alt_names: Vec<String>,
        verify_certificate_spki: Vec<String>,
        verify_certificate_hash: Vec<String>,
        /// Oldest version of TLS
        min_protocol_version: TlsProtocol,
        /// Newest version of TLS
        max_protocol_version: TlsProtocol,
        /// Ciphers for TLS 1.2 and before
        cipher_suites: Vec<String>,
        insecure_skip_verify: Option<bool>,
    }

    TlsCertificate {
        server_certificate: String,
        private_key: String,
        ca_certificates: String,
    }
}

wire_enum!(
    ServerTlsMode {
        #[default]
        Passthrough = "PASSTHROUGH" / 0,
        Simple = "SIMPLE" / 1,
        Mutual = "MUTUAL" / 2,
        AutoPassthrough = "AUTO_PASSTHROUGH" / 3,
        IstioMutual = "ISTIO_MUTUAL" / 4,
        OptionalMutual = "OPTIONAL_MUTUAL" / 5,
    }
);

wire_enum!(
    TlsProtocol {
        #[default]
        Auto = "TLS_AUTO" / 0,
        V1_0 = "TLSV1_0" / 1,
        V1_1 = "TLSV1_1" / 2,
        V1_2 = "TLSV1_2" / 3,
        V1_3 = "TLSV1_3" / 4,
    }
);
