//! The text of DAG files as they were published: out of the archive of the folder that a version or a run names.
use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use dagbok_events::{Digest, path_in_folder};
use dagbok_protocol::limits::ZIP_BYTES;
use dagbok_runlog::{Blobs, Digester, digest_of};
use dagbok_zipped::{Zip, is_top_module, is_zip, splits};
use parking_lot::Mutex;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{InPath, InQuery, accepts, dag_id},
    state::ApiState,
    view::display_name,
};
use crate::shapes::{DagSource, Detail};

/// The longest part of a file that is shown, in bytes.
const SHOWN: u64 = 1 << 20;
/// Files that are kept.
const KEPT: usize = 24;
/// Archives whose files of Python are kept by name, and how many of each.
const LISTINGS: usize = 6;
const LISTED: usize = 20_000;

/// A file as it was published.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) text: String,
    /// Whether that is all of it.
    pub(crate) whole: bool,
}

/// Files that were read last, by archive and name: archives may be large. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Sources(Arc<Inner>);

/// The files of Python in an archive, each with a digest of what is in it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Listing {
    pub(crate) files: BTreeMap<String, String>,
    /// Whether those are all; where not, none is left out that comes before the last of them.
    pub(crate) complete: bool,
}

/// A file of an archive, where it is one.
type Kept = (Digest, String, Option<Arc<Source>>);

#[derive(Debug, Default)]
struct Inner {
    /// The last read is the last.
    kept: Mutex<Vec<Kept>>,
    listings: Mutex<Vec<(Digest, Arc<Listing>)>>,
    /// One archive is in hand at a time.
    reading: tokio::sync::Mutex<()>,
}

impl Sources {
    /// The file in the archive; `None` where either is not kept, or never was.
    pub(crate) async fn file(
        &self,
        blobs: &dyn Blobs,
        bundle: &Digest,
        file: &str,
    ) -> Result<Option<Arc<Source>>, ApiError> {
        if let Some(found) = self.kept(bundle, file) {
            return Ok(found);
        }
        let _one = self.0.reading.lock().await;
        if let Some(found) = self.kept(bundle, file) {
            return Ok(found);
        }
        let Some(packed) = blobs.get(bundle.as_str()).await? else { return Ok(None) };
        let name = file.to_owned();
        let read = tokio::task::spawn_blocking(move || within(&packed, &name)).await;
        let read = read.map_err(|panic| ApiError::bug(&panic))?;
        let found = read.map_err(|error| ApiError::bug(&error))?.map(Arc::new);
        let mut kept = self.0.kept.lock();
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((bundle.clone(), file.to_owned(), found.clone()));
        Ok(found)
    }

    /// The files of Python in the archive; `None` where it is not kept.
    pub(crate) async fn listing(
        &self,
        blobs: &dyn Blobs,
        bundle: &Digest,
    ) -> Result<Option<Arc<Listing>>, ApiError> {
        let known = || {
            let kept = self.0.listings.lock();
            kept.iter().find(|(of, _)| of == bundle).map(|(_, listing)| Arc::clone(listing))
        };
        if let Some(listing) = known() {
            return Ok(Some(listing));
        }
        let _one = self.0.reading.lock().await;
        if let Some(listing) = known() {
            return Ok(Some(listing));
        }
        let Some(packed) = blobs.get(bundle.as_str()).await? else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || listed(&packed, LISTED)).await;
        let read = read.map_err(|panic| ApiError::bug(&panic))?;
        let listing = Arc::new(read.map_err(|error| ApiError::bug(&error))?);
        let mut kept = self.0.listings.lock();
        if kept.len() >= LISTINGS {
            kept.remove(0);
        }
        kept.push((bundle.clone(), Arc::clone(&listing)));
        Ok(Some(listing))
    }

    #[expect(clippy::option_option, reason = "that a file is not in an archive is known, too")]
    fn kept(&self, bundle: &Digest, file: &str) -> Option<Option<Arc<Source>>> {
        let mut kept = self.0.kept.lock();
        let at = kept.iter().position(|(of, name, _)| of == bundle && name == file)?;
        let found = kept.remove(at);
        let source = found.2.clone();
        kept.push(found);
        Some(source)
    }
}

/// Reads one file out of an archive: tar, compressed with zstd.
fn within(packed: &Bytes, file: &str) -> io::Result<Option<Source>> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(packed.as_ref())?);
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path()?;
        let Some(name) = path.to_str().filter(|_| entry.header().entry_type().is_file()) else {
            continue;
        };
        if let Some((_, inner)) = splits(file).find(|(zip, _)| *zip == name) {
            return if entry.size() > ZIP_BYTES { Ok(None) } else { zipped(entry, inner) };
        }
        if name != file {
            continue;
        }
        let whole = entry.size() <= SHOWN;
        let mut bytes = Vec::new();
        entry.take(SHOWN).read_to_end(&mut bytes)?;
        return Ok(Some(Source { text: String::from_utf8_lossy(&bytes).into_owned(), whole }));
    }
    Ok(None)
}

