//! `dagbok version`: this build, and the API's where one answers. With `--json` one object: `version`,
//! and `api`, the API's version or null.
use dagbok_api::shapes::VersionInfo;
use serde_json::json;

use crate::{api::Api, context::Context, exit::Exit, failure::Outcome};

pub(crate) async fn run(context: &Context) -> Outcome {
    let own = env!("CARGO_PKG_VERSION");
    // No API is no failure here: the question is about this build first.
    let api = match Api::of(context).await {
        Ok(api) => api.get::<VersionInfo>(&["version"], &[]).await.ok().map(|info| info.version),
        Err(_) => None,
    };
    if context.out.is_json() {
        context.out.document(&json!({ "version": own, "api": api }));
    } else {
        context.out.line(&format!("dagbok {own}"));
        if let Some(api) = api {
            context.out.line(&format!("API    {api}  ({})", context.api()));
        }
    }
    Ok(Exit::Ok)
}
