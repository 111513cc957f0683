//! The functions that templates of operators may call beside those of the language: Istio's own, and of the library
//! that Istio takes the others from (sprig) those that yield the same for the same pod each time.
//!
//! Differs from Istio: `env` does not exist, because a template of one control plane would mean something else with
//! another, and none with `meshctl inject`.

use std::fmt::Display;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gotmpl::{FuncMap, TemplateError, Value, ValueFunc};
use mesh_runtime::cpu_budget;
use serde_json::{Map, Value as Json};

use super::MAX_TEXT;
use crate::config::PROXY_CONTAINER;

type Result<T> = std::result::Result<T, TemplateError>;

/// Its name, how many arguments it takes at least, and what it does.
type Function = (&'static str, usize, fn(&[Value]) -> Result<Value>);

/// Of the language itself.
pub(super) const BUILT_IN: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or",
    "print", "printf", "println", "slice", "urlquery",
];

/// Of the pod and of ports, from Istio.
const OF_PODS: [Function; 7] = [
    ("annotation", 3, |args| {
        let found = args[0]
            .field("Annotations")
            .and_then(|map| map.field(&text(&args[1])));
        Ok(string(text(found.unwrap_or(&args[2]))))
    }),
    ("applicationPorts", 1, |args| {
        Ok(string(ports(&args[0], |name| name != PROXY_CONTAINER)))
    }),
    ("includeInboundPorts", 1, |args| {
        Ok(string(ports(&args[0], |_| true)))
    }),
    ("excludeInboundPort", 2, |args| {
        Ok(string(exclude_port(text(&args[0]).trim(), &text(&args[1]))))
    }),
    ("excludeInterfaces", 1, as_it_is),
    ("kubevirtInterfaces", 1, as_it_is),
    ("formatDuration", 1, as_it_is),
];

/// Of values that may not be there.
const OF_DEFAULTS: [Function; 7] = [
    ("valueOrDefault", 2, |args| {
        Ok(first_of(&args[..2], |value| !is_nothing(value)))
    }),
    ("default", 1, |args| {
        let given = args.get(1).filter(|given| given.is_truthy());
        Ok(given.unwrap_or(&args[0]).clone())
    }),
    ("empty", 1, |args| Ok(Value::Bool(!args[0].is_truthy()))),
    ("coalesce", 0, |args| Ok(first_of(args, Value::is_truthy))),
    ("ternary", 3, |args| {
        let chosen = if args[2].is_truthy() {
            &args[0]
        } else {
            &args[1]
        };
        Ok(chosen.clone())
    }),
    ("fail", 1, |args| Err(TemplateError::Exec(text(&args[0])))),
    ("omitNil", 1, |args| from_json(&omit_nil(json(&args[0])))),
];

