//! Times in keys, read as Python's `strptime` reads them: each directive with the texts that it takes there.
use jiff::{
    SignedDuration, Span,
    civil::{Date, DateTime, Time},
    fmt::strtime::BrokenDownTime,
    tz::Offset,
};

/// What is known of a time so far.
#[derive(Clone, Copy, Default)]
struct Parts {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    /// Of the year, from 1.
    nth_day: Option<i16>,
    hour: Option<i8>,
    minute: i8,
    second: i8,
    micros: i32,
    afternoon: Option<bool>,
    halved: bool,
    offset: Option<Offset>,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Reads a key; what the format leaves out is the first.
pub(super) fn read(key: &str, format: &str) -> Result<(DateTime, Option<Offset>), String> {
    let wrong = |why: &str| format!("the key `{key}` does not match the format `{format}`{why}");
    let signs = directives(format)?;
    // Dates by their week are rare, and many rules: another reader has them.
    if signs.iter().any(|it| "GVUW".contains(*it)) {
        return by_week(key, format).map_err(|why| wrong(&format!(": {why}")));
    }
    let format: Vec<char> = format.chars().collect();
    let parts = walk(&format, key, Parts::default()).ok_or_else(|| wrong(""))?;
    parts.time().ok_or_else(|| wrong(": there is no such time"))
}

/// The directives of a format; each may stand there once, as in Python.
fn directives(format: &str) -> Result<Vec<char>, String> {
    let (mut found, mut rest) = (Vec::new(), format.chars());
    while let Some(one) = rest.next() {
        if one != '%' {
            continue;
        }
        match rest.next() {
            Some('%') => {}
            Some(sign) if "YmdHIMSfyjbBaApzZuwGVUW".contains(sign) => {
                if found.contains(&sign) {
                    return Err(format!("the format `{format}` has `%{sign}` twice"));
                }
                found.push(sign);
            }
            Some(sign) => {
                return Err(format!("the format `{format}` has `%{sign}`, which is not read"));
            }
            None => return Err(format!("the format `{format}` ends with a stray `%`")),
        }
    }
    Ok(found)
}

fn by_week(key: &str, format: &str) -> Result<(DateTime, Option<Offset>), String> {
    let broken = BrokenDownTime::parse(format, key).map_err(|error| error.to_string())?;
    let date = broken.to_date().map_err(|error| error.to_string())?;
    let time = broken.to_time().map_err(|error| error.to_string())?;
    Ok((date.to_datetime(time), broken.offset()))
}

/// Goes along format and key; of what a directive could take the longest that lets the rest fit counts.
fn walk(format: &[char], key: &str, parts: Parts) -> Option<Parts> {
    let Some((first, rest)) = format.split_first() else {
        return key.is_empty().then_some(parts);
    };
    if first.is_whitespace() {
        let after = rest.iter().position(|it| !it.is_whitespace()).unwrap_or(rest.len());
        let trimmed = key.trim_start();
        return (trimmed.len() < key.len()).then(|| walk(&rest[after..], trimmed, parts))?;
    }
    if let ('%', Some((sign, rest))) = (first, rest.split_first())
        && *sign != '%'
    {
        let tries = (1..=17_usize).rev().filter_map(|length| key.get(..length));
        return tries
            .filter_map(|text| Some((parts.with(*sign, text)?, text.len())))
            .find_map(|(parts, length)| walk(rest, &key[length..], parts));
    }
    let rest = if *first == '%' { &rest[1..] } else { rest };
    let next = key.chars().next()?;
    let same = next == *first || next.to_lowercase().eq(first.to_lowercase());
    same.then(|| walk(rest, &key[next.len_utf8()..], parts))?
}

/// A whole number of so many digits at most within these bounds; a day may have a space for its first digit.
fn number(text: &str, digits: usize, least: i32, most: i32) -> Option<i32> {
    let fits = text.len() <= digits && text.bytes().all(|it| it.is_ascii_digit());
    let number: i32 = fits.then(|| text.parse().ok())??;
    (least..=most).contains(&number).then_some(number)
}

fn small(text: &str, least: i32, most: i32) -> Option<i8> {
    number(text, 2, least, most).and_then(|it| i8::try_from(it).ok())
}

fn named(text: &str, names: &[&str], cut: bool) -> Option<i8> {
    let name = |it: &str| if cut { it[..3].to_owned() } else { it.to_owned() };
    let at = names.iter().position(|it| name(it).eq_ignore_ascii_case(text))?;
    i8::try_from(at + 1).ok()
}

/// `+hh[:]mm[[:]ss[.ffffff]]`, or `Z`.
fn offset(text: &str) -> Option<Offset> {
    if text == "Z" {
        return Some(Offset::UTC);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (whole, _) = text[1..].split_once('.').unwrap_or((&text[1..], ""));
    let pieces: Vec<&str> = if whole.contains(':') {
        whole.split(':').collect()
    } else {
        (0..whole.len()).step_by(2).map(|at| whole.get(at..at + 2)).collect::<Option<_>>()?
    };
    if !(2..=3).contains(&pieces.len()) || pieces.iter().any(|it| it.len() != 2) {
        return None;
    }
    let part = |at: usize, most| pieces.get(at).map_or(Some(0), |it| number(it, 2, 0, most));
    let seconds = part(0, 23)? * 3_600 + part(1, 59)? * 60 + part(2, 59)?;
    Offset::from_seconds(sign * seconds).ok()
}

impl Parts {
    /// The same with what a directive says by this text; nothing where the text is none for it.
    fn with(mut self, sign: char, text: &str) -> Option<Self> {
        let day = |text: &str| {
            let bare = text.strip_prefix(' ').filter(|it| it.len() == 1).unwrap_or(text);
            small(bare, 1, 31)
        };
        match sign {
            'Y' => {
                let four = (text.len() == 4).then(|| number(text, 4, 1, 9_999))?;
                self.year = i16::try_from(four?).ok();
            }
            'y' => {
                let two = (text.len() == 2).then(|| number(text, 2, 0, 99))??;
                self.year = i16::try_from(if two <= 68 { 2_000 + two } else { 1_900 + two }).ok();
            }
            'm' => self.month = Some(small(text, 1, 12)?),
            'b' => self.month = Some(named(text, &MONTHS, true)?),
            'B' => self.month = Some(named(text, &MONTHS, false)?),
            'd' => self.day = Some(day(text)?),
            'j' => self.nth_day = i16::try_from(number(text, 3, 1, 366)?).ok(),
            'H' => self.hour = Some(small(text, 0, 23)?),
            'I' => (self.hour, self.halved) = (Some(small(text, 1, 12)?), true),
            'M' => self.minute = small(text, 0, 59)?,
            'S' => self.second = small(text, 0, 61)?,
            'f' => {
                let digits = number(text, 6, 0, 999_999)?;
                self.micros = digits * 10_i32.pow(6 - u32::try_from(text.len()).ok()?);
            }
            'p' => {
                let is_pm = text.eq_ignore_ascii_case("pm");
                self.afternoon = (is_pm || text.eq_ignore_ascii_case("am")).then_some(is_pm);
                self.afternoon?;
            }
            'a' => _ = named(text, &DAYS, true)?,
            'A' => _ = named(text, &DAYS, false)?,
            'u' => _ = (text.len() == 1).then(|| small(text, 1, 7))??,
            'w' => _ = (text.len() == 1).then(|| small(text, 0, 6))??,
            'Z' => {
                let known = ["utc", "gmt"].iter().any(|it| it.eq_ignore_ascii_case(text));
                known.then_some(())?;
            }
            'z' => self.offset = Some(offset(text)?),
            _ => return None,
        }
        Some(self)
    }

    fn time(self) -> Option<(DateTime, Option<Offset>)> {
        let year = self.year.unwrap_or(1900);
        let date = match self.nth_day {
            Some(nth) => {
                let begin = Date::new(year, 1, 1).ok()?;
                begin.checked_add(Span::new().days(i64::from(nth) - 1)).ok()?
            }
            None => Date::new(year, self.month.unwrap_or(1), self.day.unwrap_or(1)).ok()?,
        };
        let hour = self.hour.unwrap_or(0);
        let hour = if self.halved {
            hour % 12 + if self.afternoon == Some(true) { 12 } else { 0 }
        } else {
            hour
        };
        let time = Time::new(hour, self.minute, self.second, self.micros * 1_000).ok()?;
        let at = date.to_datetime(time);
        // A time that lies past the end of time by its offset is none.
        let shift = self.offset.map_or(0, Offset::seconds);
        at.checked_sub(SignedDuration::from_secs(i64::from(shift))).ok()?;
        Some((at, self.offset))
    }
}
