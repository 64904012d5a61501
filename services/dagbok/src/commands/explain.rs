//! `dagbok explain DBK0014`: the page of an error code, which is in the binary. With `--json` one object: `code`,
//! `exit`, `page`; without a code a list of `code`, `about`.
use serde_json::json;

use crate::{
    cli::Explain,
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Table,
};

/// Every page: the code's name, and Markdown.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// What a page's first line says, without the code.
fn about(page: &str) -> &str {
    let line = page.lines().next().unwrap_or_default();
    line.split_once(": ").map_or(line, |(_, about)| about)
}

pub(crate) fn explain(context: &Context, args: &Explain) -> Outcome {
    let out = context.out;
    let Some(typed) = &args.code else {
        if out.is_json() {
            let all =
                PAGES.iter().map(|(code, page)| json!({ "code": code, "about": about(page) }));
            out.document(&all.collect::<Vec<_>>());
            return Ok(Exit::Ok);
        }
        let mut table = Table::new(&["code", "about"]);
        for (code, page) in PAGES {
            table.row(vec![(*code).to_owned(), about(page).to_owned()]);
        }
        out.table(&table, "");
        return Ok(Exit::Ok);
    };
    let digits = typed.trim().to_uppercase();
    let digits = digits.strip_prefix("DBK").unwrap_or(&digits);
    let number = digits.parse::<u16>().ok();
    let found = number.and_then(|number| {
        let name = format!("DBK{number:04}");
        PAGES.iter().find(|(code, _)| *code == name)
    });
    let Some((code, page)) = found else {
        return Err(Failure::new(Code::NotFound, format!("no error has the code `{typed}`"))
            .next("`dagbok explain` lists all"));
    };
    if out.is_json() {
        out.document(&json!({ "code": code, "page": page }));
    } else {
        out.line(page.trim_end());
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_page_in_the_binary() {
        for code in Code::ALL {
            let name = code.to_string();
            let page = PAGES.iter().find(|(code, _)| **code == name).map(|(_, page)| *page);
            let page = page.unwrap_or_else(|| panic!("{name} has no page"));
            assert!(page.starts_with(&format!("# {name}: ")), "{name}");
            assert!(!about(page).is_empty());
        }
    }
}
