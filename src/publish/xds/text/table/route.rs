//! Routing tables, virtual hosts and routes.

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::route::v3::redirect_action::RedirectResponseCode;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterNotFoundResponseCode;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;

use super::{CONFIG_SOURCE, Form, Message, many, names, one};

pub static ROUTE_CONFIGURATION: Message = Message {
    name: "envoy.config.route.v3.RouteConfiguration",
    fields: &[
        one(1, "name", Form::Text),
        many(2, "virtual_hosts", Form::Message(&VIRTUAL_HOST)),
        one(9, "vhds", Form::Message(&VHDS)),
        one(14, "ignore_port_in_host_matching", Form::Flag),
    ],
};

static VHDS: Message =
    Message { name: "envoy.config.route.v3.Vhds", fields: &[one(1, "config_source", Form::Message(&CONFIG_SOURCE))] };

pub static VIRTUAL_HOST: Message = Message {
    name: "envoy.config.route.v3.VirtualHost",
    fields: &[
        one(1, "name", Form::Text),
        many(2, "domains", Form::Text),
        many(3, "routes", Form::Message(&ROUTE)),
        one(16, "retry_policy", Form::Message(&RETRY_POLICY)),
    ],
};

static ROUTE: Message = Message {
    name: "envoy.config.route.v3.Route",
    fields: &[
        one(1, "match", Form::Message(&ROUTE_MATCH)),
        one(2, "route", Form::Message(&ROUTE_ACTION)),
        one(3, "redirect", Form::Message(&REDIRECT_ACTION)),
        one(7, "direct_response", Form::Message(&DIRECT_RESPONSE)),
        many(9, "request_headers_to_add", Form::Message(&HEADER_OPTION)),
        many(10, "response_headers_to_add", Form::Message(&HEADER_OPTION)),
        many(11, "response_headers_to_remove", Form::Text),
        many(12, "request_headers_to_remove", Form::Text),
        one(14, "name", Form::Text),
    ],
};

static ROUTE_MATCH: Message = Message {
    name: "envoy.config.route.v3.RouteMatch",
    fields: &[
        one(1, "prefix", Form::Text),
        one(2, "path", Form::Text),
        many(6, "headers", Form::Message(&HEADER_MATCHER)),
        many(7, "query_parameters", Form::Message(&QUERY_MATCHER)),
        one(10, "safe_regex", Form::Message(&REGEX)),
        one(14, "path_separated_prefix", Form::Text),
    ],
};

static HEADER_MATCHER: Message = Message {
    name: "envoy.config.route.v3.HeaderMatcher",
    fields: &[one(1, "name", Form::Text), one(13, "string_match", Form::Message(&STRING_MATCHER))],
};

static QUERY_MATCHER: Message = Message {
    name: "envoy.config.route.v3.QueryParameterMatcher",
    fields: &[one(1, "name", Form::Text), one(5, "string_match", Form::Message(&STRING_MATCHER))],
};

static STRING_MATCHER: Message = Message {
    name: "envoy.type.matcher.v3.StringMatcher",
    fields: &[one(1, "exact", Form::Text), one(5, "safe_regex", Form::Message(&REGEX))],
};

static REGEX: Message = Message { name: "envoy.type.matcher.v3.RegexMatcher", fields: &[one(2, "regex", Form::Text)] };

static REGEX_REWRITE: Message = Message {
    name: "envoy.type.matcher.v3.RegexMatchAndSubstitute",
    fields: &[one(1, "pattern", Form::Message(&REGEX)), one(2, "substitution", Form::Text)],
};

static ROUTE_ACTION: Message = Message {
    name: "envoy.config.route.v3.RouteAction",
    fields: &[
        one(1, "cluster", Form::Text),
        one(3, "weighted_clusters", Form::Message(&WEIGHTED_CLUSTERS)),
        one(5, "prefix_rewrite", Form::Text),
        one(6, "host_rewrite_literal", Form::Text),
        one(8, "timeout", Form::Duration),
        one(9, "retry_policy", Form::Message(&RETRY_POLICY)),
        one(20, "cluster_not_found_response_code", names!(ClusterNotFoundResponseCode)),
        many(30, "request_mirror_policies", Form::Message(&MIRROR)),
        one(32, "regex_rewrite", Form::Message(&REGEX_REWRITE)),
    ],
};

