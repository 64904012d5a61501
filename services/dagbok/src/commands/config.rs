//! `dagbok config show` and `config check`; with `--json` a list of `key`, `value`, `origin`.
use dagbok_config::Place;
use serde_json::{Value, json};

use crate::{
    cli::{ConfigCommand, ConfigShow},
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Table,
    services, wire,
};

/// Does what is asked. What is wrong with the configuration was said before this.
pub(crate) fn run(context: &Context, command: &ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Show(args) => {
            show(context, args)?;
            Ok(Exit::Ok)
        }
        ConfigCommand::Check => {
            services::lineage(&context.config)?;
            place_of_blobs(context)?;
            let set = context.settings().into_iter().filter(|it| it.place != Place::Default);
            let count = set.count();
            if context.out.is_json() {
                context.out.document(&json!({ "ok": true, "set": count }));
            } else {
                context.out.line(&format!("the configuration is right; it sets {count} keys"));
            }
            Ok(Exit::Ok)
        }
    }
}

/// Opens the object store, which asks it nothing; what is wrong is said with the places that say anything of it.
fn place_of_blobs(context: &Context) -> Result<(), Failure> {
    let Err(failure) = wire::objects(&context.config) else { return Ok(()) };
    let of = |key: &str| key.starts_with("blobs.") || key.starts_with("logging.");
    let said = context.settings().into_iter();
    let said = said.filter(|it| of(&it.key) && it.place != Place::Default);
    let said: Vec<String> = said.map(|it| format!("`{}` in {}", it.key, it.place)).collect();
    Err(failure.next(format!("mend one of {}", said.join(", "))))
}

fn show(context: &Context, args: &ConfigShow) -> Result<(), Failure> {
    let settings = context.settings().into_iter().filter(|it| {
        (args.all || it.place != Place::Default)
            && args.key.as_ref().is_none_or(|key| it.key.starts_with(key))
    });
    let settings: Vec<_> = settings.collect();
    if let Some(key) = &args.key
        && !context.settings().iter().any(|it| it.key.starts_with(key))
    {
        return Err(Failure::new(Code::NotFound, format!("no key begins with `{key}`"))
            .next("`dagbok config show --all` lists them"));
    }
    if context.out.is_json() {
        let rows = settings
            .iter()
            .map(|it| json!({ "key": it.key, "value": it.value, "origin": it.place.to_string() }));
        context.out.document(&rows.collect::<Vec<_>>());
        return Ok(());
    }
    let mut table = Table::new(&["key", "value", "origin"]);
    for it in settings {
        let value = match it.value {
            Value::String(text) => text,
            value => value.to_string(),
        };
        table.row(vec![it.key, value, it.place.to_string()]);
    }
    let empty = "Nothing is set: all is as it is by default; --all shows it.";
    context.out.table(&table, empty);
    Ok(())
}
