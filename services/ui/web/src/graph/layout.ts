/** Asks the worker for a layout, once for each graph. */
import type { GraphModel } from "./model";
import type { Laid, Wanted } from "./shapes";

const kept = new Map<string, Promise<Laid>>();
const waiting = new Map<string, { done: (laid: Laid) => void; failed: (why: Error) => void }>();
/** Layouts that are kept. */
const MOST = 40;
let worker: Worker | undefined;

export const WIDEST = 230;
export const TALL = 30;
/** Room for the glyph and the name, which is heavier where it stands for several, and for how many they are. */
function wide(node: GraphModel["nodes"][number]): number {
  const plain = node.kind === "task";
  const name = node.label.length * (plain ? 7.1 : 8.4) + (node.kind === "group" ? 16 : 0);
  const many = node.tasks.length > 1 ? 8 + 8.4 * (1 + node.tasks.length.toLocaleString("en").length) : 0;
  return Math.round(Math.min(WIDEST, Math.max(84, 38 + name + many)));
}

export function laidOut(model: GraphModel): Promise<Laid> {
  const parent = (group: string) => (group ? `box:${group}` : "");
  const wanted: Omit<Wanted, "key"> = {
    nodes: model.nodes.map((node) => ({ id: node.id, width: wide(node), height: TALL, parent: parent(node.inside) })),
    edges: model.edges,
    boxes: model.open.map((group) => ({ id: parent(group), parent: parent(group.split(".").slice(0, -1).join(".")) })),
  };
  const key = JSON.stringify(wanted);
  const found = kept.get(key);
  if (found) return found;
  if (!worker) {
    worker = new Worker(new URL("./layout.worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = (event: MessageEvent<Laid | { key: string; why: string }>) => {
      const { data } = event;
      const asker = waiting.get(data.key);
      waiting.delete(data.key);
      if ("why" in data) {
        kept.delete(data.key);
        asker?.failed(new Error(data.why));
      } else asker?.done(data);
    };
  }
  const made = new Promise<Laid>((done, failed) => waiting.set(key, { done, failed }));
  worker.postMessage({ ...wanted, key } satisfies Wanted);
  kept.set(key, made);
  const oldest = kept.keys().next().value;
  if (kept.size > MOST && oldest !== undefined) kept.delete(oldest);
  return made;
}
