/** What the page and the worker that lays graphs out tell each other. */

/** Left, top, width, height. */
export type Place = readonly [number, number, number, number];

export interface Wanted {
  key: string;
  nodes: { id: string; width: number; height: number; parent: string }[];
  edges: [string, string][];
  boxes: { id: string; parent: string }[];
}

/** In the order of what was asked for. */
export interface Laid {
  key: string;
  width: number;
  height: number;
  nodes: Place[];
  boxes: Place[];
  /** The points of each edge, x and y in turn. */
  edges: number[][];
}
