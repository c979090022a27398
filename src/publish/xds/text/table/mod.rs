//! The messages that our encoders write: each field's number, its name in the `.proto` file, and how it is encoded.
//! Only what is ever written; the tests compare it with the encoders, with prost's types and with a real Envoy.

mod cluster;
mod listener;
mod route;
mod secret;

/// A message.
pub struct Message {
    /// Its full name.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

/// A field.
pub struct Field {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// How often it may be there.
    pub shape: Shape,
    /// How it is encoded.
    pub form: Form,
}

/// How often a field may be there.
#[derive(Clone, Copy)]
pub enum Shape {
    /// Once.
    One,
    /// Any number of times: a list.
    Many,
    /// Any number of times, with text as the key.
    Map,
}

/// How a value is encoded, and shown.
#[derive(Clone, Copy)]
pub enum Form {
    /// `string`.
    Text,
    /// `bytes`, shown as base64.
    Bytes,
    /// A secret, not shown.
    Hidden,
    /// `bool`.
    Flag,
    /// `uint32`.
    Number,
    /// `int64`.
    Long,
    /// An enumeration, by the names of its values.
    Name(fn(i32) -> Option<&'static str>),
    /// A message.
    Message(&'static Message),
    /// `google.protobuf.Any`.
    Any,
    /// `google.protobuf.Duration`.
    Duration,
    /// `google.protobuf.UInt32Value`.
    NumberValue,
    /// `google.protobuf.BoolValue`.
    FlagValue,
}

impl Message {
    /// The field with a number.
    pub fn field(&self, number: u32) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.number == number)
    }
}

/// The message that a type URL names.
pub fn by_url(url: &str) -> Option<&'static Message> {
    let name = url.rsplit_once('/').map_or(url, |(_, name)| name);
    TYPED.iter().find(|message| message.name == name).copied()
}

/// What comes in an `Any`: the resources first.
static TYPED: &[&Message] = &[
    &cluster::CLUSTER,
    &cluster::LOAD_ASSIGNMENT,
    &secret::SECRET,
    &listener::LISTENER,
    &route::ROUTE_CONFIGURATION,
    &route::VIRTUAL_HOST,
    &cluster::HTTP_OPTIONS,
    &listener::TLS_INSPECTOR,
    &listener::CONNECTION_MANAGER,
    &listener::ROUTER,
    &secret::DOWNSTREAM_TLS,
    &route::PREVIOUS_HOSTS,
];

const fn one(number: u32, name: &'static str, form: Form) -> Field {
    Field { number, name, shape: Shape::One, form }
}

const fn many(number: u32, name: &'static str, form: Form) -> Field {
    Field { number, name, shape: Shape::Many, form }
}

const fn map(number: u32, name: &'static str, form: Form) -> Field {
    Field { number, name, shape: Shape::Map, form }
}

/// The names of an enumeration's values, from prost's type.
macro_rules! names {
    ($enumeration:ty) => {
        $crate::publish::xds::text::table::Form::Name(|number| {
            <$enumeration>::try_from(number).ok().map(|value| value.as_str_name())
        })
    };
}
use names;

static ADDRESS: Message = Message {
    name: "envoy.config.core.v3.Address",
    fields: &[one(1, "socket_address", Form::Message(&SOCKET_ADDRESS))],
};

static SOCKET_ADDRESS: Message = Message {
    name: "envoy.config.core.v3.SocketAddress",
    fields: &[one(2, "address", Form::Text), one(3, "port_value", Form::Number)],
};

static CONFIG_SOURCE: Message = Message {
    name: "envoy.config.core.v3.ConfigSource",
    fields: &[
        one(3, "ads", Form::Message(&AGGREGATED_CONFIG_SOURCE)),
        one(6, "resource_api_version", names!(envoy_types::pb::envoy::config::core::v3::ApiVersion)),
    ],
};

static AGGREGATED_CONFIG_SOURCE: Message = Message { name: "envoy.config.core.v3.AggregatedConfigSource", fields: &[] };

/// Every message of the table, each name once.
#[cfg(test)]
pub fn messages() -> Vec<&'static Message> {
    let mut found: Vec<&'static Message> = Vec::new();
    let mut todo = TYPED.to_vec();
    while let Some(message) = todo.pop() {
        if found.iter().any(|other| std::ptr::eq(*other, message)) {
            continue;
        }
        found.push(message);
        todo.extend(message.fields.iter().filter_map(|field| match field.form {
            Form::Message(message) => Some(message),
            _ => None,
        }));
    }
    found
}
