//! What the OpenAPI document says of every operation alike, so that no handler has to.
use utoipa::openapi::{
    Content, OpenApi, Ref, RefOr, Response,
    path::{Operation, Parameter, ParameterIn},
};

/// Adds the answers that come before or around a handler: of what reads queries and bodies, and of the
/// limit of time.
pub(crate) fn complete(document: &mut OpenApi) {
    for path in document.paths.paths.values_mut() {
        for operation in [&mut path.get, &mut path.post, &mut path.patch].into_iter().flatten() {
            complete_one(operation);
        }
    }
}

fn complete_one(operation: &mut Operation) {
    let queries: Vec<&Parameter> = operation
        .parameters
        .iter()
        .flatten()
        .filter_map(|it| match it {
            RefOr::T(parameter) => Some(parameter),
            RefOr::Ref(_) => None,
        })
        .filter(|it| it.parameter_in == ParameterIn::Query)
        .collect();
    let ordered = queries.iter().any(|it| it.name == "order_by");
    let asks = !queries.is_empty();
    let takes_json = operation.request_body.is_some();
    let answers = [
        ("400", ordered, "`order_by` names nothing to order by"),
        ("415", takes_json, "the body is not said to be JSON"),
        ("422", asks || takes_json, "a parameter or the body has another shape"),
        (
            "503",
            true,
            "the rows are being rebuilt, the service stops, or no answer was ready in time",
        ),
    ];
    for (status, may_come, why) in answers {
        if may_come {
            let responses = &mut operation.responses.responses;
            responses.entry(status.to_owned()).or_insert_with(|| detail(why));
        }
    }
}

/// An error in the shape of all others.
fn detail(why: &str) -> RefOr<Response> {
    let mut response = Response::new(why);
    let schema = RefOr::Ref(Ref::from_schema_name("Detail"));
    response.content.insert("application/json".to_owned(), RefOr::T(Content::new(Some(schema))));
    RefOr::T(response)
}
