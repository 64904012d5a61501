/** Light or dark: as the system is, unless somebody chose. */
import { createSignal } from "solid-js";

export type Theme = "auto" | "light" | "dark";
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const kept = localStorage.getItem("dagbok.theme");
const [chosen, setChosen] = createSignal<Theme>(kept === "light" || kept === "dark" ? kept : "auto");
const [system, setSystem] = createSignal(dark.matches);
dark.addEventListener("change", () => setSystem(dark.matches));

/** What is shown now. */
export const theme = (): "light" | "dark" => {
  const wanted = chosen();
  return wanted === "auto" ? (system() ? "dark" : "light") : wanted;
};
export function put() {
  document.documentElement.dataset["theme"] = theme();
}
export function turn() {
  const to = theme() === "dark" ? "light" : "dark";
  localStorage.setItem("dagbok.theme", to);
  setChosen(to);
  put();
}

export type Rows = "compact" | "normal" | "roomy";
const HEIGHTS: Rows[] = ["normal", "compact", "roomy"];
const before = localStorage.getItem("dagbok.rows");
const [rows, setRows] = createSignal<Rows>(before === "compact" || before === "roomy" ? before : "normal");
export { rows };
/** How tall rows of lists are: a choice of whoever looks. */
export function putRows() {
  document.documentElement.dataset["rows"] = rows();
}
export function turnRows() {
  const to = HEIGHTS[(HEIGHTS.indexOf(rows()) + 1) % HEIGHTS.length] ?? "normal";
  localStorage.setItem("dagbok.rows", to);
  setRows(to);
  putRows();
}
