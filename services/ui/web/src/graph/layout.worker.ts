/** Lays a graph out, from left to right, beside the page. */
import { Graph, layout } from "@dagrejs/dagre";
import type { Laid, Wanted } from "./shapes";

/** Of a larger graph ranks are found in a quicker way, which makes it somewhat wider. */
const EXACT = 150;
const PAD = 12;
/** The height of a box's title. */
const TITLE = 15;

self.onmessage = (event: MessageEvent<Wanted>) => {
  try {
    self.postMessage(laidOut(event.data));
  } catch (error) {
    // The library calls itself for each step of the longest way.
    self.postMessage({ key: event.data.key, why: error instanceof Error ? error.message : String(error) });
  }
};

function laidOut({ key, nodes, edges, boxes }: Wanted): Laid {
  const graph = new Graph({ compound: boxes.length > 0 });
  const ranker = nodes.length <= EXACT ? "network-simplex" : "tight-tree";
  graph.setGraph({ rankdir: "LR", nodesep: boxes.length ? 22 : 10, ranksep: 44, edgesep: 8, marginx: PAD, marginy: PAD, ranker });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const box of boxes) graph.setNode(box.id, {});
  for (const node of nodes) graph.setNode(node.id, { width: node.width, height: node.height });
  for (const { id, parent } of [...boxes, ...nodes]) if (parent) graph.setParent(id, parent);
  for (const [from, to] of edges) graph.setEdge(from, to);
  layout(graph);
  const lower = ([x, y, w, h]: readonly [number, number, number, number]) => [x, y + highest, w, h] as const;
  const place = (id: string) => {
    const { x = 0, y = 0, width = 0, height = 0 } = graph.node(id) as { x?: number; y?: number; width?: number; height?: number };
    return [x - width / 2, y - height / 2, width, height] as const;
  };
  // A box has its title above what it holds: the deeper it nests, the higher it rises.
  const rises = new Map<string, number>();
  for (const box of [...boxes].reverse()) {
    const mine = Math.max(rises.get(box.id) ?? 0, TITLE);
    rises.set(box.id, mine);
    if (box.parent) rises.set(box.parent, Math.max(rises.get(box.parent) ?? 0, mine + TITLE));
  }
  const highest = Math.max(0, ...rises.values());
  const { width = 0, height = 0 } = graph.graph() as { width?: number; height?: number };
  const laid: Laid = {
    key,
    width,
    height: height + highest,
    nodes: nodes.map((node) => lower(place(node.id))),
    boxes: boxes.map((box) => {
      const [x, y, w, h] = lower(place(box.id));
      const rise = rises.get(box.id) ?? TITLE;
      return [x, y - rise, w, h + rise + 4] as const;
    }),
    edges: edges.map(([from, to]) => ((graph.edge(from, to) as { points?: { x: number; y: number }[] }).points ?? []).flatMap(({ x, y }) => [x, y + highest])),
  };
  return laid;
}
