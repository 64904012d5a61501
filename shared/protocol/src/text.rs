//! The one way to cut a text that is too long: within the limit, between letters, and with the number of bytes
//! that are missing, however often it is cut.
use std::ops::Range;

/// How the words for what was cut begin and end; between them stands the number of bytes.
const MARK: (&str, &str) = ("… (", " bytes cut)");

/// The start of a text in at most `most` bytes: what is longer ends in `… (N bytes cut)`, of the text as it was
/// before any cut. Where not even these words have room, they are left out.
pub fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let marks = marks(text);
    let mut end = text.len();
    loop {
        end = text.floor_char_boundary(end);
        if let Some((mark, _)) = marks.iter().find(|(mark, _)| mark.start < end && end < mark.end) {
            end = mark.start;
        }
        let said = said(text, end..text.len(), &marks);
        match most.checked_sub(said.len()) {
            Some(room) if end <= room => return format!("{}{said}", &text[..end]),
            Some(room) => end = room.min(end - 1),
            None => return text[..text.floor_char_boundary(most)].to_owned(),
        }
    }
}

/// The end of a text in at most `most` bytes: what is longer begins with a line `… (N bytes cut)`. As [`cut`].
pub fn cut_start(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let marks = marks(text);
    let mut start = 0;
    loop {
        start = text.ceil_char_boundary(start);
        if let Some((mark, _)) =
            marks.iter().find(|(mark, _)| mark.start < start && start < mark.end)
        {
            start = mark.end;
        }
        let said = format!("{}\n", said(text, 0..start, &marks));
        let kept = text.len() - start;
        match most.checked_sub(said.len()) {
            Some(room) if kept <= room => return format!("{said}{}", &text[start..]),
            Some(room) => start = (text.len() - room).max(start + 1),
            None => return text[text.ceil_char_boundary(text.len() - most)..].to_owned(),
        }
    }
}

/// The words for what is missing once `gone` is, where some was missing from it before.
fn said(text: &str, gone: Range<usize>, marks: &[(Range<usize>, u64)]) -> String {
    let mut missing = text[gone.clone()].len() as u64;
    for (mark, before) in
        marks.iter().filter(|(it, _)| gone.start <= it.start && it.end <= gone.end)
    {
        // The words of before are none of the text.
        missing = (missing - mark.len() as u64).saturating_add(*before);
    }
    format!("{}{missing}{}", MARK.0, MARK.1)
}

/// Where it is said how much was cut, and how much; where that is a line of its own, with its ends.
fn marks(text: &str) -> Vec<(Range<usize>, u64)> {
    let found = text.match_indices(MARK.0).filter_map(|(at, _)| {
        let rest = &text[at + MARK.0.len()..];
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number = rest[..digits].parse().ok()?;
        rest[digits..].starts_with(MARK.1).then(|| {
            let end = at + MARK.0.len() + digits + MARK.1.len();
            let alone = text[end..].starts_with('\n') && (at == 0 || text[..at].ends_with('\n'));
            (at - usize::from(alone && at > 0)..end + usize::from(alone), number)
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_within_the_limit_stays_as_it_is() {
        assert_eq!(cut("", 0), "");
        assert_eq!(cut("åäö", 6), "åäö");
        assert_eq!(cut_start("åäö", 6), "åäö");
    }

    #[test]
    fn what_is_cut_is_counted_between_letters() {
        assert_eq!(cut(&"x".repeat(3_048), 48), format!("{}… (3020 bytes cut)", "x".repeat(28)));
        let text = cut(&"å".repeat(100), 50);
        assert_eq!(text, format!("{}… (170 bytes cut)", "å".repeat(15)));
        assert_eq!(cut_start("the first line, the end", 22), "… (20 bytes cut)\nend");
        assert!(cut_start(&format!("{}the end", "ö".repeat(100)), 40).ends_with("ö\u{f6}the end"));
    }

    #[test]
    fn what_was_cut_before_counts_too() {
        let once = cut(&"x".repeat(5_000), 2_048);
        let twice = cut(&once, 2_047);
        assert_eq!(twice, cut(&"x".repeat(5_000), 2_047));
        let inside = format!("{}{}1000{}{}", "a".repeat(100), MARK.0, MARK.1, "b".repeat(100));
        assert!(cut(&inside, 60).ends_with("(1160 bytes cut)"), "{}", cut(&inside, 60));
        assert!(
            cut_start(&inside, 60).starts_with("… (1161 bytes cut)\n"),
            "{}",
            cut_start(&inside, 60)
        );
    }

    #[test]
    fn where_the_words_have_no_room_the_text_is_cut_all_the_same() {
        for most in 0..30 {
            assert!(cut(&"ö".repeat(100), most).len() <= most);
            assert!(cut_start(&"ö".repeat(100), most).len() <= most);
        }
    }

    /// Letters of one to four bytes, without the words for what was cut.
    fn some_text(seed: &mut u64) -> String {
        let mut roll = |sides: u64| {
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (*seed >> 33) % sides
        };
        (0..roll(400))
            .map(|_| {
                ['a', '(', '7', ' ', 'å', '…', '\n', '😀'][usize::try_from(roll(8)).expect("few")]
            })
            .collect()
    }

    #[test]
    fn however_often_it_is_cut_what_is_left_and_what_is_said_are_the_whole() {
        let mut seed = 7;
        for round in 0..20_000_u64 {
            let whole = some_text(&mut seed);
            let mut text = whole.clone();
            for step in 0..4 {
                let most = usize::try_from(seed >> 40).expect("small") % 300 + 40;
                // One of both ways: two would leave two marks that must not come to lie in one.
                let shorter =
                    if round % 2 == 0 { cut(&text, most) } else { cut_start(&text, most) };
                assert!(shorter.len() <= most, "{whole:?} {step}");
                text = shorter;
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            }
            let marks = marks(&text);
            let said: u64 = marks.iter().map(|(_, missing)| missing).sum();
            let words: usize = marks.iter().map(|(mark, _)| mark.len()).sum();
            assert_eq!(
                text.len() - words + usize::try_from(said).expect("small"),
                whole.len(),
                "{whole:?} to {text:?}"
            );
        }
    }
}