/// Reads one file out of a zip of DAGs; `None` where it is not there, or can't be read.
fn zipped(mut entry: impl io::Read, file: &str) -> io::Result<Option<Source>> {
    let mut content = Vec::new();
    entry.read_to_end(&mut content)?;
    let read = Zip::open(&content).and_then(|zip| zip.read(file, SHOWN));
    let source = |(bytes, whole): (Vec<u8>, bool)| Source {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        whole,
    };
    Ok(read.ok().flatten().map(source))
}

/// The files of Python in a zip, with digests of what is in them; none of what is no zip that DAGs run from, and `None`
/// where it has more bytes unpacked than are `left`.
fn zipped_files(content: &[u8], left: &mut u64) -> Option<Vec<(String, String)>> {
    let Ok(zip) = Zip::open(content) else { return Some(Vec::new()) };
    if !zip.names().any(is_top_module) {
        return Some(Vec::new());
    }
    *left = left.checked_sub(zip.unpacked(|_| true))?;
    let is_python = |name: &str| Path::new(name).extension() == Some("py".as_ref());
    if zip.check_but(is_python).is_err() {
        return Some(Vec::new());
    }
    let read = |name: &str| {
        let (text, _) = zip.read(name, ZIP_BYTES).ok().flatten()?;
        Some((name.to_owned(), digest_of(&text)))
    };
    // What can't be read spoils all of it.
    let files: Option<Vec<_>> = zip.names().filter(|name| is_python(name)).map(read).collect();
    Some(files.unwrap_or_default())
}

/// Names the files of Python in an archive, of more than `most` those that come first by name.
fn listed(packed: &Bytes, most: usize) -> io::Result<Listing> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(packed.as_ref())?);
    let mut listing = Listing { files: BTreeMap::new(), complete: true };
    let (mut left, mut end) = (ZIP_BYTES, None::<String>);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?;
        let Some(name) = path.to_str().map(str::to_owned) else { continue };
        if !entry.header().entry_type().is_file() {
            continue;
        }
        if is_zip(&name) {
            let mut content = Vec::new();
            let files = if entry.size() > ZIP_BYTES {
                None
            } else {
                entry.read_to_end(&mut content)?;
                zipped_files(&content, &mut left)
            };
            if files.is_none() {
                // Of what comes after it by name nothing is listed, as of any list that is cut.
                let inside = format!("{name}/");
                end = Some(end.map_or_else(|| inside.clone(), |end| end.min(inside.clone())));
            }
            for (file, digest) in files.unwrap_or_default() {
                let name = format!("{name}/{file}");
                if listing.has_room(&name, most) {
                    listing.files.insert(name, digest);
                }
            }
        } else if path.extension() == Some("py".as_ref()) && listing.has_room(&name, most) {
            let (mut digester, mut part) = (Digester::default(), vec![0; 64 << 10]);
            loop {
                match entry.read(&mut part)? {
                    0 => break,
                    bytes => digester.update(&part[..bytes]),
                }
            }
            listing.files.insert(name, digester.finish());
        }
    }
    if let Some(end) = end {
        listing.complete = false;
        drop(listing.files.split_off(&end));
    }
    Ok(listing)
}

impl Listing {
    /// Whether a name is among so many. By name, whichever order the archive has: two lists that are cut can be compared
    /// as far as both go.
    fn has_room(&mut self, name: &str, most: usize) -> bool {
        if self.files.len() < most {
            return true;
        }
        self.complete = false;
        if self.files.last_key_value().is_none_or(|(last, _)| last.as_str() <= name) {
            return false;
        }
        self.files.pop_last();
        true
    }
}

/// Of which version.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct SourceQuery {
    /// Counts from 1; the newest where not said.
    version_number: Option<u32>,
}