static WEIGHTED_CLUSTERS: Message = Message {
    name: "envoy.config.route.v3.WeightedCluster",
    fields: &[many(1, "clusters", Form::Message(&CLUSTER_WEIGHT))],
};

static CLUSTER_WEIGHT: Message = Message {
    name: "envoy.config.route.v3.WeightedCluster.ClusterWeight",
    fields: &[
        one(1, "name", Form::Text),
        one(2, "weight", Form::NumberValue),
        many(4, "request_headers_to_add", Form::Message(&HEADER_OPTION)),
        many(5, "response_headers_to_add", Form::Message(&HEADER_OPTION)),
        many(6, "response_headers_to_remove", Form::Text),
        many(9, "request_headers_to_remove", Form::Text),
        one(11, "host_rewrite_literal", Form::Text),
    ],
};

static MIRROR: Message = Message {
    name: "envoy.config.route.v3.RouteAction.RequestMirrorPolicy",
    fields: &[
        one(1, "cluster", Form::Text),
        one(3, "runtime_fraction", Form::Message(&RUNTIME_FRACTION)),
        one(6, "disable_shadow_host_suffix_append", Form::Flag),
    ],
};

static RUNTIME_FRACTION: Message = Message {
    name: "envoy.config.core.v3.RuntimeFractionalPercent",
    fields: &[one(1, "default_value", Form::Message(&FRACTION))],
};

static FRACTION: Message = Message {
    name: "envoy.type.v3.FractionalPercent",
    fields: &[one(1, "numerator", Form::Number), one(2, "denominator", names!(DenominatorType))],
};

static RETRY_POLICY: Message = Message {
    name: "envoy.config.route.v3.RetryPolicy",
    fields: &[
        one(1, "retry_on", Form::Text),
        one(2, "num_retries", Form::NumberValue),
        one(3, "per_try_timeout", Form::Duration),
        many(5, "retry_host_predicate", Form::Message(&RETRY_HOST_PREDICATE)),
        one(6, "host_selection_retry_max_attempts", Form::Long),
    ],
};

static RETRY_HOST_PREDICATE: Message = Message {
    name: "envoy.config.route.v3.RetryPolicy.RetryHostPredicate",
    fields: &[one(1, "name", Form::Text), one(3, "typed_config", Form::Any)],
};

pub static PREVIOUS_HOSTS: Message =
    Message { name: "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", fields: &[] };

static REDIRECT_ACTION: Message = Message {
    name: "envoy.config.route.v3.RedirectAction",
    fields: &[
        one(1, "host_redirect", Form::Text),
        one(2, "path_redirect", Form::Text),
        one(3, "response_code", names!(RedirectResponseCode)),
        one(5, "prefix_rewrite", Form::Text),
        one(7, "scheme_redirect", Form::Text),
        one(8, "port_redirect", Form::Number),
        one(9, "regex_rewrite", Form::Message(&REGEX_REWRITE)),
    ],
};

static DIRECT_RESPONSE: Message =
    Message { name: "envoy.config.route.v3.DirectResponseAction", fields: &[one(1, "status", Form::Number)] };

static HEADER_OPTION: Message = Message {
    name: "envoy.config.core.v3.HeaderValueOption",
    fields: &[
        one(1, "header", Form::Message(&HEADER_VALUE)),
        one(3, "append_action", names!(HeaderAppendAction)),
        one(4, "keep_empty_value", Form::Flag),
    ],
};

static HEADER_VALUE: Message = Message {
    name: "envoy.config.core.v3.HeaderValue",
    fields: &[one(1, "key", Form::Text), one(2, "value", Form::Text)],
};
