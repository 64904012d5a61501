//! Opening a directory of segments: what is whole is taken as it is, a torn tail is found, and
//! anything else that is wrong refuses.
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use dagbok_runlog::Seq;

use crate::{
    OpenError, OpenReport, TornTail,
    base::Trimmed,
    disk::Disk,
    index::{Index, Sealed},
    segment::{self, HEADER, RESTORE, damaged},
    trim,
    view::{Segment, View},
};

/// How often a log is looked at whose faults are others each time.
const LOOKS: u32 = 5;

/// What lies in a directory.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) view: View,
    pub(crate) report: OpenReport,
}

/// As [`look`], of a log that somebody may append to and trim meanwhile. What is wrong because of that is gone or
/// is another thing at the next look; what stays as it was is a fault.
pub(crate) fn look_beside_a_writer(dir: &Path) -> Result<Found, OpenError> {
    let mut seen = None;
    for _ in 0..LOOKS {
        let error = match look(dir) {
            Err(error) => error,
            found => return found,
        };
        let may_pass = match &error {
            OpenError::Damaged { .. } => true,
            OpenError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            OpenError::Locked { .. } | OpenError::Missing { .. } | OpenError::Newer { .. } => false,
        };
        let said = Some(error.to_string());
        if !may_pass || said == seen {
            return Err(error);
        }
        seen = said;
    }
    look(dir)
}

/// Looks at every segment in `dir`, and changes nothing.
pub(crate) fn look(dir: &Path) -> Result<Found, OpenError> {
    let trimmed = Trimmed::load(dir)?;
    let mut firsts = segment::list(dir).map_err(|source| OpenError::io("list", dir, source))?;
    let mut found = Found::default();
    if let Some(trimmed) = trimmed {
        let below =
            firsts.partition_point(|first| *first <= trimmed.base.first.0).saturating_sub(1);
        found.report.trimmed.extend(firsts.drain(..below).map(|first| segment::path(dir, first)));
        found.view.trimmed = Some(trimmed);
        found.view.mark = Some(trimmed.mark);
    }
    for (place, &first) in (1..).zip(&firsts) {
        let path = segment::path(dir, first);
        let due = found.view.last() + 1;
        let is_base = place == 1 && trimmed.is_some() && first <= due;
        if first != due && !is_base {
            let why = format!("the entries from {due} to {} are missing", first.wrapping_sub(1));
            let advice = "put the segment files that have them back from a backup".to_owned();
            return Err(damaged(&path, 0, why, advice));
        }
        match firsts.get(place) {
            Some(&next) => look_at_sealed(&mut found, path, first, next)?,
            None => look_at_last(&mut found, path, first)?,
        }
    }
    let segments = &found.view.segments;
    if let Some(trimmed) = trimmed.filter(|trimmed| found.view.last() < trimmed.base.first.0) {
        let file = firsts.last().map_or_else(|| dir.to_owned(), |first| segment::path(dir, *first));
        let (first, last) = (trimmed.base.first, found.view.last());
        let why = format!("the log begins with entry {first}, and its files end with {last}");
        return Err(damaged(&file, 0, why, RESTORE.to_owned()));
    }
    found.report.last = Seq(found.view.last());
    found.report.segments = segments.len();
    found.report.bytes = segments.iter().map(|segment| segment.end).sum();
    Ok(found)
}

/// A segment that another follows: its sidecar says what is in it, or else it is read.
fn look_at_sealed(
    found: &mut Found,
    path: PathBuf,
    first: u64,
    next: u64,
) -> Result<(), OpenError> {
    let failed = |source| OpenError::io("read", &path, source);
    let length = fs::metadata(&path).map_err(failed)?.len();
    let sidecar = segment::sidecar(&path);
    if let Some(sealed) = Sealed::load(&sidecar).filter(|sealed| sealed.first == first) {
        if sealed.end != length {
            let why = format!("it has {length} bytes, and had {} when it was sealed", sealed.end);
            return Err(damaged(&path, sealed.end.min(length), why, RESTORE.to_owned()));
        }
        found.view.segments.push(Segment::sealed(path, sealed));
        return Ok(());
    }
    let file = File::open(&path).map_err(failed)?;
    if !segment::check_header(&file, &path, first)? {
        return Err(damaged(&path, 0, "it has no header".to_owned(), RESTORE.to_owned()));
    }
    let mut index = Index::default();
    let scan = segment::scan(&file, first - 1, HEADER as u64, length, &mut index);
    let scan = scan.map_err(failed)?;
    if let Some(why) = scan.fault {
        return Err(damaged(&path, scan.end, why.to_owned(), RESTORE.to_owned()));
    }
    if scan.last + 1 != next {
        let why = format!("it ends with entry {}, and the next file begins with {next}", scan.last);
        return Err(damaged(&path, scan.end, why, RESTORE.to_owned()));
    }
    found.report.rebuilt.push(sidecar);
    let sealed = Sealed { first, last: scan.last, end: scan.end, index };
    found.view.segments.push(Segment::sealed(path, sealed));
    Ok(())
}

