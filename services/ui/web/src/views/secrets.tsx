/** Connections and variables. What is secret of them is written here, and never read back. */
import { useSearchParams } from "@solidjs/router";
import { createSignal, createUniqueId, For, type JSX, Show } from "solid-js";
import { Buttons, Dialog, open, useSent, Wrong } from "../acts";
import { get, part, type Query, send, type Shapes } from "../base";
import { kept, pulse } from "../live";
import { Beyond, Crumbs, Fault, Nothing, Pages, Read, Time, useOffset } from "../parts";
import { Delete, Places } from "./places";

type Connection = Shapes["ConnectionResponse"];
type Variable = Shapes["VariableResponse"];
const close = () => open(undefined);
const by = (actor: string) => actor.replace(/^user:/, "");

const PAGE = 100;
/** What is not listed: it is where the tasks run, and nobody but they can read it. */
const ELSEWHERE = (name: string) => `Those that an executor has in its environment (${name}), in a folder or in another secrets backend come before these, and are not listed: they are set where they are.`;

/** A page of those whose names have what is looked for in them; the address says what that is, and which page. */
function useList<T extends { total_entries: number }>(read: (query: Query, signal: AbortSignal) => Promise<T>, pattern: string, key: string) {
  const [query, setQuery] = useSearchParams<{ q?: string; page?: string }>();
  const offset = useOffset(PAGE);
  const find = () => query.q ?? "";
  const page = kept(
    () => [find(), offset()],
    async (signal) => {
      const from = offset();
      return { ...(await read({ limit: PAGE, offset: from, [pattern]: find() || undefined }, signal)), from };
    },
    { key, every: 30_000 },
  );
  return { find, setFind: (to: string) => setQuery({ q: to || null, page: null }, { replace: true }), page };
}

export function ConnectionsView() {
  pulse();
  const { find, setFind, page } = useList((query, signal) => get<Shapes["ConnectionCollection"]>("connections", query, signal), "connection_id_pattern", "connection_id");
  const again = page.again;
  return (
    <>
      <Crumbs of={[{ text: "Connections" }]}><div class="acts"><button type="button" onClick={() => open(() => <ConnectionForm then={again} />)}>New connection</button></div></Crumbs>
      <Places here="/connections" />
      <div class="filter padded"><input type="search" aria-label="Find connections by id" placeholder="part of an id" value={find()} onChange={(event) => setFind(event.currentTarget.value)} /><span class="dim">Passwords and extras are sealed, and never shown.</span><Show when={page.latest}>{(it) => <Pages from={it().from} shown={it().connections.length} total={it().total_entries} size={PAGE} />}</Show></div>
      <Read of={page} what="The connections can't be shown.">
        {(it) => (
          <Show when={it().connections.length} fallback={it().total_entries ? <Beyond total={it().total_entries} size={PAGE} /> : <Nothing>{find() ? "No connection is called so." : `No connection is kept here. ${ELSEWHERE("AIRFLOW_CONN_…")}`}</Nothing>}>
            <table class="list">
              <thead><tr><th scope="col">Connection</th><th scope="col">Type</th><th scope="col">Host</th><th scope="col">Schema</th><th scope="col">Login</th><th scope="col">Password</th><th scope="col">Set</th><th scope="col"><span class="unseen">Acts</span></th></tr></thead>
              <tbody>
                <For each={it().connections}>
                  {(one) => (
                    <tr data-row>
                      <td title={one.description ?? ""}><code>{one.connection_id}</code></td>
                      <td>{one.conn_type}</td>
                      <td>{one.host}{one.port ? `:${one.port}` : ""}</td>
                      <td>{one.schema}</td>
                      <td>{one.login}</td>
                      <td class="dim">{one.dagbok.problem ?? (one.password ? "sealed" : "none")}</td>
                      <td class="dim"><Time at={one.dagbok.set_at} /> by {by(one.dagbok.set_by)}</td>
                      <td class="acts">
                        <button type="button" class="small" onClick={() => open(() => <ConnectionForm of={one} then={again} />)}>Change</button>
                        <button type="button" class="small" onClick={() => open(() => <Delete what="connection" name={one.connection_id} path={`connections/${part(one.connection_id)}`} says={["Tasks that ask for it fail.", "It can't be had back: what was sealed is forgotten with its key."]} then={again} />)}>Delete</button>
                      </td>
                    </tr>
                  )}
                </For>
              </tbody>
            </table>
            <p class="foot dim">{ELSEWHERE("AIRFLOW_CONN_…")}</p>
            <Show when={it().total_entries > PAGE}><div class="foot"><Pages from={it().from} shown={it().connections.length} total={it().total_entries} size={PAGE} below /></div></Show>
          </Show>
        )}
      </Read>
    </>
  );
}