/// Of text.
const OF_TEXT: [Function; 27] = [
    ("lower", 1, lower),
    ("toLower", 1, lower),
    ("upper", 1, |args| Ok(string(text(&args[0]).to_uppercase()))),
    ("trim", 1, |args| Ok(string(text(&args[0]).trim()))),
    ("trimAll", 2, |args| {
        let (cut, text) = (text(&args[0]), text(&args[1]));
        Ok(string(text.trim_matches(|letter| cut.contains(letter))))
    }),
    ("trimPrefix", 2, |args| {
        let (cut, text) = (text(&args[0]), text(&args[1]));
        Ok(string(text.strip_prefix(&cut).unwrap_or(&text)))
    }),
    ("trimSuffix", 2, |args| {
        let (cut, text) = (text(&args[0]), text(&args[1]));
        Ok(string(text.strip_suffix(&cut).unwrap_or(&text)))
    }),
    ("hasPrefix", 2, |args| {
        Ok(Value::Bool(text(&args[1]).starts_with(&text(&args[0]))))
    }),
    ("hasSuffix", 2, |args| {
        Ok(Value::Bool(text(&args[1]).ends_with(&text(&args[0]))))
    }),
    ("contains", 2, |args| {
        Ok(Value::Bool(text(&args[1]).contains(&text(&args[0]))))
    }),
    ("replace", 3, |args| {
        replace(&text(&args[2]), &text(&args[0]), &text(&args[1]))
    }),
    ("trunc", 2, |args| {
        let length = usize::try_from(integer(&args[0])?).unwrap_or_default();
        Ok(string(
            text(&args[1]).chars().take(length).collect::<String>(),
        ))
    }),
    ("quote", 0, |args| {
        Ok(string(each(args, |value| Json::from(value).to_string())))
    }),
    ("squote", 0, |args| {
        Ok(string(each(args, |value| format!("'{value}'"))))
    }),
    ("toString", 1, |args| Ok(string(text(&args[0])))),
    ("join", 2, |args| {
        let parts: Vec<String> = list(&args[1])?.iter().map(text).collect();
        let separator = text(&args[0]);
        fits(
            parts.iter().map(String::len).sum(),
            parts.len(),
            separator.len(),
        )?;
        Ok(string(parts.join(&separator)))
    }),
    ("splitList", 2, |args| {
        let (separator, text) = (text(&args[0]), text(&args[1]));
        Ok(Value::List(text.split(&separator).map(string).collect()))
    }),
    ("indent", 2, |args| {
        // Istio's leaves the first line where it stands.
        let pad = padding(&args[0])?;
        replace(&text(&args[1]), "\n", &format!("\n{pad}"))
    }),
    ("nindent", 2, |args| {
        let pad = padding(&args[0])?;
        let text = replace(&text(&args[1]), "\n", &format!("\n{pad}"))?;
        Ok(string(format!("\n{pad}{text}")))
    }),
    ("directory", 1, |args| {
        let path = text(&args[0]);
        Ok(string(path.rfind('/').map_or("", |last| &path[..=last])))
    }),
    ("b64enc", 1, |args| {
        Ok(string(BASE64_STANDARD.encode(text(&args[0]))))
    }),
    ("b64dec", 1, |args| {
        let bytes = BASE64_STANDARD.decode(text(&args[0])).map_err(failed)?;
        String::from_utf8(bytes).map(string).map_err(failed)
    }),
    ("int", 1, to_integer),
    ("int64", 1, to_integer),
    ("add", 1, |args| calculate(args, i64::checked_add)),
    ("sub", 2, |args| calculate(args, i64::checked_sub)),
    ("mul", 1, |args| calculate(args, i64::checked_mul)),
];

/// Of lists and maps.
const OF_COLLECTIONS: [Function; 13] = [
    ("list", 0, |args| Ok(Value::List(args.into()))),
    ("first", 1, |args| {
        Ok(list(&args[0])?.first().cloned().unwrap_or(Value::Nil))
    }),
    ("last", 1, |args| {
        Ok(list(&args[0])?.last().cloned().unwrap_or(Value::Nil))
    }),
    ("has", 2, |args| {
        Ok(Value::Bool(list(&args[1])?.contains(&args[0])))
    }),
    ("dict", 0, |args| {
        from_json(&Json::Object(pairs(args, json)))
    }),
    ("strdict", 0, |args| {
        from_json(&Json::Object(pairs(args, |value| text(value).into())))
    }),
    ("get", 2, |args| {
        Ok(args[0]
            .field(&text(&args[1]))
            .cloned()
            .unwrap_or_else(|| string("")))
    }),
    ("hasKey", 2, has_key),
    ("isset", 2, has_key),
    ("keys", 1, |args| {
        Ok(Value::List(map(&args[0])?.keys().map(string).collect()))
    }),
    ("pick", 1, |args| choose(args, |named| named)),
    ("omit", 1, |args| choose(args, |named| !named)),
    ("mergeMaps", 0, |args| {
        from_json(&Json::Object(merged(args)?))
    }),
];

/// Of YAML and JSON.
const OF_FORMATS: [Function; 9] = [
    ("toYaml", 1, |args| {
        serde_saphyr::to_string(&json(&args[0]))
            .map(string)
            .map_err(failed)
    }),
    ("toJson", 1, to_json),
    ("toRawJson", 1, to_json),
    ("toJSON", 1, to_json_object),
    ("structToJSON", 1, to_json_object),
    ("protoToJSON", 1, to_json_object),
    ("toJsonMap", 0, |args| {
        Ok(string(Json::Object(merged(args)?)))
    }),
    ("fromJson", 1, parse_json),
    ("fromJSON", 1, parse_json),
];