/// The segment that was written last: it is read, and may have a torn tail.
fn look_at_last(found: &mut Found, path: PathBuf, first: u64) -> Result<(), OpenError> {
    let failed = |source| OpenError::io("read", &path, source);
    let file = File::open(&path).map_err(failed)?;
    if !segment::check_header(&file, &path, first)? {
        found.report.unbegun = Some(path);
        return Ok(());
    }
    let length = file.metadata().map_err(failed)?.len();
    let mut index = Index::default();
    let scan = segment::scan(&file, first - 1, HEADER as u64, length, &mut index);
    let scan = scan.map_err(failed)?;
    if let Some(why) = scan.fault {
        let next = scan.last + 1;
        let rest = (scan.end, length);
        if let Some((at, seq)) = segment::whole_after(&file, rest, next).map_err(failed)? {
            return Err(damage_in_the_middle(&path, scan.end, next, why, (at, seq)));
        }
        found.report.torn = Some(TornTail {
            file: path.clone(),
            offset: scan.end,
            bytes: length - scan.end,
            cut: false,
            kept: None,
        });
    }
    let (last, end) = (scan.last, scan.end);
    found.view.segments.push(Segment { path: path.into(), first, last, end, index });
    Ok(())
}

fn damage_in_the_middle(
    path: &Path,
    offset: u64,
    due: u64,
    why: &str,
    (at, seq): (u64, u64),
) -> OpenError {
    let why = format!("entry {due} is due there and {why}, yet entry {seq} is whole at byte {at}");
    let advice = format!(
        "{RESTORE}; or, to go on without entry {due} and all after it, stop what writes it, copy the \
         file away and cut it: truncate -s {offset} {}",
        path.display()
    );
    damaged(path, offset, why, advice)
}

/// Makes the directory fit to be written on: cuts a torn tail, removes a segment that was never
/// begun, and writes the sidecars that were missing.
///
/// None of it needs room on the disk, so that a full one does not keep the log from opening.
pub(crate) fn repair(disk: &dyn Disk, dir: &Path, found: &mut Found) -> Result<(), OpenError> {
    for trimmed in &found.report.trimmed {
        trim::remove(trimmed);
    }
    if let Some(unbegun) = &found.report.unbegun {
        fs::remove_file(unbegun).map_err(|source| OpenError::io("remove", unbegun, source))?;
    }
    if let Some(torn) = &mut found.report.torn {
        cut(disk, dir, torn)?;
    }
    for segment in &found.view.segments {
        let sidecar = segment::sidecar(&segment.path);
        if found.report.rebuilt.contains(&sidecar) {
            let Segment { first, last, end, ref index, .. } = *segment;
            let sealed = Sealed { first, last, end, index: index.clone() };
            if let Err(error) = sealed.store(disk, &sidecar) {
                let file = sidecar.display();
                tracing::warn!(
                    "can't write {file}: {error}; the next open reads its segment again"
                );
            }
        }
    }
    Ok(())
}

/// Cuts a torn tail, once its bytes are kept elsewhere if they can be.
fn cut(disk: &dyn Disk, dir: &Path, torn: &mut TornTail) -> Result<(), OpenError> {
    let failed = |source| OpenError::io("cut the torn tail of", &torn.file, source);
    let stem = torn.file.file_stem().unwrap_or_default().to_string_lossy();
    let kept = dir.join("torn").join(format!("{stem}-{}.bytes", torn.offset));
    let keep = || {
        let bytes = fs::read(&torn.file)?;
        let tail = usize::try_from(torn.offset).ok().and_then(|offset| bytes.get(offset..));
        disk.create_dirs(&dir.join("torn"))?;
        disk.replace(&kept, tail.unwrap_or_default())
    };
    match keep() {
        Ok(()) => torn.kept = Some(kept),
        Err(error) => tracing::warn!("can't keep what is cut in {}: {error}", kept.display()),
    }
    let file = disk.open(&torn.file).map_err(failed)?;
    file.set_len(torn.offset).and_then(|()| file.flush()).map_err(failed)?;
    torn.cut = true;
    Ok(())
}
