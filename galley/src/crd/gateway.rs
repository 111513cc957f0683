//! `Gateway`, networking.istio.io.

use std::collections::BTreeMap;

use super::{Port, wire};
use crate::decode::jsonpb::wire_enum;

wire! {
    Gateway {
        servers: Vec<Server>,
        selector: BTreeMap<String, String>,
    }

    #[schemars(extend("required" = ["port", "hosts"]))]
    Server {
        port: Option<Port>,
        bind: String,
        hosts: Vec<String>,
        tls: Option<ServerTls>,
        default_endpoint: String,
        name: String,
    }

    ServerTls {
        https_redirect: bool,
        mode: Option<ServerTlsMode>,
        server_certificate: String,
        private_key: String,
        ca_certificates: String,
        ca_crl: String,
        credential_name: String,
        credential_names: Vec<String>,
        tls_certificates: Vec<TlsCertificate>,
        ca_cert_credential_name: String,
        subject_alt_names: Vec<String>,
        verify_certificate_spki: Vec<String>,
        verify_certificate_hash: Vec<String>,
        min_protocol_version: TlsProtocol,
        max_protocol_version: TlsProtocol,
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