/// The text of a DAG's file as a version of it was read from it: JSON, or plain text with `Accept: text/plain`.
#[utoipa::path(get, path = "/api/v2/dagSources/{dag_id}", tag = "DAG",
    params(("dag_id" = String, Path), SourceQuery), responses(
    (status = 200, content((DagSource = "application/json"), (String = "text/plain"))),
    (status = 404, body = Detail), (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn source(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    InQuery(query): InQuery<SourceQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = dag_id(&raw)?;
    let of = id.clone();
    let read = state.read(move |store| {
        let dag = store.dag(&of)?.ok_or_else(|| ApiError::no_dag(of.as_str()))?;
        let number = query.version_number.unwrap_or(dag.version);
        let version = store.version_shared(&of, number)?;
        let version = version.ok_or_else(|| {
            ApiError::NotFound(format!("the DAG `{of}` has no version {number} at hand"))
        })?;
        Ok((number, version))
    });
    let (version_number, version) = read.await?;
    let file = path_in_folder(&version.spec.source.file);
    let found = state.sources.file(&*state.ports.blobs, &version.bundle, file).await?;
    let found = found.ok_or_else(|| {
        ApiError::NotFound(format!("the text of `{file}` is not kept for version {version_number}"))
    })?;
    if accepts(&headers, "text/plain") {
        let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        return Ok((kind, found.text.clone()).into_response());
    }
    let dag_display_name = display_name(&version.spec);
    let content = Some(found.text.clone());
    Ok(Json(DagSource { content, dag_id: id.to_string(), version_number, dag_display_name })
        .into_response())
}

#[cfg(test)]
mod tests {
    use dagbok_zipped::made::{Packed, zip_of};

    use super::*;

    #[test]
    fn a_file_is_read_out_of_its_archive_and_cut_where_it_is_long() {
        let mut tar = tar::Builder::new(Vec::new());
        let long = "x".repeat(usize::try_from(SHOWN).expect("small") + 1);
        for (name, text) in [("a/b.py", "print(1)\n"), ("long.py", long.as_str())] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, text.as_bytes()).expect("in memory");
        }
        let plain = tar.into_inner().expect("in memory");
        let packed = Bytes::from(zstd::encode_all(plain.as_slice(), 1).expect("in memory"));
        let read = |name: &str| within(&packed, name).expect("an archive");
        let short = read("a/b.py").expect("it is there");
        assert_eq!((short.text.as_str(), short.whole), ("print(1)\n", true));
        assert!(!read("long.py").expect("it is there").whole);
        assert!(read("b.py").is_none());
        let listing = listed(&packed, 2).expect("an archive");
        assert!(listing.complete);
        assert_eq!(listing.files.keys().collect::<Vec<_>>(), ["a/b.py", "long.py"]);
        assert_eq!(listing.files["a/b.py"], dagbok_runlog::digest_of(b"print(1)\n"));
    }

    #[test]
    fn a_file_is_read_out_of_a_zip_in_its_archive() {
        let files: [(&str, &[u8]); 3] =
            [("a.py", b"print(1)\n"), ("lib/b.py", b"X = 1\n"), ("c.txt", b"text")];
        let zip = zip_of(&files, Packed::Deflated);
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in [("sub/x.zip", &zip[..]), ("y.zip", &b"no zip"[..])] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, content).expect("in memory");
        }
        let plain = tar.into_inner().expect("in memory");
        let packed = Bytes::from(zstd::encode_all(plain.as_slice(), 1).expect("in memory"));
        let read = |name: &str| within(&packed, name).expect("an archive").map(|it| it.text);
        assert_eq!(read("sub/x.zip/lib/b.py").as_deref(), Some("X = 1\n"));
        assert_eq!(
            (read("sub/x.zip/b.py"), read("y.zip/b.py"), read("x.zip/a.py")),
            (None, None, None)
        );
        let listing = listed(&packed, 9).expect("an archive");
        assert_eq!(
            listing.files.keys().collect::<Vec<_>>(),
            ["sub/x.zip/a.py", "sub/x.zip/lib/b.py"]
        );
        assert_eq!(listing.files["sub/x.zip/lib/b.py"], digest_of(b"X = 1\n"));
        let bytes = 9 + 6 + 4;
        let (mut enough, mut less) = (bytes, bytes - 1);
        assert_eq!(zipped_files(&zip, &mut enough).map(|files| files.len()), Some(2));
        assert_eq!((enough, zipped_files(&zip, &mut less)), (0, None));
    }

    #[test]
    fn of_many_files_those_that_come_first_by_name_are_listed() {
        let mut tar = tar::Builder::new(Vec::new());
        for name in ["d.py", "b.py", "c.py", "a.py"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(name.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, name.as_bytes()).expect("in memory");
        }
        let plain = tar.into_inner().expect("in memory");
        let packed = Bytes::from(zstd::encode_all(plain.as_slice(), 1).expect("in memory"));
        let listing = listed(&packed, 2).expect("an archive");
        assert!(!listing.complete);
        assert_eq!(listing.files.keys().collect::<Vec<_>>(), ["a.py", "b.py"]);
        assert_eq!(listing.files["b.py"], dagbok_runlog::digest_of(b"b.py"));
    }
}
