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
