/** The palette: one box for DAGs, pages and acts, on every page. */
import { useNavigate } from "@solidjs/router";
import { createEffect, createMemo, createSignal, For, onCleanup, Show } from "solid-js";
import { Dialog, open } from "./acts";
import { get, part, type Shapes } from "./base";
import { later } from "./later";
import { dagPath, Fault, runPath, taskPath } from "./parts";
import { search } from "./search";
import { DIGITS, look } from "./states";
import { rows, turn, turnRows } from "./theme";
import { short, turnZone, zoneName } from "./time";
import { askTrigger } from "./trigger";
import { askPause } from "./acts";

interface Entry {
  text: string;
  hint: string;
  go: () => void;
}

/** Days of a backfill are days of the DAG's zone, which no row of a list has. */
const backfill = (dag: string) =>
  later(() => import("./backfill"), async (form) => {
    try {
      form.askBackfill(dag, (await get<Shapes["UiDag"]>(`dagbok/ui/dags/${part(dag)}`, { runs: 2 })).timezone);
    } catch (error) {
      open(() => <Dialog title={`Backfill ${dag}`} close={() => open(undefined)}><Fault what="The DAG can't be read." error={error as Error} /></Dialog>);
    }
  });

/** Tasks of a DAG whose names have this in them, as they stand in its newest run. */
function tasksOf(dag: Shapes["UiDag"], name: string): { text: string; hint: string; path: string }[] {
  const newest = dag.order[dag.order.length - 1];
  const cells = dag.columns[newest ?? ""]?.cells ?? "";
  return dag.tasks.flatMap((task, at) => {
    if (newest === undefined || !task.task_id.toLowerCase().includes(name.toLowerCase())) return [];
    const state = look(DIGITS[parseInt(cells[at * 2] ?? "0", 16)] ?? "none").word;
    return [{ text: `${task.task_id} of ${dag.dag.dag_id}`, hint: `task · ${state} in the newest run`, path: taskPath(dag.dag.dag_id, newest, task.task_id) }];
  }).slice(0, 12);
}

/** How long nothing is typed before it is asked. */
const PAUSE_MS = 150;

export const openPalette = () => open(() => <Palette />);

