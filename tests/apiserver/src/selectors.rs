//! Label and field selectors of one request, and the one question: is this object meant?

use tidegate_actors::store::Selector;

use crate::kind::Kind;
use crate::object::Object;
use crate::status::Status;

/// What a request asks for.
#[derive(Clone, Debug, Default)]
pub struct Selectors {
    labels: Selector,
    fields: Vec<FieldTerm>,
}

#[derive(Clone, Debug)]
struct FieldTerm {
    field: String,
    value: String,
    equal: bool,
}

impl Selectors {
    /// Reads both; an empty text selects everything.
    pub fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Status> {
        let parsed: Result<Selector, _> = labels.parse();
        let labels = parsed.map_err(|error| Status::bad_request(format!("unable to parse requirement: {error}")))?;
        let terms = fields.split(',').filter(|term| !term.trim().is_empty());
        let fields = terms.map(|term| FieldTerm::parse(kind, term.trim())).collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether everything is meant.
    pub fn is_empty(&self) -> bool {
        self.labels.requirements().is_empty() && self.fields.is_empty()
    }

    /// Whether at most one object of a namespace is meant, by its name.
    pub fn is_one_name(&self) -> bool {
        self.fields.iter().any(|term| term.field == "metadata.name" && term.equal)
    }

    /// Whether an object is meant.
    pub fn matches(&self, object: &Object) -> bool {
        self.fields.iter().all(|term| term.matches(object)) && self.labels.matches(|key| object.label(key))
    }
}

impl FieldTerm {
    fn parse(kind: &Kind, term: &str) -> Result<Self, Status> {
        let (left, value) = term
            .split_once('=')
            .ok_or_else(|| Status::bad_request(format!("invalid field selector: {term}; can't understand '{term}'")))?;
        let (field, equal) = left.strip_suffix('!').map_or((left, true), |field| (field, false));
        let value = value.strip_prefix('=').unwrap_or(value);
        let is_secret = kind.plural == "secrets" && kind.group.is_empty();
        match field {
            "metadata.name" | "metadata.namespace" => {}
            "type" if is_secret => {}
            _ if kind.behaviour.typed => {
                return Err(Status::bad_request(format!(
                    "\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                )));
            }
            _ => return Err(Status::bad_request(format!("field label not supported: {field}"))),
        }
        Ok(Self { field: field.to_owned(), value: value.to_owned(), equal })
    }

    fn matches(&self, object: &Object) -> bool {
        let value = match self.field.as_str() {
            "metadata.name" => &object.meta.name,
            "metadata.namespace" => &object.meta.namespace,
            other => object.selectable.iter().find(|(field, _)| *field == other).map_or("", |(_, value)| value),
        };
        (value == self.value) == self.equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Draft;

    fn matches(labels: &str, fields: &str) -> bool {
        let kinds = Kind::all_built_in();
        let kind = kinds.iter().find(|kind| kind.plural == "secrets").unwrap();
        let json = r#"{"metadata":{"name":"n","namespace":"s","labels":{"a":"b"}},"type":"kubernetes.io/tls"}"#;
        let object = Object::encode(kind, Draft::parse(json.as_bytes()).unwrap(), 1);
        Selectors::parse(kind, labels, fields).unwrap().matches(&object)
    }

    #[test]
    fn labels_and_fields_must_all_hold() {
        for (labels, fields) in [
            ("", ""),
            ("a=b", "metadata.name=n"),
            ("a in (b,c)", "metadata.name==n,metadata.namespace=s"),
            ("!x", "metadata.name!=m,type=kubernetes.io/tls"),
        ] {
            assert!(matches(labels, fields), "{labels} {fields}");
        }
        for (labels, fields) in
            [("a=c", ""), ("", "metadata.name=m"), ("a=b", "metadata.namespace!=s"), ("", "type=Opaque")]
        {
            assert!(!matches(labels, fields), "{labels} {fields}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused_in_the_real_servers_words() {
        let kinds = Kind::all_built_in();
        let kind = kinds.iter().find(|kind| kind.plural == "services").unwrap();
        let status = Selectors::parse(kind, "", "spec.type=X").unwrap_err();
        assert_eq!(status.code, Some(400));
        assert_eq!(
            status.message,
            "\"spec.type\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
    }
}
