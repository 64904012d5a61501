/** Draws a graph that is laid out. */
import { look } from "../states";
import type { GraphModel } from "./model";
import type { Laid } from "./shapes";

export interface View {
  x: number;
  y: number;
  scale: number;
}
export interface Look {
  counts: Map<string, number>;
  state: string;
}
export interface Lit {
  nodes: Set<string>;
  tone: "near" | "failed" | "critical";
}
interface Marks {
  lit: Lit | undefined;
  chosen: number;
  focus: number;
  hover: number;
  /** Whether there are states to show. */
  stated: boolean;
}

const DIMMED = 0.28;
/** Below this a name can't be read: states stand for it. */
const NAMES = 0.42;

export function paint(canvas: HTMLCanvasElement, size: { width: number; height: number }, laid: Laid & { model: GraphModel }, looks: Look[], view: View, marks: Marks) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, tall] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
  if (canvas.width !== wide || canvas.height !== tall) {
    canvas.width = wide;
    canvas.height = tall;
    canvas.style.width = `${size.width}px`;
    canvas.style.height = `${size.height}px`;
  }
  const pen = canvas.getContext("2d");
  if (!pen) return;
  const style = getComputedStyle(canvas);
  const known = new Map<string, string>();
  const colour = (name: string) => known.get(name) ?? (known.set(name, style.getPropertyValue(`--${name}`).trim()), known.get(name) as string);
  const { nodes, edges, open } = laid.model;
  const { lit } = marks;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, size.width, size.height);
  pen.setTransform(ratio * view.scale, 0, 0, ratio * view.scale, ratio * view.x, ratio * view.y);
  const [left, top] = [-view.x / view.scale, -view.y / view.scale];
  const [right, bottom] = [left + size.width / view.scale, top + size.height / view.scale];
  const seen = (x: number, y: number, w: number, h: number) => x < right && y < bottom && x + w > left && y + h > top;
  const thin = 1 / Math.min(1, Math.max(0.25, view.scale));

  laid.boxes.forEach(([x, y, w, h], at) => {
    if (!seen(x, y, w, h)) return;
    pen.beginPath();
    pen.roundRect(x, y, w, h, 8);
    pen.fillStyle = colour("panel");
    pen.globalAlpha = 0.7;
    pen.fill();
    pen.globalAlpha = 1;
    pen.strokeStyle = colour("line");
    pen.lineWidth = thin;
    pen.stroke();
    if (view.scale >= NAMES) {
      pen.font = "600 11px system-ui, sans-serif";
      pen.textBaseline = "middle";
      pen.textAlign = "left";
      pen.fillStyle = colour("dim");
      pen.fillText(fitted(pen, `− ${open[at]?.split(".").pop() ?? ""}`, w - 12), x + 8, y + 9);
    }
  });

  edges.forEach(([from, to], at) => {
    const points = laid.edges[at] ?? [];
    const bright = !lit || (lit.nodes.has(from) && lit.nodes.has(to));
    pen.globalAlpha = bright ? 1 : DIMMED;
    const loud = lit && bright && lit.tone !== "near";
    pen.strokeStyle = loud ? colour(lit.tone === "failed" ? "failed" : "ink") : bright && lit ? colour("accent") : colour("waiting");
    pen.lineWidth = (lit && bright ? 2 : 1.2) * (view.scale < 0.5 ? thin * 0.7 : 1);
    pen.beginPath();
    curve(pen, points);
    pen.stroke();
    const [x, y] = [points[points.length - 2] ?? 0, points[points.length - 1] ?? 0];
    if (view.scale >= 0.3) {
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(x - 6, y - 3.5);
      pen.lineTo(x - 6, y + 3.5);
      pen.fillStyle = pen.strokeStyle;
      pen.fill();
    }
  });

  laid.nodes.forEach(([x, y, w, h], at) => {
    const node = nodes[at];
    const of = looks[at];
    if (!node || !of || !seen(x, y, w, h)) return;
    const { family, glyph } = look(of.state);
    pen.globalAlpha = !lit || lit.nodes.has(node.id) ? 1 : DIMMED;
    pen.beginPath();
    pen.roundRect(x, y, w, h, 6);
    const small = view.scale < NAMES;
    pen.fillStyle = at === marks.chosen ? colour("chosen") : at === marks.hover ? colour("hover") : colour("ground");
    if (small && marks.stated && family !== "none") pen.fillStyle = colour(family);
    pen.fill();
    const loud = family === "failed" || family === "knock" || family === "running" || family === "retry";
    pen.strokeStyle = loud && marks.stated ? colour(family) : colour("edge");
    pen.lineWidth = (loud && marks.stated ? 1.8 : 1) * (small ? thin : 1);
    pen.stroke();
    if (!small) {
      let text = x + 10;
      if (marks.stated) {
        // The state as everywhere: its colour and its glyph.
        pen.beginPath();
        pen.roundRect(x + 7, y + h / 2 - 8, 16, 16, 3);
        if (family !== "none") {
          pen.fillStyle = colour(family);
          pen.fill();
        }
        pen.strokeStyle = colour("edge");
        pen.lineWidth = 1;
        pen.stroke();
        pen.fillStyle = colour(`on-${family}`);
        pen.font = "700 11px system-ui, sans-serif";
        pen.textAlign = "center";
        pen.textBaseline = "middle";
        pen.fillText(glyph, x + 15, y + h / 2 + 0.5);
        text = x + 29;
      }
      const many = node.tasks.length > 1 ? `×${node.tasks.length.toLocaleString("en")}` : "";
      pen.textAlign = "left";
      pen.textBaseline = "middle";
      pen.font = `${node.kind === "task" ? "" : "600 "}12.5px system-ui, sans-serif`;
      pen.fillStyle = colour("ink");
      const kept = many ? pen.measureText(many).width + 16 : 8;
      pen.fillText(fitted(pen, `${node.kind === "group" ? "+ " : ""}${node.label}`, x + w - text - kept), text, y + h / 2 - (many && marks.stated ? 1.5 : 0));
      if (many) {
        pen.textAlign = "right";
        pen.fillStyle = colour("dim");
        pen.fillText(many, x + w - 8, y + h / 2 - (marks.stated ? 1.5 : 0));
      }
    }
    if (node.tasks.length > 1 && marks.stated) {
      let from = x + 4;
      for (const [state, count] of [...of.counts].sort()) {
        const part = ((w - 8) * count) / node.tasks.length;
        pen.fillStyle = look(state).family === "none" ? colour("line") : colour(look(state).family);
        pen.fillRect(from, y + h - 5, Math.max(1, part), 3);
        from += part;
      }
    }
    if (at === marks.focus || at === marks.chosen) {
      pen.globalAlpha = 1;
      pen.strokeStyle = colour("accent");
      pen.lineWidth = at === marks.focus ? 2.5 * thin : 1.5 * thin;
      pen.beginPath();
      pen.roundRect(x - 2.5, y - 2.5, w + 5, h + 5, 8);
      pen.stroke();
    }
  });
  pen.globalAlpha = 1;
  overview(pen, ratio, size, laid, looks, view, colour);
}