fn every() -> impl Iterator<Item = Function> {
    let all: [&'static [Function]; 5] = [
        &OF_PODS,
        &OF_DEFAULTS,
        &OF_TEXT,
        &OF_COLLECTIONS,
        &OF_FORMATS,
    ];
    all.into_iter().flatten().copied()
}

/// All, as the engine wants them.
pub(super) fn all() -> FuncMap {
    every()
        .map(|(name, least, function)| {
            let checked: ValueFunc = Arc::new(move |args: &[Value]| {
                if args.len() < least {
                    return Err(TemplateError::ArgCount {
                        name: name.to_owned(),
                        expected: least,
                        got: args.len(),
                    });
                }
                // What a template goes over is the pod author's, and as long as a pod can be.
                cpu_budget::check().map_err(failed)?;
                function(args)
            });
            (name.to_owned(), checked)
        })
        .collect()
}

/// Whether a template may call it.
pub(super) fn exists(name: &str) -> bool {
    BUILT_IN.contains(&name) || every().any(|(known, ..)| known == name)
}

fn as_it_is(args: &[Value]) -> Result<Value> {
    Ok(args[0].clone())
}

fn lower(args: &[Value]) -> Result<Value> {
    Ok(string(text(&args[0]).to_lowercase()))
}

fn to_integer(args: &[Value]) -> Result<Value> {
    integer(&args[0]).map(Value::Int)
}

fn has_key(args: &[Value]) -> Result<Value> {
    Ok(Value::Bool(args[0].field(&text(&args[1])).is_some()))
}

fn to_json(args: &[Value]) -> Result<Value> {
    Ok(string(json(&args[0])))
}

fn parse_json(args: &[Value]) -> Result<Value> {
    let json: Json = serde_json::from_str(&text(&args[0])).map_err(failed)?;
    from_json(&json)
}

fn string(text: impl Display) -> Value {
    Value::String(text.to_string().into())
}

/// As it is printed.
fn text(value: &Value) -> String {
    match value {
        Value::Nil => String::new(),
        value => value.to_string(),
    }
}

fn is_nothing(value: &Value) -> bool {
    text(value).is_empty()
}

fn first_of(values: &[Value], fits: fn(&Value) -> bool) -> Value {
    let last = values.last().cloned().unwrap_or(Value::Nil);
    values
        .iter()
        .find(|value| fits(value))
        .cloned()
        .unwrap_or(last)
}

fn failed(error: impl Display) -> TemplateError {
    TemplateError::Exec(error.to_string())
}

fn unfit(expected: &'static str, value: &Value) -> TemplateError {
    TemplateError::TypeMismatch {
        expected,
        got: value.type_name(),
    }
}

fn list(value: &Value) -> Result<&[Value]> {
    match value {
        Value::List(items) => Ok(items),
        Value::Nil => Ok(&[]),
        value => Err(unfit("list", value)),
    }
}

fn map(value: &Value) -> Result<Map<String, Json>> {
    match json(value) {
        Json::Object(map) => Ok(map),
        Json::Null => Ok(Map::new()),
        _ => Err(unfit("map", value)),
    }
}

fn integer(value: &Value) -> Result<i64> {
    match value {
        Value::Nil => Ok(0),
        Value::String(text) => text.trim().parse().map_err(failed),
        Value::Float(number) => format!("{number:.0}").parse().map_err(failed),
        Value::Bool(flag) => Ok((*flag).into()),
        value => value.as_int().ok_or_else(|| unfit("int", value)),
    }
}

fn calculate(args: &[Value], operation: fn(i64, i64) -> Option<i64>) -> Result<Value> {
    let mut numbers = args.iter().map(integer);
    let first = numbers.next().unwrap_or(Ok(0))?;
    numbers
        .try_fold(first, |result, number| {
            operation(result, number?).ok_or_else(|| failed("the number is too large"))
        })
        .map(Value::Int)
}

fn replace(text: &str, old: &str, new: &str) -> Result<Value> {
    fits(text.len(), text.matches(old).count(), new.len())?;
    Ok(string(text.replace(old, new)))
}

