//! What the OpenAPI document says of every operation alike, so that no handler has to.
use utoipa::openapi::{
    Content, OpenApi, Ref, RefOr, Response, Schema, Type,
    path::{Operation, Parameter, ParameterIn},
    schema::SchemaType,
};

/// Adds the answers that come before or around a handler: of what reads queries and bodies, and of the
/// limit of time.
pub(crate) fn complete(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let all = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in all {
            if let Some(operation) = operation {
                operation.operation_id = Some(operation_id(method, path));
                complete_one(operation);
            }
        }
    }
}

/// What generated clients call an operation, unlike any other's: `get_dags_by_dag_id`.
fn operation_id(method: &str, path: &str) -> String {
    let path = path.strip_prefix("/api/v2").unwrap_or(path);
    let parts = path.split('/').filter(|part| !part.is_empty());
    let named =
        parts.map(|part| match part.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
            Some(parameter) => format!("_by_{parameter}"),
            None => format!("_{part}"),
        });
    method.to_owned() + &named.collect::<String>()
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
    // A number in the path may be none, which is a shape as in a query.
    let numbered = operation.parameters.iter().flatten().any(
        |it| matches!(it, RefOr::T(it) if it.parameter_in == ParameterIn::Path && !is_text(it)),
    );
    let asks = numbered || !queries.is_empty();
    let takes_json = operation.request_body.is_some();
    let answers = [
        ("400", ordered, "`order_by` names nothing to order by"),
        ("403", true, "the API was asked by a foreign name, or from a foreign page"),
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
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            meaning(status).clone_into(&mut response.description);
        }
    }
}

/// Whether any text will do for a parameter.
fn is_text(parameter: &Parameter) -> bool {
    let text = SchemaType::Type(Type::String);
    matches!(&parameter.schema, Some(RefOr::T(Schema::Object(it))) if it.schema_type == text)
}

/// What a status says where the handler has nothing to add; OpenAPI wants a text with each.
fn meaning(status: &str) -> &'static str {
    match status {
        "200" => "What was asked for",
        "202" => "Done, and not to be seen yet",
        "204" => "Done",
        "400" => "What was asked for breaks a rule",
        "404" => "There is no such thing",
        "409" => "In conflict with what there is",
        "422" => "A parameter or the body has another shape",
        "503" => "Not now: asking again may help",
        "504" => "No scheduler answered: it may yet be done",
        _ => "See `detail`",
    }
}

/// An error in the shape of all others.
fn detail(why: &str) -> RefOr<Response> {
    let mut response = Response::new(why);
    let schema = RefOr::Ref(Ref::from_schema_name("Detail"));
    response.content.insert("application/json".to_owned(), RefOr::T(Content::new(Some(schema))));
    RefOr::T(response)
}