/** A field with its name above it, and what is wrong with it beneath. */
function Field(props: { name: string; says: string | undefined; children: (of: { id: string; "aria-invalid"?: "true"; "aria-describedby"?: string }) => JSX.Element }) {
  const id = createUniqueId();
  const of = {
    id,
    get "aria-invalid"(): "true" | undefined {
      return props.says ? "true" : undefined;
    },
    get "aria-describedby"(): string | undefined {
      return props.says ? `${id}-wrong` : undefined;
    },
  };
  return <div class="field"><label for={id}>{props.name}</label>{props.children(of as never)}<Wrong id={`${id}-wrong`} says={props.says} /></div>;
}

const FIELDS = [["conn_type", "Type", "postgres, http, aws"], ["host", "Host", ""], ["port", "Port", ""], ["schema", "Schema", ""], ["login", "Login", ""], ["description", "What it is for", ""]] as const;

function ConnectionForm(props: { of?: Connection; then: () => void }) {
  const old = props.of as Record<string, unknown> | undefined;
  const [values, setValues] = createSignal<Record<string, string>>(Object.fromEntries(FIELDS.map(([name]) => [name, String(old?.[name] ?? "")])));
  const [id, setId] = createSignal(props.of?.connection_id ?? "");
  const [password, setPassword] = createSignal("");
  const [extra, setExtra] = createSignal("");
  const body = () => {
    const made: Record<string, unknown> = {};
    for (const [name] of FIELDS) {
      const [was, is] = [String(old?.[name] ?? ""), values()[name] ?? ""];
      if (was !== is || (!props.of && is)) made[name] = is === "" ? null : name === "port" ? Number(is) : is;
    }
    // What is left empty stays as it is: nobody can read it back to send it again.
    if (password()) made["password"] = password();
    if (extra()) made["extra"] = extra();
    return made;
  };
  const sent = useSent();
  const go = () =>
    props.of
      ? sent.go(`Change the connection ${id()}`, () => send("PATCH", `connections/${part(id())}`, { connection_id: id(), ...body() }), props.then)
      : sent.go(`Make the connection ${id()}`, () => send("POST", "connections", { connection_id: id(), conn_type: "", ...body() }), props.then);
  const elsewhere = () => !["connection_id", "password", "extra", ...FIELDS.map(([name]) => name)].some(sent.wrong);
  return (
    <Dialog title={props.of ? `Change ${props.of.connection_id}` : "New connection"} close={close} wide>
      <form class="fields" onSubmit={(event) => (event.preventDefault(), void go())}>
        <Show when={!props.of}><Field name="Connection id" says={sent.wrong("connection_id")}>{(of) => <input {...of} required maxlength="250" value={id()} onInput={(event) => setId(event.currentTarget.value)} />}</Field></Show>
        <div class="fields halved">
          <For each={FIELDS}>
            {([name, words, hint]) => <Field name={words} says={sent.wrong(name)}>{(of) => <input {...of} type={name === "port" ? "number" : "text"} required={name === "conn_type"} placeholder={hint} value={values()[name] ?? ""} onInput={(event) => setValues({ ...values(), [name]: event.currentTarget.value })} />}</Field>}
          </For>
        </div>
        <Field name="Password" says={sent.wrong("password")}>{(of) => <input {...of} type="password" autocomplete="new-password" placeholder={props.of?.password ? "sealed; leave empty to keep it" : ""} value={password()} onInput={(event) => setPassword(event.currentTarget.value)} />}</Field>
        <Field name="Extra, as JSON" says={sent.wrong("extra")}>{(of) => <textarea {...of} rows="3" spellcheck={false} placeholder={props.of?.extra ? "sealed; leave empty to keep it" : "{}"} value={extra()} onInput={(event) => setExtra(event.currentTarget.value)} />}</Field>
        <Show when={elsewhere() && sent.fault()}>{(error) => <Fault what="Not done." error={error()} />}</Show>
        <Buttons yes={sent.waits() ? "asked…" : props.of ? "Change" : "Make it"} disabled={sent.waits() || !id() || !values()["conn_type"]} />
      </form>
    </Dialog>
  );
}

