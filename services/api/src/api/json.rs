//! JSON as text, whose numbers stay as they were written: they may be too long for any number of ours.

/// JSON without the blanks between its parts.
pub(crate) fn compact(json: &str) -> String {
    let (mut text, mut quoted, mut escaped) = (String::with_capacity(json.len()), false, false);
    for c in json.chars() {
        if quoted || !c.is_ascii_whitespace() {
            text.push(c);
        }
        let ends = c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        quoted ^= ends;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_go_and_texts_and_numbers_stay() {
        for (json, want) in [
            (" { \"a b\" : [ 1 , 2 ] }\n", r#"{"a b":[1,2]}"#),
            (r#"{ "q\" : ": "\\" , "x": 1 }"#, r#"{"q\" : ":"\\","x":1}"#),
            (" 1000000000000000000001.00 ", "1000000000000000000001.00"),
        ] {
            assert_eq!(compact(json), want);
        }
    }
}
