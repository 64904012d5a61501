/** The grid: tasks by runs on a canvas, the newest run at the right edge. One stop of the Tab key; arrows move a cell. */
import { useNavigate, useSearchParams } from "@solidjs/router";
import { createEffect, createMemo, createSignal, For, onCleanup, onMount, Show } from "solid-js";
import type { Shapes } from "./base";
import { runLabel, runPath, taskPath } from "./parts";
import { DIGITS, look } from "./states";
import { theme } from "./theme";
import { between, length, short } from "./time";

type Dag = Shapes["UiDag"];

/** Heights of a row, from one with a name to one of which thousands are seen at once. */
const ROWS = [24, 12, 6, 4];
const BARS = 56;
const NAMES = 232;
const WIDEST = 22;
const NARROWEST = 6;

interface Cell {
  row: number;
  column: number;
}

/** The state of a row in a column's cells; none where the run has no such task. */
const stateIn = (cells: string, row: number): string | undefined => {
  const digit = cells[row * 2];
  return digit === "f" ? undefined : (DIGITS[parseInt(digit ?? "0", 16)] ?? "none");
};
const triesIn = (cells: string, row: number): number => parseInt(cells[row * 2 + 1] ?? "0", 16);

/** Row -1 is the run itself. */
export function Grid(props: { dag: Dag }) {
  const navigate = useNavigate();
  let box!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  const [size, setSize] = createSignal({ width: 800, height: 500 });
  const [top, setTop] = createSignal(0);
  const [focus, setFocus] = createSignal<Cell>();
  const [hover, setHover] = createSignal<Cell & { x: number; y: number }>();
  const [spoken, setSpoken] = createSignal("");
  const [query, setQuery] = useSearchParams<{ zoom?: string }>();
  const rows = () => props.dag.tasks;
  const out = () => Math.min(ROWS.length - 1, Math.max(0, Number(query.zoom ?? 0) || 0));
  const tall = () => ROWS[out()] ?? 24;
  const zoom = (by: number) => {
    const to = Math.min(ROWS.length - 1, Math.max(0, out() + by));
    // What is in the middle stays there.
    const middle = (box.scrollTop + box.clientHeight / 2) / tall();
    setQuery({ zoom: to ? String(to) : null }, { replace: true });
    queueMicrotask(() => (box.scrollTop = middle * tall() - box.clientHeight / 2));
  };
  const names = () => (size().width < 520 ? 132 : NAMES);
  const columns = createMemo(() => {
    const all = props.dag.order;
    const room = Math.max(60, size().width - names() - 8);
    const width = Math.max(NARROWEST, Math.min(WIDEST, Math.floor(room / Math.max(1, all.length))));
    const shown = all.slice(-Math.floor(room / width));
    return { width, shown, left: size().width - 8 - shown.length * width };
  });
  const run = (column: number) => props.dag.columns[columns().shown[column] ?? ""];
  const cellOf = (column: number, row: number) => {
    const cells = run(column)?.cells ?? "";
    return { state: stateIn(cells, row), tries: triesIn(cells, row) };
  };
  const lasted = createMemo(() => columns().shown.map((id) => between(props.dag.columns[id]?.start, props.dag.columns[id]?.end) ?? 0));
  const height = () => rows().length * tall();
  const visible = createMemo(() => {
    const first = Math.max(0, Math.floor(top() / tall()) - 2);
    return rows().slice(first, first + Math.ceil(size().height / tall()) + 4).map((task, at) => ({ task, row: first + at }));
  });

  onMount(() => {
    const observer = new ResizeObserver(() => setSize({ width: box.clientWidth, height: box.clientHeight }));
    observer.observe(box);
    onCleanup(() => observer.disconnect());
  });

  createEffect(() => {
    theme();
    draw();
  });
  function draw() {
    const { width, height: deep } = size();
    const row = tall();
    const near = row >= 20;
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(deep * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(deep * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${deep}px`;
    }
    const pen = canvas.getContext("2d");
    if (!pen) return;
    const style = getComputedStyle(box);
    const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
    const fills = new Map<string, string>();
    const fill = (family: string) => fills.get(family) ?? (fills.set(family, colour(family)), fills.get(family) as string);
    const [edge, ink, line, on] = [colour("edge"), colour("dim"), colour("line"), colour("accent")];
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, deep);
    const { width: step, shown, left } = columns();
    const wide = Math.max(3, step - (step > 12 ? 5 : 1));
    pen.textBaseline = "middle";
    // Cells first, so that the bars over them stay when rows scroll beneath.
    pen.save();
    pen.beginPath();
    pen.rect(0, BARS, width, deep - BARS);
    pen.clip();
    pen.textAlign = "center";
    pen.font = "700 11px system-ui, sans-serif";
    const all = visible();
    const [from, count] = [all[0]?.row ?? 0, all.length];
    if (near) {
      pen.fillStyle = line;
      for (let place = from; place < from + count; place++) pen.fillRect(0, BARS + place * row - top() + row - 1, width, 1);
    }
    for (let column = 0; column < shown.length; column++) {
      const cells = run(column)?.cells ?? "";
      const x = left + column * step;
      for (let place = from; place < from + count; place++) {
        const state = stateIn(cells, place);
        if (!state) continue;
        const { family, glyph } = look(state);
        const y = BARS + place * row - top();
        if (!near) {
          // Too small for an edge and a glyph: what nobody has begun is left out.
          if (family === "none") continue;
          pen.fillStyle = fill(family);
          pen.fillRect(x + (step - wide) / 2, y, wide, row - (row > 5 ? 2 : 1));
          continue;
        }
        const cell = { x: x + (step - wide) / 2, y: y + 4, w: wide, h: 15 };
        pen.beginPath();
        pen.roundRect(cell.x, cell.y, cell.w, cell.h, step > 12 ? 3 : 1);
        if (family !== "none") {
          pen.fillStyle = fill(family);
          pen.fill();
        }
        pen.strokeStyle = edge;
        pen.lineWidth = 1;
        pen.stroke();
        if (step >= 14 && family !== "done" && family !== "none") {
          const tries = triesIn(cells, place);
          pen.fillStyle = fill(`on-${family}`);
          pen.fillText(tries > 1 && family === "retry" ? String(tries) : glyph, x + step / 2, cell.y + 8);
        }
      }
    }
    const at = focus();
    if (at && document.activeElement === box) {
      pen.strokeStyle = on;
      pen.lineWidth = 2;
      if (at.row >= 0) pen.strokeRect(left + at.column * step + 0.5, BARS + at.row * row - top() + (near ? 1.5 : -1), step - 1, near ? row - 4 : row + 1);
    }
    pen.restore();
    const longest = Math.max(0.001, ...lasted());
    pen.font = "11px system-ui, sans-serif";
    let free = -1e9;
    for (let column = shown.length - 1; column >= 0; column--) {
      const of = run(column);
      if (!of) continue;
      const x = left + column * step;
      const tallness = Math.max(2, 30 * Math.sqrt((lasted()[column] ?? 0) / longest));
      pen.fillStyle = fill(look(of.state).family === "none" ? "waiting" : look(of.state).family);
      pen.beginPath();
      pen.roundRect(x + (step - wide) / 2, BARS - 6 - tallness, wide, tallness, 2);
      pen.fill();
      if (of.state === "failed" && step >= 14) {
        pen.fillStyle = fill("on-failed");
        pen.textAlign = "center";
        pen.fillText("✕", x + step / 2, BARS - 13);
      }
      // A date that would begin beneath the names is not drawn; that of the newest, always.
      const fits = x + step - 66 >= names();
      if (free === -1e9 || (fits && x + step < free - 64)) {
        pen.fillStyle = ink;
        pen.textAlign = fits ? "right" : "left";
        pen.fillText(short(of.logical_date ?? of.run_after), fits ? x + step : x, 8);
        free = x;
      }
    }
    pen.fillStyle = line;
    pen.fillRect(0, BARS - 1, width, 1);
    if (at && at.row < 0 && document.activeElement === box) {
      pen.strokeStyle = on;
      pen.lineWidth = 2;
      pen.strokeRect(left + at.column * step + 0.5, 17, step - 1, BARS - 20);
    }
  }

  const speak = (cell: Cell) => {
    const of = run(cell.column);
    if (!of) return "";
    const when = runLabel(of);
    if (cell.row < 0) return `run of ${when}, ${look(of.state).word}, ${length(lasted()[cell.column] ?? 0)}`;
    const { state, tries } = cellOf(cell.column, cell.row);
    const task = rows()[cell.row]?.task_id ?? "";
    return `${task}, ${when}, ${state ? look(state).word : "not in that run"}${tries > 1 ? `, try ${tries}` : ""}`;
  };
  const speakState = (column: number) => {
    const row = focus()?.row ?? -1;
    const state = row < 0 ? run(column)?.state : cellOf(column, row).state;
    return state ? look(state).word : "not in that run";
  };
  const move = (to: Cell) => {
    const cell = {
      row: Math.min(rows().length - 1, Math.max(-1, to.row)),
      column: Math.min(columns().shown.length - 1, Math.max(0, to.column)),
    };
    setFocus(cell);
    setSpoken(speak(cell));
    const y = cell.row * tall();
    if (y < box.scrollTop) box.scrollTop = Math.max(0, y);
    else if (y + tall() > box.scrollTop + box.clientHeight - BARS) box.scrollTop = y + tall() + BARS - box.clientHeight;
  };
  const enter = (cell: Cell | undefined) => {
    if (!cell) return;
    const id = columns().shown[cell.column];
    const task = rows()[cell.row];
    if (!id) return;
    navigate(task && cell.row >= 0 ? taskPath(props.dag.dag.dag_id, id, task.task_id) : runPath(props.dag.dag.dag_id, id));
  };
  const failing = (by: number) => {
    const start = focus() ?? { row: -1, column: by < 0 ? columns().shown.length : -1 };
    const total = rows().length;
    let column = -1;
    let cells = "";
    for (let step = start.column * total + Math.max(0, start.row) + by; step >= 0 && step < columns().shown.length * total; step += by) {
      const row = step % total;
      if (Math.floor(step / total) !== column) {
        column = Math.floor(step / total);
        cells = run(column)?.cells ?? "";
      }
      if (["failed", "upstream_failed"].includes(stateIn(cells, row) ?? "")) return move({ column, row });
    }
  };
  const press = (event: KeyboardEvent) => {
    const at = focus() ?? { row: 0, column: columns().shown.length - 1 };
    const moves: Record<string, () => void> = {
      ArrowLeft: () => move({ ...at, column: at.column - 1 }),
      ArrowRight: () => move({ ...at, column: at.column + 1 }),
      ArrowUp: () => move({ ...at, row: at.row - 1 }),
      ArrowDown: () => move({ ...at, row: at.row + 1 }),
      Home: () => move({ ...at, column: 0 }),
      End: () => move({ ...at, column: columns().shown.length - 1 }),
      Enter: () => enter(focus()),
      "]": () => failing(1),
      "[": () => failing(-1),
      "-": () => zoom(1),
      "+": () => zoom(-1),
      PageUp: () => move({ ...at, row: at.row - Math.floor((size().height - BARS) / tall()) }),
      PageDown: () => move({ ...at, row: at.row + Math.floor((size().height - BARS) / tall()) }),
    };
    const found = moves[event.key];
    if (!found || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    found();
  };
  const under = (event: MouseEvent): Cell | undefined => {
    const frame = box.getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    const column = Math.floor((x - columns().left) / columns().width);
    if (column < 0 || column >= columns().shown.length) return undefined;
    const row = y < BARS ? -1 : Math.floor((y - BARS + top()) / tall());
    return row < rows().length ? { row, column } : undefined;
  };
  return (
    <div class="gridwrap" style={{ "max-width": `${Math.max(NAMES + 8 + props.dag.order.length * WIDEST, 420) + 24}px` }}>
      <div
        ref={box}
        class="grid"
        tabindex="0"
        role="application"
        aria-label={`Grid of ${rows().length} tasks by ${columns().shown.length} runs. Arrow keys move, Enter opens, square brackets go to failures, plus and minus zoom.`}
        onScroll={() => (setTop(box.scrollTop), setHover(undefined))}
        onKeyDown={press}
        onFocus={() => (focus() ? draw() : move({ row: 0, column: columns().shown.length - 1 }))}
        onBlur={draw}
        onMouseMove={(event) => {
          const cell = under(event);
          const frame = box.getBoundingClientRect();
          setHover(cell && { ...cell, x: event.clientX - frame.left, y: event.clientY - frame.top });
        }}
        onMouseLeave={() => setHover(undefined)}
        onClick={(event) => {
          const cell = under(event);
          if (cell) enter(cell);
        }}
      >
        <div class="over-rows" aria-hidden="true">
          <canvas ref={canvas} class={hover() ? "over" : ""} />
        </div>
        <div class="names" style={{ height: `${height() + BARS}px`, width: `${names()}px` }} aria-hidden="true">
          <For each={tall() >= 20 ? visible() : []}>
            {({ task, row }) => (
              <span style={{ top: `${BARS + row * tall()}px` }} classList={{ at: focus()?.row === row }} title={task.task_id}>
                {task.task_id}
                {task.mapped ? <em>[ ]</em> : ""}
              </span>
            )}
          </For>
        </div>
        <div class="over-rows" aria-hidden="true"><span class="corner" style={{ width: `${names()}px` }} /></div>
      </div>
      <Show when={hover()}>
        {(at) => (
          <div class="card" style={{ left: `${Math.min(at().x + 14, size().width - 230)}px`, top: `${at().y + 18}px` }}>
            {speak(at())}
          </div>
        )}
      </Show>
      <Show when={rows().length > 40}>
        <div class="zoom" role="group" aria-label="Zoom">
          <button type="button" class="small" aria-label="Smaller rows" disabled={out() === ROWS.length - 1} onClick={() => zoom(1)}>−</button>
          <button type="button" class="small" aria-label="Larger rows" disabled={out() === 0} onClick={() => zoom(-1)}>+</button>
        </div>
      </Show>
      <p class="unseen" aria-live="polite">{spoken()}</p>
      <Twin caption={rows()[focus()?.row ?? -1]?.task_id} columns={focus() ? columns().shown.map((id, column) => [runLabel(props.dag.columns[id] as Dag["columns"][string]), speakState(column)]) : []} />
    </div>
  );
}

/** The row that is in focus as a table, for those who do not see the canvas. */
function Twin(props: { caption: string | undefined; columns: string[][] }) {
  return (
    <Show when={props.columns.length}>
      <table class="unseen">
        <caption>{props.caption ?? "The runs themselves"}</caption>
        <thead><tr><For each={props.columns}>{([label]) => <th scope="col">{label}</th>}</For></tr></thead>
        <tbody><tr><For each={props.columns}>{([, state]) => <td>{state}</td>}</For></tr></tbody>
      </table>
    </Show>
  );
}
