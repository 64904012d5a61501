/** Python's words, for colours, and which lines differ between two texts. */

export type Kind = "plain" | "note" | "text" | "word" | "number" | "mark";
export interface Piece {
  kind: Kind;
  text: string;
}

const WORDS =
  "False|None|True|and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is|lambda|match|nonlocal|not|or|pass|raise|return|try|while|with|yield";
/** The end of the text: `$` is that of a line here. */
const END = "(?![\\s\\S])";
const FOUND = new RegExp(
  [
    "(#[^\\n]*)",
    `((?<![\\w"'])[rRbBfFuU]{0,2}(?:"""[\\s\\S]*?(?:"""|${END})|'''[\\s\\S]*?(?:'''|${END})|"(?:\\\\.|[^"\\\\\\n])*"?|'(?:\\\\.|[^'\\\\\\n])*'?))`,
    "((?<=^[ \\t]*)@[\\w.]+)",
    `\\b(${WORDS})\\b`,
    "\\b(\\d[\\w.]*)\\b",
  ].join("|"),
  "gm",
);
const KINDS: Kind[] = ["note", "text", "mark", "word", "number"];

/** The lines of a text as pieces that have a colour each. A text of many lines is plain: colours help nobody there. */
export function coloured(text: string): Piece[][] {
  const lines = text.split("\n");
  if (lines.length > 5_000) return lines.map((line) => [{ kind: "plain", text: line }]);
  const made: Piece[][] = [[]];
  const put = (kind: Kind, part: string) => {
    for (const [at, line] of part.split("\n").entries()) {
      if (at) made.push([]);
      if (line) made[made.length - 1]?.push({ kind, text: line });
    }
  };
  let done = 0;
  for (const found of text.matchAll(FOUND)) {
    put("plain", text.slice(done, found.index));
    put(KINDS[found.slice(1).findIndex((group) => group !== undefined)] ?? "plain", found[0]);
    done = found.index + found[0].length;
  }
  put("plain", text.slice(done));
  return made;
}

/** A line of a difference: in both, only in the old, or only in the new; places count from 0. */
export interface Differs {
  kind: "same" | "gone" | "come";
  old: number;
  now: number;
}

/** How far apart two texts may be to be compared line by line. */
const APART = 4_000;

/** What differs between two texts, by Myers' greedy way: as few lines as can be. `undefined` where nearly all do. */
export function differs(old: string[], now: string[]): Differs[] | undefined {
  let begin = 0;
  while (begin < old.length && begin < now.length && old[begin] === now[begin]) begin++;
  let end = 0;
  while (end < old.length - begin && end < now.length - begin && old[old.length - 1 - end] === now[now.length - 1 - end]) end++;
  const [a, b] = [old.slice(begin, old.length - end), now.slice(begin, now.length - end)];
  const most = Math.min(a.length + b.length, APART);
  const trail: Int32Array[] = [];
  const reach = new Int32Array(2 * most + 3);
  const mid = most + 1;
  let found = -1;
  search: for (let steps = 0; steps <= most; steps++) {
    trail.push(reach.slice(mid - steps - 1, mid + steps + 2));
    for (let k = -steps; k <= steps; k += 2) {
      const down = k === -steps || (k !== steps && (reach[mid + k - 1] ?? 0) < (reach[mid + k + 1] ?? 0));
      let x = down ? (reach[mid + k + 1] ?? 0) : (reach[mid + k - 1] ?? 0) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      reach[mid + k] = x;
      if (x >= a.length && x - k >= b.length) {
        found = steps;
        break search;
      }
    }
  }
  if (found < 0) return undefined;
  const middle: Differs[] = [];
  let [x, y] = [a.length, b.length];
  for (let steps = found; steps > 0; steps--) {
    const at = (k: number) => trail[steps]?.[k + steps + 1] ?? 0;
    const k = x - y;
    const down = k === -steps || (k !== steps && at(k - 1) < at(k + 1));
    const before = down ? k + 1 : k - 1;
    const begun = at(before) + (down ? 0 : 1);
    while (x > begun) {
      x--;
      y--;
      middle.push({ kind: "same", old: begin + x, now: begin + y });
    }
    if (down) middle.push({ kind: "come", old: begin + x, now: begin + --y });
    else middle.push({ kind: "gone", old: begin + --x, now: begin + y });
  }
  while (x > 0) {
    x--;
    y--;
    middle.push({ kind: "same", old: begin + x, now: begin + y });
  }
  middle.reverse();
  return [
    ...Array.from({ length: begin }, (_, at): Differs => ({ kind: "same", old: at, now: at })),
    ...middle,
    ...Array.from({ length: end }, (_, at): Differs => ({ kind: "same", old: old.length - end + at, now: now.length - end + at })),
  ];
}
