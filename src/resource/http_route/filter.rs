//! Filters of a rule or of one of its backends.

use tidegate_actors::id::Name;

use super::raw;
use crate::resource::field::Checks;
use crate::resource::format;
use crate::resource::gateway::ObjectReference;

/// A filter that we can do.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Edits of the request's headers.
    RequestHeaders(HeaderEdits),
    /// Edits of the response's headers.
    ResponseHeaders(HeaderEdits),
    /// A copy of the request goes elsewhere.
    Mirror(Box<RequestMirror>),
    /// The client is sent elsewhere.
    Redirect(Box<Redirect>),
    /// Host or path are changed on the way.
    Rewrite(UrlRewrite),
}

impl Filter {
    pub(super) fn replaces_prefix(&self) -> bool {
        let path = match self {
            Self::Redirect(redirect) => &redirect.path,
            Self::Rewrite(rewrite) => &rewrite.path,
            _ => &None,
        };
        matches!(path, Some(PathChange::Prefix(_)))
    }

    /// As manifests spell its type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RequestHeaders(_) => "RequestHeaderModifier",
            Self::ResponseHeaders(_) => "ResponseHeaderModifier",
            Self::Mirror(_) => "RequestMirror",
            Self::Redirect(_) => "RequestRedirect",
            Self::Rewrite(_) => "URLRewrite",
        }
    }
}

/// Edits of a message's headers; names in lower case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderEdits {
    /// Replaced or added.
    pub set: Box<[(Name, Name)]>,
    /// Added beside what is there.
    pub add: Box<[(Name, Name)]>,
    /// Removed.
    pub remove: Box<[Name]>,
}

/// Where copies go.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestMirror {
    /// What it is.
    pub target: ObjectReference,
    /// Port of the Service.
    pub port: Option<u16>,
    /// Numerator and denominator of the share that is copied.
    pub fraction: (u32, u32),
}

/// Where the client is sent; what is absent stays as in the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<Name>,
    /// Host.
    pub hostname: Option<Name>,
    /// Path.
    pub path: Option<PathChange>,
    /// Port, if the spec names one.
    pub port: Option<u16>,
    /// Status.
    pub status: u16,
}

/// What changes on the way; what is absent stays as in the request.
#[derive(Clone, Debug, PartialEq)]
pub struct UrlRewrite {
    /// Host.
    pub hostname: Option<Name>,
    /// Path.
    pub path: Option<PathChange>,
}

/// How a path changes.
#[derive(Clone, Debug, PartialEq)]
pub enum PathChange {
    /// All of it.
    Full(Name),
    /// The matched prefix.
    Prefix(Name),
}

