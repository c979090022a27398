//! What roles and their bindings come to, however their rules are cut.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::files::{name, of_kind, strings};

/// One thing that a service account may do, as `subject may VERB GROUP/RESOURCE(/NAME) in NAMESPACE`.
pub type Permission = String;

/// All that the bindings among some objects allow.
pub fn permissions(objects: &[Value]) -> BTreeSet<Permission> {
    let mut all = BTreeSet::new();
    for (binding_kind, role_kind) in [("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")] {
        for binding in of_kind(objects, binding_kind) {
            let namespace = &binding["metadata"]["namespace"];
            let place = namespace.as_str().unwrap_or("every namespace");
            assert_eq!(binding["roleRef"]["kind"], role_kind);
            let roles = of_kind(objects, role_kind).into_iter();
            let mut bound = roles
                .filter(|role| binding["roleRef"]["name"] == name(role) && role["metadata"]["namespace"] == *namespace);
            let role = bound.next().unwrap_or_else(|| panic!("{} binds no role of ours", name(binding)));
            for subject in binding["subjects"].as_array().unwrap() {
                let who = format!("{}/{}", subject["namespace"].as_str().unwrap(), name_of(subject));
                all.extend(rules(role).into_iter().map(|rule| format!("{who} may {rule} in {place}")));
            }
        }
    }
    all
}

fn name_of(subject: &Value) -> &str {
    assert_eq!(subject["kind"], "ServiceAccount");
    subject["name"].as_str().unwrap()
}

fn rules(role: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        let names = match strings(&rule["resourceNames"]) {
            names if names.is_empty() => vec![String::new()],
            names => names.into_iter().map(|name| format!("/{name}")).collect(),
        };
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                for verb in strings(&rule["verbs"]) {
                    assert!(![&group, &resource, &verb].contains(&&"*".to_owned()), "{rule} allows everything");
                    all.extend(names.iter().map(|name| format!("{verb} {group}/{resource}{name}")));
                }
            }
        }
    }
    all
}
