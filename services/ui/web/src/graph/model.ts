/** What of a DAG is drawn: groups that are closed, and like tasks that stand for each other, are one node. */

/** A task as the graph needs it. */
export interface GraphTask {
  task_id: string;
  /** The group that it stands in, with those around it: `a.b`. */
  group: string;
  operator: string;
  mapped: boolean;
  /** Places of its direct upstreams. */
  upstream: readonly number[];
}

export interface GraphNode {
  id: string;
  kind: "task" | "group" | "fold";
  label: string;
  /** Places of the tasks that it stands for. */
  tasks: number[];
  /** The open group that it lies in. */
  inside: string;
}

export interface GraphModel {
  nodes: GraphNode[];
  edges: [from: string, to: string][];
  /** Groups that are open, the outer before the inner. */
  open: string[];
}

/** So many tasks that are alike are one node. */
export const ALIKE = 30;
/** Of a DAG of more tasks groups begin closed. */
export const CLOSED_ABOVE = 150;

/** The groups around a task, the outermost first. */
export function around(group: string): string[] {
  const parts = group ? group.split(".") : [];
  return parts.map((_, at) => parts.slice(0, at + 1).join("."));
}

/** All groups of a DAG. */
export function groupsOf(tasks: readonly GraphTask[]): string[] {
  return [...new Set(tasks.flatMap((task) => around(task.group)))].sort();
}

/**
 * Tasks with the same place in the graph have the same number: those of one operator and group, whose upstreams and
 * downstreams are as many and alike in turn (colour refinement).
 */
function likeness(tasks: readonly GraphTask[], downstream: readonly number[][]): number[] {
  // How far from the roots and from the leaves: the links of a long chain are not alike.
  const depth = longest(tasks.map((task) => task.upstream));
  const height = longest(downstream);
  let colours = intern(tasks.map((task, at) => `${task.group}|${task.operator}|${task.mapped}|${depth[at]}|${height[at]}`));
  for (let round = 0, kinds = 0; round < 12; round++) {
    const of = (places: readonly number[]) => places.map((at) => colours[at]).sort((a, b) => (a ?? 0) - (b ?? 0)).join();
    colours = intern(tasks.map((task, at) => `${colours[at]}|${of(task.upstream)}|${of(downstream[at] ?? [])}`));
    const now = new Set(colours).size;
    if (now === kinds) break;
    kinds = now;
  }
  return colours;
}

/** Of each place how many steps its longest way has; places come in no order, and a circle ends a way. */
function longest(next: readonly (readonly number[])[]): number[] {
  const far: number[] = next.map(() => -1);
  for (let root = 0; root < next.length; root++) {
    const stack = [root];
    while (stack.length) {
      const at = stack[stack.length - 1] as number;
      if ((far[at] ?? 0) === -1) {
        far[at] = -2;
        for (const to of next[at] ?? []) if (far[to] === -1) stack.push(to);
      } else {
        if (far[at] === -2) far[at] = Math.max(0, ...(next[at] ?? []).map((to) => Math.max(0, far[to] ?? 0) + 1));
        stack.pop();
      }
    }
  }
  return far;
}

function intern(keys: string[]): number[] {
  const known = new Map<string, number>();
  return keys.map((key) => known.get(key) ?? (known.set(key, known.size), known.size - 1));
}

/** What names have in common at their beginning, and a star. */
function common(names: string[]): string {
  let shared = names[0] ?? "";
  for (const name of names) while (!name.startsWith(shared)) shared = shared.slice(0, -1);
  return `${shared}*`;
}

export function build(tasks: readonly GraphTask[], closed: ReadonlySet<string>): GraphModel {
  const downstream: number[][] = tasks.map(() => []);
  tasks.forEach((task, at) => task.upstream.forEach((up) => downstream[up]?.push(at)));
  const colours = likeness(tasks, downstream);
  const sizes = new Map<number, number>();
  for (const colour of colours) sizes.set(colour, (sizes.get(colour) ?? 0) + 1);

  const nodes = new Map<string, GraphNode>();
  const open = new Set<string>();
  const ids = tasks.map((task, at) => {
    const groups = around(task.group);
    const shut = groups.find((group) => closed.has(group));
    const alike = (sizes.get(colours[at] ?? -1) ?? 0) >= ALIKE;
    const id = shut !== undefined ? `group:${shut}` : alike ? `fold:${colours[at]}` : `task:${task.task_id}`;
    const inside = (shut !== undefined ? groups[groups.indexOf(shut) - 1] : groups[groups.length - 1]) ?? "";
    for (const group of around(inside)) open.add(group);
    const found = nodes.get(id);
    if (found) found.tasks.push(at);
    else nodes.set(id, { id, kind: shut !== undefined ? "group" : alike ? "fold" : "task", label: shut ?? task.task_id, tasks: [at], inside });
    return id;
  });
  for (const node of nodes.values()) {
    if (node.kind === "fold") node.label = common(node.tasks.map((at) => tasks[at]?.task_id ?? ""));
    const prefix = `${node.inside}.`;
    if (node.inside && node.label.startsWith(prefix)) node.label = node.label.slice(prefix.length);
  }
  const edges = new Map<string, [string, string]>();
  tasks.forEach((task, at) => {
    const to = ids[at] as string;
    for (const up of task.upstream) {
      const from = ids[up];
      if (from && from !== to) edges.set(`${from}\n${to}`, [from, to]);
    }
  });
  return { nodes: [...nodes.values()], edges: [...edges.values()], open: [...open].sort() };
}

/** Counts the states of what a node stands for. */
export function tally(node: GraphNode, states: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const at of node.tasks) {
    const state = states[at] ?? "none";
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  return counts;
}

const LOUD = ["failed", "up_for_retry", "running", "queued", "scheduled", "up_for_reschedule", "deferred", "upstream_failed", "none", "success", "skipped", "removed"];
/** The state of those that matters most to people. */
export const worst = (counts: Map<string, number>): string => LOUD.find((state) => counts.has(state)) ?? "none";

/** All that is before or after a node, itself included. */
export function reach(from: Iterable<string>, edges: readonly (readonly [string, string])[], way: "up" | "down"): Set<string> {
  const next = new Map<string, string[]>();
  for (const [a, b] of edges) {
    const [key, value] = way === "up" ? [b, a] : [a, b];
    const found = next.get(key);
    if (found) found.push(value);
    else next.set(key, [value]);
  }
  const seen = new Set(from);
  const queue = [...seen];
  for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
    for (const other of next.get(id) ?? []) {
      if (!seen.has(other)) {
        seen.add(other);
        queue.push(other);
      }
    }
  }
  return seen;
}