/// `None` if it is not one that we can do.
pub(super) fn read(c: &mut Checks, raw: raw::Filter) -> Option<Filter> {
    let given: Vec<(&str, bool)> = vec![
        ("RequestHeaderModifier", raw.request_header_modifier.is_some()),
        ("ResponseHeaderModifier", raw.response_header_modifier.is_some()),
        ("RequestMirror", raw.request_mirror.is_some()),
        ("RequestRedirect", raw.request_redirect.is_some()),
        ("URLRewrite", raw.url_rewrite.is_some()),
    ];
    for (kind, given) in given {
        if given != (raw.r#type == kind) {
            let verb = if given { "must not" } else { "must" };
            c.error(format!("has the type {}, so the settings of {kind} {verb} be given", raw.r#type));
        }
    }
    match &*raw.r#type {
        "RequestHeaderModifier" => {
            let raw = raw.request_header_modifier.unwrap_or_default();
            c.field("requestHeaderModifier", |c| header_edits(c, raw)).map(Filter::RequestHeaders)
        }
        "ResponseHeaderModifier" => {
            let raw = raw.response_header_modifier.unwrap_or_default();
            c.field("responseHeaderModifier", |c| header_edits(c, raw)).map(Filter::ResponseHeaders)
        }
        "RequestMirror" => {
            raw.request_mirror.map(|raw| Filter::Mirror(Box::new(c.field("requestMirror", |c| mirror(c, raw)))))
        }
        "RequestRedirect" => {
            let redirect = raw.request_redirect.and_then(|raw| c.field("requestRedirect", |c| redirect(c, raw)));
            redirect.map(|redirect| Filter::Redirect(Box::new(redirect)))
        }
        "URLRewrite" => raw.url_rewrite.and_then(|raw| c.field("urlRewrite", |c| rewrite(c, raw))).map(Filter::Rewrite),
        known @ ("ExtensionRef" | "CORS" | "ExternalAuth") => {
            c.refuse(format!("the filter {known} is not supported"));
            None
        }
        _ => {
            c.field("type", |c| c.unsupported("is no type of filter that the specification knows"));
            None
        }
    }
}

/// What may not stand together in one list of filters.
pub(super) fn compatible(c: &mut Checks, filters: &[Filter]) {
    for (at, filter) in filters.iter().enumerate() {
        let repeated = filters[..at].iter().any(|earlier| earlier.kind() == filter.kind());
        if repeated && !matches!(filter, Filter::Mirror(_)) {
            c.error(format!("{} must not be given more than once", filter.kind()));
        }
    }
    let has = |kind: &str| filters.iter().any(|filter| filter.kind() == kind);
    c.ensure(!(has("RequestRedirect") && has("URLRewrite")), "RequestRedirect and URLRewrite must not stand together");
}

fn header_edits(c: &mut Checks, raw: raw::HeaderEdits) -> Option<HeaderEdits> {
    let header = |c: &mut Checks, raw: raw::Header| {
        (c.field("name", |c| edited_name(c, &raw.name)), c.field("value", |c| format::header_value(c, raw.value)))
    };
    let refused = c.refused.len();
    let edits = HeaderEdits {
        set: c.each("set", 16, raw.set.unwrap_or_default(), header).into(),
        add: c.each("add", 16, raw.add.unwrap_or_default(), header).into(),
        remove: c.each("remove", 16, raw.remove.unwrap_or_default(), |c, name| edited_name(c, &name)).into(),
    };
    for (field, list) in [("set", &edits.set), ("add", &edits.add)] {
        let repeated = |(at, one): (usize, &(Name, Name))| list[..at].iter().any(|earlier| earlier.0 == one.0);
        let any = list.iter().enumerate().any(repeated);
        c.field(field, |c| c.ensure(!any, "must name each header once"));
    }
    (c.refused.len() == refused).then_some(edits)
}

fn edited_name(c: &mut Checks, name: &str) -> Name {
    let name = format::header_name(c, name);
    if &*name == "host" {
        c.refuse("the Host header is changed by the hostname of a URLRewrite filter, not like other headers");
    }
    name
}

fn mirror(c: &mut Checks, raw: raw::Mirror) -> RequestMirror {
    let (target, port, ..) = raw.backend_ref.split();
    let (target, port) = c.field("backendRef", |c| super::destination(c, target, port));
    let fraction = match (raw.percent, raw.fraction) {
        (Some(_), Some(_)) => {
            c.error("must not have both percent and fraction");
            None
        }
        (Some(percent), None) => share(percent, 100),
        (None, Some(raw::Fraction { numerator, denominator })) => share(numerator, denominator.unwrap_or(100)),
        (None, None) => Some((100, 100)),
    };
    c.ensure(fraction.is_some(), "must be a share from nothing to all");
    RequestMirror { target, port, fraction: fraction.unwrap_or((0, 100)) }
}

fn share(numerator: i64, denominator: i64) -> Option<(u32, u32)> {
    let (numerator, denominator) = (u32::try_from(numerator).ok()?, u32::try_from(denominator).ok()?);
    (denominator > 0 && numerator <= denominator).then_some((numerator, denominator))
}

fn redirect(c: &mut Checks, raw: raw::Redirect) -> Option<Redirect> {
    let unsupported = c.unsupported.len();
    if raw.scheme.as_deref().is_some_and(|scheme| !["http", "https"].contains(&scheme)) {
        c.field("scheme", |c| c.unsupported("must be http or https"));
    }
    let status = raw.status_code.unwrap_or(302);
    if ![301, 302, 303, 307, 308].contains(&status) {
        c.field("statusCode", |c| c.unsupported("must be 301, 302, 303, 307 or 308"));
    }
    let redirect = Redirect {
        scheme: raw.scheme.map(Into::into),
        hostname: c.field("hostname", |c| raw.hostname.map(|text| format::precise_hostname(c, text))),
        path: c.field("path", |c| raw.path.and_then(|raw| path_change(c, raw))),
        port: c.field("port", |c| raw.port.map(|number| format::port(c, number))),
        status: u16::try_from(status).unwrap_or(302),
    };
    (c.unsupported.len() == unsupported).then_some(redirect)
}

fn rewrite(c: &mut Checks, raw: raw::UrlRewrite) -> Option<UrlRewrite> {
    let unsupported = c.unsupported.len();
    let rewrite = UrlRewrite {
        hostname: c.field("hostname", |c| raw.hostname.map(|text| format::precise_hostname(c, text))),
        path: c.field("path", |c| raw.path.and_then(|raw| path_change(c, raw))),
    };
    (c.unsupported.len() == unsupported).then_some(rewrite)
}

/// The API allows a replacement without a slash at its start, and even an empty one. A path has one: without it a
/// backend would be asked for no path at all, and the text would go on the host's name in a redirect.
fn absolute(path: String) -> Name {
    if path.starts_with('/') { path.into() } else { format!("/{path}").into() }
}

fn path_change(c: &mut Checks, raw: raw::PathChange) -> Option<PathChange> {
    let wanted = |kind: &str| raw.r#type == kind;
    for (field, kind, value) in [
        ("replaceFullPath", "ReplaceFullPath", &raw.replace_full_path),
        ("replacePrefixMatch", "ReplacePrefixMatch", &raw.replace_prefix_match),
    ] {
        c.field(field, |c| {
            if value.is_some() != wanted(kind) {
                c.error(format!("must be given if the type is {kind}, and only then"));
            }
            let ok = |text: &String| text.len() <= 1024 && !text.chars().any(char::is_control);
            c.ensure(
                value.as_ref().is_none_or(ok),
                "must have at most 1024 characters, none of them a control character",
            );
        });
    }
    match &*raw.r#type {
        "ReplaceFullPath" => raw.replace_full_path.map(|path| PathChange::Full(absolute(path))),
        "ReplacePrefixMatch" => raw.replace_prefix_match.map(|path| PathChange::Prefix(absolute(path))),
        _ => {
            c.field("type", |c| c.unsupported("must be ReplaceFullPath or ReplacePrefixMatch"));
            None
        }
    }
}
