/** The Python environment that the extension keeps for a server of its own. */

import { existsSync } from "node:fs";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { programsOf } from "./locate.ts";
import { ISOLATED } from "./python.ts";
import type { Run } from "./run.ts";

const MARKER = "installed-from.txt";

/** Where the extension itself is, and where it may keep things. */
export interface Folders {
  readonly extension: string;
  readonly storage: string;
}

/** What pip is to install. */
export interface Source {
  /** A wheel, or a folder with the project's sources. */
  readonly path: string;
  /** Exact versions of what it needs, as a file of pip constraints. */
  readonly constraints: string | undefined;
}

export interface Steps {
  readonly run: Run;
  readonly signal: AbortSignal;
  readonly report: (line: string) => void;
}

/** Return the environment's folder if the server was wholly installed there. */
export async function ownEnvironment(folders: Folders): Promise<string | undefined> {
  const folder = environmentFolder(folders);
  return (await installedFrom(folders)) === undefined ? undefined : folder;
}

/** Return the wheel that came with the extension, if it was packaged with one. */
export async function bundledSource(folders: Folders): Promise<Source | undefined> {
  const folder = join(folders.extension, "server");
  const names = await readdir(folder).catch(() => []);
  const wheel = names.find((name) => name.endsWith(".whl"));
  return wheel === undefined
    ? undefined
    : { path: join(folder, wheel), constraints: join(folder, "constraints.txt") };
}

/**
 * Return what the user names, if it is there.
 *
 * Never a bare name: whoever takes it in a package index would be run here.
 */
export function namedSource(path: string): Source | undefined {
  return isAbsolute(path) && existsSync(path)
    ? { path, constraints: undefined }
    : undefined;
}

/** Tell whether the installed server came with an earlier version of the extension. */
export async function isOutdated(folders: Folders): Promise<boolean> {
  const [installed, bundled] = await Promise.all([
    installedFrom(folders),
    bundledSource(folders),
  ]);
  return (
    installed !== undefined &&
    bundled !== undefined &&
    installed.startsWith(dirname(folders.extension)) &&
    installed !== bundled.path
  );
}

/**
 * Make the environment anew and install the server and the starter model into it.
 *
 * What is half done is removed. Throw an error with a sentence for the user, or the
 * signal's reason.
 */
export async function makeEnvironment(
  folders: Folders,
  python: readonly string[],
  source: Source,
  steps: Steps,
): Promise<void> {
  const folder = environmentFolder(folders);
  await rm(folder, { recursive: true, force: true });
  try {
    await take(steps, [...python, ISOLATED, "-m", "venv", folder]);
    const own = join(programsOf(folder, process.platform), "python");
    const constraints =
      source.constraints === undefined ? [] : ["--constraint", source.constraints];
    await take(steps, [
      ...[own, ISOLATED, "-m", "pip", "install"],
      "--disable-pip-version-check",
      "--no-input",
      "--progress-bar=off",
      ...constraints,
      `${source.path}[starter]`,
    ]);
    await writeFile(join(folder, MARKER), source.path);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function take(
  { run, signal, report }: Steps,
  command: readonly string[],
): Promise<void> {
  report(`> ${command.join(" ")}`);
  const ended = await run(command, { signal, onLine: report });
  signal.throwIfAborted();
  if (ended.code !== 0) {
    throw new Error(ended.complaint || `It ended with the code ${ended.code}.`);
  }
}

function environmentFolder(folders: Folders): string {
  return join(folders.storage, "server");
}

async function installedFrom(folders: Folders): Promise<string | undefined> {
  return readFile(join(environmentFolder(folders), MARKER), "utf8").catch(
    () => undefined,
  );
}
