/** All tasks of a run and their copies as one table, however many: sorted and picked out by the server, drawn where one looks. */
import { A, useSearchParams } from "@solidjs/router";
import { createSignal, For, onCleanup, onMount, Show } from "solid-js";
import { get, part, type Shapes } from "../base";
import { kept } from "../live";
import { Mark, Nothing, Read, taskPath, Time } from "../parts";
import { look } from "../states";
import { between, length } from "../time";

type Run = Shapes["UiRun"];
const ROW = 28;
/** Rows that are asked for at once, and how far one scrolls until others are. */
const WINDOW = 300;
const STEP = 100;

const COLUMNS: [string, string, string?][] = [["state", "State"], ["task_id", "Task"], ["map_index", "Copy", "num"], ["try_number", "Try", "num"], ["start_date", "Began"], ["duration", "Took", "num"], ["operator", "Operator"], ["pool", "Pool"]];

export default function Table(props: { run: Run }) {
  const [query, setQuery] = useSearchParams<{ by?: string; state?: string; find?: string }>();
  const [top, setTop] = createSignal(0);
  const [tall, setTall] = createSignal(600);
  let box: HTMLDivElement | undefined;
  const first = () => Math.max(0, Math.floor(top() / ROW));
  const offset = () => Math.max(0, Math.floor((first() - STEP) / STEP) * STEP);
  const page = kept(
    () => [props.run.dag_id, props.run.run_id, query.by, query.state, query.find, offset()],
    async (signal) => {
      const from = offset();
      const found = await get<Shapes["TaskInstanceCollection"]>(
        `dags/${part(props.run.dag_id)}/dagRuns/${part(props.run.run_id)}/taskInstances`,
        { limit: WINDOW, offset: from, order_by: query.by, state: query.state, task_display_name_pattern: query.find },
        signal,
      );
      return { total: found.total_entries, complete: found.dagbok?.complete ?? true, from, rows: found.task_instances };
    },
    { key: "id", whose: () => [props.run.dag_id, props.run.run_id], when: () => props.run.last_seq },
  );
  const put = (to: Record<string, string | null>) => {
    if (box) box.scrollTop = 0;
    setQuery(to, { replace: true });
  };
  const sort = (name: string) => put({ by: query.by === name ? `-${name}` : query.by === `-${name}` ? null : name });
  const way = (name: string) => (query.by === name ? "ascending" : query.by === `-${name}` ? "descending" : "none");
  const states = () => Object.entries(props.run.counts).filter(([, count]) => count > 0);
  return (
    <>
      <div class="filter padded">
        <For each={states()}>{([state, count]) => <button type="button" class="chip" aria-pressed={query.state === state} onClick={() => put({ state: query.state === state ? null : state })}>{look(state).word} {count.toLocaleString("en")}</button>}</For>
        <input type="search" aria-label="Find tasks" placeholder="part of a task's name" value={query.find ?? ""} onChange={(event) => put({ find: event.currentTarget.value || null })} />
      </div>
      <Read of={page} what="The tasks can't be shown.">
        {(it) => {
          const rows = () => it().rows;
          const from = () => it().from;
          const drawn = () => rows().slice(Math.max(0, first() - from() - 10), Math.max(0, first() - from()) + Math.ceil(tall() / ROW) + 20);
          const before = () => (from() + Math.max(0, first() - from() - 10)) * ROW;
          return (
            <Show when={it().total} fallback={<Nothing>No task of the run is like that. <button type="button" class="link" onClick={() => put({ state: null, find: null })}>Show all</button></Nothing>}>
              <Scrolled set={(element) => (box = element)} top={setTop} tall={setTall}>
                <table class="list long" aria-rowcount={it().total + 1}>
                  <thead><tr><For each={COLUMNS}>{([name, words, kind]) => <th scope="col" class={kind} aria-sort={way(name)}><button type="button" class="sort" onClick={() => sort(name)}>{words}<span aria-hidden="true">{way(name) === "ascending" ? " ↑" : way(name) === "descending" ? " ↓" : ""}</span></button></th>}</For></tr></thead>
                  <tbody>
                    <tr class="room" aria-hidden="true" style={{ height: `${before()}px` }}><td colspan={COLUMNS.length} /></tr>
                    <For each={drawn()}>
                      {(task) => (
                        <tr data-row aria-rowindex={from() + rows().indexOf(task) + 2}>
                          <td><Mark state={task.state ?? "none"} word /></td>
                          <td class="name"><A href={taskPath(task.dag_id, task.dag_run_id, task.task_id, task.map_index)}>{task.task_id}</A><Show when={task.rendered_map_index}>{(name) => <span class="dim"> {name()}</span>}</Show></td>
                          <td class="num">{task.map_index >= 0 ? task.map_index : ""}</td>
                          <td class="num">{task.try_number || ""}</td>
                          <td><Time at={task.start_date} full /></td>
                          <td class="num">{task.start_date ? length(between(task.start_date, task.end_date) ?? 0) : "–"}</td>
                          <td>{task.operator}</td>
                          <td>{task.pool}</td>
                        </tr>
                      )}
                    </For>
                    <tr class="room" aria-hidden="true" style={{ height: `${Math.max(0, it().total * ROW - before() - drawn().length * ROW)}px` }}><td colspan={COLUMNS.length} /></tr>
                  </tbody>
                </table>
              </Scrolled>
              <p class="foot dim">{it().total.toLocaleString("en")} {it().total === 1 ? "task or copy" : "tasks and copies"}{it().complete ? "" : ": the run has more than are sorted at once"}</p>
            </Show>
          );
        }}
      </Read>
    </>
  );
}

/** What is scrolled by itself, and says how far and how tall it is. */
function Scrolled(props: { set: (element: HTMLDivElement) => void; top: (to: number) => void; tall: (to: number) => void; children: import("solid-js").JSX.Element }) {
  let element!: HTMLDivElement;
  onMount(() => {
    props.set(element);
    const observer = new ResizeObserver(() => props.tall(element.clientHeight));
    observer.observe(element);
    onCleanup(() => observer.disconnect());
  });
  return <div ref={element} class="scrolled" tabindex="0" role="region" aria-label="Tasks of the run" onScroll={() => props.top(element.scrollTop)}>{props.children}</div>;
}
