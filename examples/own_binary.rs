//! A Tidegate of one's own: a binary that adds a kind of source, with a typed section of the config file.
//!
//! The kind `endpoints` reads EndpointSlices from a text file with lines such as `web 10.0.0.7 8080`. All commands know
//! it: `cargo run --example own_binary -- schema` prints it, `validate FILE` checks it, `run --config FILE` runs on it:
//!
//! ```yaml
//! sources:
//!   - { name: machines, kind: endpoints, file: machines.txt, every: 5s }
//! ```

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate::builder::{SourceContext, SourceParts, Tidegate};
use tidegate::config::{Check, Period, SectionType};
use tidegate_actors::env::Env;
use tidegate_actors::id::{Name, ResourceType};
use tidegate_actors::object::{Decoder, Object};
use tidegate_actors::source::{Cursor, Source, SourceError, SourceStream, failed, poll};
use tidegate_actors::supervisor::BoxError;

/// The keys of the kind, beside `name` and `kind`. Its doc comments are the schema's descriptions.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Endpoints {
    /// The text file; a relative path starts from the config file's directory.
    file: PathBuf,
    /// How often it is read.
    #[serde(default = "every")]
    every: Period,
}

fn every() -> Period {
    Period::from_secs(1)
}

impl SectionType for Endpoints {
    fn check(&self, check: &mut Check<'_>) {
        check.ensure(!self.every.is_zero(), "every", "must be longer than zero");
    }

    fn resolve(&mut self, base: &Path) {
        self.file = base.join(&self.file);
    }
}

/// The source that is made of a section.
struct EndpointsFile {
    name: Name,
    section: Endpoints,
    env: Env,
}

impl Source for EndpointsFile {
    fn name(&self) -> &Name {
        &self.name
    }

    fn open(&self, resource_type: &ResourceType, _from: Option<Cursor>) -> SourceStream {
        if resource_type.kind() != "EndpointSlice" {
            return failed(SourceError::Absent { reason: "the file has endpoints alone".to_owned() });
        }
        let (env, file) = (self.env.clone(), self.section.file.clone());
        let decoder = Decoder::new(self.name.clone(), resource_type.clone()).with_default_namespace("default".into());
        // Each round reads everything; the engine finds what is different. While it fails, the last good state serves.
        poll(&self.env, *self.section.every, move || {
            let read = env.disk.read(&file).map_err(|error| format!("read {}: {error}", file.display()));
            let text = read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            let slices = text.and_then(|text| text.lines().map(|line| slice(line, &decoder)).collect());
            std::future::ready(slices.map_err(SourceError::retry))
        })
    }
}

fn slice(line: &str, decoder: &Decoder) -> Result<Object, String> {
    let parts: Vec<&str> = line.split_whitespace().collect();
    let [service, address, port] = parts[..] else { return Err(format!("`{line}` is not SERVICE ADDRESS PORT")) };
    let port: u16 = port.parse().map_err(|_| format!("`{port}` in `{line}` is not a port"))?;
    let labels = json!({ "kubernetes.io/service-name": service });
    let slice = json!({
        "metadata": { "name": format!("{service}-{address}-{port}"), "labels": labels },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [address] }],
        "ports": [{ "port": port }],
    });
    decoder.decode(slice.to_string()).map_err(|error| error.to_string())
}

fn make(section: &Endpoints, context: &SourceContext<'_>) -> Result<SourceParts, BoxError> {
    let (name, section, env) = (context.name.clone(), section.clone(), context.env.clone());
    Ok(SourceParts::new(EndpointsFile { name, section, env }))
}

fn main() -> ExitCode {
    Tidegate::builder().source::<Endpoints>("endpoints", make).main()
}
