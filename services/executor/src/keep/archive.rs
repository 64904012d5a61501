//! Packs a directory that a task writes to, and makes one of what was packed.
//!
//! The directory is the task's, and this process may be root: no link is followed on the way to a file, nothing but
//! files, folders and links is read, and nothing is written outside of what is made. Links come last in the archive, so
//! that nothing is made by way of one.
use std::{
    ffi::{CStr, OsStr},
    fs::{self, File, Metadata},
    io::{self, Read, Write as _},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt as _,
            fs::{
                FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, fchown, lchown, symlink,
            },
        },
    },
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use dagbok_protocol::limits::{CHECKPOINT_BYTES, CHECKPOINT_FILES};
use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use tar::{Archive, Builder, EntryType, Header};

use super::pieces::Cutter;
use crate::paths::plain;

/// Folders within each other.
const DEPTH: usize = 64;
/// How what must be a folder is opened.
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What of a directory is kept.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    what: What,
}

#[derive(Debug)]
enum What {
    Folder,
    File(Metadata),
    Link(PathBuf),
}

/// Writes the archive of a directory; how many files and links it has, and how many bytes they hold. Nothing is written
/// where it has nothing.
pub(super) fn pack(folder: &Path, out: Cutter) -> Result<(u32, u64), String> {
    let root = open_root(folder)?;
    let (mut found, mut links) = (Vec::new(), Vec::new());
    look(&root, Path::new(""), &mut found, &mut links)?;
    turn_inwards(&mut links, folder);
    let bytes = found.iter().map(|it| match &it.what {
        What::File(meta) => meta.len(),
        What::Folder | What::Link(_) => 0,
    });
    let bytes: u64 = bytes.sum();
    if bytes > CHECKPOINT_BYTES {
        return Err(format!("it has {bytes} bytes, and the limit is {CHECKPOINT_BYTES}"));
    }
    if found.is_empty() && links.is_empty() {
        return Ok((0, 0));
    }
    let mut archive = Builder::new(out);
    let mut files = 0;
    for it in found.iter().chain(&links) {
        files += u32::from(!matches!(it.what, What::Folder));
        append(&mut archive, &root, it)
            .map_err(|error| format!("`{}`: {error}", it.path.display()))?;
    }
    let finished = archive.into_inner().and_then(Cutter::finish);
    finished.map_err(|error| format!("it can't be packed: {error}"))?;
    Ok((files, bytes))
}

/// Opens the folder itself, whatever lies in its place: no link is followed, and no pipe waited for.
fn open_root(folder: &Path) -> Result<OwnedFd, String> {
    let how = OFlags::RDONLY | OFlags::NONBLOCK | FOLDER;
    openat(CWD, folder, how, Mode::empty()).map_err(|error| {
        let there = fs::symlink_metadata(folder).ok().filter(|meta| !meta.is_dir());
        there.map_or_else(
            || format!("it can't be read: {}", io::Error::from(error)),
            |meta| format!("{} lies in its place", name_of(meta.file_type())),
        )
    })
}

/// What is no folder, for people.
fn name_of(it: fs::FileType) -> &'static str {
    if it.is_symlink() {
        "a link"
    } else if it.is_file() {
        "a file"
    } else if it.is_fifo() {
        "a pipe"
    } else if it.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// The folder lies elsewhere in the next try: links that name it lead to the same from where they are.
fn turn_inwards(links: &mut [Found], folder: &Path) {
    let mut names = vec![folder.to_owned()];
    names.extend(fs::canonicalize(folder));
    for link in links {
        if let What::Link(target) = &mut link.what
            && let Some(inside) = from_within(target, &link.path, &names)
        {
            *target = inside;
        }
    }
}

/// The way from a link to its target, where that is named as below the folder; `None` where it is not.
fn from_within(target: &Path, link: &Path, names: &[PathBuf]) -> Option<PathBuf> {
    if !target.is_absolute() {
        return None;
    }
    let below = names.iter().find_map(|name| target.strip_prefix(name).ok())?;
    plain(below).map(|below| {
        let up = link.parent().map_or(0, |at| at.iter().count());
        let mut way: PathBuf = std::iter::repeat_n("..", up).collect();
        way.extend(below.iter());
        if way.as_os_str().is_empty() { PathBuf::from(".") } else { way }
    })
}

