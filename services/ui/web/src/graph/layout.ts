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
const wide = (label: string, many: boolean): number => Math.round(Math.min(WIDEST, Math.max(84, label.length * 7.1 + (many ? 76 : 38))));

export function laidOut(model: GraphModel): Promise<Laid> {
  const parent = (group: string) => (group ? `box:${group}` : "");
  const wanted: Omit<Wanted, "key"> = {
    nodes: model.nodes.map((node) => ({ id: node.id, width: wide(node.label, node.tasks.length > 1), height: TALL, parent: parent(node.inside) })),
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
