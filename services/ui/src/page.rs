//! The one page: it names the application's files, and has the first view's snapshot in it.
use std::fmt::Write as _;

use crate::files;

/// What the page may load: itself, and nothing from anywhere else. No script and no style stands in the page.
pub const SECURITY_POLICY: &str = "default-src 'self'; base-uri 'self'; object-src 'none'; form-action 'self'; \
                                   frame-ancestors 'none'; img-src 'self' data:";

const ABSENT: &str = "<main><h1>Dagbok</h1><p>This binary was built without its web UI. To have it:</p>\
                      <pre>cd services/ui/web\nnpm ci\nnpm run build</pre>\
                      <p>and build the binary again; <code>make build</code> does all of it. The API answers as it \
                      is: <a href=\"openapi.json\">openapi.json</a> lists what there is.</p></main>";

/// A page for one view.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The way from this page to where the application lies, as [`base_of`] says.
    pub base: &'a str,
    /// The view's name and snapshot as one JSON object; empty where there is none.
    pub snapshot: &'a str,
}

impl Page<'_> {
    /// As HTML.
    pub fn html(&self) -> String {
        let mut html = String::with_capacity(self.snapshot.len() + 1024);
        let base = self.base;
        let _ = write!(
            html,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<base href=\"{base}\">\n<title>Dagbok</title>\n"
        );
        for (kind, name) in files::ENTRIES {
            let _ = match *kind {
                "style" => writeln!(html, "<link rel=\"stylesheet\" href=\"assets/{name}\">"),
                "icon" => writeln!(html, "<link rel=\"icon\" href=\"assets/{name}\">"),
                "preload" => writeln!(html, "<link rel=\"modulepreload\" href=\"assets/{name}\">"),
                _ => writeln!(html, "<script type=\"module\" src=\"assets/{name}\"></script>"),
            };
        }
        html.push_str("</head>\n<body>\n");
        if files::ENTRIES.is_empty() {
            html.push_str(ABSENT);
        } else {
            html.push_str(
                "<div id=\"app\"></div>\n<noscript>The web UI needs JavaScript.</noscript>\n",
            );
        }
        if !self.snapshot.is_empty() {
            html.push_str("<script type=\"application/json\" id=\"snapshot\">");
            // Within a script only `<` can end it or hide what follows, whatever the names in it say.
            html.push_str(&self.snapshot.replace('<', "\\u003c"));
            html.push_str("</script>\n");
        }
        html.push_str("</body>\n</html>\n");
        html
    }
}

/// The way from the page at `path` to where the application lies: relative, so that it holds behind whatever prefix
/// a proxy has put before it.
pub fn base_of(path: &str) -> String {
    match path.trim_start_matches('/').matches('/').count() {
        0 => "./".to_owned(),
        deep => "../".repeat(deep),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_as_long_as_the_path() {
        for (path, base) in [
            ("/", "./"),
            ("/dags", "./"),
            ("/dags/", "../"),
            ("/dags/etl/runs/a%2Fb", "../../../"),
            ("/dags/etl/runs/r/tasks/t", "../../../../../"),
        ] {
            assert_eq!(base_of(path), base, "{path}");
        }
    }

    #[test]
    fn a_name_can_not_close_the_script() {
        let page =
            Page { base: "./", snapshot: r#"{"x":"</script><script>alert(1)</script><!--"}"# };
        let html = page.html();
        let data = html.split("id=\"snapshot\">").nth(1).expect("the snapshot is there");
        assert!(data.starts_with(
            r#"{"x":"\u003c/script>\u003cscript>alert(1)\u003c/script>\u003c!--"}</script>"#
        ));
    }
}
