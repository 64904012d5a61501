// Compresses what was built, once and as well as can be, and lists what the page names: the binary carries both.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const dist = new URL("dist/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL(".vite/manifest.json", dist), "utf8"));
const entry = Object.values(manifest).find((file) => file.isEntry);
const name = (path) => path.replace(/^assets\//, "");
const lines = [
  ...(entry.css ?? []).map((path) => `style ${name(path)}`),
  ...(entry.assets ?? []).filter((path) => path.endsWith(".svg")).map((path) => `icon ${name(path)}`),
  `script ${name(entry.file)}`,
];
writeFileSync(new URL("entry.txt", dist), `${lines.join("\n")}\n`);

let sent = 0;
for (const file of readdirSync(new URL("assets/", dist))) {
  const path = new URL(`assets/${file}`, dist);
  if (/\.(br|gz)$/.test(file)) continue;
  const bytes = readFileSync(path);
  const gzip = gzipSync(bytes, { level: 9 });
  writeFileSync(new URL(`assets/${file}.gz`, dist), gzip);
  writeFileSync(
    new URL(`assets/${file}.br`, dist),
    brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }),
  );
  sent += gzip.length;
}
console.log(`the whole application: ${(sent / 1024).toFixed(1)} KB with gzip`);
