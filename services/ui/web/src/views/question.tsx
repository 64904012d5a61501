/** What a task asks people: the question, the form to answer it, and what was answered by whom. */
import { useSearchParams } from "@solidjs/router";
import { createSignal, For, onMount, Show } from "solid-js";
import { createStore } from "solid-js/store";
import { act } from "../acts";
import { part, send, type Shapes } from "../base";
import { keys } from "../keys";
import { Time } from "../parts";
import { now } from "../time";
import { Field, read, shown } from "../trigger";

type Question = Shapes["UiQuestion"];
type Param = Shapes["UiParam"];
interface Of {
  dag: string;
  run: string;
  task: string;
  map: number;
}

/** A field of the form as the trigger form has it. */
function fieldOf(name: string, said: unknown): Param {
  const it = (said ?? {}) as { value?: unknown; description?: string | null; schema?: Record<string, unknown> };
  const schema = { ...(it.schema ?? {}), ...(it.description ? { description: it.description } : {}) };
  return { name, default: it.value ?? null, schema, required: false } as Param;
}

export default function QuestionPanel(props: { question: Question; of: Of }) {
  const it = () => props.question;
  return (
    <section class={`question ${it().is_open ? "open" : ""}`} aria-label="What it asks people">
      <p class="said"><b>{it().subject}</b></p>
      <Show when={it().body}>{(text) => <pre class="body">{text()}</pre>}</Show>
      <p class="dim">
        asked of {it().assigned_users.length ? it().assigned_users.map((user) => user.name).join(", ") : "anybody"} <Time at={it().asked_at} ago />
        <Show when={it().is_open && it().due_at}>
          {(due) => <> · {Date.parse(due()) < now() ? "was due" : "due"} <Time at={due()} full />, {it().defaults.length ? `then ${it().defaults.join(", ")} counts` : "then the task fails"}</>}
        </Show>
      </p>
      <Show when={it().answer}>
        {(answer) => (
          <p class="answered">
            <b>{answer().chosen_options.join(", ")}</b> <Show when={answer().by} fallback="by nobody: the time was up and the default counts">{(by) => <>by {by()}</>}</Show> <Time at={answer().at} full />
            <For each={Object.entries(answer().params_input)}>{([name, value]) => <code class="pair">{name}={JSON.stringify(value)}</code>}</For>
          </p>
        )}
      </Show>
      <Show when={!it().answer && !it().is_open}><p class="dim">Nobody answered, and the task does not wait for it any more.</p></Show>
      <Show when={it().is_open}><Form question={it()} of={props.of} /></Show>
    </section>
  );
}

function Form(props: { question: Question; of: Of }) {
  const it = props.question;
  const [query] = useSearchParams<Record<string, string>>();
  const fields = Object.entries(it.params as Record<string, unknown>).map(([name, said]) => fieldOf(name, said));
  const [values, setValues] = createStore<Record<string, string>>(Object.fromEntries(fields.map((field) => [field.name, query[field.name] ?? shown(field, field.default)])));
  // A link that was mailed says what its reader would choose: it is proposed, and not done.
  const meant = (option: string) => query["_options"] === option || (query["_options"] ?? "").includes(`'${option}'`);
  const [chosen, setChosen] = createSignal<string[]>(it.options.filter(meant));
  const [busy, setBusy] = createSignal(false);
  let options!: HTMLDivElement;
  const given = (): Record<string, unknown> | string => {
    const made: Record<string, unknown> = {};
    for (const field of fields) {
      try {
        made[field.name] = read(field, values[field.name] ?? "");
      } catch {
        return `${field.name} is no JSON`;
      }
    }
    return made;
  };
  const wrong = () => {
    const made = given();
    return typeof made === "string" ? made : undefined;
  };
  const answer = async (options: string[]) => {
    const params_input = given();
    if (typeof params_input === "string" || !options.length || busy()) return;
    setBusy(true);
    const { dag, run, task, map } = props.of;
    const path = `dags/${part(dag)}/dagRuns/${part(run)}/taskInstances/${part(task)}/${map}/hitlDetails`;
    await act(`Answer ${task}: ${options.join(", ")}`, () => send("PATCH", path, { chosen_options: options, params_input }));
    setBusy(false);
  };
  const press = (option: string) => {
    if (!it.multiple) return void answer([option]);
    setChosen((all) => (all.includes(option) ? all.filter((one) => one !== option) : [...all, option]));
  };
  const focus = (at: number) => options.querySelectorAll<HTMLElement>("button")[at]?.focus();
  onMount(() => {
    const at = it.options.findIndex(meant);
    if (at >= 0) focus(at);
  });
  keys(Object.fromEntries(it.options.slice(0, 9).map((_, at) => [String(at + 1), () => focus(at)])));
  return (
    <form onSubmit={(event) => (event.preventDefault(), void answer(chosen()))}>
      <Show when={fields.length}>
        <div class="fields">
          <For each={fields}>{(field) => <Field param={field} value={values[field.name] ?? ""} set={(to) => setValues(field.name, to)} />}</For>
        </div>
      </Show>
      <Show when={wrong()}>{(why) => <p class="why">{why()}</p>}</Show>
      <div class="options" role="group" aria-label="Options" ref={options}>
        <For each={it.options}>
          {(option, at) => (
            <button type="button" disabled={Boolean(wrong()) || busy()} aria-pressed={it.multiple || chosen().includes(option) ? chosen().includes(option) : undefined} onClick={() => press(option)}>
              {option} <Show when={at() < 9}><kbd>{at() + 1}</kbd></Show>
            </button>
          )}
        </For>
        <Show when={it.multiple}><button type="submit" class="primary" disabled={Boolean(wrong()) || busy() || !chosen().length}>Answer</button></Show>
      </div>
    </form>
  );
}
