/** Lays a graph out, from left to right, beside the page. */
import { Graph, layout } from "@dagrejs/dagre";
import type { Laid, Wanted } from "./shapes";

/** Of a larger graph ranks are found in a quicker way, which makes it somewhat wider. */
const EXACT = 150;
/** Of a larger one the order within ranks is looked for less long. */
const PAD = 12;

self.onmessage = (event: MessageEvent<Wanted>) => {
  const { key, nodes, edges, boxes } = event.data;
  const graph = new Graph({ compound: boxes.length > 0 });
  const ranker = nodes.length <= EXACT ? "network-simplex" : "tight-tree";
  graph.setGraph({ rankdir: "LR", nodesep: 10, ranksep: 44, edgesep: 8, marginx: PAD, marginy: PAD, ranker });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const box of boxes) graph.setNode(box.id, {});
  for (const node of nodes) graph.setNode(node.id, { width: node.width, height: node.height });
  for (const { id, parent } of [...boxes, ...nodes]) if (parent) graph.setParent(id, parent);
  for (const [from, to] of edges) graph.setEdge(from, to);
  layout(graph);
  const place = (id: string) => {
    const { x = 0, y = 0, width = 0, height = 0 } = graph.node(id) as { x?: number; y?: number; width?: number; height?: number };
    return [x - width / 2, y - height / 2, width, height] as const;
  };
  const { width = 0, height = 0 } = graph.graph() as { width?: number; height?: number };
  const laid: Laid = {
    key,
    width,
    height,
    nodes: nodes.map((node) => place(node.id)),
    boxes: boxes.map((box) => place(box.id)),
    edges: edges.map(([from, to]) => ((graph.edge(from, to) as { points?: { x: number; y: number }[] }).points ?? []).flatMap(({ x, y }) => [x, y])),
  };
  self.postMessage(laid);
};
