//! Subject alternative names of a certificate.

use std::net::IpAddr;

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::X509Certificate;

use crate::config::tls::san::SanList;

/// The names in a certificate.
pub(super) fn names<'a>(certificate: &X509Certificate<'a>) -> SanList<'a> {
    let mut list = SanList::default();
    for extension in certificate.extensions() {
        // The names borrow from the certificate's bytes, not from the parsed value.
        if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
            for name in &names.general_names {
                push(&mut list, name);
            }
        }
    }
    list
}

fn push<'a>(list: &mut SanList<'a>, name: &GeneralName<'a>) {
    match name {
        GeneralName::URI(uri) => list.uris.push(uri),
        GeneralName::DNSName(dns) => list.dns.push(dns),
        GeneralName::RFC822Name(email) => list.emails.push(email),
        GeneralName::IPAddress(bytes) => list.ips.extend(ip(bytes)),
        _ => {}
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