export function VariablesView() {
  pulse();
  const { find, setFind, page } = useList((query, signal) => get<Shapes["VariableCollection"]>("variables", query, signal), "variable_key_pattern", "key");
  const again = page.again;
  return (
    <>
      <Crumbs of={[{ text: "Variables" }]}><div class="acts"><button type="button" onClick={() => open(() => <VariableForm then={again} />)}>New variable</button></div></Crumbs>
      <Places here="/variables" />
      <div class="filter padded"><input type="search" aria-label="Find variables by key" placeholder="part of a key" value={find()} onChange={(event) => setFind(event.currentTarget.value)} /><span class="dim">Values are sealed; of those whose names say that they are secret nothing is shown.</span><Show when={page.latest}>{(it) => <Pages from={it().from} shown={it().variables.length} total={it().total_entries} size={PAGE} />}</Show></div>
      <Read of={page} what="The variables can't be shown.">
        {(it) => (
          <Show when={it().variables.length} fallback={it().total_entries ? <Beyond total={it().total_entries} size={PAGE} /> : <Nothing>{find() ? "No variable is called so." : `No variable is kept here. ${ELSEWHERE("AIRFLOW_VAR_…")}`}</Nothing>}>
            <table class="list">
              <thead><tr><th scope="col">Key</th><th scope="col">Value</th><th scope="col">What it is for</th><th scope="col">Set</th><th scope="col"><span class="unseen">Acts</span></th></tr></thead>
              <tbody>
                <For each={it().variables}>
                  {(one) => (
                    <tr data-row>
                      <td><code>{one.key}</code></td>
                      <td class="clip">{one.dagbok.problem ? <span class="dim">{one.dagbok.problem}</span> : <code>{one.value}</code>}</td>
                      <td class="clip">{one.description}</td>
                      <td class="dim"><Time at={one.dagbok.set_at} /> by {by(one.dagbok.set_by)}</td>
                      <td class="acts">
                        <button type="button" class="small" onClick={() => open(() => <VariableForm of={one} then={again} />)}>Change</button>
                        <button type="button" class="small" onClick={() => open(() => <Delete what="variable" name={one.key} path={`variables/${part(one.key)}`} says={["Tasks that ask for it without a default fail.", "It can't be had back: what was sealed is forgotten with its key."]} then={again} />)}>Delete</button>
                      </td>
                    </tr>
                  )}
                </For>
              </tbody>
            </table>
            <p class="foot dim">{ELSEWHERE("AIRFLOW_VAR_…")}</p>
            <Show when={it().total_entries > PAGE}><div class="foot"><Pages from={it().from} shown={it().variables.length} total={it().total_entries} size={PAGE} below /></div></Show>
          </Show>
        )}
      </Read>
    </>
  );
}

function VariableForm(props: { of?: Variable; then: () => void }) {
  const [key, setKey] = createSignal(props.of?.key ?? "");
  const [value, setValue] = createSignal("");
  const [what, setWhat] = createSignal(props.of?.description ?? "");
  const sent = useSent();
  const go = () => {
    const described = what() !== (props.of?.description ?? "") ? { description: what() || null } : {};
    return props.of
      ? sent.go(`Change the variable ${key()}`, () => send("PATCH", `variables/${part(key())}`, { key: key(), ...(value() ? { value: value() } : {}), ...described }), props.then)
      : sent.go(`Make the variable ${key()}`, () => send("POST", "variables", { key: key(), value: value(), ...described }), props.then);
  };
  const elsewhere = () => !["key", "value", "description"].some(sent.wrong);
  return (
    <Dialog title={props.of ? `Change ${props.of.key}` : "New variable"} close={close}>
      <form class="fields" onSubmit={(event) => (event.preventDefault(), void go())}>
        <Show when={!props.of}><Field name="Key" says={sent.wrong("key")}>{(of) => <input {...of} required maxlength="250" value={key()} onInput={(event) => setKey(event.currentTarget.value)} />}</Field></Show>
        <Field name="Value" says={sent.wrong("value")}>{(of) => <textarea {...of} rows="4" spellcheck={false} placeholder={props.of ? "leave empty to keep it" : ""} value={value()} onInput={(event) => setValue(event.currentTarget.value)} />}</Field>
        <Field name="What it is for" says={sent.wrong("description")}>{(of) => <input {...of} value={what()} onInput={(event) => setWhat(event.currentTarget.value)} />}</Field>
        <Show when={elsewhere() && sent.fault()}>{(error) => <Fault what="Not done." error={error()} />}</Show>
        <Buttons yes={sent.waits() ? "asked…" : props.of ? "Change" : "Make it"} disabled={sent.waits() || !key()} />
      </form>
    </Dialog>
  );
}
