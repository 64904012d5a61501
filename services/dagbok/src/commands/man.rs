//! `dagbok man DIR`: a man page for each command, made of the same texts as its help. With `--json` one object: `folder`,
//! `pages`, how many.
use clap::CommandFactory as _;
use serde_json::json;

use crate::{
    cli::{Cli, Man, with_examples},
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::quoted,
};

pub(crate) fn run(context: &Context, args: &Man) -> Outcome {
    let folder = &args.folder;
    let unusable = |error: std::io::Error| {
        Failure::new(
            Code::HomeUnusable,
            format!("`{}` can't be written: {error}", folder.display()),
        )
    };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    clap_mangen::generate_to(with_examples(Cli::command()), folder).map_err(unusable)?;
    let pages = std::fs::read_dir(folder).map_err(unusable)?.count();
    if context.out.is_json() {
        context.out.document(&json!({ "folder": folder.display().to_string(), "pages": pages }));
        return Ok(Exit::Ok);
    }
    let shown = quoted(&folder.display().to_string());
    context.out.line(&format!("{pages} pages in {shown}"));
    context.out.line(&format!("  next: man -l {shown}/dagbok.1"));
    Ok(Exit::Ok)
}
