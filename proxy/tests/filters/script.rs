//! A filter that does what a test says.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use proxy::http::filter::registry::{Factory, Registry};
use proxy::http::filter::{
    BodyContext, BodyEnd, BodyStep, Filter, HeadContext, ResponseHead, Step,
};
use proxy::http::stream::RequestHead;

type Head<H> = Arc<dyn Fn(&mut HeadContext<'_>, &mut H) -> Step<H> + Send + Sync>;
type Part<P> = Arc<dyn Fn(&mut BodyContext<'_>, &mut P) -> BodyStep<P> + Send + Sync>;

/// What the filter does in each call; nothing unless said.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) request_head: Head<RequestHead>,
    pub(crate) request_buffered: Head<RequestHead>,
    pub(crate) request_data: Part<Bytes>,
    pub(crate) request_end: Part<BodyEnd>,
    pub(crate) response_head: Head<ResponseHead>,
    pub(crate) response_buffered: Head<ResponseHead>,
    pub(crate) response_data: Part<Bytes>,
    pub(crate) response_end: Part<BodyEnd>,
    pub(crate) complete: Arc<dyn Fn(&mut HeadContext<'_>) + Send + Sync>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            request_head: Arc::new(|_, _| Step::Continue),
            request_buffered: Arc::new(|_, _| Step::Continue),
            request_data: Arc::new(|_, _| BodyStep::Continue),
            request_end: Arc::new(|_, _| BodyStep::Continue),
            response_head: Arc::new(|_, _| Step::Continue),
            response_buffered: Arc::new(|_, _| Step::Continue),
            response_data: Arc::new(|_, _| BodyStep::Continue),
            response_end: Arc::new(|_, _| BodyStep::Continue),
            complete: Arc::new(|_| {}),
        }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Filter for Script {
    fn request_head(
        &self,
        context: &mut HeadContext<'_>,
        head: &mut RequestHead,
    ) -> Step<RequestHead> {
        (self.request_head)(context, head)
    }

    fn request_buffered(
        &self,
        context: &mut HeadContext<'_>,
        head: &mut RequestHead,
    ) -> Step<RequestHead> {
        (self.request_buffered)(context, head)
    }

    fn request_data(&self, context: &mut BodyContext<'_>, data: &mut Bytes) -> BodyStep<Bytes> {
        (self.request_data)(context, data)
    }

    fn request_end(&self, context: &mut BodyContext<'_>, end: &mut BodyEnd) -> BodyStep<BodyEnd> {
        (self.request_end)(context, end)
    }

    fn response_head(
        &self,
        context: &mut HeadContext<'_>,
        head: &mut ResponseHead,
    ) -> Step<ResponseHead> {
        (self.response_head)(context, head)
    }

    fn response_buffered(
        &self,
        context: &mut HeadContext<'_>,
        head: &mut ResponseHead,
    ) -> Step<ResponseHead> {
        (self.response_buffered)(context, head)
    }

    fn response_data(&self, context: &mut BodyContext<'_>, data: &mut Bytes) -> BodyStep<Bytes> {
        (self.response_data)(context, data)
    }

    fn response_end(&self, context: &mut BodyContext<'_>, end: &mut BodyEnd) -> BodyStep<BodyEnd> {
        (self.response_end)(context, end)
    }

    fn complete(&self, context: &mut HeadContext<'_>) {
        (self.complete)(context);
    }
}

/// Filters of the types `test.<name>` that follow these scripts.
pub(crate) fn registry(scripts: Vec<(&'static str, Script)>) -> Registry {
    Registry::with(scripts.into_iter().map(|(name, script)| {
        let factory: Factory = Arc::new(move |_| Rc::new(script.clone()));
        (format!("test.{name}").into(), factory)
    }))
}

/// A scripted filter in `http_filters`; `more` are further fields, each ended by a comma.
pub(crate) fn link(name: &str, more: &str) -> String {
    format!(
        "{{ name: {name}, {more} typed_config: {} }}",
        config(name, "")
    )
}

/// The configuration of a scripted filter, with these fields.
pub(crate) fn config(name: &str, fields: &str) -> String {
    format!(
        "{{ \"@type\": type.googleapis.com/xds.type.v3.TypedStruct, \
           type_url: type.googleapis.com/test.{name}, value: {{ {fields} }} }}"
    )
}
