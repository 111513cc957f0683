//! Templates that an operator brings: Go's `text/template`, which renders a partial pod in YAML.
//!
//! What a template is given are [`data`] and [`functions`]. A template is parsed when the settings are read, and
//! everything that can be said of it then is said then; what it renders is checked for every pod.

mod data;
mod functions;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use gotmpl::parse::{CommandNode, Expr, ListNode, Node, PipeNode};
use gotmpl::{Template, TemplateError};
use mesh_runtime::cpu_budget;
use serde_json::{Map, Value};
use thiserror::Error;

use super::{BUILT_IN, Subject};

/// The templates of an operator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Templates {
    by_name: BTreeMap<String, CustomTemplate>,
    /// What pods get that do not ask for others; the sidecar where there are none.
    defaults: Vec<String>,
    /// Names that stand for several.
    aliases: BTreeMap<String, Vec<String>>,
}

/// One of them.
#[derive(Clone)]
pub struct CustomTemplate {
    name: String,
    source: String,
    parsed: Arc<Template>,
}

impl fmt::Debug for CustomTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CustomTemplate").field(&self.source).finish()
    }
}

impl PartialEq for CustomTemplate {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.source == other.source
    }
}

/// Why a set of templates cannot be used.
#[derive(Debug, Error)]
pub enum TemplatesError {
    /// The name of one that is built in.
    #[error("template \"{0}\" is built in and cannot be replaced: give yours another name")]
    BuiltIn(String),
    /// A syntax error; the text says in which template and where.
    #[error(transparent)]
    Syntax(TemplateError),
    /// A function that does not exist.
    #[error("template: {template}:{line}: there is no function \"{function}\"")]
    Function {
        /// The template.
        template: String,
        /// The line in it, from 1.
        line: usize,
        /// The function.
        function: String,
    },
    /// A default or an alias that names a template that does not exist.
    #[error("\"{place}\" names template \"{name}\", which does not exist")]
    Missing {
        /// The field.
        place: String,
        /// What it names.
        name: String,
    },
}

/// Why a template made nothing of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("template \"{template}\": {reason}")]
pub struct RenderError {
    template: String,
    reason: String,
}

/// Iterations of `range` that one rendering may take.
const MAX_ITERATIONS: u64 = 10_000;

/// Bytes that one rendering may yield; a pod is smaller than what etcd takes.
const MAX_RENDERED: usize = 1 << 20;

/// Bytes that a function of ours may yield on the way there. What the language's own (`printf`) put together is as
/// long as their arguments, and there are no more of those than iterations.
const MAX_TEXT: usize = 4 * MAX_RENDERED;

/// What the template language prints for a value that is not there.
const NO_VALUE: &str = "<no value>";

impl Templates {
    /// Parses all, and checks what names them.
    ///
    /// # Errors
    /// When one cannot be parsed, has the name of a built-in one, calls a function that does not exist, or when a
    /// default or an alias names one that does not exist.
    pub fn new(
        sources: BTreeMap<String, String>,
        defaults: Vec<String>,
        aliases: BTreeMap<String, Vec<String>>,
    ) -> Result<Self, TemplatesError> {
        let mut by_name = BTreeMap::new();
        for (name, source) in sources {
            let template = CustomTemplate::parse(&name, source)?;
            by_name.insert(name, template);
        }
        let templates = Self {
            by_name,
            defaults,
            aliases,
        };
        for (alias, names) in &templates.aliases {
            templates.all_known(&format!("aliases.{alias}"), names)?;
        }
        let unresolved: Vec<String> = templates
            .defaults
            .iter()
            .filter(|name| !templates.aliases.contains_key(*name))
            .cloned()
            .collect();
        templates.all_known("defaultTemplates", &unresolved)?;
        Ok(templates)
    }

    fn all_known(&self, place: &str, names: &[String]) -> Result<(), TemplatesError> {
        let known = |name: &str| BUILT_IN.contains(&name) || self.by_name.contains_key(name);
        match names.iter().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => Err(TemplatesError::Missing {
                place: place.to_owned(),
                name: name.clone(),
            }),
        }
    }

    /// Those that `asked` names, separated by commas; the defaults where nothing is asked for.
    pub(super) fn names(&self, asked: Option<&str>) -> Vec<String> {
        let names = match asked {
            Some(asked) => asked
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect(),
            None if self.defaults.is_empty() => vec![super::SIDECAR.to_owned()],
            None => self.defaults.clone(),
        };
        let resolve = |name: String| self.aliases.get(&name).cloned().unwrap_or(vec![name]);
        names.into_iter().flat_map(resolve).collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<&CustomTemplate> {
        self.by_name.get(name)
    }

    /// All names that a pod may ask for.
    pub(super) fn known(&self) -> Vec<&str> {
        let own = self.by_name.keys().chain(self.aliases.keys());
        let mut known: Vec<&str> = own.map(String::as_str).chain(BUILT_IN).collect();
        known.sort_unstable();
        known.dedup();
        known
    }
}