function Palette() {
  const navigate = useNavigate();
  const [text, setText] = createSignal("");
  const [dags, setDags] = createSignal<Shapes["UiDagRow"][]>([]);
  /** How many DAGs are like that; the list has them all. */
  const [like, setLike] = createSignal(0);
  const [runs, setRuns] = createSignal<Shapes["RunCollection"]["dag_runs"]>([]);
  const [tasks, setTasks] = createSignal<{ text: string; hint: string; path: string }[]>([]);
  const [at, setAt] = createSignal(0);
  const close = () => open(undefined);
  const to = (path: string) => () => (close(), navigate(path));
  const word = () => text().replace(/^(trigger|pause|unpause|backfill)\s+/i, "");
  const [fault, setFault] = createSignal<Error>();
  const [cut, setCut] = createSignal<string>();
  // Enter before the answer is there means what will stand first, not what stood there for other words.
  let coming = false;
  let entered = false;
  createEffect(() => {
    const wanted = search(text());
    const q = word();
    const asking = new AbortController();
    const { signal } = asking;
    setRuns([]);
    setTasks([]);
    setCut(undefined);
    coming = true;
    entered = false;
    const ask = async () => {
      try {
        if (wanted.keyed) {
          const found = await get<Shapes["RunCollection"]>("dags/~/dagRuns", { ...wanted.query, limit: 10, order_by: "-run_after" }, signal);
          setDags([]);
          setRuns(found.dag_runs);
          if (found.dagbok?.complete === false) setCut(found.dagbok.looked_to ?? "");
        } else {
          const { dags: found, total } = await get<Shapes["UiDags"]>("dagbok/ui/dags", { q, limit: 12 }, signal);
          // `reco train`: the first words are a DAG's, the last a task's.
          const [, of, task] = /^(.*\S)\s+(\S+)$/.exec(q.trim()) ?? [];
          const one = !found.length && of ? (await get<Shapes["UiDags"]>("dagbok/ui/dags", { q: of, limit: 2 }, signal)).dags : [];
          const first = one.length === 1 ? one[0] : undefined;
          setTasks(first && task ? tasksOf(await get<Shapes["UiDag"]>(`dagbok/ui/dags/${part(first.dag_id)}`, { runs: 2 }, signal), task) : []);
          setDags(found);
          setLike(total);
        }
        setFault(undefined);
        coming = false;
        if (entered) entries()[at()]?.go();
      } catch (error) {
        if (signal.aborted) return;
        coming = false;
        setFault(error as Error);
      }
    };
    // Whoever types is not answered letter by letter.
    const timer = setTimeout(() => void ask(), q ? PAUSE_MS : 0);
    onCleanup(() => (clearTimeout(timer), asking.abort()));
  });
  const pages: Entry[] = [
    { text: "Today", hint: "g h", go: to("/") },
    { text: "DAGs", hint: "g d", go: to("/dags") },
    { text: "Runs", hint: "g r", go: to("/dag_runs") },
    { text: "Runs that failed", hint: "state:failed", go: to("/dag_runs?state=failed") },
    { text: "Alerts", hint: "g a", go: to("/alerts") },
    { text: "On call", hint: "alerts", go: to("/oncall") },
    { text: "Silences", hint: "alerts", go: to("/alerts/silences") },
    { text: "Routes and receivers", hint: "alerts", go: to("/alerts/routes") },
    { text: "Expected runs", hint: "late, missing, next", go: to("/expected") },
    { text: "Files that can't be read", hint: "import errors", go: to("/import_errors") },
    { text: "Assets", hint: "g s", go: to("/assets") },
    { text: "Pools", hint: "g o", go: to("/pools") },
    { text: "Executors", hint: "operate", go: to("/executors") },
    { text: "Connections", hint: "operate", go: to("/connections") },
    { text: "Variables", hint: "operate", go: to("/variables") },
    { text: "Health", hint: "operate", go: to("/health") },
    { text: "Audit", hint: "all records of the log", go: to("/audit") },
    { text: "Light or dark", hint: "theme", go: () => (close(), turn()) },
    { text: "Rows: compact, normal or roomy", hint: `now ${rows()}`, go: () => (close(), turnRows()) },
    { text: "UTC, local or the DAG's own time", hint: `z · now ${zoneName()}`, go: () => (close(), turnZone()) },
  ];
  const entries = createMemo<Entry[]>(() => {
    const q = text().trim().toLowerCase();
    const verb = /^(trigger|pause|unpause|backfill)\s/.exec(q)?.[1];
    const acts = (dag: Shapes["UiDagRow"]): Entry[] => [
      { text: `Trigger ${dag.dag_id}`, hint: "act", go: () => askTrigger(dag.dag_id) },
      { text: `Backfill ${dag.dag_id}`, hint: "act", go: () => void backfill(dag.dag_id) },
      { text: `${dag.paused ? "Unpause" : "Pause"} ${dag.dag_id}`, hint: "act", go: () => askPause(dag) },
    ];
    const found: Entry[] = [];
    if (search(text()).keyed) {
      const all: Entry = { text: `Runs: ${text().trim()}`, hint: cut() === undefined ? "all of them" : cut() ? `2,000 looked through, back to ${short(cut() ?? "")}` : "2,000 looked through", go: to(`/dag_runs?q=${encodeURIComponent(text().trim())}`) };
      return [all, ...runs().map((run): Entry => ({ text: `${run.dag_id} · ${short(run.logical_date ?? run.run_after)}`, hint: `${run.state} · ${run.dag_run_id}`, go: to(runPath(run.dag_id, run.dag_run_id)) }))];
    }
    for (const task of tasks()) found.push({ text: task.text, hint: task.hint, go: to(task.path) });
    for (const dag of dags()) {
      if (verb) found.push(...acts(dag).filter((one) => one.text.toLowerCase().startsWith(verb)));
      else found.push({ text: dag.dag_id, hint: dag.paused ? "DAG · paused" : "DAG", go: to(dagPath(dag.dag_id)) });
    }
    const list = word().trim();
    if (list && !verb && dags().length && like() > dags().length) found.push({ text: `All ${like().toLocaleString("en")} DAGs like ${list}`, hint: "list", go: to(`/dags?q=${encodeURIComponent(list)}`) });
    const only = dags()[0];
    const last = only?.last[only.last.length - 1];
    if (q && only && dags().length <= 3 && !verb) {
      if (last) found.push({ text: `${only.dag_id}: newest run`, hint: last.state, go: to(runPath(only.dag_id, last.run_id)) });
      found.push(...acts(only));
    }
    const named = pages.filter((page) => !q || page.text.toLowerCase().includes(q) || page.hint.includes(q));
    return q ? [...found, ...named].slice(0, 14) : [...named, ...found].slice(0, 14);
  });
  createEffect(() => {
    entries();
    setAt(0);
  });
  const press = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const count = entries().length;
      setAt((was) => (was + (event.key === "ArrowDown" ? 1 : count - 1)) % Math.max(1, count));
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (coming && at() === 0 && !search(text()).keyed) entered = true;
      else entries()[at()]?.go();
    }
  };
  return (
    <Dialog title="Go to, or do" close={close}>
      <input
        class="palette"
        autofocus
        role="combobox"
        aria-label="DAG, page or act"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={`palette-${at()}`}
        placeholder="a DAG, a page, trigger …, pause …, state:failed since:7d lr=0.001"
        value={text()}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={press}
      />
      <ul id="palette-list" class="entries" role="listbox" aria-label="What there is">
        <For each={entries()}>
          {(one, place) => (
            <li id={`palette-${place()}`} role="option" aria-selected={at() === place()} onClick={() => one.go()} onMouseMove={() => setAt(place())}>
              <span>{one.text}</span><span class="dim">{one.hint}</span>
            </li>
          )}
        </For>
      </ul>
      <Show when={fault()}>{(error) => <Fault what="What is looked for can't be had." error={error()} />}</Show>
      <Show when={!entries().length && !fault()}><p class="nothing">Nothing is like that.</p></Show>
    </Dialog>
  );
}
