/** The graph: tasks and what they wait for, on a canvas. One stop of the Tab key; arrows follow the edges. */
import { createEffect, createMemo, createResource, createSignal, For, type JSX, on, onCleanup, onMount, Show } from "solid-js";
import { look } from "../states";
import { theme } from "../theme";
import { laidOut } from "./layout";
import { ALIKE, around, build, CLOSED_ABOVE, type GraphNode, type GraphTask, groupsOf, reach, tally, worst } from "./model";
import { type Lit, type Look, paint, type View } from "./paint";

export interface GraphProps {
  tasks: readonly GraphTask[];
  /** Their states in the run that is looked at; nothing without one. */
  states: readonly string[] | undefined;
  /** When each was over, in milliseconds: of a run. */
  ends?: readonly (number | undefined)[];
  /** The place of the task that is chosen. */
  chosen?: number | undefined;
  choose: (task: number) => void;
  /** How tall it is, as CSS has it. */
  height: string;
  /** What stands before its own buttons. */
  children?: JSX.Element;
}

const NEAREST = 1.6;
const FARTHEST = 0.04;
/** What is smaller can't be read: a large graph begins no smaller than this, where it matters. */
const READABLE = 0.55;

export default function Graph(props: GraphProps) {
  let box!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  const [size, setSize] = createSignal({ width: 0, height: 0 });
  const [closed, setClosed] = createSignal<ReadonlySet<string>>(new Set(props.tasks.length > CLOSED_ABOVE ? groupsOf(props.tasks).filter((group) => !group.includes(".")) : []));
  const [view, setView] = createSignal<View>({ x: 0, y: 0, scale: 1 });
  const [focus, setFocus] = createSignal<string>();
  const [hover, setHover] = createSignal<string>();
  const [spoken, setSpoken] = createSignal("");
  const [lighting, setLighting] = createSignal<"failed" | "critical" | "none">("failed");
  const [opened, setOpened] = createSignal<string>();
  // States change with every patch; what is drawn of the DAG does not.
  const shape = createMemo(() => props.tasks, undefined, { equals: (a, b) => JSON.stringify(a) === JSON.stringify(b) });
  const model = createMemo(() => build(shape(), closed()));
  const [laid] = createResource(model, (made) =>
    laidOut(made).then((places) => ({ places: { model: made, ...places }, why: undefined }), (error: Error) => ({ places: undefined, why: error.message })),
  );
  const now = () => laid.latest?.places;
  const states = () => props.states ?? [];
  const looks = createMemo<Look[]>(() =>
    (now()?.model.nodes ?? []).map((node) => {
      const counts = tally(node, states());
      return { counts, state: props.states ? worst(counts) : "none" };
    }),
  );
  const nodeOf = createMemo(() => {
    const found = new Map<number, GraphNode>();
    for (const node of now()?.model.nodes ?? []) for (const task of node.tasks) found.set(task, node);
    return found;
  });
  const at = (id: string | undefined) => (id === undefined ? -1 : (now()?.model.nodes.findIndex((node) => node.id === id) ?? -1));
  const chosen = () => (props.chosen === undefined ? undefined : nodeOf().get(props.chosen)?.id);
  const failing = createMemo(() => (now()?.model.nodes ?? []).filter((_, place) => looks()[place]?.state === "failed").map((node) => node.id));

  /** What is lit while the rest is dimmed: what is under the pointer, else what failed, else what took longest. */
  const lit = createMemo<Lit | undefined>(() => {
    const found = now();
    if (!found) return undefined;
    const { edges } = found.model;
    const over = hover();
    if (over) return { nodes: new Set([...reach([over], edges, "up"), ...reach([over], edges, "down")]), tone: "near" };
    if (lighting() === "failed" && failing().length) {
      const knocked = found.model.nodes.filter((_, place) => looks()[place]?.state === "upstream_failed").map((node) => node.id);
      return { nodes: new Set([...reach(failing(), edges, "up"), ...knocked]), tone: "failed" };
    }
    if (lighting() === "critical") return { nodes: critical(), tone: "critical" };
    return undefined;
  });
  /** From the task that was over last, back along whatever was over last before it. */
  const critical = (): Set<string> => {
    const ends = props.ends ?? [];
    const last = (places: readonly number[]) => places.filter((place) => ends[place] !== undefined).sort((a, b) => (ends[b] ?? 0) - (ends[a] ?? 0))[0];
    const path = new Set<string>();
    for (let task = last(shape().map((_, place) => place)); task !== undefined; task = last(shape()[task]?.upstream ?? [])) {
      const node = nodeOf().get(task);
      if (node) path.add(node.id);
    }
    return path;
  };

  onMount(() => {
    const observer = new ResizeObserver(() => setSize({ width: box.clientWidth, height: box.clientHeight }));
    observer.observe(box);
    onCleanup(() => observer.disconnect());
    // A listener that may prevent: the page must not zoom with the graph.
    box.addEventListener("wheel", wheel, { passive: false });
  });
  const clamp = (scale: number) => Math.min(NEAREST, Math.max(FARTHEST, scale));
  const fitting = () => {
    const found = now();
    const { width, height } = size();
    return found ? clamp(Math.min(1, (width - 16) / found.width, (height - 16) / found.height)) : 1;
  };
  const fit = () => {
    const found = now();
    const { width, height } = size();
    const scale = fitting();
    if (found) setView({ scale, x: Math.max(8, (width - found.width * scale) / 2), y: Math.max(8, (height - found.height * scale) / 2) });
  };
  const centre = (id: string, scale = view().scale) => {
    const place = now()?.nodes[at(id)];
    if (place) setView({ scale, x: size().width / 2 - (place[0] + place[2] / 2) * scale, y: size().height / 2 - (place[1] + place[3] / 2) * scale });
  };
  // A new layout, or the first that is seen: all of it where that can be read, else what matters of it.
  createEffect(
    on([now, () => size().width > 0], ([found, seen]) => {
      if (!found || !seen) return;
      if (fitting() >= READABLE) return fit();
      const matters = focus() ?? chosen() ?? failing()[0];
      if (matters && at(matters) >= 0) centre(matters, READABLE);
      else setView({ scale: READABLE, x: 8, y: Math.max(8, (size().height - found.height * READABLE) / 2) });
    }),
  );
  createEffect(() => {
    theme();
    const found = now();
    const { width, height } = size();
    if (!found || !width) return;
    const ring = document.activeElement === box ? focus() : undefined;
    paint(canvas, { width, height }, found, looks(), view(), { lit: lit(), chosen: at(chosen()), focus: at(ring), hover: at(hover()), stated: props.states !== undefined });
  });

  const zoom = (by: number, x = size().width / 2, y = size().height / 2) =>
    setView((was) => {
      const scale = clamp(was.scale * by);
      const share = scale / was.scale;
      return { scale, x: x - (x - was.x) * share, y: y - (y - was.y) * share };
    });
  function wheel(event: WheelEvent) {
    event.preventDefault();
    const frame = box.getBoundingClientRect();
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY / 300), event.clientX - frame.left, event.clientY - frame.top);
    else setView((was) => ({ ...was, x: was.x - event.deltaX, y: was.y - event.deltaY }));
  }
  const under = (event: MouseEvent): string | undefined => {
    const frame = box.getBoundingClientRect();
    const { x, y, scale } = view();
    const [px, py] = [(event.clientX - frame.left - x) / scale, (event.clientY - frame.top - y) / scale];
    const inside = ([left, top, wide, tall]: readonly [number, number, number, number]) => px >= left && px <= left + wide && py >= top && py <= top + tall;
    const found = now();
    const node = found?.nodes.findIndex(inside) ?? -1;
    if (found && node >= 0) return found.model.nodes[node]?.id;
    // The inner box before the outer; its title closes it.
    const open = (found?.boxes ?? []).findLastIndex((place) => inside(place) && py <= place[1] + 18);
    return found && open >= 0 ? `box:${found.model.open[open]}` : undefined;
  };
  const say = (id: string): string => {
    const place = at(id);
    const node = now()?.model.nodes[place];
    if (!node) return "";
    const counts = [...(looks()[place]?.counts ?? [])].map(([state, count]) => `${count} ${look(state).word}`).join(", ");
    const edges = now()?.model.edges ?? [];
    const [up, down] = [edges.filter(([, to]) => to === id).length, edges.filter(([from]) => from === id).length];
    const what = node.kind === "task" ? (props.states ? look(looks()[place]?.state ?? "none").word : "") : `${node.tasks.length} tasks${props.states ? `: ${counts}` : ""}`;
    return [node.kind === "group" ? `group ${node.label}` : node.label, what, `${up} upstream, ${down} downstream`].filter(Boolean).join(", ");
  };
  const go = (id: string | undefined) => {
    if (!id || at(id) < 0) return;
    setFocus(id);
    setSpoken(say(id));
    const place = now()?.nodes[at(id)];
    const { x, y, scale } = view();
    if (!place) return;
    const [left, top] = [place[0] * scale + x, place[1] * scale + y];
    if (left < 8 || top < 8 || left + place[2] * scale > size().width - 8 || top + place[3] * scale > size().height - 8) centre(id);
  };
  /** The nearest node that way. */
  const step = (dx: number, dy: number) => {
    const found = now();
    const from = found?.nodes[at(focus())];
    if (!found || !from) return go(found?.model.nodes[0]?.id);
    const [cx, cy] = [from[0] + from[2] / 2, from[1] + from[3] / 2];
    let best: { id: string; far: number } | undefined;
    found.nodes.forEach((place, index) => {
      const [ox, oy] = [place[0] + place[2] / 2 - cx, place[1] + place[3] / 2 - cy];
      const [along, aside] = dx ? [ox * dx, Math.abs(oy)] : [oy * dy, Math.abs(ox)];
      if (along < 4) return;
      const far = along + aside * (dx ? 0.9 : 2);
      const id = found.model.nodes[index]?.id;
      if (id && (!best || far < best.far)) best = { id, far };
    });
    go(best?.id);
  };
  const shut = (group: string, to: boolean) => {
    const next = new Set(closed());
    if (to) next.add(group);
    else next.delete(group);
    setClosed(next);
  };
  const enter = (id: string | undefined) => {
    if (!id) return;
    if (id.startsWith("box:")) {
      setFocus(`group:${id.slice(4)}`);
      return shut(id.slice(4), true);
    }
    const node = now()?.model.nodes[at(id)];
    if (!node) return;
    setFocus(id);
    if (node.kind === "group") shut(id.slice("group:".length), false);
    else if (node.kind === "fold") setOpened(opened() === id ? undefined : id);
    else if (node.tasks[0] !== undefined) props.choose(node.tasks[0]);
  };
  const failure = (by: number) => {
    const all = failing();
    if (!all.length) return;
    const here = all.indexOf(focus() ?? "");
    go(all[(here < 0 ? (by > 0 ? 0 : all.length - 1) : here + by + all.length) % all.length]);
  };
  const press = (event: KeyboardEvent) => {
    const keys: Record<string, () => unknown> = {
      ArrowLeft: () => step(-1, 0),
      ArrowRight: () => step(1, 0),
      ArrowUp: () => step(0, -1),
      ArrowDown: () => step(0, 1),
      Enter: () => enter(focus()),
      Backspace: () => {
        // Closes the group around.
        const node = now()?.model.nodes[at(focus())];
        if (node?.inside) enter(`box:${node.inside}`);
      },
      "+": () => zoom(1.25),
      "-": () => zoom(0.8),
      "0": fit,
      "]": () => failure(1),
      "[": () => failure(-1),
    };
    const found = keys[event.key];
    if (!found || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    found();
  };
  let dragging: { x: number; y: number; moved: boolean } | undefined;
  const down = (event: PointerEvent) => {
    if (event.button !== 0) return;
    dragging = { x: event.clientX, y: event.clientY, moved: false };
    box.setPointerCapture(event.pointerId);
  };
  const moved = (event: PointerEvent) => {
    if (!dragging) {
      setHover(under(event)?.replace(/^box:.*/, ""));
      return;
    }
    const [dx, dy] = [event.clientX - dragging.x, event.clientY - dragging.y];
    if (!dragging.moved && Math.abs(dx) + Math.abs(dy) < 4) return;
    dragging = { x: event.clientX, y: event.clientY, moved: true };
    setView((was) => ({ ...was, x: was.x + dx, y: was.y + dy }));
  };
  const up = (event: PointerEvent) => {
    if (dragging && !dragging.moved) enter(under(event));
    dragging = undefined;
  };
  const groups = createMemo(() => groupsOf(shape()));
  const strip = createMemo(() => {
    const node = now()?.model.nodes[at(opened())];
    if (!node) return [];
    const rank = (task: number) => ["failed", "upstream_failed", "up_for_retry", "running"].indexOf(states()[task] ?? "none");
    const place = (task: number) => (rank(task) < 0 ? 9 : rank(task));
    return [...node.tasks].sort((a, b) => place(a) - place(b) || a - b);
  });
  return (
    <div class="graph" aria-busy={laid.loading}>
      <div class="bar">
        {props.children}
        <span class="jumps">
          <button type="button" class="small" aria-label="Closer" onClick={() => zoom(1.25)}>+</button>
          <button type="button" class="small" aria-label="Farther" onClick={() => zoom(0.8)}>−</button>
          <button type="button" class="small" onClick={fit}>All of it</button>
        </span>
        <Show when={groups().length}>
          <button type="button" class="small" onClick={() => setClosed(new Set(closed().size ? [] : groups().filter((group) => around(group).length === 1)))}>{closed().size ? "Open groups" : "Close groups"}</button>
        </Show>
        <Show when={failing().length}><button type="button" class="chip" aria-pressed={lighting() === "failed"} onClick={() => setLighting(lighting() === "failed" ? "none" : "failed")}>what failed</button></Show>
        <Show when={props.ends?.some((end) => end !== undefined)}><button type="button" class="chip" aria-pressed={lighting() === "critical"} onClick={() => setLighting(lighting() === "critical" ? "none" : "critical")}>critical path</button></Show>
        <span class="dim">{shape().length.toLocaleString("en")} {shape().length === 1 ? "task" : "tasks"}{now() && now()!.model.nodes.length < shape().length ? `, ${ALIKE} or more that are alike as one` : ""}</span>
      </div>
      <div
        ref={box}
        class="sheetful"
        style={{ height: props.height }}
        tabindex="0"
        role="application"
        aria-label={`Graph of ${shape().length} tasks. Arrow keys move, Enter opens, square brackets go to failures, plus and minus zoom. The list of tasks has the same as a table.`}
        onKeyDown={press}
        onFocus={() => !dragging && (focus() && at(focus()) >= 0 ? go(focus()) : go(chosen() ?? failing()[0] ?? now()?.model.nodes[0]?.id))}
        onBlur={() => setFocus((was) => was)}
        onPointerDown={down}
        onPointerMove={moved}
        onPointerUp={up}
        onPointerCancel={() => (dragging = undefined)}
        onPointerLeave={() => setHover(undefined)}
      >
        <canvas ref={canvas} class={hover() ? "over" : ""} aria-hidden="true" />
        <Show when={!now()}><p class="nothing">{laid.latest?.why ? `It is too large to be laid out here (${laid.latest.why}); the list of tasks has all of it.` : "Laid out in a moment…"}</p></Show>
      </div>
      <Show when={strip().length}>
        <section class="heat" aria-label={`${strip().length} tasks that are alike`}>
          <For each={strip().slice(0, 1_000)}>
            {(task) => {
              const of = () => look(states()[task] ?? "none");
              return <button type="button" class={`cell ${of().family}`} title={`${props.tasks[task]?.task_id}: ${of().word}`} aria-label={`${props.tasks[task]?.task_id}, ${of().word}`} onClick={() => props.choose(task)}>{of().family === "done" ? "" : of().glyph}</button>;
            }}
          </For>
          <Show when={strip().length > 1_000}><span class="dim">and {(strip().length - 1_000).toLocaleString("en")} more: the grid has them all</span></Show>
        </section>
      </Show>
      <p class="unseen" aria-live="polite">{spoken()}</p>
    </div>
  );
}