impl CustomTemplate {
    fn parse(name: &str, source: String) -> Result<Self, TemplatesError> {
        if BUILT_IN.contains(&name) {
            return Err(TemplatesError::BuiltIn(name.to_owned()));
        }
        let empty = Template::new(name)
            .max_range_iters(MAX_ITERATIONS)
            .funcs(functions::all());
        let parsed = empty.parse(&source).map_err(TemplatesError::Syntax)?;
        check_functions(name, &parsed)?;
        Ok(Self {
            name: name.to_owned(),
            source,
            parsed: Arc::new(parsed),
        })
    }

    /// The partial pod.
    pub(super) fn render(&self, subject: &Subject<'_>) -> Result<Value, RenderError> {
        let refuse = |reason: String| RenderError {
            template: self.name.clone(),
            reason,
        };
        let data = data::of(subject).map_err(|error| refuse(error.to_string()))?;
        let mut text = Bounded::default();
        let rendered = self.parsed.execute_fmt(&mut text, &data);
        rendered.map_err(|error| match (error, text.spent) {
            (TemplateError::Write, Some(spent)) => refuse(spent.to_string()),
            (TemplateError::Write, None) => {
                refuse(format!("renders more than {MAX_RENDERED} bytes"))
            }
            (error, _) => refuse(error.to_string()),
        })?;
        let text = text.text;
        if let Some(line) = text.lines().find(|line| line.contains(NO_VALUE)) {
            let line = line.trim();
            return Err(refuse(format!("prints a value that is not there: {line}")));
        }
        let pod: Value = serde_saphyr::from_str(&text)
            .map_err(|error| refuse(format!("renders YAML that cannot be read: {error}")))?;
        partial_pod(pod).map_err(refuse)
    }
}

/// Only what injection may change, so that nothing that a template says is lost in silence.
fn partial_pod(pod: Value) -> Result<Value, String> {
    let mut pod = match pod {
        Value::Null => Map::new(),
        Value::Object(pod) => pod,
        _ => return Err("renders no pod, but a list or a scalar".to_owned()),
    };
    pod.remove("apiVersion");
    pod.remove("kind");
    only(&pod, "", ["metadata", "spec"])?;
    for (key, value) in &pod {
        if !value.is_object() {
            return Err(format!("\"{key}\" is not a map"));
        }
    }
    if let Some(metadata) = pod.get("metadata").and_then(Value::as_object) {
        only(metadata, "metadata.", ["labels", "annotations"])?;
    }
    Ok(Value::Object(pod))
}

fn only(map: &Map<String, Value>, path: &str, allowed: [&str; 2]) -> Result<(), String> {
    match map.keys().find(|key| !allowed.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let [one, two] = allowed;
            Err(format!(
                "\"{path}{key}\" is nothing that a template may set, \"{path}{one}\" and \"{path}{two}\" are"
            ))
        }
    }
}

/// Text up to [`MAX_RENDERED`], written within the review's CPU time.
#[derive(Default)]
struct Bounded {
    text: String,
    /// Set when the time is used up.
    spent: Option<cpu_budget::Spent>,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.spent = cpu_budget::check().err();
        if self.spent.is_some() || self.text.len() + text.len() > MAX_RENDERED {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

/// The engine looks functions up when it meets them, which may be never in a test and then in production.
fn check_functions(name: &str, template: &Template) -> Result<(), TemplatesError> {
    let defined = template.templates().into_iter();
    let bodies = defined.filter_map(|name| template.lookup(name));
    let mut unknown = None;
    for body in bodies {
        visit(body, &mut |line, function| {
            if unknown.is_none() && !functions::exists(function) {
                unknown = Some((line, function.to_owned()));
            }
        });
    }
    match unknown {
        None => Ok(()),
        Some((line, function)) => Err(TemplatesError::Function {
            template: name.to_owned(),
            line,
            function,
        }),
    }
}

/// Shows `seen` every function that is called below, with its line.
fn visit(list: &ListNode, seen: &mut impl FnMut(usize, &str)) {
    for node in &list.nodes {
        match node {
            Node::List(list) => visit(list, seen),
            Node::Action(action) => visit_pipe(&action.pipe, seen),
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
                visit_pipe(&branch.pipe, seen);
                visit(&branch.body, seen);
                if let Some(otherwise) = &branch.else_body {
                    visit(otherwise, seen);
                }
            }
            Node::Template(call) => {
                if let Some(pipe) = &call.pipe {
                    visit_pipe(pipe, seen);
                }
            }
            Node::Define(definition) => visit(&definition.body, seen),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
}

fn visit_pipe(pipe: &PipeNode, seen: &mut impl FnMut(usize, &str)) {
    let arguments = pipe
        .commands
        .iter()
        .flat_map(|CommandNode { args, .. }| args);
    for argument in arguments {
        visit_expression(argument, seen);
    }
}

fn visit_expression(expression: &Expr, seen: &mut impl FnMut(usize, &str)) {
    match expression {
        Expr::Identifier(position, function) => seen(position.line, function),
        Expr::Pipe(_, pipe) => visit_pipe(pipe, seen),
        Expr::Chain(_, inner, _) => visit_expression(inner, seen),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