/// Whether a text with `count` insertions of `each` bytes is short enough, before it is made.
fn fits(text: usize, count: usize, each: usize) -> Result<()> {
    if text.saturating_add(count.saturating_mul(each)) > MAX_TEXT {
        return Err(failed(format!(
            "makes a text of more than {MAX_TEXT} bytes"
        )));
    }
    Ok(())
}

fn padding(width: &Value) -> Result<String> {
    const WIDEST: i64 = 100;
    let width = integer(width)?.clamp(0, WIDEST);
    Ok(" ".repeat(usize::try_from(width).unwrap_or_default()))
}

fn each(args: &[Value], write: fn(&str) -> String) -> String {
    let present = args.iter().filter(|value| !matches!(value, Value::Nil));
    let written: Vec<String> = present.map(|value| write(&text(value))).collect();
    written.join(" ")
}

/// Keys and values by turns; a key without a value has an empty one.
fn pairs(args: &[Value], read: fn(&Value) -> Json) -> Map<String, Json> {
    let pair = |pair: &[Value]| {
        let value = pair.get(1).map_or_else(|| "".into(), read);
        (text(&pair[0]), value)
    };
    args.chunks(2).map(pair).collect()
}

/// A map with those of its keys whose being among the further arguments `fits`.
fn choose(args: &[Value], fits: fn(bool) -> bool) -> Result<Value> {
    let mut map = map(&args[0])?;
    let named: Vec<String> = args[1..].iter().map(text).collect();
    map.retain(|key, _| fits(named.contains(key)));
    from_json(&Json::Object(map))
}

/// Later maps win.
fn merged(maps: &[Value]) -> Result<Map<String, Json>> {
    let mut all = Map::new();
    for one in maps {
        all.extend(map(one)?);
    }
    Ok(all)
}

fn to_json_object(args: &[Value]) -> Result<Value> {
    match &args[0] {
        Value::Nil => Ok(string("{}")),
        _ => to_json(args),
    }
}

fn json(value: &Value) -> Json {
    match value {
        Value::Nil | Value::Function(_) => Json::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Uint(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::String(text) => text.as_ref().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| (key.to_string(), json(value)));
            Json::Object(entries.collect())
        }
    }
}

fn from_json(value: &Json) -> Result<Value> {
    gotmpl::to_value(value)
}

/// Without its nulls, and without what nothing is left of.
fn omit_nil(value: Json) -> Json {
    if !has_nil(&value) {
        return value;
    }
    match value {
        Json::Object(map) => {
            let kept = map.into_iter().map(|(key, value)| (key, omit_nil(value)));
            let kept: Map<_, _> = kept.filter(|(_, value)| !value.is_null()).collect();
            if kept.is_empty() {
                Json::Null
            } else {
                kept.into()
            }
        }
        Json::Array(items) => {
            let kept = items.into_iter().map(omit_nil);
            let kept: Vec<_> = kept.filter(|value| !value.is_null()).collect();
            if kept.is_empty() {
                Json::Null
            } else {
                kept.into()
            }
        }
        value => value,
    }
}

fn has_nil(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Object(map) => map.values().any(has_nil),
        Json::Array(items) => items.iter().any(has_nil),
        _ => false,
    }
}

/// The ports that containers declare, but for those of UDP and SCTP.
fn ports(containers: &Value, counts: fn(&str) -> bool) -> String {
    let field = |value: &Value, name| value.field(name).map(text).unwrap_or_default();
    let items = |value: Option<&Value>| match value {
        Some(Value::List(items)) => items.to_vec(),
        _ => Vec::new(),
    };
    let containers = items(Some(containers)).into_iter();
    let ports = containers
        .filter(|container| counts(&field(container, "Name")))
        .flat_map(|container| items(container.field("Ports")))
        .filter(|port| !["UDP", "SCTP"].contains(&field(port, "Protocol").as_str()));
    let ports: Vec<String> = ports.map(|port| field(&port, "ContainerPort")).collect();
    ports.join(",")
}

/// A list of ports with one more, unless it is none or there already.
fn exclude_port(port: &str, excluded: &str) -> String {
    let mut ports: Vec<&str> = excluded.split(',').map(str::trim).collect();
    ports.retain(|port| !port.is_empty());
    if port.is_empty() || port == "0" || ports.contains(&port) {
        return excluded.to_owned();
    }
    ports.push(port);
    ports.join(",")
}