/// Goes through a folder in the order of names.
fn look(
    folder: &OwnedFd,
    at: &Path,
    found: &mut Vec<Found>,
    links: &mut Vec<Found>,
) -> Result<(), String> {
    let told = |error: io::Error| format!("`{}` can't be read: {error}", at.display());
    let mut names = Vec::new();
    for entry in Dir::read_from(folder).map_err(|error| told(error.into()))? {
        let entry = entry.map_err(|error| told(error.into()))?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name.to_owned());
        }
        if names.len() + found.len() + links.len() > CHECKPOINT_FILES {
            return Err(format!("it has more than {CHECKPOINT_FILES} files and folders"));
        }
    }
    names.sort_unstable();
    for name in names {
        let path = at.join(OsStr::from_bytes(name.to_bytes()));
        let told = |error: io::Error| format!("`{}` can't be read: {error}", path.display());
        let it = open_in(folder, &name, OFlags::PATH).map_err(told)?;
        let meta = it.metadata().map_err(told)?;
        if meta.is_dir() {
            if at.components().count() >= DEPTH {
                return Err(format!("`{}` lies more than {DEPTH} folders deep", path.display()));
            }
            let inner = open_in(folder, &name, OFlags::RDONLY | OFlags::DIRECTORY).map_err(told)?;
            found.push(Found { path: path.clone(), what: What::Folder });
            look(&inner.into(), &path, found, links)?;
        } else if meta.is_symlink() {
            let target = rustix::fs::readlinkat(folder, &*name, Vec::new());
            let target = target.map_err(|error| told(error.into()))?;
            let target = PathBuf::from(OsStr::from_bytes(target.to_bytes()));
            links.push(Found { path, what: What::Link(target) });
        } else if meta.is_file() {
            found.push(Found { path, what: What::File(meta) });
        } else {
            return Err(format!("`{}` is no file, folder or link", path.display()));
        }
    }
    Ok(())
}

fn open_in(folder: &OwnedFd, name: &CStr, how: OFlags) -> io::Result<File> {
    let how = how | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(folder, name, how, Mode::empty())?))
}

/// Opens a file below a folder by way of folders alone.
fn open_below(root: &OwnedFd, path: &Path) -> io::Result<File> {
    let how = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut parts = path.iter().peekable();
    let mut folder = None;
    while let Some(part) = parts.next() {
        let from = folder.as_ref().unwrap_or(root);
        if parts.peek().is_none() {
            let how = how | OFlags::RDONLY | OFlags::NONBLOCK;
            return Ok(File::from(openat(from, part, how, Mode::empty())?));
        }
        folder = Some(openat(from, part, how | OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?);
    }
    Err(io::ErrorKind::NotFound.into())
}

fn append(archive: &mut Builder<Cutter>, root: &OwnedFd, it: &Found) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o755);
    match &it.what {
        What::Folder => {
            header.set_entry_type(EntryType::Directory);
            archive.append_data(&mut header, &it.path, io::empty())
        }
        What::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            archive.append_link(&mut header, &it.path, target)
        }
        What::File(meta) => {
            let mut file = open_below(root, &it.path)?;
            header.set_size(meta.len());
            header.set_mode(meta.mode() & 0o777);
            header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
            let same = |now: &Metadata| now.is_file() && mark(now) == mark(meta);
            let changed = || io::Error::other("it was written to while it was kept");
            if !same(&file.metadata()?) {
                return Err(changed());
            }
            archive.append_data(&mut header, &it.path, Read::by_ref(&mut file).take(meta.len()))?;
            if same(&file.metadata()?) { Ok(()) } else { Err(changed()) }
        }
    }
}

/// Of a file as it was: which it is, how long, and when it was last written to.
fn mark(meta: &Metadata) -> (u64, u64, i64, i64) {
    (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec())
}

/// Gives what is made to whom it belongs: by the open file, a link by its path.
type Give<'a> = &'a mut dyn FnMut(&Path, Option<&File>) -> io::Result<()>;

/// Where a directory is made, before it is in its place.
pub(crate) fn half_of(folder: &Path) -> PathBuf {
    folder.with_extension("half")
}