/** Where one is, where not all of it is in sight. */
function overview(pen: CanvasRenderingContext2D, ratio: number, size: { width: number; height: number }, laid: Laid, looks: Look[], view: View, colour: (name: string) => string) {
  if (laid.width * view.scale <= size.width && laid.height * view.scale <= size.height) return;
  if (size.width < 520) return;
  const share = Math.min(180 / laid.width, 110 / laid.height);
  const [w, h] = [Math.max(24, laid.width * share), Math.max(24, laid.height * share)];
  const [x, y] = [size.width - w - 12, size.height - h - 12];
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.globalAlpha = 0.92;
  pen.fillStyle = colour("ground");
  pen.fillRect(x - 4, y - 4, w + 8, h + 8);
  pen.globalAlpha = 1;
  pen.strokeStyle = colour("line");
  pen.lineWidth = 1;
  pen.strokeRect(x - 4, y - 4, w + 8, h + 8);
  laid.nodes.forEach((place, at) => {
    const { family } = look(looks[at]?.state ?? "none");
    pen.fillStyle = colour(family === "none" ? "waiting" : family);
    pen.fillRect(x + place[0] * share, y + place[1] * share, Math.max(1.5, place[2] * share), Math.max(1.5, place[3] * share));
  });
  pen.strokeStyle = colour("accent");
  pen.lineWidth = 1.5;
  const clip = (value: number, most: number) => Math.min(most, Math.max(0, value));
  const [fx, fy] = [clip((-view.x / view.scale) * share, w), clip((-view.y / view.scale) * share, h)];
  const [tx, ty] = [clip(((size.width - view.x) / view.scale) * share, w), clip(((size.height - view.y) / view.scale) * share, h)];
  pen.strokeRect(x + fx, y + fy, tx - fx, ty - fy);
}

/** Through the points, without corners. */
function curve(pen: CanvasRenderingContext2D, points: number[]) {
  const x = (at: number) => points[at * 2] ?? 0;
  const y = (at: number) => points[at * 2 + 1] ?? 0;
  const last = points.length / 2 - 1;
  pen.moveTo(x(0), y(0));
  for (let at = 1; at < last; at++) pen.quadraticCurveTo(x(at), y(at), (x(at) + x(at + 1)) / 2, (y(at) + y(at + 1)) / 2);
  pen.lineTo(x(last), y(last));
}

const cut = new Map<string, string>();
/** A name as far as there is room. */
function fitted(pen: CanvasRenderingContext2D, text: string, room: number): string {
  const key = `${pen.font}|${text}|${Math.round(room)}`;
  const known = cut.get(key);
  if (known !== undefined) return known;
  let shown = text;
  while (shown.length > 1 && pen.measureText(shown).width > room) shown = `${shown.slice(0, -2)}…`;
  if (cut.size > 20_000) cut.clear();
  cut.set(key, shown);
  return shown;
}
