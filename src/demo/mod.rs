//! What the demo needs beside the gateway: its manifests, and backends that answer.

/// A backend that says what it was asked.
pub mod echo;

mod announce;

pub use announce::{announcement, backends};

/// The manifests under `config/demo`, by file name: for whoever runs the program without the repository.
pub const MANIFESTS: [(&str, &str); 5] = [
    ("backends.yaml", include_str!("../../config/demo/backends.yaml")),
    ("certificate.yaml", include_str!("../../config/demo/certificate.yaml")),
    ("gateway.yaml", include_str!("../../config/demo/gateway.yaml")),
    ("routes.yaml", include_str!("../../config/demo/routes.yaml")),
    ("shared.yaml", include_str!("../../config/demo/shared.yaml")),
];

/// The backends, each called like the Service whose EndpointSlice says where it listens.
pub const BACKENDS: [&str; 2] = ["echo-a", "echo-b"];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use base64::Engine as _;
    use tidegate_actors::env::Env;

    use super::*;
    use crate::resource::types;
    use crate::source::directory::{Options, load};

    fn manifest(name: &str) -> &'static str {
        MANIFESTS.iter().find(|(file, _)| *file == name).unwrap().1
    }

    #[test]
    fn every_manifest_of_the_folder_is_in_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".yaml"))
            .collect();
        files.sort();
        assert_eq!(files, MANIFESTS.map(|(name, _)| name));
    }

    #[test]
    fn the_backends_listen_where_the_endpoint_slices_say() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo");
        let catalogue = crate::builder::Tidegate::builder().catalogue;
        let loaded = load(Options::new("demo", folder), &Env::system(), catalogue).unwrap();
        let slices =
            loaded.objects.values().flatten().filter(|object| *object.resource_type() == types::endpoint_slice());
        let places = announce::places(slices.map(|slice| &**slice));
        assert_eq!(places, [("echo-a", ([127, 0, 0, 1], 9101).into()), ("echo-b", ([127, 0, 0, 1], 9102).into())]);
    }

    #[test]
    fn the_certificate_is_for_the_demos_names_and_stays_valid() {
        let lines = || manifest("certificate.yaml").lines().map(str::trim);
        let value = |key: &str| {
            let encoded = lines().find_map(|line| line.strip_prefix(key)).unwrap().trim();
            base64::engine::general_purpose::STANDARD.decode(encoded).unwrap()
        };
        let pem = value("tls.crt:");
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap().value;
        let names: Vec<String> = names.general_names.iter().map(ToString::to_string).collect();
        assert!(names.iter().any(|name| name.contains("*.demo.local")), "{names:?}");
        // 2090, in seconds: far beyond the demo's life.
        assert!(certificate.validity().not_after.timestamp() > 3_786_912_000);
        assert!(certificate.validity().is_valid());
        assert!(String::from_utf8(value("tls.key:")).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    }
}
