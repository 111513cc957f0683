//! The two lists that a filter has a line in.

use proxy::http::filter::registry::Registry;

#[test]
fn what_is_read_can_be_built() {
    let mut read: Vec<_> = proxy_xds::http_filters::kinds().collect();
    let mut built: Vec<_> = Registry::built_in().collect();
    read.sort_unstable();
    built.sort_unstable();
    assert_eq!(read, built);
}
