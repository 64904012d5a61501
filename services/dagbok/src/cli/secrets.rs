//! Arguments of `dagbok connections`, `dagbok variables` and `dagbok secrets`: as Airflow's commands take them.
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

/// `dagbok connections …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConnectionsCommand {
    /// Make a connection
    #[command(
        after_help = "With --json: the API's ConnectionResponse, which has no password and no extra"
    )]
    Add(Box<AddConnection>),
    /// List the connections that are on the log
    #[command(after_help = "With --json: `{connections: […], total_entries}`")]
    List,
    /// Show one connection
    #[command(
        after_help = "With --json: the API's ConnectionResponse; with --show-secret, its password and extra too"
    )]
    Get(GetConnection),
    /// Delete a connection
    #[command(after_help = "With --json: `{connection_id}`")]
    Delete(Connection),
    /// Make the connections of a file that `export` or `airflow connections export` wrote: .json, .yaml, .env
    #[command(after_help = "With --json: `{connections: [ID, …], skipped: [ID, …]}`")]
    Import(ImportConnections),
    /// Write all connections to a file, with their secrets; `-` is standard output
    #[command(after_help = "With --json: `{connections: [ID, …]}`, unless the file is `-`")]
    Export(ExportConnections),
    /// Try a connection by its hook's test_connection, in the tasks' Python on this machine
    #[command(after_help = "With --json: `{connection_id, worked, message}`")]
    Test(Connection),
}

/// A connection.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Its id
    pub(crate) conn_id: String,
}

/// `dagbok connections get`.
#[derive(Debug, Args)]
pub(crate) struct GetConnection {
    /// Its id
    pub(crate) conn_id: String,
    /// Show its password and extra; needs the key file
    #[arg(long)]
    pub(crate) show_secret: bool,
}

/// `dagbok connections add`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("how").required(true).args(["conn_uri", "conn_json", "conn_type"])))]
pub(crate) struct AddConnection {
    /// Its id
    pub(crate) conn_id: String,
    /// All of it as a URI; `-` reads it from standard input, since arguments can be seen by others
    #[arg(long, value_name = "URI")]
    pub(crate) conn_uri: Option<String>,
    /// All of it as a JSON object; `-` reads it from standard input
    #[arg(long, value_name = "JSON")]
    pub(crate) conn_json: Option<String>,
    /// Its type, by which a hook is found
    #[arg(long, value_name = "TYPE")]
    pub(crate) conn_type: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub(crate) conn_description: Option<String>,
    /// The host
    #[arg(long, value_name = "HOST", requires = "conn_type")]
    pub(crate) conn_host: Option<String>,
    /// Who logs in
    #[arg(long, value_name = "LOGIN", requires = "conn_type")]
    pub(crate) conn_login: Option<String>,
    /// The password; `-` reads it from standard input
    #[arg(long, value_name = "PASSWORD", requires = "conn_type")]
    pub(crate) conn_password: Option<String>,
    /// The database, or what stands in its place
    #[arg(long, value_name = "SCHEMA", requires = "conn_type")]
    pub(crate) conn_schema: Option<String>,
    /// The port
    #[arg(long, value_name = "PORT", requires = "conn_type")]
    pub(crate) conn_port: Option<u16>,
    /// Whatever else its hook needs, as a JSON object
    #[arg(long, value_name = "JSON", requires = "conn_type")]
    pub(crate) conn_extra: Option<String>,
    /// Change it where it is there
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// `dagbok connections import`.
#[derive(Debug, Args)]
pub(crate) struct ImportConnections {
    /// The file
    pub(crate) path: PathBuf,
    /// Change those that are there; without it they stay as they are
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// An object for each connection.
    Json,
    /// The same, in YAML.
    Yaml,
    /// A line for each.
    Env,
}

/// How a line of an `.env` file says a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Serialization {
    /// As a URI.
    Uri,
    /// As a JSON object.
    Json,
}

/// `dagbok connections export`.
#[derive(Debug, Args)]
pub(crate) struct ExportConnections {
    /// The file; `-` is standard output
    pub(crate) path: PathBuf,
    /// Its form [default: by its ending, else json]
    #[arg(long, visible_alias = "format", value_name = "FORMAT")]
    pub(crate) file_format: Option<FileFormat>,
    /// How a line of an .env file says a connection
    #[arg(long, value_name = "FORM", default_value = "uri")]
    pub(crate) serialization_format: Serialization,
}

/// `dagbok variables …`.
#[derive(Debug, Subcommand)]
pub(crate) enum VariablesCommand {
    /// Give a variable a value
    #[command(visible_alias = "add", after_help = "With --json: the API's VariableResponse")]
    Set(SetVariable),
    /// List the variables that are on the log
    #[command(after_help = "With --json: `{variables: […], total_entries}`")]
    List,
    /// Print a variable's value
    #[command(after_help = "With --json: the API's VariableResponse")]
    Get(GetVariable),
    /// Delete a variable
    #[command(after_help = "With --json: `{key}`")]
    Delete(Variable),
    /// Set the variables of a file that `export` or `airflow variables export` wrote: .json, .yaml, .env
    #[command(after_help = "With --json: `{variables: [KEY, …], skipped: [KEY, …]}`")]
    Import(ImportVariables),
    /// Write all variables to a file, with their values; `-` is standard output
    #[command(after_help = "With --json: `{variables: [KEY, …]}`, unless the file is `-`")]
    Export(ExportVariables),
}

/// A variable.
#[derive(Debug, Args)]
pub(crate) struct Variable {
    /// Its key
    pub(crate) key: String,
}

/// `dagbok variables set`.
#[derive(Debug, Args)]
pub(crate) struct SetVariable {
    /// Its key
    pub(crate) key: String,
    /// Its value; `-` reads it from standard input, since arguments can be seen by others
    pub(crate) value: String,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Keep the value as a JSON text
    #[arg(short = 'j', long)]
    pub(crate) serialize_json: bool,
}

/// `dagbok variables get`.
#[derive(Debug, Args)]
pub(crate) struct GetVariable {
    /// Its key
    pub(crate) key: String,
    /// What is printed where there is no such variable
    #[arg(short, long, value_name = "VAL")]
    pub(crate) default: Option<String>,
    /// Show a value whose name says that it is a secret; needs the key file
    #[arg(long)]
    pub(crate) show_secret: bool,
}

/// What to do with a variable that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnExisting {
    /// Give it the file's value.
    Overwrite,
    /// Set none of the file.
    Fail,
    /// Leave it as it is.
    Skip,
}

/// `dagbok variables import`.
#[derive(Debug, Args)]
pub(crate) struct ImportVariables {
    /// The file
    pub(crate) path: PathBuf,
    /// What to do with those that are there
    #[arg(short, long, value_name = "ACTION", default_value = "overwrite")]
    pub(crate) action_on_existing_key: OnExisting,
}

/// `dagbok variables export`.
#[derive(Debug, Args)]
pub(crate) struct ExportVariables {
    /// The file; `-` is standard output
    pub(crate) path: PathBuf,
}

/// `dagbok secrets …`.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Exchange the master key of variables and connections: all that was deleted or overwritten is destroyed with the
    /// old one
    #[command(
        after_help = "With --json: `{master, rewrapped, forgotten: […], old_keys_destroyed}`"
    )]
    Rotate(Rotate),
}

/// `dagbok secrets rotate`.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Delete what nobody can read any more, since its master key is destroyed
    #[arg(long)]
    pub(crate) forget_lost: bool,
}
