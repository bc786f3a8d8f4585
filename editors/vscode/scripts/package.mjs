// Makes the .vsix, with the server's wheel in it, so that "Install Server" installs the
// very server that the extension was made with. `--without-server` leaves the wheel out;
// `--out FILE` names the package. The variable PYTHON names the Python to build with.

import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const PROJECT = "../..";
const SERVER = "server";

const { values } = parseArgs({
  options: {
    out: { type: "string", default: "lsp-stablecode.vsix" },
    "without-server": { type: "boolean", default: false },
  },
});

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
rmSync(SERVER, { recursive: true, force: true });
if (!values["without-server"]) {
  mkdirSync(SERVER);
  buildWheel(process.env.PYTHON ?? "python3");
  copyFileSync(`${PROJECT}/constraints.txt`, `${SERVER}/constraints.txt`);
}
run("node", [
  "node_modules/@vscode/vsce/vsce",
  "package",
  "--no-dependencies",
  // The project names no host, so links in the README stay as they are.
  "--allow-missing-repository",
  "--no-rewrite-relative-links",
  "--out",
  values.out,
]);

/** Pip fetches what builds wheels, unless it is installed already. */
function buildWheel(python) {
  const hasBackend = spawnSync(python, ["-c", "import hatchling"]).status === 0;
  run(python, [
    "-m",
    "pip",
    "wheel",
    "--quiet",
    "--no-deps",
    ...(hasBackend ? ["--no-build-isolation"] : []),
    "--wheel-dir",
    SERVER,
    PROJECT,
  ]);
}

function run(program, args) {
  const { status, error } = spawnSync(program, args, { stdio: "inherit" });
  if (status !== 0) {
    const line = [program, ...args].join(" ");
    throw new Error(`${line}: ${error?.message ?? `it ended with ${status}`}`);
  }
}
