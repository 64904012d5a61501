/** The form by which a run is triggered, made from the DAG's params. */
import { useNavigate } from "@solidjs/router";
import { createSignal, createUniqueId, For, Match, onMount, Show, Switch } from "solid-js";
import { createStore } from "solid-js/store";
import { act, Dialog, open } from "./acts";
import { get, part, send, type Shapes } from "./base";
import { Fault, runPath } from "./parts";

type Param = Shapes["UiParam"];
interface Schema {
  type?: string | string[];
  enum?: unknown[];
  title?: string;
  description?: string;
  minimum?: number;
  maximum?: number;
}

const schemaOf = (param: Param): Schema => (param.schema as Schema | undefined) ?? {};
/** Which kind of field a param has: by its schema, else by what it is when nothing is given. */
function kindOf(param: Param): "choice" | "yesno" | "number" | "text" | "json" {
  const schema = schemaOf(param);
  if (schema.enum) return "choice";
  const types = Array.isArray(schema.type) ? schema.type.filter((one) => one !== "null") : schema.type ? [schema.type] : [];
  const type = types[0] ?? (param.default === null || param.default === undefined ? "string" : typeof param.default);
  if (type === "boolean") return "yesno";
  if (type === "number" || type === "integer") return "number";
  return type === "object" || type === "array" ? "json" : "text";
}
export const shown = (param: Param, value: unknown): string =>
  value === undefined || value === null ? "" : kindOf(param) === "json" || typeof value === "object" ? JSON.stringify(value) : String(value);

/** What a field's text stands for. */
export function read(param: Param, text: string): unknown {
  switch (kindOf(param)) {
    case "number":
      return text === "" ? null : Number(text);
    case "yesno":
      return text === "true";
    case "json":
      return text === "" ? null : (JSON.parse(text) as unknown);
    case "choice":
      return schemaOf(param).enum?.find((one) => String(one) === text) ?? text;
    default:
      return text === "" && param.default === null ? null : text;
  }
}

/** Opens the form for a DAG. */
export function askTrigger(dag: string) {
  open(() => <Trigger dag={dag} />);
}

function Trigger(props: { dag: string }) {
  const navigate = useNavigate();
  const [dag, setDag] = createSignal<Shapes["UiDag"]>();
  const [fault, setFault] = createSignal<Error>();
  const [values, setValues] = createStore<Record<string, string>>({});
  const [runId, setRunId] = createSignal("");
  const [note, setNote] = createSignal("");
  const [partition, setPartition] = createSignal("");
  const close = () => open(undefined);
  const fill = (of: Shapes["UiDag"], from?: Record<string, unknown>) => {
    for (const param of of.params) setValues(param.name, shown(param, from && param.name in from ? from[param.name] : param.default));
  };
  onMount(() => {
    get<Shapes["UiDag"]>(`dagbok/ui/dags/${part(props.dag)}`, { runs: 5 }).then((found) => {
      fill(found);
      setDag(found);
      queueMicrotask(() => document.querySelector<HTMLElement>("dialog form :is(.field input, .field select, .field textarea, .primary)")?.focus());
    }, setFault);
  });
  const conf = (): Record<string, unknown> | string => {
    const given: Record<string, unknown> = {};
    for (const param of dag()?.params ?? []) {
      const text = values[param.name] ?? "";
      try {
        if (text !== shown(param, param.default) || param.required) given[param.name] = read(param, text);
      } catch {
        return `${param.name} is no JSON`;
      }
    }
    return given;
  };
  const wrong = () => {
    const made = conf();
    return typeof made === "string" ? made : undefined;
  };
  const go = async (event: SubmitEvent) => {
    event.preventDefault();
    const made = conf();
    if (typeof made === "string") return;
    close();
    const run = await act(`Trigger ${props.dag}`, () =>
      send<Shapes["RunResponse"]>("POST", `dags/${part(props.dag)}/dagRuns`, {
        logical_date: null,
        conf: made,
        ...(runId() ? { dag_run_id: runId() } : {}),
        ...(note() ? { note: note() } : {}),
        ...(partition() ? { partition_key: partition() } : {}),
      }),
    );
    if (run) navigate(runPath(props.dag, run.dag_run_id));
  };
  return (
    <Dialog title={`Trigger ${props.dag}`} close={close} wide>
      <Show when={fault()}>{(it) => <Fault what="The DAG can't be read." error={it()} />}</Show>
      <Show when={dag()} keyed>
        {(it) => (
          <form onSubmit={(event) => void go(event)}>
            <Show when={it.dag.paused}>
              <p class="note">The DAG is paused: the run waits until it is unpaused.</p>
            </Show>
            <Show when={it.last_conf}>
              <p class="offer">
                <button type="button" class="link" onClick={() => fill(it, it.last_conf as Record<string, unknown>)}>
                  Take the last run's values
                </button>{" "}
                <code>{JSON.stringify(it.last_conf)}</code>
              </p>
            </Show>
            <div class="fields">
              <For each={it.params} fallback={<p class="dim">It has no params.</p>}>
                {(param) => <Field param={param} value={values[param.name] ?? ""} set={(to) => setValues(param.name, to)} />}
              </For>
            </div>
            <Show when={it.takes_partition}>
              <label class="field">
                Partition that the run stands for; none where it is empty
                <input value={partition()} maxlength={250} spellcheck={false} autocomplete="off" onInput={(event) => setPartition(event.currentTarget.value)} />
              </label>
            </Show>
            <details>
              <summary>Run id and note</summary>
              <label class="field">
                Run id, made from the time where it is empty
                <input value={runId()} onInput={(event) => setRunId(event.currentTarget.value)} />
              </label>
              <label class="field">
                Note
                <input value={note()} onInput={(event) => setNote(event.currentTarget.value)} />
              </label>
            </details>
            <Show when={wrong()}>{(why) => <p class="why">{why()}</p>}</Show>
            <div class="buttons">
              <button type="button" onClick={close}>Close</button>
              <button type="submit" class="primary" disabled={Boolean(wrong())}>Trigger</button>
            </div>
          </form>
        )}
      </Show>
    </Dialog>
  );
}

export function Field(props: { param: Param; value: string; set: (to: string) => void }) {
  const id = createUniqueId();
  const schema = schemaOf(props.param);
  const kind = kindOf(props.param);
  return (
    <div class="field">
      <label for={id}>
        {schema.title ?? props.param.name}
        <Show when={props.param.required}><span class="dim"> · must be given</span></Show>
      </label>
      <Switch
        fallback={
          <input
            id={id}
            type={kind === "number" ? "number" : "text"}
            step={kind === "number" ? "any" : undefined}
            min={schema.minimum}
            max={schema.maximum}
            required={props.param.required}
            value={props.value}
            onInput={(event) => props.set(event.currentTarget.value)}
          />
        }
      >
        <Match when={kind === "choice"}>
          <select id={id} value={props.value} onChange={(event) => props.set(event.currentTarget.value)}>
            <For each={schema.enum}>{(one) => <option value={String(one)}>{String(one)}</option>}</For>
          </select>
        </Match>
        <Match when={kind === "yesno"}>
          <input id={id} type="checkbox" checked={props.value === "true"} onChange={(event) => props.set(String(event.currentTarget.checked))} />
        </Match>
        <Match when={kind === "json"}>
          <textarea id={id} rows={3} spellcheck={false} value={props.value} onInput={(event) => props.set(event.currentTarget.value)} />
        </Match>
      </Switch>
      <Show when={schema.description}>{(text) => <p class="dim">{text()}</p>}</Show>
    </div>
  );
}