/// Makes a directory of an archive that has so many files and bytes; an empty one where there is none. What was left
/// half made before is made anew, and nothing is left half made.
pub(super) fn unpack(
    archive: Option<impl Read>,
    folder: &Path,
    wanted: (u32, u64),
    (uid, gid): (u32, u32),
) -> Result<(), String> {
    let is_given = uid != rustix::process::geteuid().as_raw();
    let mut give = |path: &Path, file: Option<&File>| match file {
        _ if !is_given => Ok(()),
        Some(file) => fchown(file, Some(uid), Some(gid)),
        None => lchown(path, Some(uid), Some(gid)),
    };
    unpack_and_give(archive, folder, wanted, &mut give)
}

fn unpack_and_give(
    archive: Option<impl Read>,
    folder: &Path,
    wanted: (u32, u64),
    give: Give<'_>,
) -> Result<(), String> {
    let half = half_of(folder);
    let told = |error: io::Error| error.to_string();
    for left in [half.as_path(), folder] {
        match fs::remove_dir_all(left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(told(error)),
            _ => {}
        }
    }
    let filled = fill(archive, &half, wanted, give);
    let placed = filled.and_then(|()| fs::rename(&half, folder).map_err(told));
    if placed.is_err() {
        // It is of no use, and may be large.
        drop(fs::remove_dir_all(&half));
    }
    placed
}

/// Makes the directory where nobody else can come in: it is given away last, and each folder after what is in it, so
/// that no name is looked up where its new owner could have put another.
fn fill(
    archive: Option<impl Read>,
    half: &Path,
    wanted: (u32, u64),
    give: Give<'_>,
) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(half).map_err(told)?;
    let mut folders = vec![half.to_owned()];
    let had = match archive {
        Some(archive) => make(archive, half, &mut folders, &mut *give)?,
        None => (0, 0),
    };
    if had != wanted {
        return Err(format!("it has {had:?} files and bytes where {wanted:?} were kept"));
    }
    for path in folders.iter().rev() {
        let folder = openat(CWD, path, OFlags::RDONLY | FOLDER, Mode::empty());
        let folder = File::from(folder.map_err(|error| told(error.into()))?);
        give(path, Some(&folder)).map_err(told)?;
    }
    Ok(())
}

/// Makes all that is in it, and gives away what is no folder.
fn make(
    archive: impl Read,
    folder: &Path,
    folders: &mut Vec<PathBuf>,
    give: Give<'_>,
) -> Result<(u32, u64), String> {
    let (mut files, mut bytes) = (0, 0_u64);
    let mut links = Vec::new();
    let torn = |error: io::Error| format!("it is torn: {error}");
    let mut archive = Archive::new(archive);
    for entry in archive.entries().map_err(torn)? {
        let mut entry = entry.map_err(torn)?;
        let path = plain(&entry.path().map_err(torn)?).filter(|path| !path.as_os_str().is_empty());
        let path = folder.join(path.ok_or("it leads out of its folder")?);
        let told = |error: io::Error| format!("`{}`: {error}", path.display());
        match entry.header().entry_type() {
            EntryType::Directory => {
                fs::create_dir(&path).map_err(told)?;
                folders.push(path);
            }
            EntryType::Symlink => {
                files += 1;
                let target = entry.link_name().map_err(torn)?.ok_or("a link leads nowhere")?;
                links.push((path, target.into_owned()));
            }
            kind if kind.is_file() && links.is_empty() => {
                files += 1;
                bytes += entry.size();
                let mode = entry.header().mode().map_err(torn)? & 0o777;
                let mut options = fs::OpenOptions::new();
                let mut file =
                    options.write(true).create_new(true).mode(mode).open(&path).map_err(told)?;
                let copied = io::copy(&mut entry, &mut file).map_err(told)?;
                if copied != entry.size() {
                    return Err(format!("`{}` ends early", path.display()));
                }
                file.flush().map_err(told)?;
                let modified = entry.header().mtime().map_err(torn)?;
                file.set_modified(UNIX_EPOCH + Duration::from_secs(modified)).map_err(told)?;
                give(&path, Some(&file)).map_err(told)?;
            }
            _ => return Err(format!("`{}` is no file, folder or link", path.display())),
        }
    }
    for (path, target) in links {
        let linked = symlink(target, &path).and_then(|()| give(&path, None));
        linked.map_err(|error| format!("`{}`: {error}", path.display()))?;
    }
    Ok((files, bytes))
}

#[cfg(test)]
mod tests;
