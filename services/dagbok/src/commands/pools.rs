//! `dagbok pools …`: as `airflow pools`, from which files can be taken over.
use std::{collections::BTreeMap, path::Path};

use dagbok_api::shapes::{
    BulkResponse, OnExistence, PoolAction, PoolBody, PoolBulk, PoolCollection, PoolResponse,
};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    api::{Api, Sent},
    cli::{Pool, PoolFile, PoolsCommand, SetPool},
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Table,
};

/// A pool in a file, under its name.
#[derive(Debug, Serialize, Deserialize)]
struct InFile {
    slots: i64,
    description: Option<String>,
    #[serde(default)]
    include_deferred: bool,
}

pub(crate) async fn run(context: &Context, command: &PoolsCommand) -> Outcome {
    match command {
        PoolsCommand::List => list(context).await,
        PoolsCommand::Get(args) => get(context, args).await,
        PoolsCommand::Set(args) => set(context, args).await,
        PoolsCommand::Delete(args) => delete(context, args).await,
        PoolsCommand::Import(args) => import(context, args).await,
        PoolsCommand::Export(args) => export(context, args).await,
    }
}

async fn list(context: &Context) -> Outcome {
    let found = all(&Api::of(context).await?).await?;
    if context.out.is_json() {
        let total_entries = found.len();
        context.out.document(&PoolCollection { pools: found, total_entries });
    } else {
        show(context, &found);
    }
    Ok(Exit::Ok)
}

async fn get(context: &Context, args: &Pool) -> Outcome {
    let found: PoolResponse = Api::of(context).await?.get(&["pools", &args.name], &[]).await?;
    if context.out.is_json() {
        context.out.document(&found);
    } else {
        show(context, &[found]);
    }
    Ok(Exit::Ok)
}

async fn set(context: &Context, args: &SetPool) -> Outcome {
    let api = Api::of(context).await?;
    let wanted = PoolBody {
        name: args.name.clone(),
        slots: args.slots,
        description: Some(args.description.clone()),
        include_deferred: Some(args.include_deferred),
        team_name: None,
    };
    put(&api, vec![wanted]).await?;
    if context.out.is_json() {
        let found: PoolResponse = api.get(&["pools", &args.name], &[]).await?;
        context.out.document(&found);
    } else {
        context.out.line(&format!("{}: {} slots", args.name, slots_text(args.slots)));
    }
    Ok(Exit::Ok)
}

async fn delete(context: &Context, args: &Pool) -> Outcome {
    Api::of(context).await?.delete(&["pools", &args.name]).await?;
    if context.out.is_json() {
        context.out.document(&json!({ "name": args.name }));
    } else {
        context.out.line(&format!("{} is deleted", args.name));
    }
    Ok(Exit::Ok)
}

/// Reads pools from a file, and makes or changes each.
async fn import(context: &Context, args: &PoolFile) -> Outcome {
    let shown = args.path.display();
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::new(Code::Usage, format!("{shown}: {why}"))
            .next(r#"write it as {"gpu": {"slots": 5, "description": ""}}, as `dagbok pools export` does"#)
    };
    let text = std::fs::read_to_string(&args.path).map_err(|error| wrong(&error))?;
    let pools: BTreeMap<String, InFile> =
        serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    let names: Vec<String> = pools.keys().cloned().collect();
    let wanted = pools.into_iter().map(|(name, pool)| PoolBody {
        name,
        slots: pool.slots,
        description: Some(pool.description.unwrap_or_default()),
        include_deferred: Some(pool.include_deferred),
        team_name: None,
    });
    put(&Api::of(context).await?, wanted.collect()).await?;
    tell(context, &names, "made or changed");
    Ok(Exit::Ok)
}

async fn export(context: &Context, args: &PoolFile) -> Outcome {
    let found = all(&Api::of(context).await?).await?;
    let pools: BTreeMap<String, InFile> = found
        .into_iter()
        .map(|pool| {
            let PoolResponse { name, slots, description, include_deferred, .. } = pool;
            (name, InFile { slots, description, include_deferred })
        })
        .collect();
    let text = serde_json::to_string_pretty(&pools).expect("pools have text keys");
    write(&args.path, &text)?;
    let names: Vec<String> = pools.into_keys().collect();
    tell(context, &names, "written");
    Ok(Exit::Ok)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, format!("{text}\n"))
        .map_err(|error| Failure::new(Code::Usage, format!("{}: {error}", path.display())))
}

fn tell(context: &Context, names: &[String], what: &str) {
    if context.out.is_json() {
        context.out.document(&json!({ "pools": names }));
    } else {
        context.out.line(&format!("{} pools {what}", names.len()));
    }
}

/// Makes these pools, or changes those that are there.
async fn put(api: &Api, entities: Vec<PoolBody>) -> Result<(), Failure> {
    let action_on_existence = OnExistence::Overwrite;
    let actions = vec![PoolAction::Create { entities, action_on_existence }];
    let sent: Sent<BulkResponse> =
        api.send(Method::PATCH, &["pools"], &PoolBulk { actions }).await?;
    let errors = match sent {
        Sent::Done(done) => done.create.unwrap_or_default().errors,
        Sent::Accepted(_) => Vec::new(),
    };
    match errors.first() {
        None => Ok(()),
        Some(first) => Err(Failure::new(Code::Refused, &first.error)),
    }
}

async fn all(api: &Api) -> Result<Vec<PoolResponse>, Failure> {
    api.all(&["pools"], |page: PoolCollection| (page.pools, page.total_entries)).await
}

fn show(context: &Context, pools: &[PoolResponse]) {
    let mut table = Table::new(&[
        "pool",
        "slots",
        "running",
        "queued",
        "open",
        "deferred count",
        "description",
    ]);
    for pool in pools {
        table.row(vec![
            pool.name.clone(),
            slots_text(pool.slots),
            pool.running_slots.to_string(),
            pool.queued_slots.to_string(),
            slots_text(pool.open_slots),
            if pool.include_deferred { "yes" } else { "no" }.to_owned(),
            pool.description.clone().unwrap_or_default(),
        ]);
    }
    context.out.table(&table, "No pools.");
}

/// A number of slots; -1 is no limit.
fn slots_text(slots: i64) -> String {
    if slots == -1 { "unlimited".to_owned() } else { slots.to_string() }
}
