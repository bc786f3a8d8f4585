// Makes the .vsix, with the server's wheel in it, so that "Install Server" installs the
// very server that the extension was made with. `--without-server` leaves the wheel out;
// `--out FILE` names the package. The wheel is built with the Python that the variable
// PYTHON names, else with that of the project's .venv, else with python3.

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const PROJECT = "../..";
const SERVER = "server";

const { values } = parseArgs({
  options: {
    out: { type: "string" },
    "without-server": { type: "boolean", default: false },
  },
});

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
rmSync(SERVER, { recursive: true, force: true });
if (!values["without-server"]) {
  mkdirSync(SERVER);
  buildWheel(python());
  copyFileSync(`${PROJECT}/constraints.txt`, `${SERVER}/constraints.txt`);
}
run("node", [
  "node_modules/@vscode/vsce/vsce",
  "package",
  "--no-dependencies",
  // The project names no host, so links in the README stay as they are.
  "--allow-missing-repository",
  "--no-rewrite-relative-links",
  ...(values.out ? ["--out", values.out] : []),
]);

function python() {
  const own = ["bin/python", "Scripts/python.exe"].map(
    (program) => `${PROJECT}/.venv/${program}`,
  );
  return process.env.PYTHON ?? own.find((program) => existsSync(program)) ?? "python3";
}

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
