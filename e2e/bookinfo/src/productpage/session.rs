//! The session: a cookie that holds the user's name.
//!
//! Differs from the original: the cookie is not signed. The name decides which reviews are shown and
//! nothing else.

use axum::http::{HeaderMap, header};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const COOKIE: &str = "session";

/// The user who is signed in, if any.
pub(super) fn user(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| decode(value))
        .filter(|user| !user.is_empty())
}

/// A `set-cookie` value that signs `user` in.
pub(super) fn set(user: &str) -> String {
    let user = utf8_percent_encode(user, NON_ALPHANUMERIC);
    format!("{COOKIE}={user}; HttpOnly; Path=/")
}

/// A `set-cookie` value that signs the user out.
pub(super) fn clear() -> String {
    format!("{COOKIE}=; Max-Age=0; HttpOnly; Path=/")
}

/// The value of `name` in an urlencoded form.
pub(super) fn form_value(form: &str, name: &str) -> Option<String> {
    form.split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| decode(&value.replace('+', " ")))
}

fn decode(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_brings_the_user_back() {
        let cookie = set("jason & co");
        let value = cookie.split(';').next().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("a=b; {value}").parse().unwrap());
        assert_eq!(user(&headers).as_deref(), Some("jason & co"));
        headers.insert(header::COOKIE, "session=".parse().unwrap());
        assert_eq!(user(&headers), None);
    }

    #[test]
    fn forms_are_decoded() {
        let form = "passwd=&username=jason+b%2Fc";
        assert_eq!(form_value(form, "username").as_deref(), Some("jason b/c"));
        assert_eq!(form_value(form, "other"), None);
    }
}
