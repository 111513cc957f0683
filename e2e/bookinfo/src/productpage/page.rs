//! The pages as HTML.

use std::fmt::Write;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Found;

const STARS: i64 = 5;
const TITLE: &str = "The Comedy of Errors";
const DESCRIPTION: &str = "<a href=\"https://en.wikipedia.org/wiki/The_Comedy_of_Errors\">The Comedy of \
    Errors</a> is one of the earliest plays of <b>William Shakespeare</b> and his shortest: two pairs of \
    twins, separated at birth, meet in one town on one day.";

/// All books there are.
pub(super) fn products() -> Value {
    json!([{"id": 0, "title": TITLE, "descriptionHtml": DESCRIPTION}])
}

/// The landing page.
pub(super) fn index() -> String {
    document(
        None,
        "<h1>Bookinfo</h1>\n<p>productpage calls details and reviews; reviews calls ratings.</p>\n\
         <p><a href=\"/productpage?u=normal\">Normal user</a></p>\n\
         <p><a href=\"/productpage?u=test\">Test user</a></p>\n",
    )
}

/// The product page for `user` with what details and reviews answered.
pub(super) fn productpage(user: Option<&str>, details: &Found, reviews: &Found) -> String {
    let mut main = format!("<h1>{TITLE}</h1>\n<p>{DESCRIPTION}</p>\n");
    match details.status {
        StatusCode::OK => book_details(&mut main, &details.body),
        _ => failure(&mut main, "details", &details.body),
    }
    match reviews.status {
        StatusCode::OK => book_reviews(&mut main, &reviews.body),
        _ => failure(&mut main, "reviews", &reviews.body),
    }
    document(user, &main)
}

fn document(user: Option<&str>, main: &str) -> String {
    let session = match user {
        Some(user) => format!(
            "<span>{} (<a href=\"logout\">Sign out</a>)</span>",
            escape(user)
        ),
        None => "<form method=\"post\" action=\"login\" name=\"login_form\">\
                 <input name=\"username\" placeholder=\"Username\" required>\
                 <input name=\"passwd\" type=\"password\" placeholder=\"Password\">\
                 <button type=\"submit\">Sign in</button></form>"
            .to_owned(),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>Simple Bookstore App</title>\n<link rel=\"stylesheet\" href=\"/static/style.css\">\n\
         </head>\n<body>\n<nav><span>BookInfo Sample</span>{session}</nav>\n<main>\n{main}</main>\n\
         </body>\n</html>\n"
    )
}

fn book_details(html: &mut String, details: &Value) {
    html.push_str("<h4>Book Details</h4>\n<table>\n");
    for (label, field) in [
        ("ISBN-10", "ISBN-10"),
        ("Publisher", "publisher"),
        ("Pages", "pages"),
        ("Type", "type"),
        ("Language", "language"),
    ] {
        let value = escape(&text(&details[field]));
        let _ = writeln!(html, "<tr><th>{label}</th><td>{value}</td></tr>");
    }
    html.push_str("</table>\n");
}

fn book_reviews(html: &mut String, reviews: &Value) {
    html.push_str("<h4>Book Reviews</h4>\n<div class=\"reviews\">\n");
    let pod = escape(&text(&reviews["podname"]));
    let cluster = text(&reviews["clustername"]);
    for review in reviews["reviews"].as_array().into_iter().flatten() {
        html.push_str("<section>\n");
        rating(html, &review["rating"]);
        let _ = writeln!(
            html,
            "<blockquote>{}</blockquote>",
            escape(&text(&review["text"]))
        );
        let _ = writeln!(html, "<cite>{}</cite>", escape(&text(&review["reviewer"])));
        let _ = write!(html, "<div class=\"served-by\">Reviews served by: {pod}");
        if cluster != "null" {
            let _ = write!(html, " on cluster {}", escape(&cluster));
        }
        html.push_str("</div>\n</section>\n");
    }
    html.push_str("</div>\n");
}

fn rating(html: &mut String, rating: &Value) {
    if let Some(stars) = rating["stars"].as_i64() {
        let color = escape(&text(&rating["color"]));
        let _ = write!(html, "<p class=\"text-{color}-500\">");
        for star in 0..STARS {
            html.push_str(match star < stars {
                true => "<span class=\"glyphicon glyphicon-star\">\u{2605}</span>",
                false => "<span class=\"glyphicon glyphicon-star-empty\">\u{2606}</span>",
            });
        }
        html.push_str("</p>\n");
    } else if let Some(error) = rating["error"].as_str() {
        let _ = writeln!(html, "<p class=\"error\">{}</p>", escape(error));
    }
}

fn failure(html: &mut String, what: &str, body: &Value) {
    let error = escape(&text(&body["error"]));
    let _ = writeln!(html, "<p class=\"error\">Error fetching product {what}</p>");
    let _ = writeln!(html, "<p class=\"error\">{error}</p>");
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
