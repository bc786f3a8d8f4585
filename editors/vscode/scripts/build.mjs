// Bundles the extension into one file: `--minify` for a package, `--watch` while working.

import { context } from "esbuild";

const minify = process.argv.includes("--minify");
const bundle = await context({
  entryPoints: ["src/extension.ts"],
  outfile: "dist/extension.js",
  bundle: true,
  platform: "node",
  format: "cjs",
  // Of the oldest VS Code that `engines` admits.
  target: "node20",
  external: ["vscode"],
  minify,
  sourcemap: !minify,
  logLevel: "info",
});
if (process.argv.includes("--watch")) {
  await bundle.watch();
} else {
  await bundle.rebuild();
  await bundle.dispose();
}
