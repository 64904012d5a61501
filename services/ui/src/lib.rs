//! The browser's application as the binary carries it: its files, compressed when it was built, and the page that
//! loads them. What it shows is asked of `services/api`, which serves it; here nothing is known of DAGs or HTTP.
//!
//! `web` holds the application itself. It is built by `npm ci && npm run build` there (`make build` does it).
mod files {
    include!(concat!(env!("OUT_DIR"), "/files.rs"));
}
mod page;

pub use page::{Page, SECURITY_POLICY, base_of};

/// A file of the application. Its name has a digest of what is in it, so that it may be kept for ever.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Its name under `assets/`.
    pub name: &'static str,
    /// As it is.
    pub plain: &'static [u8],
    /// Compressed with Brotli.
    pub brotli: &'static [u8],
    /// Compressed with gzip.
    pub gzip: &'static [u8],
}

impl File {
    /// Its media type, by its name.
    pub fn kind(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("txt") => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        }
    }
}

/// The file of this name.
pub fn file(name: &str) -> Option<&'static File> {
    files::FILES.iter().find(|file| file.name == name)
}

/// Whether the application was built before the binary was.
pub fn is_built() -> bool {
    !files::ENTRIES.is_empty()
}
