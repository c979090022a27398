//! What the demo needs beside the gateway: its manifests, and backends that answer.

/// A backend that says what it was asked.
pub mod echo;

mod announce;

pub use announce::announce;

/// The manifests under `config/demo`, by file name: for whoever runs the program without the repository.
pub const MANIFESTS: [(&str, &str); 5] = [
    ("backends.yaml", include_str!("../../config/demo/backends.yaml")),
    ("certificate.yaml", include_str!("../../config/demo/certificate.yaml")),
    ("gateway.yaml", include_str!("../../config/demo/gateway.yaml")),
    ("routes.yaml", include_str!("../../config/demo/routes.yaml")),
    ("shared.yaml", include_str!("../../config/demo/shared.yaml")),
];

/// The backends that the manifests' EndpointSlices point at, on 127.0.0.1: name and port.
pub const BACKENDS: [(&str, u16); 2] = [("echo-a", 9101), ("echo-b", 9102)];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use base64::Engine as _;

    use super::*;

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
    fn the_endpoint_slices_point_at_the_backends() {
        for (name, port) in BACKENDS {
            let slices = manifest("backends.yaml").split("---").filter(|text| text.contains("kind: EndpointSlice"));
            let slice = slices.filter(|text| text.contains(&format!("service-name: {name}\n"))).collect::<String>();
            assert!(slice.contains(&format!("port: {port}\n")), "{name}: {slice}");
        }
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
